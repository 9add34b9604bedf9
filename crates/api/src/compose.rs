//! Makes a message from a draft: checks the envelope and builds the MIME.

mod common;
mod fields;
mod parts;

use bytes::Bytes;
use posthaste_mail::{Address, BodyKind, Envelope, ReversePath};
use posthaste_submission::ClientLimits;

use self::common::{Flaws, Named, bad_field};
use crate::{
    draft::{Draft, Mailbox, Mailboxes},
    problem::{BoxedRefusal, FieldError, Refusal},
    raw::fit,
};

/// A message ready for intake.
#[derive(Debug)]
pub(super) struct Composed {
    pub(super) envelope: Envelope,
    pub(super) data: Bytes,
    pub(super) has_8bit: bool,
}

/// Makes a message from a draft.
pub(super) fn compose(draft: &Draft<'_>, limits: &ClientLimits) -> Result<Composed, BoxedRefusal> {
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
    let fit = fit(data.into(), limits).map_err(|unfit| Refusal::of(unfit).sent_by(sender))?;
    let body = if fit.has_8bit { BodyKind::EightBitMime } else { BodyKind::SevenBit };
    Ok(Composed { envelope: Envelope { body, ..envelope(reverse_path, recipients) }, data: fit.data, has_8bit: fit.has_8bit })
}

/// The envelope and control fields of a message that comes as MIME, from the query of its request.
pub(super) fn compose_raw(query: &[(String, String)], message: &Bytes, limits: &ClientLimits) -> Result<Composed, BoxedRefusal> {
    let mut draft = Draft::default();
    let mut to = Vec::new();
    for (name, value) in query {
        match name.as_str() {
            "from" => draft.return_path = Some(value.clone()),
            "to" => to.push(Mailbox::Text(value.clone())),
            "stream" => draft.stream = Some(value.clone()),
            "tag" => draft.tags.push(value.clone()),
            "send_at" => draft.send_at = Some(value.clone()),
            // A value that is not a number counts as a priority out of range.
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
    let fit = fit(data, limits).map_err(|unfit| Refusal::of(unfit).sent_by(sender))?;
    let body = if fit.has_8bit { BodyKind::EightBitMime } else { BodyKind::SevenBit };
    let reverse_path = reverse_path.expect("a message without flaws has a sender");
    Ok(Composed { envelope: Envelope { body, ..envelope(reverse_path, recipients) }, data: fit.data, has_8bit: fit.has_8bit })
}

/// An address whose local part is not ASCII goes to receivers with SMTPUTF8 alone (RFC 6531), as if the client had asked for it.
fn envelope(reverse_path: ReversePath, recipients: Vec<Address>) -> Envelope {
    let mut envelope = Envelope::new(reverse_path, recipients);
    let all_ascii = envelope.reverse_path.as_str().is_ascii() && envelope.recipients.iter().all(Address::is_ascii);
    envelope.parameters.smtputf8 = !all_ascii;
    envelope
}

/// Removes repeated addresses; the order stays.
fn recipients(all: [&[Named]; 3]) -> Vec<Address> {
    let mut known = std::collections::HashSet::new();
    all.into_iter().flatten().map(|m| &m.address).filter(|a| known.insert(*a)).cloned().collect()
}

#[cfg(test)]
mod tests;
