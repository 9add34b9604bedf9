//! What a session asks of whoever holds its connection.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_mail::{Address, Asks, BodyKind, Envelope, ReversePath};

use super::{Answer, Credentials};

/// What to do before [`Session::feed`](super::Session::feed) is called again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write what stands in `out`, then read more.
    More,
    /// Write what stands in `out` and call again without reading: the client pipelines faster than replies should pile up.
    Flush,
    /// Write what stands in `out`, do the TLS handshake on the connection as the server, then call
    /// [`Session::secured`](super::Session::secured). Where it fails, close.
    StartTls,
    /// Is it who it says? Call [`Session::authenticated`](super::Session::authenticated), or
    /// [`Session::scram_keys`](super::Session::scram_keys) where keys are wanted.
    Authenticate(Credentials),
    /// May this sender? Call [`Session::answer`](super::Session::answer).
    Mail(MailRequest),
    /// May this recipient? Call [`Session::answer`](super::Session::answer).
    Rcpt(Address),
    /// A whole message: take it, then call [`Session::answer_message`](super::Session::answer_message).
    Message(Submission),
    /// The session refused something by itself; the reply is in `out`. Log it, then call again.
    Refused(Refusal),
    /// Write what stands in `out` and close the connection.
    Close,
}

/// What MAIL said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRequest {
    /// Who is told of failures.
    pub reverse_path: ReversePath,
    /// The size that the client declared, in bytes (RFC 1870); no larger than the limit.
    pub size: Option<u64>,
    /// What the client declared of the body.
    pub body: BodyKind,
    /// What else it asked for; what it asked for each recipient comes with those.
    pub asks: Asks,
}

/// A message that arrived whole, and was well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Sender and recipients; at least one.
    pub envelope: Envelope,
    /// The message: every line ends in CRLF, doubled dots made single, else as sent. May be empty.
    pub data: Bytes,
    /// What the client called itself: a domain or an address literal in form.
    pub helo: Arc<str>,
    /// True after EHLO, false after HELO.
    pub esmtp: bool,
    /// Who is logged in.
    pub user: Option<Arc<str>>,
    /// True where it came under TLS.
    pub tls: bool,
    /// True where a byte above 127 is in the data, whatever was declared.
    pub has_8bit: bool,
}

/// Something that the session refused by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `ehlo`, `starttls`, `auth`, `mail`, `rcpt`, `data`, `dot` or `command`.
    pub command: &'static str,
    /// The reverse-path, printable, if one was given; empty for `<>`.
    pub from: Option<String>,
    /// The recipient, printable, where the refusal was about one.
    pub rcpt: Option<String>,
    /// The user's name as the client gave it, where the refusal was about a login.
    pub user: Option<String>,
    /// The reply that the client gets.
    pub answer: Answer,
    /// Why, in a word that can be counted: `bare_lf`, `bad_address`, `too_large`, ...
    pub reason: &'static str,
}
