//! The message on standard input, prepared for SMTP.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use mail_parser::{HeaderName, HeaderValue, MessageParser};
use posthaste_mail::{Address, Domain};

use super::options::Options;

/// A domain that nobody has (RFC 2606), put behind names in the header while their field is read.
const NOWHERE: &str = "this-machine.posthaste.invalid";
/// Bytes of a name in one encoded word: with its frame it stays below 75 characters (RFC 2047 §2).
const WORD_MAX: usize = 42;

/// A message, and the recipients that its header names.
#[derive(Debug)]
pub(super) struct Message {
    /// Addresses and names, as they stand there.
    pub(super) in_header: Vec<String>,
    /// Lines end in CRLF; dots are not yet stuffed.
    pub(super) data: Bytes,
}

impl Message {
    /// `author`: who is named in From if the message has none.
    pub(super) fn new(input: &[u8], options: &Options, author: &Address) -> Self {
        let data = posthaste_message::without_mbox_lines(&Bytes::from(lines(input, options.dot_ends)));
        let in_header = if options.from_header { in_header(&data) } else { Vec::new() };
        // RFC 5322 §3.6: a message has a From field; scripts leave it out.
        if has_from(&data) {
            return Self { in_header, data };
        }
        let from = match &options.full_name {
            Some(name) => format!("From: {} <{author}>\r\n", phrase(name)),
            None => format!("From: {author}\r\n"),
        };
        Self { in_header, data: [from.as_bytes(), &data].concat().into() }
    }
}

/// Ends every line in CRLF, the last one included; stops at a line with a single dot if that ends the message.
fn lines(input: &[u8], dot_ends: bool) -> Vec<u8> {
    let mut data = Vec::with_capacity(input.len() + input.len() / 32);
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if dot_ends && line == b"." {
            break;
        }
        // The relay would refuse a carriage return inside a line; old editors left some.
        data.extend(line.iter().map(|byte| if *byte == b'\r' { b' ' } else { *byte }));
        data.extend_from_slice(b"\r\n");
    }
    data
}

/// The addresses in To, Cc and Bcc. In a message that is sent again they belong to those who got it first: the Resent- fields count then
/// (RFC 5322 §3.6.6).
fn in_header(data: &Bytes) -> Vec<String> {
    let nowhere = Domain::new(NOWHERE).expect("it is a domain");
    let data = posthaste_message::with_domains(data, &nowhere, usize::MAX);
    let Some(message) = MessageParser::default().parse_headers(&data[..]) else { return Vec::new() };
    let is_resent =
        message.headers().iter().any(|header| header.name.as_str().get(..7).is_some_and(|name| name.eq_ignore_ascii_case("resent-")));
    let wanted = |name: &HeaderName<'_>| match is_resent {
        true => matches!(name, HeaderName::ResentTo | HeaderName::ResentCc | HeaderName::ResentBcc),
        false => matches!(name, HeaderName::To | HeaderName::Cc | HeaderName::Bcc),
    };
    let fields = message.headers().iter().filter(|header| wanted(&header.name));
    let addresses = fields.filter_map(|header| if let HeaderValue::Address(list) = &header.value { Some(list) } else { None });
    let texts = addresses.flat_map(|list| list.iter()).filter_map(|mailbox| mailbox.address.as_deref());
    texts.map(|text| text.strip_suffix(NOWHERE).and_then(|name| name.strip_suffix('@')).unwrap_or(text).to_owned()).collect()
}

fn has_from(data: &[u8]) -> bool {
    MessageParser::default().parse_headers(data).is_some_and(|message| message.header(HeaderName::From).is_some())
}

/// The message with this id, if it has none.
pub(super) fn with_message_id(data: &Bytes, id: &str) -> Bytes {
    let has_one = MessageParser::default().parse_headers(&data[..]).is_some_and(|message| message.header(HeaderName::MessageId).is_some());
    if has_one { data.clone() } else { [format!("Message-ID: <{id}>\r\n").as_bytes(), data].concat().into() }
}

