//! From a draft to a message: the envelope checked, the MIME built.

mod fields;
mod parts;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use mail_builder::headers::Header;
use posthaste_mail::{Address, BodyKind, Envelope, ReversePath};
use posthaste_smtp::server::Answer;

use super::{
    draft::{Draft, Mailbox, Mailboxes},
    problem::{FieldError, Refusal, Refused},
    raw::fit,
};
use crate::config::Limits;

/// A message ready for intake.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) envelope: Envelope,
    pub(super) data: Bytes,
    pub(super) has_8bit: bool,
}

/// The envelope of a draft and what is wrong with the draft so far.
#[derive(Debug, Default)]
pub(super) struct Flaws {
    errors: Vec<FieldError>,
    /// Of several, the first is the reason.
    first: Option<(Answer, &'static str, Option<String>)>,
}

/// A mailbox with its name.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) address: Address,
    pub(super) name: Option<String>,
}

/// Makes a message of a draft.
pub(super) fn compose(draft: &Draft<'_>, limits: &Limits) -> Result<Composed, Refused> {
    let mut flaws = Flaws::default();
    let from = draft.from.as_ref().and_then(|from| flaws.mailbox("/from", from, 7));
    if draft.from.is_none() {
        flaws.address("/from", "", 7, "a message needs one");
    }
    let [to, cc, bcc, reply_to] = [("/to", &draft.to), ("/cc", &draft.cc), ("/bcc", &draft.bcc), ("/reply_to", &draft.reply_to)]
        .map(|(field, mailboxes)| flaws.mailboxes(field, mailboxes));
    let reverse_path = match &draft.return_path {
        Some(path) if path.is_empty() => Some(ReversePath::Null),
        Some(path) => flaws.mailbox("/return_path", &Mailbox::Text(path.clone()), 7).map(|m| ReversePath::Mailbox(m.address)),
        None => from.clone().map(|m| ReversePath::Mailbox(m.address)),
    };
    let recipients = recipients([&to, &cc, &bcc]);
    flaws.judge_recipients(recipients.len(), limits);
    let mut data = Vec::new();
    fields::control(draft, &mut flaws, &mut data);
    match &draft.raw {
        Some(raw) => flaws.raw(draft, raw, &mut data),
        None => {
            fields::header(draft, from.as_ref(), &to, &cc, &reply_to, &mut flaws, &mut data);
            parts::body(draft, &mut flaws, &mut data);
        }
    }
    let sender = reverse_path.as_ref().map(ToString::to_string);
    flaws.verdict().map_err(|refused| refused.sent_by(sender.clone()))?;
    let reverse_path = reverse_path.expect("a draft without flaws has a sender");
    let fit = fit(data.into(), limits).map_err(|unfit| Refusal::mail(unfit).sent_by(sender))?;
    let body = if fit.has_8bit { BodyKind::EightBitMime } else { BodyKind::SevenBit };
    Ok(Composed { envelope: Envelope { body, ..Envelope::new(reverse_path, recipients) }, data: fit.data, has_8bit: fit.has_8bit })
}

/// The envelope and control fields of a message that comes as MIME, from the query of its request.
pub(super) fn compose_raw(query: &[(String, String)], message: &Bytes, limits: &Limits) -> Result<Composed, Refused> {
    let mut draft = Draft::default();
    let mut to = Vec::new();
    for (name, value) in query {
        match name.as_str() {
            "from" => draft.return_path = Some(value.clone()),
            "to" => to.push(Mailbox::Text(value.clone())),
            "stream" => draft.stream = Some(value.clone()),
            "tag" => draft.tags.push(value.clone()),
            "send_at" => draft.send_at = Some(value.clone()),
            // What is no number is outside of what a priority can be.
            "priority" => draft.priority = Some(value.parse().unwrap_or(i8::MAX)),
            _ => {
                return Err(bad_field(vec![FieldError {
                    field: format!("/{name}"),
                    detail: "the query has from, to, stream, tag, send_at and priority".into(),
                }]));
            }
        }
    }
    let mut flaws = Flaws::default();
    let reverse_path = match draft.return_path.as_deref() {
        None => {
            flaws.address("/from", "", 7, "the query needs one: from=ann@example.org, or from= for nobody");
            None
        }
        Some("") => Some(ReversePath::Null),
        Some(path) => flaws.mailbox("/from", &Mailbox::Text(path.into()), 7).map(|m| ReversePath::Mailbox(m.address)),
    };
    let to = flaws.mailboxes("/to", &Mailboxes::Many(to));
    let recipients = recipients([&to, &[], &[]]);
    flaws.judge_recipients(recipients.len(), limits);
    let mut control = Vec::new();
    fields::control(&draft, &mut flaws, &mut control);
    let sender = reverse_path.as_ref().map(ToString::to_string);
    flaws.verdict().map_err(|refused| refused.sent_by(sender.clone()))?;
    let data = if control.is_empty() { message.clone() } else { [&control[..], message].concat().into() };
    let fit = fit(data, limits).map_err(|unfit| Refusal::mail(unfit).sent_by(sender))?;
    let body = if fit.has_8bit { BodyKind::EightBitMime } else { BodyKind::SevenBit };
    let reverse_path = reverse_path.expect("a message without flaws has a sender");
    Ok(Composed { envelope: Envelope { body, ..Envelope::new(reverse_path, recipients) }, data: fit.data, has_8bit: fit.has_8bit })
}

