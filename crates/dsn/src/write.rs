//! A notice as a message of three parts: text for people, fields for programs, and the header of the original message, or all of it if the
//! sender asked for that.

use bytes::Bytes;
use posthaste_mail::rfc5322_date;

use crate::{
    notice::{Ending, HEADER_MAX, Notice, NoticeRecipient},
    status, text, words,
};

impl Notice<'_> {
    /// The notice as a message with CRLF line ends, ready for the intake. It must be sent with the null reverse-path.
    pub fn to_message(&self) -> Bytes {
        let boundary = format!("=_{}", self.id);
        let mut out = self.header(&boundary).into_bytes();
        let mut parts = vec![
            text::MimePart::new("text/plain; charset=utf-8", words::for_people(self).into()),
            text::MimePart::new("message/delivery-status", self.status_fields().into()),
        ];
        if self.original.whole.is_none() {
            parts.push(text::MimePart::new("text/rfc822-headers", text::header_excerpt(self.original.header, HEADER_MAX)));
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
            (0, 0) => ("Handed over", self.recipients.len()),
            (0, delayed) => ("Not delivered yet", delayed),
            (failed, _) => ("Not delivered", failed),
        };
        out += &match self.recipients {
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

    /// The recipients that will not get the message.
    pub(crate) fn failed(&self) -> impl Iterator<Item = &NoticeRecipient> {
        self.recipients.iter().filter(|recipient| recipient.is_failed())
    }

    /// The recipients that do not have the message yet.
    pub(crate) fn delayed(&self) -> impl Iterator<Item = &NoticeRecipient> {
        self.recipients.iter().filter(|recipient| recipient.ending == Ending::Delayed)
    }

    /// RFC 3464 §2.2 and §2.3: a block about the message, then one for each recipient, separated by empty lines.
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
        for recipient in self.recipients {
            out += "\r\n";
            if let Some((kind, address)) = recipient.orcpt.as_deref().and_then(|orcpt| orcpt.split_once(';')) {
                out += &format!("Original-Recipient: {kind}; {}\r\n", text::ascii_line(address));
            }
            let action = match recipient.ending {
                Ending::Relayed | Ending::Traced => "relayed",
                Ending::Delayed => "delayed",
                Ending::Bounced | Ending::Expired | Ending::TooLate => "failed",
            };
            let rcpt = text::ascii_line(recipient.rcpt.as_str());
            out += &format!("Final-Recipient: rfc822; {rcpt}\r\nAction: {action}\r\nStatus: {}\r\n", status::of(recipient));
            if let Some(host) = recipient.host() {
                out += &format!("Remote-MTA: dns; {}\r\n", text::ascii_line(host));
            }
            if let Some(code) = status::diagnostic(recipient) {
                out += &format!("Diagnostic-Code: {code}\r\n");
            }
            if let Some(at) = recipient.last_attempt {
                out += &format!("Last-Attempt-Date: {}\r\n", rfc5322_date(at));
            }
            if let Some(until) = recipient.retry_until.filter(|_| recipient.ending == Ending::Delayed) {
                out += &format!("Will-Retry-Until: {}\r\n", rfc5322_date(until));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests;
