//! The content of a notice: the original message, and the recipients it reports on.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_mail::{Address, Answered, Class, Failure, LocalCause, MessageId};

/// How much of the original's header is returned, in bytes.
pub const HEADER_MAX: usize = 64 * 1024;

/// The message that a notice is about.
#[derive(Clone, Debug)]
pub struct Original<'a> {
    /// Its id, as told to the client.
    pub id: MessageId,
    /// Its sender, who gets the notice. (The null reverse-path is never answered: RFC 5321 §4.5.5.)
    pub reverse_path: &'a Address,
    /// When it was accepted.
    pub arrived: Timestamp,
    /// Its Message-ID, for the threads of mail programs.
    pub message_id: Option<&'a str>,
    /// The sender's id of the envelope (ENVID).
    pub envid: Option<&'a str>,
    /// The time by which the sender wanted it delivered (RFC 2852).
    pub deliver_by: Option<Timestamp>,
    /// Its header, as stored; at most [`HEADER_MAX`] bytes of it are returned.
    pub header: &'a [u8],
    /// The whole message, if it is returned whole (RET=FULL, RFC 3461 §5.2). It consists of lines and has no header in UTF-8.
    pub whole: Option<&'a [u8]>,
}

/// The outcome that a notice reports for a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Handed to a receiver that sends no notices of its own, and the sender asked for one (RFC 3461 §5.2.2).
    Relayed,
    /// Handed to a receiver that observes the deadline, and the sender asked for a notice of each relay (RFC 2852, `T`).
    Traced,
    /// Refused for good.
    Bounced,
    /// Tried until it expired.
    Expired,
    /// Not delivered within the time that the sender gave (RFC 2852, `R`).
    TooLate,
    /// Delayed, and tried again.
    Delayed,
}

/// One recipient that a notice reports on.
#[derive(Clone, Debug)]
pub struct NoticeRecipient {
    /// The address.
    pub rcpt: Address,
    /// The address before it came to this relay (ORCPT), `type;address`.
    pub orcpt: Option<Arc<str>>,
    /// The failure of the last attempt; None if it expired before there was one, or was delivered.
    pub failure: Option<Failure>,
    /// The class of that failure.
    pub class: Class,
    /// The receiver's host, if one was reached.
    pub mx_host: Option<Arc<str>>,
    /// How many attempts were made.
    pub attempts: u32,
    /// What the last host that answered an attempt said, where it ended without an answer.
    pub earlier: Option<Answered>,
    /// When the last attempt was made.
    pub last_attempt: Option<Timestamp>,
    /// Until when it is tried, if it is still tried.
    pub retry_until: Option<Timestamp>,
    /// The outcome.
    pub ending: Ending,
}

impl NoticeRecipient {
    /// Whether it ended while this mail system held the message back. What held it back is a matter of its operators.
    pub(crate) fn was_held_back(&self) -> bool {
        matches!(self.failure, Some(Failure::Local { cause: LocalCause::NoBudget, .. }))
    }

    /// The host that spoke last, if one was reached.
    pub(crate) fn host(&self) -> Option<&str> {
        self.mx_host.as_deref().or_else(|| self.earlier.as_ref()?.mx_host.as_deref())
    }

    /// Whether it will not get the message.
    pub fn is_failed(&self) -> bool {
        matches!(self.ending, Ending::Bounced | Ending::Expired | Ending::TooLate)
    }
}

/// A notice.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    /// The notice's own id.
    pub id: MessageId,
    /// The time of writing.
    pub now: Timestamp,
    /// The relay's name: the reporting MTA.
    pub hostname: &'a str,
    /// The address in its From field.
    pub from: &'a Address,
    /// The message that it is about.
    pub original: Original<'a>,
    /// The recipients that it is about; not empty.
    pub recipients: &'a [NoticeRecipient],
}
