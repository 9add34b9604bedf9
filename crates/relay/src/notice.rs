//! Failure notices: what a sender is told of recipients that will not get the message (RFC 3464 in RFC 6522's multipart/report).
//!
//! Three parts: words for people, fields for programs, and the header of the message it is about. All of it is 7-bit, so that it
//! passes everywhere; nothing that a receiver said can end a line or begin a field.

mod status;
mod text;
mod words;

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_mail::{Address, Class, Failure, MessageId};

use crate::message::rfc5322_date;

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
    /// Its header, as stored; of a longer one, the first [`HEADER_MAX`] bytes are sent back.
    pub header: &'a [u8],
}

/// How a recipient's story ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Refused for good.
    Bounced,
    /// Tried for as long as the retry schedule says.
    Expired,
}

/// One recipient that will not get the message.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The address.
    pub rcpt: Address,
    /// What the last attempt met; None if it expired before there was one.
    pub failure: Option<Failure>,
    /// What that means.
    pub class: Class,
    /// The receiver's host, if one was reached.
    pub mx_host: Option<Arc<str>>,
    /// When the last attempt was made.
    pub last_attempt: Option<Timestamp>,
    /// Why it is final.
    pub ending: Ending,
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
    pub failed: &'a [Failed],
}

impl Notice<'_> {
    /// The notice as a message, CRLF line ends, ready for the intake. Its envelope's reverse-path has to be the null one.
    pub fn to_message(&self) -> Bytes {
        let boundary = format!("=_{}", self.id);
        let mut out = self.header(&boundary);
        let parts = [
            text::Part::new("text/plain; charset=utf-8", words::for_people(self).into()),
            text::Part::new("message/delivery-status", self.status_fields().into()),
            text::Part::new("text/rfc822-headers", text::header_excerpt(self.original.header, HEADER_MAX)),
        ];
        for part in parts {
            write!(out, "--{boundary}\r\n{part}\r\n").expect("a string takes all");
        }
        out += &format!("--{boundary}--\r\n");
        out.into()
    }

    fn header(&self, boundary: &str) -> String {
        let host = self.hostname;
        let mut out = format!("From: Mail Delivery System <{}>\r\nTo: <{}>\r\n", self.from, self.original.reverse_path);
        out += &match self.failed {
            [only] => format!("Subject: Not delivered to\r\n {}\r\n", only.rcpt),
            all => format!("Subject: Not delivered to {} recipients\r\n", all.len()),
        };
        out += &format!("Date: {}\r\nMessage-ID: <{}@{host}>\r\n", rfc5322_date(self.now), self.id);
        // RFC 3834 §3.1.5 and §5.
        if let Some(id) = self.original.message_id.filter(|id| text::is_message_id(id)) {
            out += &format!("In-Reply-To: {id}\r\nReferences: {id}\r\n");
        }
        out += "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n";
        out + &format!("Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\r\n")
    }

    /// RFC 3464 §2.2 and §2.3: a block about the message, then one a recipient, with an empty line between.
    fn status_fields(&self) -> String {
        let mut out = format!("Reporting-MTA: dns; {}\r\n", self.hostname);
        out += &format!("X-Posthaste-Id: {}\r\nArrival-Date: {}\r\n", self.original.id, rfc5322_date(self.original.arrived));
        for failed in self.failed {
            out += &format!("\r\nFinal-Recipient: rfc822; {}\r\nAction: failed\r\nStatus: {}\r\n", failed.rcpt, status::of(failed));
            if let Some(host) = &failed.mx_host {
                out += &format!("Remote-MTA: dns; {}\r\n", text::ascii_line(host));
            }
            if let Some(failure) = &failed.failure {
                out += &format!("Diagnostic-Code: {}\r\n", status::diagnostic(failure));
            }
            if let Some(at) = failed.last_attempt {
                out += &format!("Last-Attempt-Date: {}\r\n", rfc5322_date(at));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests;
