//! A parsed mail: its header, its text, its machine-readable parts, and the mail that it returns.

use std::cell::OnceCell;

use mail_parser::{Message, MessagePart, PartType};

use super::{
    fields::{FieldBlock, address, addresses, blocks},
    flat::{Flat, kind_of, mail_in},
    original,
    report::FailedAddress,
};
use crate::{mojibake::text_of, text::head};

/// The bytes of text that are read.
const WORDS_MAX: usize = 64 << 10;
/// The depth to which mails inside mails are read: a report has one, a report that a person or a list forwarded two.
const DEPTH_MAX: usize = 4;

/// A mail that came back, parsed.
#[derive(Debug, Default)]
pub(super) struct ParsedMail {
    /// The header of the mail itself.
    pub(super) headers: FieldBlock,
    pub(super) subject: String,
    /// The address in From.
    pub(super) from: Option<String>,
    /// The addresses it was sent to, in lower case: those of the original sender, and never of the failed recipient.
    pub(super) to: Vec<String>,
    /// Its text, without the returned mail.
    pub(super) words: String,
    /// Its `message/delivery-status` parts, or text that looks like one.
    pub(super) statuses: Vec<String>,
    /// Its `message/feedback-report` parts.
    pub(super) feedback: Vec<String>,
    /// The header of the returned mail.
    pub(super) original: FieldBlock,
    /// The dialogue with the receiver, if a gateway put it into the returned mail.
    pub(super) dialogue: Option<String>,
    /// The addresses that its text names as failed, once they were looked for.
    pub(super) failed: OnceCell<Vec<FailedAddress>>,
}

impl ParsedMail {
    pub(super) fn read(bytes: &[u8]) -> Self {
        // A mailbox file or a pipe may have put blank lines before the header.
        let bytes = bytes.trim_ascii_start();
        let mut mail = Self::default();
        let flat = Flat::new(bytes);
        match flat.parse().filter(|m| has_mail_headers(m)) {
            Some(message) => {
                mail.take_message(&message);
                if mail.words.trim().is_empty() && mail.statuses.is_empty() && mail.feedback.is_empty() {
                    // A MIME boundary was lost on the way; the text is in the raw body.
                    let raw = text_of(bytes);
                    mail.words =
                        raw.split_once("\n\n").or(raw.split_once("\r\n\r\n")).map_or_else(String::new, |(_, body)| body.to_owned());
                }
            }
            // Only the body is there; some mailboxes and logs keep nothing else.
            None => mail.words = text_of(bytes).into_owned(),
        }
        mail.words.truncate(mail.words.floor_char_boundary(WORDS_MAX));
        mail.part_with_the_original();
        mail
    }

    /// The Message-ID of the returned mail.
    pub(super) fn original_message_id(&self) -> Option<String> {
        let id = self.original.get("message-id")?.trim_matches(|c: char| c == '<' || c == '>' || c.is_whitespace());
        (!id.is_empty()).then(|| id.to_owned())
    }

    fn take_message(&mut self, message: &Message<'_>) {
        for (name, value) in message.headers_raw() {
            self.headers.push(name, &value.replace(['\r', '\n'], ""));
        }
        self.subject = message.subject().or(self.headers.get("subject")).unwrap_or_default().to_owned();
        self.from = self.headers.get("from").and_then(address);
        for name in ["to", "delivered-to", "envelope-to"] {
            for value in self.headers.all(name) {
                self.to.extend(addresses(value).into_iter().map(str::to_ascii_lowercase));
            }
        }
        self.take_parts(message, 0);
    }

    fn take_parts(&mut self, message: &Message<'_>, depth: usize) {
        let has_plain = message.parts.iter().any(|p| matches!(&p.body, PartType::Text(t) if !t.trim().is_empty()) && kind_of(p).is_empty());
        for part in &message.parts {
            if let Some(inner) = mail_in(part) {
                self.take_inner(inner, depth);
                continue;
            }
            match (kind_of(part).as_str(), &part.body) {
                ("message/delivery-status" | "message/global-delivery-status", _) => self.statuses.push(lossy(part)),
                ("message/feedback-report", _) => self.feedback.push(lossy(part)),
                ("text/rfc822-headers" | "text/rfc822-header" | "message/rfc822-headers" | "text/rfc822" | "message/global-headers", _) => {
                    self.take_original(&lossy(part))
                }
                (_, PartType::Text(text)) => self.say(text),
                (_, PartType::Html(html)) if !has_plain => self.say(&mail_parser::decoders::html::html_to_text(head(html, WORDS_MAX))),
                _ => {}
            }
        }
    }

    /// Takes a mail inside the mail: the returned one, or the report itself if a person or a list forwarded it.
    fn take_inner(&mut self, bytes: &[u8], depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let flat = Flat::new(bytes);
        let Some(inner) = flat.parse() else { return self.say(&text_of(head_of(bytes))) };
        let is_report = inner.parts.iter().any(|p| matches!(kind_of(p).as_str(), "message/delivery-status" | "message/feedback-report"));
        if is_report && depth < DEPTH_MAX {
            self.take_parts(&inner, depth + 1);
        } else if self.original.is_empty() {
            for (name, value) in inner.headers_raw() {
                self.original.push(name, &value.replace(['\r', '\n'], ""));
            }
            self.dialogue = inner.body_text(0).and_then(|text| original::dialogue(head(&text, WORDS_MAX)));
        }
    }

    fn say(&mut self, text: &str) {
        if self.words.len() < WORDS_MAX {
            self.words.push_str(text);
            self.words.push('\n');
        }
    }

    fn take_original(&mut self, headers: &str) {
        if self.original.is_empty() {
            self.original = blocks(headers, &[]).into_iter().next().unwrap_or_default();
        }
    }

    /// Cuts the returned mail off the text, and finds a delivery status outside any MIME part.
    fn part_with_the_original(&mut self) {
        if self.statuses.is_empty()
            && let Some(status) = original::loose_status(&self.words)
        {
            self.statuses.push(status);
        }
        let at = original::start_of_original(&self.words);
        let original = self.words.split_off(at);
        if self.original.is_empty() {
            let headers = blocks(&original, &[]).into_iter().find(|b| b.get("message-id").or(b.get("subject")).or(b.get("to")).is_some());
            self.original = headers.unwrap_or_default();
        }
    }
}

/// Whether the text has a mail header; if not, it is only a body.
fn has_mail_headers(message: &Message<'_>) -> bool {
    let known = ["from", "to", "subject", "date", "received", "message-id", "return-path", "content-type"];
    message.headers_raw().filter(|(n, _)| known.iter().any(|k| n.eq_ignore_ascii_case(k))).count() >= 2
}

fn lossy(part: &MessagePart<'_>) -> String {
    text_of(head_of(part.contents())).into_owned()
}

fn head_of(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(WORDS_MAX)]
}
