//! The server's replies and their wire format (RFC 5321 §4.2, RFC 2034).

use std::{borrow::Cow, fmt::Display};

use posthaste_mail::{EnhancedCode, Reply};

/// The longest text of one reply line: with code, enhanced code and CRLF it stays under 512 bytes (RFC 5321 §4.5.3.1.5).
const TEXT_MAX: usize = 480;

/// A reply to a client, written as one line per line of `text`, each with both codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 599. A 421 closes the connection, whichever command it answers.
    pub code: u16,
    /// The enhanced status code; its class is the first digit of `code`.
    pub enhanced: EnhancedCode,
    /// The text; characters that are not printable ASCII are sent as `?`, and each line is cut to 480 bytes.
    pub text: String,
}

impl Answer {
    /// An answer from its code, the subject and detail of its enhanced code (RFC 3463), and its text.
    pub fn new(code: u16, subject: u16, detail: u16, text: impl Into<String>) -> Self {
        Self { code, enhanced: EnhancedCode::new((code / 100) as u8, subject, detail), text: text.into() }
    }

    /// 250: the message is on disk under this id.
    pub fn queued(id: impl Display) -> Self {
        Self::new(250, 0, 0, format!("Ok: queued as {id}"))
    }

    /// 554 5.7.1: this client, sender or recipient is not allowed.
    pub fn not_allowed(text: impl Into<String>) -> Self {
        Self::new(554, 7, 1, text)
    }

    /// 451 4.3.0: a fault of the relay; the client should try again.
    pub fn trouble(text: impl Into<String>) -> Self {
        Self::new(451, 3, 0, text)
    }

    /// 452 4.3.1: the disk is full; the client should try again.
    pub fn full(text: impl Into<String>) -> Self {
        Self::new(452, 3, 1, text)
    }

    /// 535 5.7.8: the user, the password or the token is wrong; the reply does not say which.
    pub fn auth_failed() -> Self {
        Self::new(535, 7, 8, "user name or password is wrong")
    }

    /// 454 4.7.0: the credentials cannot be checked at present.
    pub fn auth_trouble() -> Self {
        Self::new(454, 7, 0, "authentication is not possible at present, try again later")
    }

    /// 530 5.7.0: a login is required.
    pub fn auth_required() -> Self {
        Self::new(530, 7, 0, "log in first (AUTH)")
    }

    /// 2xx.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// The same reply in the form that the delivery log records.
    pub fn to_reply(&self) -> Reply {
        let lines: Vec<_> = lines(&self.text).map(|line| format!("{} {line}", self.enhanced)).collect();
        Reply::new(self.code, lines.join("\n"))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write(out, self.code, Some(self.enhanced), &self.text);
    }

    /// Writes a greeting or a reply to EHLO or HELO, which carry no enhanced code (RFC 2034 §4).
    pub(super) fn write_plain(&self, out: &mut Vec<u8>) {
        write(out, self.code, None, &self.text);
    }
}

/// Appends a whole reply, one line per line of `text`.
pub(super) fn write(out: &mut Vec<u8>, code: u16, enhanced: Option<EnhancedCode>, text: &str) {
    let mut rest = lines(text).peekable();
    while let Some(line) = rest.next() {
        write_number(out, code);
        out.push(if rest.peek().is_some() { b'-' } else { b' ' });
        if let Some(EnhancedCode { class, subject, detail }) = enhanced {
            for (part, end) in [(class.into(), b'.'), (subject, b'.'), (detail, b' ')] {
                write_number(out, part);
                out.push(end);
            }
        }
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a number in decimal: every command is answered, and `format!` takes ten times as long.
fn write_number(out: &mut Vec<u8>, number: u16) {
    if number >= 10 {
        write_number(out, number / 10);
    }
    out.push(b'0' + (number % 10) as u8);
}

/// The lines of `text`, printable and cut to length, so that nothing in an address or a banner can start a reply line of its own.
fn lines(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.split('\n').map(|line| printable(line.strip_suffix('\r').unwrap_or(line), TEXT_MAX))
}

/// At most `max` characters of `text`, with `?` in place of characters that are not printable ASCII.
pub(super) fn printable(text: &str, max: usize) -> Cow<'_, str> {
    let is_printable = |c: char| matches!(c, ' '..='~');
    match text.len() <= max && text.chars().all(is_printable) {
        true => text.into(),
        false => text.chars().take(max).map(|c| if is_printable(c) { c } else { '?' }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(answer: &Answer) -> String {
        let mut out = Vec::new();
        answer.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_of_a_reply_carries_both_codes() {
        let answer = Answer::new(550, 7, 1, "not you\nask the operator");
        assert_eq!(written(&answer), "550-5.7.1 not you\r\n550 5.7.1 ask the operator\r\n");
        assert_eq!(answer.to_reply().text, "5.7.1 not you\n5.7.1 ask the operator");
        assert_eq!(answer.to_reply().enhanced, Some(EnhancedCode::new(5, 7, 1)));
    }

    #[test]
    fn a_text_cannot_break_out_of_its_line() {
        assert_eq!(written(&Answer::trouble("a\rb\0c\u{e9}")), "451 4.3.0 a?b?c?\r\n");
        assert!(written(&Answer::trouble("x".repeat(9000))).len() <= 512);
    }

    proptest! {
        #[test]
        fn every_number_is_written_and_only_ascii_that_can_be_read(
            code in 200..600_u16, parts: (u8, u16, u16), text in prop_oneof!["[ -~]{0,90}", ".{0,90}"], times in prop_oneof![9 => Just(1_usize), 1 => 0..9_usize],
        ) {
            let (text, enhanced) = (text.repeat(times), EnhancedCode::new(parts.0, parts.1, parts.2));
            let line = text.strip_suffix('\r').unwrap_or(&text);
            let shown: String = line.chars().take(TEXT_MAX).map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
            prop_assert_eq!(written(&Answer { code, enhanced, text }), format!("{code} {enhanced} {shown}\r\n"));
        }
    }
}
