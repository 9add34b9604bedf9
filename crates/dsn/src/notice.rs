//! What a notice says, and about whom.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_mail::{Address, Class, Failure, MessageId};

/// How much of the original's header is sent back, in bytes.
pub const HEADER_MAX: usize = 64 * 1024;

/// The message that a notice is about.
#[derive(Clone, Debug)]
pub struct Original<'a> {
    /// Its id, as told to the client.
    pub id: MessageId,
    /// Who sent it and is to be told. (The null reverse-path is never answered: RFC 5321 §4.5.5.)
    pub reverse_path: &'a Address,
    /// When it was accepted.
    pub arrived: Timestamp,
    /// Its Message-ID, for the threads of mail programs.
    pub message_id: Option<&'a str>,
    /// What the sender calls the envelope (ENVID).
    pub envid: Option<&'a str>,
    /// Until when the sender wanted it delivered (RFC 2852).
    pub deliver_by: Option<Timestamp>,
    /// Its header, as stored; of a longer one, the first [`HEADER_MAX`] bytes are sent back.
    pub header: &'a [u8],
    /// All of it, where it comes back whole (RET=FULL, RFC 3461 §5.2): lines, and no header in UTF-8.
    pub whole: Option<&'a [u8]>,
}

/// How a recipient's story ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Handed to a receiver that gives no notices of its own, where the sender asked for one (RFC 3461 §5.2.2).
    Relayed,
    /// Handed to a receiver that goes on as the sender wants, who asked to hear of each relay (RFC 2852, `T`).
    Traced,
    /// Refused for good.
    Bounced,
    /// Tried for as long as the retry schedule says.
    Expired,
    /// Not delivered within the time that the sender gave (RFC 2852, `R`).
    TooLate,
    /// Not ended: it takes long, and is tried again.
    Delayed,
}

/// One recipient whose story ended.
#[derive(Clone, Debug)]
pub struct NoticeRecipient {
    /// The address.
    pub rcpt: Address,
    /// What it was before it came to us (ORCPT), `type;address`.
    pub orcpt: Option<Arc<str>>,
    /// What the last attempt met; None if it expired before there was one, or was delivered.
    pub failure: Option<Failure>,
    /// What that means.
    pub class: Class,
    /// The receiver's host, if one was reached.
    pub mx_host: Option<Arc<str>>,
    /// When the last attempt was made.
    pub last_attempt: Option<Timestamp>,
    /// Until when it is tried, if it is.
    pub retry_until: Option<Timestamp>,
    /// Why it is final, if it is.
    pub ending: Ending,
}

impl NoticeRecipient {
    /// Whether it will not get the message.
    pub fn is_failed(&self) -> bool {
        matches!(self.ending, Ending::Bounced | Ending::Expired | Ending::TooLate)
    }
}

/// All that a notice says.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    /// The notice's own id.
    pub id: MessageId,
    /// Now.
    pub now: Timestamp,
    /// The relay's name: the reporting MTA.
    pub hostname: &'a str,
    /// Who writes it.
    pub from: &'a Address,
    /// What it is about.
    pub original: Original<'a>,
    /// Whom it is about; not empty.
    pub told: &'a [NoticeRecipient],
}
