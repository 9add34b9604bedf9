//! A refusal in the making: reply, reason, and what it costs the client.

use super::{Answer, answer::printable};

/// How much of an address that is none gets into the log.
const GIVEN_MAX: usize = 320;

/// What a refusal counts towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// The client does not speak our SMTP: `Limits::bad_commands`.
    Junk,
    /// Well said, and refused: `Limits::refusals`.
    Refusal,
    /// A wrong password: `Limits::logins`.
    Login,
    /// What follows on this connection cannot be trusted to be commands: reply and close.
    Fatal,
}

#[derive(Debug)]
pub(super) struct Fault {
    pub(super) command: &'static str,
    pub(super) answer: Answer,
    pub(super) reason: &'static str,
    pub(super) weight: Weight,
    /// The path or the user's name as the client gave it, printable.
    pub(super) given: Option<String>,
}

impl Fault {
    pub(super) fn junk(command: &'static str, reason: &'static str, answer: Answer) -> Self {
        Self { command, answer, reason, weight: Weight::Junk, given: None }
    }

    pub(super) fn refusal(command: &'static str, reason: &'static str, answer: Answer) -> Self {
        Self { command, answer, reason, weight: Weight::Refusal, given: None }
    }

    pub(super) fn fatal(command: &'static str, reason: &'static str, answer: Answer) -> Self {
        Self { command, answer, reason, weight: Weight::Fatal, given: None }
    }

    /// RFC 4954 §6: one reply for an unknown user and a wrong password.
    pub(super) fn login(user: &str) -> Self {
        let given = Some(printable(user, GIVEN_MAX));
        Self { command: "auth", answer: Answer::auth_failed(), reason: "auth_failed", weight: Weight::Login, given }
    }

    /// The same, about this path: its text with or without angle brackets.
    pub(super) fn about(mut self, given: &str) -> Self {
        let bare = given.strip_prefix('<').map_or(given, |rest| rest.strip_suffix('>').unwrap_or(rest));
        self.given = Some(printable(bare, GIVEN_MAX));
        self
    }

    pub(super) fn unknown() -> Self {
        Self::junk("command", "unknown_command", Answer::new(500, 5, 1, "no such command here"))
    }

    pub(super) fn sequence(command: &'static str, text: &str) -> Self {
        Self::junk(command, "bad_sequence", Answer::new(503, 5, 1, text))
    }

    pub(super) fn arguments(command: &'static str, text: &str) -> Self {
        Self::junk(command, "syntax", Answer::new(501, 5, 4, text))
    }

    /// Out of order, but what a pipelining client says behind a MAIL that was refused: not held against it as junk.
    pub(super) fn out_of_order(command: &'static str, text: &str) -> Self {
        Self::refusal(command, "bad_sequence", Answer::new(503, 5, 1, text))
    }

    /// Where a line ends is the one thing both sides must agree on: who breaks it is heard no further, so that nothing
    /// smuggled behind it is taken for a command.
    pub(super) fn bare(command: &'static str, reason: &'static str) -> Self {
        let (what, other) = if reason == "bare_lf" { ("LF", "CR before") } else { ("CR", "LF behind") };
        let text = format!("{what} without {other} it: lines end in CRLF");
        match command {
            "dot" => Self::fatal(command, reason, Answer::new(550, 6, 0, text)),
            // A piece of declared length leaves no doubt about where commands go on.
            "bdat" => Self::refusal(command, reason, Answer::new(550, 6, 0, text)),
            _ => Self::fatal(command, reason, Answer::new(500, 5, 2, text)),
        }
    }

    /// What should be base64 is none.
    pub(super) fn not_base64() -> Self {
        Self::junk("auth", "syntax", Answer::new(501, 5, 2, "this is no base64"))
    }
}
