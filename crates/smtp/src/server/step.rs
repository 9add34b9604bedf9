//! What a session asks its caller to do.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_mail::{Address, BodyKind, Envelope, EsmtpParameters, ReversePath};

use super::{Answer, Credentials};

/// What to do before [`Session::feed`](super::Session::feed) is called again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write `out`, then read more.
    More,
    /// Write `out` and call again without reading: the client pipelines so many commands that replies would accumulate.
    Flush,
    /// Write `out`, do the TLS handshake as the server, then call [`Session::secured`](super::Session::secured). If the handshake fails,
    /// close the connection.
    StartTls,
    /// Check these credentials, then call [`Session::authenticated`](super::Session::authenticated), or
    /// [`Session::scram_keys`](super::Session::scram_keys) if keys are asked for.
    Authenticate(Credentials),
    /// Decide on this sender, then call [`Session::answer`](super::Session::answer).
    Mail(MailRequest),
    /// Decide on this recipient, then call [`Session::answer`](super::Session::answer).
    Rcpt(Address),
    /// Store this message, then call [`Session::answer_message`](super::Session::answer_message).
    Message(Submission),
    /// The session refused something itself; the reply is in `out`. Log it, then call again.
    Refused(SessionRefusal),
    /// Write `out` and close the connection.
    Close,
}

/// A MAIL command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRequest {
    /// Where failure notices go.
    pub reverse_path: ReversePath,
    /// The size that the client declared, in bytes (RFC 1870); within the limit.
    pub size: Option<u64>,
    /// The body type that the client declared.
    pub body: BodyKind,
    /// The other ESMTP parameters; those of each recipient come with RCPT.
    pub parameters: EsmtpParameters,
}

/// A message that arrived completely and is well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Sender and at least one recipient.
    pub envelope: Envelope,
    /// The message as sent, without stuffed dots; every line ends in CRLF. May be empty.
    pub data: Bytes,
    /// The name in the client's EHLO or HELO, as in [`Hello`](super::Hello).
    pub helo: Arc<str>,
    /// True after EHLO, false after HELO.
    pub esmtp: bool,
    /// The user who is logged in.
    pub user: Option<Arc<str>>,
    /// True if the session is under TLS.
    pub tls: bool,
    /// True if the data holds a byte above 127, whatever the client declared.
    pub has_8bit: bool,
}

/// A refusal by the session itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRefusal {
    /// `ehlo`, `starttls`, `auth`, `mail`, `rcpt`, `data`, `dot` or `command`.
    pub command: &'static str,
    /// The reverse-path, made printable, if one was given; empty for `<>`.
    pub from: Option<String>,
    /// The recipient, made printable, if the refusal is about one.
    pub rcpt: Option<String>,
    /// The user name as the client gave it, if the refusal is about a login.
    pub user: Option<String>,
    /// The reply that the client gets.
    pub answer: Answer,
    /// The reason as a fixed word, to be counted: `bare_lf`, `bad_address`, `too_large`, ...
    pub reason: &'static str,
}
