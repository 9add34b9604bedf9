//! The message on standard input, prepared for SMTP.

use mail_parser::{HeaderName, HeaderValue, MessageParser};
use posthaste_mail::{Address, ReversePath};

use super::{caller::hostname, options::Options};

/// A message and its envelope.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) sender: ReversePath,
    /// Without duplicates.
    pub(super) recipients: Vec<Address>,
    /// Lines end in CRLF; dots are not yet stuffed.
    pub(super) data: Vec<u8>,
}

impl Message {
    pub(super) fn new(input: &[u8], options: &Options, caller: &Address) -> Self {
        let mut data = lines(input, options.dot_ends);
        let sender = options.sender.clone().unwrap_or_else(|| ReversePath::Mailbox(caller.clone()));
        let mut recipients = Vec::new();
        let named = if options.from_header { in_header(&data) } else { Vec::new() };
        for recipient in options.recipients.iter().chain(&named) {
            if !recipients.contains(recipient) {
                recipients.push(recipient.clone());
            }
        }
        // RFC 5322 §3.6: a message has a From field; scripts leave it out.
        if !has_from(&data) {
            let author = if let ReversePath::Mailbox(sender) = &sender { sender } else { caller };
            let from = match &options.full_name {
                Some(name) => format!("From: {} <{author}>\r\n", quoted(name)),
                None => format!("From: {author}\r\n"),
            };
            data.splice(..0, from.into_bytes());
        }
        Self { sender, recipients, data }
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

/// The addresses in To, Cc and Bcc.
fn in_header(data: &[u8]) -> Vec<Address> {
    let Some(message) = MessageParser::default().parse_headers(data) else { return Vec::new() };
    let wanted = |name: &HeaderName<'_>| matches!(name, HeaderName::To | HeaderName::Cc | HeaderName::Bcc);
    let fields = message.headers().iter().filter(|header| wanted(&header.name));
    let addresses = fields.filter_map(|header| if let HeaderValue::Address(list) = &header.value { Some(list) } else { None });
    let texts = addresses.flat_map(|list| list.iter()).filter_map(|mailbox| mailbox.address.as_deref());
    texts.filter_map(|text| Address::new(text).or_else(|_| Address::new(&format!("{text}@{}", hostname()))).ok()).collect()
}

fn has_from(data: &[u8]) -> bool {
    MessageParser::default().parse_headers(data).is_some_and(|message| message.header(HeaderName::From).is_some())
}

/// A quoted string (RFC 5322 §3.2.4). Non-ASCII characters would need RFC 2047 and are left out.
fn quoted(name: &str) -> String {
    let safe: String = name.chars().filter(|c| c.is_ascii() && !c.is_ascii_control() && !"\"\\".contains(*c)).collect();
    format!("\"{safe}\"")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn message(line: &str, input: &str) -> Message {
        let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        Message::new(input.as_bytes(), &Options::read(&words).unwrap(), &Address::new("cron@host.test").unwrap())
    }

    fn recipients(message: &Message) -> Vec<&str> {
        message.recipients.iter().map(Address::as_str).collect()
    }

    #[test]
    fn t_takes_recipients_from_the_header_and_each_once() {
        let text =
            "From: a@x.test\nTo: Bob <b@x.test>, c@x.test\nCc: Team: d@x.test;\nBcc: e@x.test\nSubject: To: f@x.test\n\nTo: g@x.test\n";
        let sent = message("-t -i c@x.test h@x.test", text);
        assert_eq!(recipients(&sent), ["c@x.test", "h@x.test", "b@x.test", "d@x.test", "e@x.test"]);
        assert_eq!(recipients(&message("-i h@x.test", text)), ["h@x.test"]);
    }

    #[test]
    fn a_message_gets_the_author_that_it_lacks() {
        let text = |sent: Message| String::from_utf8(sent.data).unwrap();
        assert_eq!(text(message("a@x.test", "Subject: x\n\nHi\n")), "From: cron@host.test\r\nSubject: x\r\n\r\nHi\r\n");
        assert!(text(message("-f b@x.test -F Bob a@x.test", "\nHi")).starts_with("From: \"Bob\" <b@x.test>\r\n\r\nHi\r\n"));
        assert!(text(message("-f <> a@x.test", "\nHi")).starts_with("From: cron@host.test\r\n"));
        assert!(text(message("a@x.test", "From: c@x.test\n\nHi")).starts_with("From: c@x.test\r\n"));
    }

    #[test]
    fn a_line_of_one_dot_ends_it_unless_told_otherwise() {
        let text = "From: a@x.test\n\none\n.\ntwo\r\nthr\ree\n";
        assert!(message("a@x.test", text).data.ends_with(b"one\r\n"));
        assert!(message("-i a@x.test", text).data.ends_with(b"one\r\n.\r\ntwo\r\nthr ee\r\n"));
    }
}
