//! Failure notices: what a sender is told of recipients that will not get the message (RFC 3464 in RFC 6522's multipart/report).
//!
//! Three parts: words for people, fields for programs, and the header of the message it is about, or all of it where the sender asked for that.
//! What is ours is 7-bit, so that it passes everywhere; nothing that a receiver said can end a line or begin a field.

mod status;
mod text;
mod words;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_mail::{Address, Class, Failure, MessageId};

use posthaste_mail::rfc5322_date;

/// How much of the original's header is sent back, in bytes.
pub const HEADER_MAX: usize = 64 * 1024;

/// The message that a notice is about.
#[derive(Clone, Debug)]
pub struct Original<'a> {
    /// Its id, as told to the client.
    pub id: MessageId,
    /// Who sent it and is to be told. (The null reverse-path is never answered: RFC 5321 §4.5.5.)
    pub reverse_path: &'a Address,
    /// When it was accepted.
    pub arrived: Timestamp,
    /// Its Message-ID, for the threads of mail programs.
    pub message_id: Option<&'a str>,
    /// What the sender calls the envelope (ENVID).
    pub envid: Option<&'a str>,
    /// Until when the sender wanted it delivered (RFC 2852).
    pub deliver_by: Option<Timestamp>,
    /// Its header, as stored; of a longer one, the first [`HEADER_MAX`] bytes are sent back.
    pub header: &'a [u8],
    /// All of it, where it comes back whole (RET=FULL, RFC 3461 §5.2): lines, and no header in UTF-8.
    pub whole: Option<&'a [u8]>,
}

/// How a recipient's story ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Handed to a receiver that gives no notices of its own, where the sender asked for one (RFC 3461 §5.2.2).
    Relayed,
    /// Handed to a receiver that goes on as the sender wants, who asked to hear of each relay (RFC 2852, `T`).
    Traced,
    /// Refused for good.
    Bounced,
    /// Tried for as long as the retry schedule says.
    Expired,
    /// Not delivered within the time that the sender gave (RFC 2852, `R`).
    TooLate,
    /// Not ended: it takes long, and is tried again.
    Delayed,
}

/// One recipient whose story ended.
#[derive(Clone, Debug)]
pub struct Told {
    /// The address.
    pub rcpt: Address,
    /// What it was before it came to us (ORCPT), `type;address`.
    pub orcpt: Option<Arc<str>>,
    /// What the last attempt met; None if it expired before there was one, or was delivered.
    pub failure: Option<Failure>,
    /// What that means.
    pub class: Class,
    /// The receiver's host, if one was reached.
    pub mx_host: Option<Arc<str>>,
    /// When the last attempt was made.
    pub last_attempt: Option<Timestamp>,
    /// Until when it is tried, if it is.
    pub retry_until: Option<Timestamp>,
    /// Why it is final, if it is.
    pub ending: Ending,
}

impl Told {
    /// Whether it will not get the message.
    pub fn is_failed(&self) -> bool {
        matches!(self.ending, Ending::Bounced | Ending::Expired | Ending::TooLate)
    }
}

/// All that a notice says.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    /// The notice's own id.
    pub id: MessageId,
    /// Now.
    pub now: Timestamp,
    /// The relay's name: the reporting MTA.
    pub hostname: &'a str,
    /// Who writes it.
    pub from: &'a Address,
    /// What it is about.
    pub original: Original<'a>,
    /// Whom it is about; not empty.
    pub told: &'a [Told],
}