/// A name for a header: a quoted string (RFC 5322 §3.2.4), or encoded words (RFC 2047) if it is not ASCII.
fn phrase(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if name.is_ascii() {
        let safe: String = name.chars().filter(|c| !"\"\\".contains(*c)).collect();
        return format!("\"{safe}\"");
    }
    let mut words: Vec<String> = vec![String::new()];
    for c in name.chars() {
        if words.last().is_some_and(|word| word.len() + c.len_utf8() > WORD_MAX) {
            words.push(String::new());
        }
        words.last_mut().expect("there is one").push(c);
    }
    let words: Vec<String> = words.iter().map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word))).collect();
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn message(line: &str, input: &str) -> Message {
        let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        Message::new(input.as_bytes(), &Options::read("sendmail", &words).unwrap(), &Address::new("cron@host.test").unwrap())
    }

    fn text(sent: &Message) -> String {
        String::from_utf8(sent.data.to_vec()).unwrap()
    }

    #[test]
    fn t_takes_recipients_from_the_header() {
        let to =
            "From: a@x.test\nTo: Bob <b@x.test>, c@x.test\nCc: Team: d@x.test;\nBcc: e@x.test\nSubject: To: f@x.test\n\nTo: g@x.test\n";
        assert_eq!(message("-t -i", to).in_header, ["b@x.test", "c@x.test", "d@x.test", "e@x.test"]);
        assert_eq!(message("-i h@x.test", to).in_header, [""; 0]);
        let names = "To: root (Charlie &), \"Ann\" <ann>\nBcc: info@bücher.test, jürgen@x.test\n\n";
        assert_eq!(message("-t", names).in_header, ["root", "ann", "info@bücher.test", "jürgen@x.test"]);
        assert_eq!(message("-t", "To: undisclosed-recipients:;\n\n").in_header, [""; 0]);
    }

    #[test]
    fn a_message_for_many_has_one_id() {
        let with = |data: &'static str| with_message_id(&Bytes::from(data), "1@host.test");
        assert_eq!(with("From: a@x.test\r\n\r\nhi\r\n"), "Message-ID: <1@host.test>\r\nFrom: a@x.test\r\n\r\nhi\r\n");
        let own = "From: a@x.test\r\nMessage-Id: <own@x.test>\r\n\r\nhi\r\n";
        assert_eq!(with(own), own);
    }

    #[test]
    fn what_is_sent_again_goes_to_whom_it_is_sent_again() {
        let again =
            "Resent-From: a@x.test\nResent-To: r@x.test\nresent-cc: s@x.test\nResent-Bcc: t@x.test\nFrom: x@x.test\nTo: b@x.test\n\nhi\n";
        assert_eq!(message("-t -i", again).in_header, ["r@x.test", "s@x.test", "t@x.test"]);
        assert_eq!(message("-t", "Resent-From: a@x.test\nTo: b@x.test\n\nhi\n").in_header, [""; 0], "and to nobody else");
    }

    #[test]
    fn a_message_gets_the_author_that_it_lacks() {
        assert_eq!(text(&message("a@x.test", "Subject: x\n\nHi\n")), "From: cron@host.test\r\nSubject: x\r\n\r\nHi\r\n");
        assert!(text(&message("-F Bob a@x.test", "\nHi")).starts_with("From: \"Bob\" <cron@host.test>\r\n\r\nHi\r\n"));
        assert!(text(&message("-F Jürgen a@x.test", "\nHi")).starts_with("From: =?UTF-8?B?SsO8cmdlbg==?= <cron@host.test>\r\n\r\nHi\r\n"));
        assert!(text(&message("a@x.test", "From: c@x.test\n\nHi")).starts_with("From: c@x.test\r\n"));
        let long = phrase(&"ü".repeat(50));
        assert!(long.split("\r\n ").all(|word| word.len() <= 75) && long.contains("\r\n "), "{long}");
    }

    #[test]
    fn an_mbox_line_is_taken_off() {
        let patch = "From 1234567890abcdef Mon Sep 17 00:00:00 2001\nFrom: A <shop@x.test>\nTo: b@x.test\nSubject: [PATCH] x\n\nhi\n";
        for text_ in [patch.to_owned(), format!(">{patch}")] {
            let sent = message("-t -i", &text_);
            assert_eq!(sent.in_header, ["b@x.test"]);
            assert!(text(&sent).starts_with("From: A <shop@x.test>\r\nTo: b@x.test\r\n"));
        }
        assert!(text(&message("a@x.test", "From here on there is text.\n")).ends_with("From here on there is text.\r\n"));
    }

    #[test]
    fn a_line_of_one_dot_ends_it_unless_told_otherwise() {
        let dots = "From: a@x.test\n\none\n.\ntwo\r\nthr\ree\n";
        assert!(message("a@x.test", dots).data.ends_with(b"one\r\n"));
        assert!(message("-i a@x.test", dots).data.ends_with(b"one\r\n.\r\ntwo\r\nthr ee\r\n"));
    }
}
