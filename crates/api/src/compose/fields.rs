//! The header of a composed message.

use jiff::Timestamp;
use mail_builder::headers::{address::Address as Mailbox, raw::Raw, text::Text};
use posthaste_mail::TransferPriority;
use posthaste_message::{META_MAX, META_NAME_MAX, META_VALUE_MAX, TAG_MAX, TAGS_MAX};

use super::common::{Flaws, Named, write_field};
use crate::draft::Draft;

/// The most fields in `headers` of one message.
const FIELDS_MAX: usize = 200;
/// RFC 5322 §2.1.1: a line has at most 998 bytes; a word cannot be folded.
const WORD_MAX: usize = 900;
/// The longest value, in bytes.
const VALUE_MAX: usize = 32 << 10;

/// Writes the control fields for the relay, as an SMTP client would write them; the intake reads and removes them.
pub(super) fn control(draft: &Draft<'_>, flaws: &mut Flaws, out: &mut Vec<u8>) {
    let is_plain = |text: &str| !text.is_empty() && text.len() <= TAG_MAX && !text.chars().any(char::is_control) && text.trim() == text;
    if let Some(stream) = &draft.stream {
        match is_plain(stream) {
            true => out.extend_from_slice(format!("X-Posthaste-Stream: {stream}\r\n").as_bytes()),
            false => flaws.field("/stream", "the name of a stream"),
        }
    }
    if let Some(at) = &draft.send_at {
        match at.parse::<Timestamp>() {
            Ok(at) => out.extend_from_slice(format!("X-Posthaste-Send-At: {at}\r\n").as_bytes()),
            Err(_) => flaws.field("/send_at", "a moment such as 2030-01-31T08:00:00Z"),
        }
    }
    if let Some(number) = draft.priority {
        match TransferPriority::new(number) {
            Some(priority) => out.extend_from_slice(format!("X-Posthaste-Priority: {priority}\r\n").as_bytes()),
            None => flaws.field("/priority", "a whole number from -9 to 9"),
        }
    }
    if draft.meta.len() > META_MAX {
        flaws.field("/meta", format!("at most {META_MAX}"));
    }
    for (name, value) in &draft.meta {
        let is_name =
            (1..=META_NAME_MAX).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
        match is_name && value.len() <= META_VALUE_MAX && !value.chars().any(char::is_control) {
            true => out.extend_from_slice(format!("X-Posthaste-Meta-{name}: {value}\r\n").as_bytes()),
            false => flaws.field(
                format!("/meta/{name}"),
                format!("a name of at most {META_NAME_MAX} letters, digits, - and _, a value of at most {META_VALUE_MAX} bytes without control characters"),
            ),
        }
    }
    if draft.tags.len() > TAGS_MAX {
        flaws.field("/tags", format!("at most {TAGS_MAX}"));
        return;
    }
    for (i, tag) in draft.tags.iter().enumerate() {
        match is_plain(tag) {
            true => out.extend_from_slice(format!("X-Posthaste-Tag: {tag}\r\n").as_bytes()),
            false => flaws.field(format!("/tags/{i}"), format!("1 to {TAG_MAX} bytes without control characters, or blanks around")),
        }
    }
}

/// Writes the fields that readers see. The intake adds Date and Message-ID, as to every message without them.
pub(super) fn header(
    draft: &Draft<'_>,
    from: Option<&Named>,
    to: &[Named],
    cc: &[Named],
    reply_to: &[Named],
    flaws: &mut Flaws,
    out: &mut Vec<u8>,
) {
    if let Some(from) = from {
        write_field(out, "From", &mailbox(from));
    }
    if to.is_empty() && cc.is_empty() {
        out.extend_from_slice(b"To: undisclosed-recipients:;\r\n");
    }
    for (name, mailboxes) in [("To", to), ("Cc", cc), ("Reply-To", reply_to)].into_iter().filter(|(_, m)| !m.is_empty()) {
        write_field(out, name, &Mailbox::new_list(mailboxes.iter().map(mailbox).collect()));
    }
    if let Some(subject) = &draft.subject {
        value("/subject", "Subject", subject, flaws, out);
    }
    if draft.headers.values().map(|v| v.as_slice().len()).sum::<usize>() > FIELDS_MAX {
        flaws.field("/headers", format!("at most {FIELDS_MAX} fields"));
        return;
    }
    for (name, values) in &draft.headers {
        let field = format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"));
        match allowed(name) {
            Ok(()) => values.as_slice().iter().for_each(|v| value(&field, name, v, flaws, out)),
            Err(why) => flaws.field(field, why),
        }
    }
    out.extend_from_slice(b"MIME-Version: 1.0\r\n");
}

fn mailbox(of: &Named) -> Mailbox<'_> {
    Mailbox::new_address(of.name.as_deref(), of.address.as_str())
}

/// Writes plain text unchanged (an encoded List-Unsubscribe would not be understood), everything else as encoded words (RFC 2047).
fn value(field: &str, name: &str, value: &str, flaws: &mut Flaws, out: &mut Vec<u8>) {
    if value.chars().any(char::is_control) {
        flaws.field(field, "a value holds no control characters, line ends least of all");
    } else if value.len() > VALUE_MAX || value.split(' ').any(|word| word.is_ascii() && word.len() > WORD_MAX) {
        flaws.field(field, format!("at most {VALUE_MAX} bytes, and no word of more than {WORD_MAX}"));
    } else if value.is_ascii() {
        write_field(out, name, &Raw::new(value));
    } else {
        write_field(out, name, &Text::new(value));
    }
}

/// Whether `headers` may give this field.
fn allowed(name: &str) -> Result<(), &'static str> {
    // RFC 5322 §3.6.8.
    if name.is_empty() || name.len() > 76 || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
        return Err("no field can have this name");
    }
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "from" | "to" | "cc" | "bcc" | "reply-to" | "subject" => Err("say it with the field of this name beside `headers`"),
        "mime-version" | "received" | "return-path" | "dkim-signature" | "sender" => Err("the relay sees to this field"),
        _ if lower.starts_with("content-") || lower.starts_with("resent-") => Err("the relay sees to this field"),
        _ if lower.starts_with("x-posthaste-") => Err("say it with the fields beside `headers`"),
        _ => Ok(()),
    }
}