impl Notice<'_> {
    /// The notice as a message, CRLF line ends, ready for the intake. Its envelope's reverse-path has to be the null one.
    pub fn to_message(&self) -> Bytes {
        let boundary = format!("=_{}", self.id);
        let mut out = self.header(&boundary).into_bytes();
        let mut parts = vec![
            text::Part::new("text/plain; charset=utf-8", words::for_people(self).into()),
            text::Part::new("message/delivery-status", self.status_fields().into()),
        ];
        if self.original.whole.is_none() {
            parts.push(text::Part::new("text/rfc822-headers", text::header_excerpt(self.original.header, HEADER_MAX)));
        }
        for part in parts {
            out.extend_from_slice(format!("--{boundary}\r\n{part}\r\n").as_bytes());
        }
        if let Some(whole) = self.original.whole {
            // RFC 2046 §5.2.1: it is not encoded.
            let encoding = if whole.is_ascii() { "7bit" } else { "8bit" };
            let head = format!("--{boundary}\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(whole);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        out.into()
    }

    fn header(&self, boundary: &str) -> String {
        let host = self.hostname;
        let mut out = format!("From: Mail Delivery System <{}>\r\nTo: <{}>\r\n", self.from, self.original.reverse_path);
        let (failed, delayed) = (self.failed().count(), self.delayed().count());
        let (what, concerned) = match (failed, delayed) {
            (0, 0) => ("Handed over", self.told.len()),
            (0, delayed) => ("Not delivered yet", delayed),
            (failed, _) => ("Not delivered", failed),
        };
        out += &match self.told {
            [only] => format!("Subject: {what} to\r\n {}\r\n", text::ascii_line(only.rcpt.as_str())),
            _ => format!("Subject: {what} to {concerned} recipients\r\n"),
        };
        out += &format!("Date: {}\r\nMessage-ID: <{}@{host}>\r\n", rfc5322_date(self.now), self.id);
        // RFC 3834 §3.1.5 and §5.
        if let Some(id) = self.original.message_id.filter(|id| text::is_message_id(id)) {
            out += &format!("In-Reply-To: {id}\r\nReferences: {id}\r\n");
        }
        out += "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n";
        out + &format!("Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\r\n")
    }

    /// Those that will not get it.
    fn failed(&self) -> impl Iterator<Item = &Told> {
        self.told.iter().filter(|told| told.is_failed())
    }

    /// Those that do not have it yet.
    fn delayed(&self) -> impl Iterator<Item = &Told> {
        self.told.iter().filter(|told| told.ending == Ending::Delayed)
    }

    /// RFC 3464 §2.2 and §2.3: a block about the message, then one a recipient, with an empty line between.
    fn status_fields(&self) -> String {
        let mut out = String::new();
        if let Some(envid) = self.original.envid {
            out += &format!("Original-Envelope-Id: {}\r\n", text::ascii_line(envid));
        }
        out += &format!("Reporting-MTA: dns; {}\r\n", self.hostname);
        out += &format!("X-Posthaste-Id: {}\r\nArrival-Date: {}\r\n", self.original.id, rfc5322_date(self.original.arrived));
        if let Some(by) = self.original.deliver_by {
            // RFC 2852 §5.
            out += &format!("Deliver-By-Date: {}\r\n", rfc5322_date(by));
        }
        for told in self.told {
            out += "\r\n";
            if let Some((kind, address)) = told.orcpt.as_deref().and_then(|orcpt| orcpt.split_once(';')) {
                out += &format!("Original-Recipient: {kind}; {}\r\n", text::ascii_line(address));
            }
            let action = match told.ending {
                Ending::Relayed | Ending::Traced => "relayed",
                Ending::Delayed => "delayed",
                Ending::Bounced | Ending::Expired | Ending::TooLate => "failed",
            };
            let rcpt = text::ascii_line(told.rcpt.as_str());
            out += &format!("Final-Recipient: rfc822; {rcpt}\r\nAction: {action}\r\nStatus: {}\r\n", status::of(told));
            if let Some(host) = &told.mx_host {
                out += &format!("Remote-MTA: dns; {}\r\n", text::ascii_line(host));
            }
            if let Some(failure) = &told.failure {
                out += &format!("Diagnostic-Code: {}\r\n", status::diagnostic(failure));
            }
            if let Some(at) = told.last_attempt {
                out += &format!("Last-Attempt-Date: {}\r\n", rfc5322_date(at));
            }
            if let Some(until) = told.retry_until.filter(|_| told.ending == Ending::Delayed) {
                out += &format!("Will-Retry-Until: {}\r\n", rfc5322_date(until));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests;
