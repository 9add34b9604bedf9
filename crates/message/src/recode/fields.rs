//! Header fields in seven bits and in lines of at most 998 bytes: text as encoded words (RFC 2047), parameters by RFC 2231, and folds
//! (RFC 5322 §2.2.3). What has no such form stays as it is: addresses outside ASCII, fields that only programs read, words without a blank.

use super::{
    addresses::{addresses, closed, unquoted},
    plain::{LINE_MAX, is_plain},
    words::{encoded_words, text},
};
use crate::header::Field;

/// Where a line that is too long is folded, at the latest.
const FOLD_AT: usize = 900;

/// How a field's value is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Text for people.
    Text,
    /// Addresses with names.
    Addresses,
    /// A word and parameters (RFC 2045 §5.1, RFC 2183).
    Parameters,
    /// By programs.
    Machine,
}

const ADDRESSES: [&str; 18] = [
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "resent-from",
    "resent-sender",
    "resent-reply-to",
    "resent-to",
    "resent-cc",
    "resent-bcc",
    "list-id",
    "errors-to",
    "mail-followup-to",
    "mail-reply-to",
    "disposition-notification-to",
    "return-receipt-to",
];
const MACHINE: [&str; 15] = [
    "received",
    "return-path",
    "message-id",
    "resent-message-id",
    "references",
    "in-reply-to",
    "date",
    "resent-date",
    "mime-version",
    "content-transfer-encoding",
    "content-id",
    "content-location",
    "authentication-results",
    "received-spf",
    "feedback-id",
];

impl Kind {
    fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        match &*name {
            "content-type" | "content-disposition" => Self::Parameters,
            name if ADDRESSES.contains(&name) => Self::Addresses,
            name if MACHINE.contains(&name) || name.starts_with("arc-") || name.starts_with("dkim-") => Self::Machine,
            name if name.starts_with("list-") => Self::Machine,
            _ => Self::Text,
        }
    }
}

/// Writes a field. `charset`: what bytes above 127 are that are no UTF-8.
pub(super) fn write(data: &[u8], field: &Field, charset: &str, out: &mut Vec<u8>) {
    let whole = &data[field.start..field.end];
    if is_plain(whole) {
        return out.extend_from_slice(whole);
    }
    let value = unfolded(field.value(data));
    let name = &whole[..whole.len() - field.value(data).len()];
    let kind = Kind::of(String::from_utf8_lossy(name.strip_suffix(b":").unwrap_or(name)).trim_ascii_end());
    let charset = if value.is_ascii() || str::from_utf8(&value).is_ok() { "utf-8" } else { charset };
    let encoded = match kind {
        _ if value.is_ascii() => None,
        Kind::Text => Some(text(&value, charset)),
        Kind::Addresses => Some(addresses(&value, charset)),
        Kind::Parameters => Some(parameters(&value, charset)),
        Kind::Machine => None,
    };
    match encoded {
        Some(encoded) => fold(&[name, &encoded[..], b"\r\n"].concat(), kind, out),
        // Folds that are there are kept.
        None => fold(whole, kind, out),
    }
}

/// A value without its folds and line end.
fn unfolded(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()
}

/// Parameters whose values outside ASCII are written by RFC 2231 §4.
fn parameters(value: &[u8], charset: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(value.len() * 2), value);
    while !rest.is_empty() {
        let mut end = 0;
        while end < rest.len() && rest[end] != b';' {
            end += if rest[end] == b'"' { closed(&rest[end..], b'"', b'"') } else { 1 };
        }
        let (part, behind) = rest.split_at((end + 1).min(rest.len()));
        let (given, semicolon) = part.strip_suffix(b";").map_or((part, &b""[..]), |given| (given, b";"));
        match given.iter().position(|byte| *byte == b'=').filter(|at| !given.is_ascii() && given[..*at].is_ascii()) {
            Some(at) => {
                let said = given[at + 1..].trim_ascii();
                let said = said.strip_prefix(b"\"").map_or(said.to_vec(), |inner| unquoted(inner.strip_suffix(b"\"").unwrap_or(inner)));
                out.extend_from_slice(given[..at].trim_ascii_end());
                out.extend_from_slice(format!("*={charset}''").as_bytes());
                for byte in said {
                    match byte {
                        byte if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) => out.push(byte),
                        byte => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
                    }
                }
            }
            None => out.extend_from_slice(given),
        }
        out.extend_from_slice(semicolon);
        rest = behind;
    }
    out
}

/// Writes a field with folds where its lines are too long.
fn fold(field: &[u8], kind: Kind, out: &mut Vec<u8>) {
    for line in field.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        let mut rest = text;
        while rest.len() > LINE_MAX {
            let Some((end, blank)) = fold_at(rest, kind) else { break };
            out.extend_from_slice(&rest[..end]);
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(blank);
            rest = &rest[end..];
        }
        match text.iter().position(|byte| *byte == b':').filter(|_| rest.len() > LINE_MAX && kind == Kind::Text && rest.len() == text.len())
        {
            // A text without blanks in one word; an encoded word may be cut anywhere.
            Some(colon) => {
                out.extend_from_slice(&text[..=colon]);
                out.push(b' ');
                out.extend_from_slice(&encoded_words(text[colon + 1..].trim_ascii(), "utf-8"));
            }
            None => out.extend_from_slice(rest),
        }
        out.extend_from_slice(&line[text.len()..]);
    }
}

