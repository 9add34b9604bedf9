//! A refusal: the reply, the reason, and which limit it counts towards.

use super::{Answer, answer::printable};

/// How many characters of an invalid address or user name are logged.
const GIVEN_MAX: usize = 320;

/// Which limit a refusal counts towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Not a valid command here: `Limits::bad_commands`.
    Junk,
    /// A valid command that was refused: `Limits::refusals`.
    Refusal,
    /// A failed login: `Limits::logins`.
    Login,
    /// The following bytes cannot be trusted to be commands: reply and close.
    Fatal,
}

#[derive(Debug)]
pub(super) struct Fault {
    pub(super) command: &'static str,
    pub(super) answer: Answer,
    pub(super) reason: &'static str,
    pub(super) weight: Weight,
    /// The path or the user name as the client gave it, made printable.
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

    /// RFC 4954 §6: the same reply for an unknown user and for a wrong password.
    pub(super) fn login(user: &str) -> Self {
        let given = Some(printable(user, GIVEN_MAX).into_owned());
        Self { command: "auth", answer: Answer::auth_failed(), reason: "auth_failed", weight: Weight::Login, given }
    }

    /// The same fault about this path, given with or without angle brackets.
    pub(super) fn about(mut self, given: &str) -> Self {
        let bare = given.strip_prefix('<').map_or(given, |rest| rest.strip_suffix('>').unwrap_or(rest));
        self.given = Some(printable(bare, GIVEN_MAX).into_owned());
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

    /// A command out of order that a pipelining client sends after its MAIL was refused; it does not count as a bad command.
    pub(super) fn out_of_order(command: &'static str, text: &str) -> Self {
        Self::refusal(command, "bad_sequence", Answer::new(503, 5, 1, text))
    }

    /// A bare CR or LF. Both sides must agree on where a line ends, so the session is closed: nothing smuggled behind the line end is taken
    /// for a command.
    pub(super) fn bare(command: &'static str, reason: &'static str) -> Self {
        Self::bare_unless(command, reason, "")
    }

    /// The same for a message that would be taken if `key` of the configuration said so; empty: none would help.
    pub(super) fn bare_unless(command: &'static str, reason: &'static str, key: &str) -> Self {
        let (what, other) = if reason == "bare_lf" { ("LF", "CR before") } else { ("CR", "LF behind") };
        let remedy = if key.is_empty() { String::new() } else { format!(" ({key} = \"fix\" takes such messages)") };
        let text = format!("{what} without {other} it: lines end in CRLF{remedy}");
        match command {
            "dot" => Self::fatal(command, reason, Answer::new(550, 6, 0, text)),
            // A chunk has a declared length, so it is certain where the next command begins.
            "bdat" => Self::refusal(command, reason, Answer::new(550, 6, 0, text)),
            _ => Self::fatal(command, reason, Answer::new(500, 5, 2, text)),
        }
    }

    /// The message of a SASL exchange is not base64.
    pub(super) fn not_base64() -> Self {
        Self::junk("auth", "syntax", Answer::new(501, 5, 2, "this is no base64"))
    }
}