/// Each address once, in order.
fn recipients(all: [&[Named]; 3]) -> Vec<Address> {
    let mut known = std::collections::HashSet::new();
    all.into_iter().flatten().map(|m| &m.address).filter(|a| known.insert(*a)).cloned().collect()
}

/// A field of the message: name, value, CRLF, folded and encoded as it needs.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &impl Header) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    value.write_header(out, name.len() + 2);
}

/// What is said of a draft that is not fit.
fn bad_field(errors: Vec<FieldError>) -> Refused {
    let text = errors.first().map_or_else(String::new, |e| format!("{}: {}", e.field, e.detail));
    Refusal::mail((Answer::new(554, 6, 0, text), "bad_field")).about(errors)
}

/// Errors of one message that are told.
const ERRORS_MAX: usize = 100;

impl Flaws {
    /// A field that is wrong.
    pub(super) fn field(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        let (field, detail) = (field.into(), detail.into());
        self.note(|| (Answer::new(554, 6, 0, format!("{field}: {detail}")), "bad_field", None));
        self.told(field, detail);
    }

    /// An address that is none: of the sender (X.1.7, RFC 3463 §3.2) or of a recipient (X.1.3).
    fn address(&mut self, field: &str, given: &str, detail: u16, why: &str) {
        let rcpt = (detail == 3).then(|| given.chars().take(320).collect());
        self.note(|| (Answer::new(501, 1, detail, format!("{field}: {why}")), "bad_address", rcpt));
        self.told(field.to_owned(), why.to_owned());
    }

    fn note(&mut self, flaw: impl FnOnce() -> (Answer, &'static str, Option<String>)) {
        if self.first.is_none() {
            self.first = Some(flaw());
        }
    }

    fn told(&mut self, field: String, detail: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(FieldError { field, detail });
        }
    }

    fn judge_recipients(&mut self, count: usize, limits: &Limits) {
        if count == 0 {
            self.note(|| (Answer::new(554, 5, 1, "no recipient was given"), "no_recipients", None));
        }
        if count > limits.recipients {
            let text = format!("a message has at most {} recipients here", limits.recipients);
            self.note(|| (Answer::new(550, 5, 3, text), "too_many_recipients", None));
        }
    }

    fn mailboxes(&mut self, field: &str, mailboxes: &Mailboxes) -> Vec<Named> {
        let at = |i: usize| match mailboxes {
            Mailboxes::One(_) => field.to_owned(),
            Mailboxes::Many(_) => format!("{field}/{i}"),
        };
        mailboxes.as_slice().iter().enumerate().filter_map(|(i, m)| self.mailbox(&at(i), m, 3)).collect()
    }

    fn mailbox(&mut self, field: &str, mailbox: &Mailbox, detail: u16) -> Option<Named> {
        let (address, name) = match mailbox {
            Mailbox::Parts(parts) => (parts.address.trim(), parts.name.clone()),
            Mailbox::Text(text) => split(text),
        };
        let name = name.filter(|n| !n.trim().is_empty());
        if name.as_ref().is_some_and(|n| n.chars().any(char::is_control)) {
            self.field(field, "a name holds no control characters");
            return None;
        }
        match Address::new(address) {
            Ok(address) => Some(Named { address, name }),
            Err(why) => {
                self.address(field, address, detail, &why.to_string());
                None
            }
        }
    }

    fn raw(&mut self, draft: &Draft<'_>, raw: &str, data: &mut Vec<u8>) {
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

    fn verdict(self) -> Result<(), Refused> {
        let Some((answer, reason, rcpt)) = self.first else { return Ok(()) };
        let mut refused = Refusal::mail((answer, reason)).about(self.errors);
        refused.rcpt = rcpt;
        Err(refused)
    }
}

/// Base64 (RFC 4648 §4), with the line ends that some encoders put in.
pub(super) fn decoded(text: &str) -> Result<Vec<u8>, String> {
    let has_blanks = text.bytes().any(|b| b.is_ascii_whitespace());
    let decoded = match has_blanks {
        true => BASE64_STANDARD.decode(text.bytes().filter(|b| !b.is_ascii_whitespace()).collect::<Vec<_>>()),
        false => BASE64_STANDARD.decode(text),
    };
    decoded.map_err(|e| format!("not base64: {e}"))
}

/// `Ann <ann@example.org>` as address and name.
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

#[cfg(test)]
mod tests;
