//! The state of a session: how it reads the next bytes, or which question it waits to have answered.

use posthaste_mail::{Address, RcptParameters};

use super::{MailRequest, body::BodyReceiver, fault::Fault, line::Discard, sasl::Exchange};

/// How the next bytes are read.
#[derive(Debug)]
pub(super) enum Phase {
    /// As commands.
    Command,
    /// As the rest of an overlong line.
    Discard(Discard),
    /// As the next message of a SASL exchange.
    Auth(Box<Exchange>),
    /// As a chunk of a message (BDAT).
    Chunk(Box<Chunk>),
    /// As a message (DATA).
    Body(Box<BodyReceiver>),
    /// Not at all until the caller has answered the question.
    Asked(Question),
    /// Not at all: the session is over.
    Closed,
}

/// The question that the caller has to answer.
#[derive(Debug)]
pub(super) enum Question {
    Mail(MailRequest),
    Rcpt(Address, RcptParameters),
    Message,
    Tls,
    Auth(Box<Exchange>),
}

/// A chunk that is being received.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) left: u64,
    pub(super) size: u64,
    pub(super) last: bool,
    /// Set if the chunk is refused: its bytes are discarded, then this reply is sent.
    pub(super) refused: Option<Fault>,
}
