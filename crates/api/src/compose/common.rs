//! Shared by the parts of a composed message: a draft's errors, mailboxes with names, header fields.

use base64::{Engine, prelude::BASE64_STANDARD};
use mail_builder::headers::Header;
use posthaste_mail::Address;
use posthaste_smtp::server::Answer;
use posthaste_submission::ClientLimits;

use crate::{
    draft::{Draft, Mailbox, Mailboxes},
    problem::{BoxedRefusal, FieldError, Refusal},
};

/// The envelope of a draft, and the errors found so far.
#[derive(Debug, Default)]
pub(super) struct Flaws {
    pub(super) errors: Vec<FieldError>,
    /// The first error found; it is the reason of the refusal.
    pub(super) first: Option<(Answer, &'static str, Option<String>)>,
}

/// A mailbox with its name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) address: Address,
    pub(super) name: Option<String>,
}

/// Writes a header field: name, value, CRLF, folded and encoded as needed.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &impl Header) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    value.write_header(out, name.len() + 2);
}

/// The errors of a draft.
pub(super) fn bad_field(errors: Vec<FieldError>) -> BoxedRefusal {
    let text = errors.first().map_or_else(String::new, |e| format!("{}: {}", e.field, e.detail));
    Refusal::mail(Answer::new(554, 6, 0, text), "bad_field").about(errors)
}

/// A text of an error: what is wrong is seen from its beginning, and an answer is kept for a day.
fn cut(text: String) -> String {
    match text.char_indices().nth(ERROR_TEXT_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// The longest text of an error, in characters.
const ERROR_TEXT_MAX: usize = 320;
/// The most errors reported for one message.
const ERRORS_MAX: usize = 100;

impl Flaws {
    /// Notes an invalid field.
    pub(super) fn field(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        let (field, detail) = (field.into(), detail.into());
        let (field, detail) = (cut(field), cut(detail));
        self.note(|| (Answer::new(554, 6, 0, format!("{field}: {detail}")), "bad_field", None));
        self.add_error(field, detail);
    }

    /// Notes an invalid address: of the sender (X.1.7, RFC 3463 §3.2) or of a recipient (X.1.3).
    pub(super) fn address(&mut self, field: &str, given: &str, detail: u16, why: &str) {
        let rcpt = (detail == 3).then(|| given.chars().take(320).collect());
        self.note(|| (Answer::new(501, 1, detail, format!("{field}: {why}")), "bad_address", rcpt));
        self.add_error(field.to_owned(), why.to_owned());
    }

    pub(super) fn note(&mut self, flaw: impl FnOnce() -> (Answer, &'static str, Option<String>)) {
        if self.first.is_none() {
            self.first = Some(flaw());
        }
    }

    pub(super) fn add_error(&mut self, field: String, detail: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(FieldError { field: cut(field), detail: cut(detail) });
        }
    }

    pub(super) fn judge_recipients(&mut self, count: usize, limits: &ClientLimits) {
        if count == 0 {
            self.note(|| (Answer::new(554, 5, 1, "no recipient was given"), "no_recipients", None));
        }
        if count > limits.recipients {
            let text = format!("a message has at most {} recipients here", limits.recipients);
            self.note(|| (Answer::new(550, 5, 3, text), "too_many_recipients", None));
        }
    }

    pub(super) fn mailboxes(&mut self, field: &str, mailboxes: &Mailboxes) -> Vec<Named> {
        let at = |i: usize| match mailboxes {
            Mailboxes::One(_) => field.to_owned(),
            Mailboxes::Many(_) => format!("{field}/{i}"),
        };
        mailboxes.as_slice().iter().enumerate().filter_map(|(i, m)| self.mailbox(&at(i), m, 3)).collect()
    }

    pub(super) fn mailbox(&mut self, field: &str, mailbox: &Mailbox, detail: u16) -> Option<Named> {
        let (address, name) = match mailbox {
            Mailbox::Parts(parts) => (parts.address.trim(), parts.name.clone()),
            Mailbox::Text(text) => split(text),
        };
        let name = name.filter(|n| !n.trim().is_empty());
        if name.as_ref().is_some_and(|n| n.chars().any(char::is_control)) {
            self.field(field, "a name holds no control characters");
            return None;
        }
        match Address::international(address) {
            Ok(address) => Some(Named { address, name }),
            // One text may hold what stands in a header field for several.
            Err(_) if address.matches('@').count() > 1 && address.contains([',', ';']) => {
                self.address(
                    field,
                    address,
                    detail,
                    "these are several mailboxes in one text: give a list, such as [\"ann@example.org\", \"bob@example.org\"]",
                );
                None
            }
            Err(why) => {
                self.address(field, address, detail, &why.to_string());
                None
            }
        }
    }

    pub(super) fn raw(&mut self, draft: &Draft<'_>, raw: &str, data: &mut Vec<u8>) {
        let others = [
            ("/reply_to", !draft.reply_to.as_slice().is_empty()),
            ("/subject", draft.subject.is_some()),
            ("/text", draft.text.is_some()),
            ("/html", draft.html.is_some()),
            ("/attachments", !draft.attachments.is_empty()),
            ("/headers", !draft.headers.is_empty()),
        ];
        for (field, _) in others.iter().filter(|(_, given)| *given) {
            self.field(*field, "`raw` is the whole message already");
        }
        match decoded(raw) {
            Ok(bytes) => data.extend_from_slice(&bytes),
            Err(why) => self.field("/raw", why),
        }
    }

    pub(super) fn verdict(self) -> Result<(), BoxedRefusal> {
        let Some((answer, reason, rcpt)) = self.first else { return Ok(()) };
        let mut refused = Refusal::mail(answer, reason).about(self.errors);
        refused.rcpt = rcpt;
        Err(refused)
    }
}

/// Decodes base64 (RFC 4648 §4); line ends, which some encoders insert, are allowed.
pub(super) fn decoded(text: &str) -> Result<Vec<u8>, String> {
    let has_blanks = text.bytes().any(|b| b.is_ascii_whitespace());
    let decoded = match has_blanks {
        true => BASE64_STANDARD.decode(text.bytes().filter(|b| !b.is_ascii_whitespace()).collect::<Vec<_>>()),
        false => BASE64_STANDARD.decode(text),
    };
    decoded.map_err(|e| format!("not base64: {e}"))
}

/// Splits `Ann <ann@example.org>` into address and name.
fn split(text: &str) -> (&str, Option<String>) {
    let text = text.trim();
    let Some((name, address)) = text.strip_suffix('>').and_then(|t| t.rsplit_once('<')) else { return (text, None) };
    let name = name.trim();
    let quoted = name.strip_prefix('"').and_then(|n| n.strip_suffix('"'));
    (address.trim(), Some(quoted.map_or_else(|| name.to_owned(), unescaped)))
}

/// RFC 5322 §3.2.4.
fn unescaped(quoted: &str) -> String {
    let mut chars = quoted.chars();
    std::iter::from_fn(|| chars.next().and_then(|c| if c == '\\' { chars.next() } else { Some(c) })).collect()
}