/// Where a line may be folded, and the blank that is added there: before a blank, and in a list of addresses behind a comma.
fn fold_at(line: &[u8], kind: Kind) -> Option<(usize, &'static [u8])> {
    let reach = &line[..FOLD_AT];
    let words = reach.iter().position(|byte| !matches!(byte, b' ' | b'\t'))?;
    // Before the value nothing is folded: a line of blanks alone would end it for some.
    let begin = words + line[words..].iter().position(|byte| matches!(byte, b' ' | b'\t' | b','))?;
    let blank = reach.iter().rposition(|byte| matches!(byte, b' ' | b'\t')).filter(|at| *at > begin);
    let comma =
        || reach.iter().rposition(|byte| *byte == b',').filter(|at| kind == Kind::Addresses && *at >= begin && !is_quoted(line, *at));
    let has_more = |at: &usize| !line[*at..].trim_ascii().is_empty();
    blank.filter(has_more).map(|at| (at, &b""[..])).or_else(|| comma().map(|at| (at + 1, &b" "[..])).filter(|(at, _)| has_more(at)))
}

fn is_quoted(line: &[u8], at: usize) -> bool {
    line[..at].iter().filter(|byte| **byte == b'"').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::*;
    use crate::header::Header;

    fn written(field: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let header = Header::scan(field, field.len()).unwrap();
        header.fields.iter().for_each(|one| write(field, one, "iso-8859-1", &mut out));
        out
    }

    fn text_of(field: &str) -> String {
        let out = String::from_utf8(written(field.as_bytes())).unwrap();
        assert!(is_plain(out.as_bytes()), "{out}");
        out
    }

    #[test]
    fn what_people_read_is_encoded_and_reads_the_same() {
        for subject in [
            "Grüße",
            "Re: Grüße aus Köln, heute",
            "ü",
            "=?utf-8?Q?a?= ü",
            "注文番号の確認メールです。ご確認ください。注文番号の確認メールです。ご確認ください。",
            &format!("{}ende", "größer ".repeat(300)),
        ] {
            let out = text_of(&format!("Subject: {subject}\r\n"));
            let message = format!("{out}\r\n");
            let read = MessageParser::new().parse(message.as_bytes()).unwrap().subject().unwrap().to_owned();
            assert_eq!(read, subject.replace("=?utf-8?Q?a?=", "a"), "{out}");
            assert!(out.lines().all(|line| line.len() <= 100), "{out}");
        }
        assert_eq!(written(b"Subject: caf\xe9\r\n"), b"Subject: =?iso-8859-1?B?Y2Fm6Q==?=\r\n");
        assert_eq!(text_of("Subject: a\r\n b ü\r\n"), "Subject: a b =?utf-8?B?w7w=?=\r\n");
    }

    #[test]
    fn names_are_encoded_and_addresses_are_not() {
        for (given, expected) in [
            ("From: Jürgen Groß <j@x.test>\r\n", "From: =?utf-8?B?SsO8cmdlbiBHcm/Dnw==?= <j@x.test>\r\n"),
            ("To: \"Groß, J\" <j@x.test>, b@y.test\r\n", "To: =?utf-8?B?R3Jvw58sIEo=?= <j@x.test>, b@y.test\r\n"),
            ("Cc: j@x.test (Jürgen), Ann <a@y.test>\r\n", "Cc: j@x.test (=?utf-8?B?SsO8cmdlbg==?=), Ann <a@y.test>\r\n"),
            ("To: Größen: a@x.test;\r\n", "To: =?utf-8?B?R3LDtsOfZW4=?=: a@x.test;\r\n"),
        ] {
            assert_eq!(text_of(given), expected);
        }
        for as_it_is in ["To: <jürgen@x.test>\r\n", "To: jürgen@x.test\r\n", "To: j@bücher.test\r\n", "Message-ID: <ü@x.test>\r\n"] {
            assert_eq!(written(as_it_is.as_bytes()), as_it_is.as_bytes());
        }
    }

    #[test]
    fn file_names_are_written_as_parameters_are() {
        assert_eq!(
            text_of("Content-Disposition: attachment; filename=\"Grüße; 1.pdf\"; size=3\r\n"),
            "Content-Disposition: attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe%3B%201.pdf; size=3\r\n"
        );
        let part = text_of("Content-Type: application/pdf; name=Größe.pdf\r\n");
        assert_eq!(part, "Content-Type: application/pdf; name*=utf-8''Gr%C3%B6%C3%9Fe.pdf\r\n");
    }

    #[test]
    fn long_lines_are_folded_where_there_is_a_place() {
        let references: String = (0..60).map(|n| format!(" <{n}.{}@x.test>", "a".repeat(30))).collect();
        let out = text_of(&format!("References:{references}\r\n"));
        assert_eq!(out.replace("\r\n ", " "), format!("References:{references}\r\n"));
        let tight = vec!["someone@example.test"; 100].join(",");
        assert_eq!(text_of(&format!("To: {tight}\r\n")).replace("\r\n ", ""), format!("To: {tight}\r\n"));
        let word = "x".repeat(3000);
        let message = format!("{}\r\n", text_of(&format!("Subject: {word}\r\n")));
        assert_eq!(MessageParser::new().parse(message.as_bytes()).unwrap().subject(), Some(&*word));
        let nowhere = format!("Message-ID: <{word}@x.test>\r\n");
        assert_eq!(written(nowhere.as_bytes()), nowhere.as_bytes());
    }
}
