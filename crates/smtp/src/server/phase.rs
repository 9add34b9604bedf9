//! What a session does with the next bytes, and what it waits to be told.

use posthaste_mail::{Address, RcptAsks};

use super::{MailRequest, body::BodyReceiver, fault::Fault, line::Discard, sasl::Exchange};

/// What the next bytes are.
#[derive(Debug)]
pub(super) enum Phase {
    /// Commands.
    Command,
    /// The rest of a line that is too long.
    Discard(Discard),
    /// The next message of an exchange.
    Auth(Box<Exchange>),
    /// A piece of a message.
    Chunk(Box<Chunk>),
    /// A message.
    Body(Box<BodyReceiver>),
    /// Not looked at until the question is answered.
    Asked(Question),
    /// Nothing to us.
    Closed,
}

/// What the session waits to be told.
#[derive(Debug)]
pub(super) enum Question {
    Mail(MailRequest),
    Rcpt(Address, RcptAsks),
    Message,
    Tls,
    Auth(Box<Exchange>),
}

/// A piece on its way.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) left: u64,
    pub(super) size: u64,
    pub(super) last: bool,
    /// Its bytes are read away, and this is what is said then.
    pub(super) refused: Option<Fault>,
}
