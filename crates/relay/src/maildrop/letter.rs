//! A message in the maildrop: one line of JSON with the envelope, and then the message as it is.

use bytes::Bytes;
use posthaste_mail::{Address, BodyKind, Envelope, EsmtpParameters, ReversePath};
use serde::{Deserialize, Serialize};

/// The version of the form, written into each file.
const VERSION: u32 = 1;
/// The longest line with an envelope, in bytes: room for thousands of recipients.
pub(super) const ENVELOPE_MAX: u64 = 4 << 20;

/// A message that a user of this machine handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The number of the user.
    pub uid: u32,
    /// Where failure notices go.
    pub sender: ReversePath,
    /// The recipients.
    pub recipients: Vec<Address>,
    /// The message. Each line ends in CRLF.
    pub data: Bytes,
}

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    maildrop: u32,
    uid: u32,
    sender: String,
    recipients: Vec<Address>,
    /// Bytes of the message, so that a file that was cut off is known.
    length: usize,
}

impl Letter {
    /// The file's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = Head {
            maildrop: VERSION,
            uid: self.uid,
            sender: self.sender.to_string(),
            recipients: self.recipients.clone(),
            length: self.data.len(),
        };
        let mut bytes = serde_json::to_vec(&head).expect("plain values are JSON");
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.data);
        bytes
    }

    /// The inverse of [`Self::to_bytes`]; Err says what is wrong with it.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Result<Self, &'static str> {
        let whole = Bytes::from(bytes);
        let end = whole.iter().position(|byte| *byte == b'\n').ok_or("it is no letter")?;
        let head: Head = serde_json::from_slice(&whole[..end]).map_err(|_| "it is no letter")?;
        let data = whole.slice(end + 1..);
        if head.maildrop != VERSION {
            return Err("another version of posthaste wrote it");
        }
        if data.len() != head.length {
            return Err("it was cut off");
        }
        if head.recipients.is_empty() {
            return Err("it has no recipients");
        }
        if !posthaste_message::is_lines(&data) || !(data.is_empty() || data.ends_with(b"\r\n")) {
            return Err("its lines do not end in CRLF, or it holds a NUL");
        }
        let sender = match &*head.sender {
            "" => ReversePath::Null,
            text => ReversePath::Mailbox(Address::international(text).map_err(|_| "its sender is no address")?),
        };
        Ok(Self { uid: head.uid, sender, recipients: head.recipients, data })
    }

    /// The envelope with which the message travels.
    pub(super) fn envelope(&self) -> Envelope {
        let mut recipients: Vec<Address> = Vec::new();
        for recipient in &self.recipients {
            if !recipients.contains(recipient) {
                recipients.push(recipient.clone());
            }
        }
        let is_ascii = recipients.iter().all(Address::is_ascii) && self.sender.as_str().is_ascii();
        let parameters = EsmtpParameters { smtputf8: !is_ascii, ..EsmtpParameters::default() };
        let body = if self.data.is_ascii() { BodyKind::default() } else { BodyKind::EightBitMime };
        Envelope { reverse_path: self.sender.clone(), recipients, body, parameters }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Letter {
        Letter {
            uid: 33,
            sender: ReversePath::Null,
            recipients: vec![Address::new("b@y.test").unwrap(), Address::international("jürgen@bücher.test").unwrap()],
            data: Bytes::from("Subject: x\r\n\r\nGrüße\r\n"),
        }
    }

    #[test]
    fn a_letter_is_read_as_it_was_written() {
        let read = Letter::from_bytes(letter().to_bytes()).unwrap();
        assert_eq!(read, letter());
        let envelope = read.envelope();
        assert!(envelope.parameters.smtputf8 && envelope.body == BodyKind::EightBitMime && envelope.recipients.len() == 2);
    }

    #[test]
    fn what_is_no_whole_letter_is_none() {
        let whole = letter().to_bytes();
        for end in 0..whole.len() {
            assert!(Letter::from_bytes(whole[..end].to_vec()).is_err(), "cut off at {end}");
        }
        for data in ["a\nb\r\n", "a", "a\r\n\0\r\n", "a\rb\r\n"] {
            assert!(Letter::from_bytes(Letter { data: Bytes::from(data), ..letter() }.to_bytes()).is_err(), "{data:?}");
        }
        assert!(Letter::from_bytes(Letter { recipients: vec![], ..letter() }.to_bytes()).is_err());
        assert!(Letter::from_bytes(b"#!/bin/sh\n".to_vec()).is_err());
    }
}
