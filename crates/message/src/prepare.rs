//! The changes that the relay makes to a submitted message (RFC 6409 §8): it adds missing header fields, takes out fields that must not be
//! sent, and reads what signing, queue and log need to know. Every other byte stays as it came, and the body is not copied.

mod received;

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_mail::{MessageId, Reply, TransferPriority};

use crate::{
    alignment,
    header::{Field, Header},
    mailboxes::{self, Mailboxes},
    sender,
};

/// The longest Message-ID that the log takes: RFC 5322 §2.1.1 ends every line at 998.
const MESSAGE_ID_MAX: usize = 998;
/// The longest tag, in bytes.
pub const TAG_MAX: usize = 128;
/// Tags of one message, at most.
pub const TAGS_MAX: usize = 16;
/// The application's own facts about one message, at most.
pub const META_MAX: usize = 16;
/// The longest name of such a fact, in bytes.
pub const META_NAME_MAX: usize = 64;
/// The longest value of one, in bytes.
pub const META_VALUE_MAX: usize = 256;

/// The field that names the stream of a message; taken out before the message is sent.
const STREAM_FIELD: &str = "X-Posthaste-Stream";
/// A field with a tag of a message. There may be several; they are taken out before the message is sent.
const TAG_FIELD: &str = "X-Posthaste-Tag";
/// The prefix of fields with the application's own facts, which are in all events of the message; taken out before the message is sent.
const META_PREFIX: &str = "X-Posthaste-Meta-";
/// The field with the time before which a message is not sent; taken out before it is sent.
const SEND_AT_FIELD: &str = "X-Posthaste-Send-At";
/// The field with the message's priority among others of its stream.
const PRIORITY_FIELD: &str = "X-Posthaste-Priority";

/// The fields beside From that name who sends a message (RFC 5322 §3.6.2 and §3.6.6).
const SENDER_FIELDS: [&str; 3] = ["Sender", "Resent-From", "Resent-Sender"];

/// The field that the relay puts before a message whose returns come to it. If a client submits a message with it, it belongs to an older
/// message and is taken out.
pub const RETURN_FIELD: &str = "X-Posthaste-Return";

/// How a message came in.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// The client's address.
    pub client_ip: IpAddr,
    /// The client's name in EHLO or HELO.
    pub helo: &'a str,
    /// True if it said EHLO, false for HELO.
    pub esmtp: bool,
    /// True if it came under TLS.
    pub tls: bool,
    /// True if the client has authenticated.
    pub authenticated: bool,
    /// True if it said neither EHLO nor HELO and came by HTTP.
    pub http: bool,
    /// The reverse-path, empty for the null one.
    pub reverse_path: &'a str,
    /// The relay's own name.
    pub hostname: &'a str,
    /// The id that the client will be told.
    pub id: MessageId,
    /// The time of acceptance.
    pub now: Timestamp,
}

/// Limits on the header of a message.
#[derive(Clone, Copy, Debug)]
pub struct HeaderLimits {
    /// Bytes of the header.
    pub header: usize,
    /// Received fields (RFC 5321 §6.3: no fewer than 100).
    pub hops: usize,
}

impl Default for HeaderLimits {
    fn default() -> Self {
        Self { header: 256 * 1024, hops: 100 }
    }
}

/// A message ready to be signed and stored.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Joined, they are the message, with CRLF line ends throughout: the relay's Received field; the original header, in slices around the
    /// fields that were taken out; the fields that were missing; the body behind an empty line.
    pub parts: Vec<Bytes>,
    /// The Message-ID, the client's or the relay's, with its angle brackets; None if the client's cannot be logged.
    pub message_id: Option<Arc<str>>,
    /// The domains of all mailboxes in From, Sender and Resent- fields and of addresses in their display names, each once, in lower case and in
    /// ASCII; without those that DNS could not hold.
    pub from_domains: Vec<String>,
    /// The domain of the From field's first mailbox, if it has one.
    pub from_domain: Option<String>,
    /// The domains of the DKIM signatures that it came with.
    pub signed_by: Vec<String>,
    /// Whether it offers to unsubscribe by one click (RFC 8058).
    pub one_click: bool,
    /// Every address in the From field, and then in Sender, Resent-From and Resent-Sender, those in display names too; None if there is none in
    /// From.
    pub authors: Option<Vec<String>>,
    /// Bytes of all parts.
    pub size: u64,
    /// Received fields that it came with.
    pub hops: usize,
    /// True if there is a byte above 127 in the header.
    pub header_8bit: bool,
    /// The value of X-Posthaste-Stream, unchecked.
    pub stream: Option<String>,
    /// The values of X-Posthaste-Tag, in order, each at most [`TAG_MAX`] bytes of printable text.
    pub tags: Vec<Arc<str>>,
    /// The X-Posthaste-Meta fields as `name=value`: names in lower case, in order, each once.
    pub meta: Vec<Arc<str>>,
    /// The value of X-Posthaste-Send-At.
    pub send_at: Option<Timestamp>,
    /// The value of X-Posthaste-Priority.
    pub priority: Option<TransferPriority>,
}

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// More header than the limit.
    #[error("the header is larger than {limit} bytes")]
    HeaderTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It has gone round too often (RFC 5321 §6.3).
    #[error("{hops} hops, more than {limit}: the message goes in circles")]
    TooManyHops {
        /// Received fields in it.
        hops: usize,
        /// The limit.
        limit: usize,
    },
    /// A tag that could not be counted.
    #[error("a message has at most {TAGS_MAX} tags of at most {TAG_MAX} printable characters ({TAG_FIELD})")]
    BadTag,
    /// A fact that could not be logged.
    #[error(
        "a message has at most {META_MAX} fields {META_PREFIX}NAME, each name once: of at most {META_NAME_MAX} letters, digits, - and _, with at \
         most {META_VALUE_MAX} printable characters"
    )]
    BadMeta,
    /// No moment, or two.
    #[error("{SEND_AT_FIELD} is one moment, such as 2030-01-31T08:00:00Z or Thu, 31 Jan 2030 08:00:00 +0000")]
    BadSendAt,
    /// X-Posthaste-Priority is none, or there are two.
    #[error("X-Posthaste-Priority is a number from -9 to 9, and stands once")]
    BadPriority,
    /// RFC 5322 §3.6: there is one From. Receivers refuse a message with several, and a signer would not know which one is shown.
    #[error("{count} From fields: receivers refuse a message that has not exactly one")]
    ManyFroms {
        /// How many.
        count: usize,
    },
    /// A From, Sender or Resent- field that different software reads differently.
    #[error("the {0} field can be read as several addresses: write it as Name <local-part@domain>")]
    Ambiguous(&'static str),
    /// A From field without a mailbox.
    #[error("the From field names no mailbox: receivers refuse that")]
    NullFrom,
    /// No From field, and no reverse-path to make one from.
    #[error("there is no From field: receivers refuse that")]
    NoFrom,
}

impl Unfit {
    /// The reply to the client.
    pub fn reply(&self) -> Reply {
        let (code, enhanced) = match self {
            Self::HeaderTooLarge { .. } => (552, "5.3.4"),
            Self::TooManyHops { .. } => (554, "5.4.6"),
            Self::Ambiguous(_) => (550, "5.7.1"),
            Self::BadTag | Self::BadMeta | Self::BadSendAt | Self::BadPriority | Self::ManyFroms { .. } | Self::NullFrom | Self::NoFrom => {
                (554, "5.6.0")
            }
        };
        Reply::new(code, format!("{enhanced} {self}"))
    }

    /// The reason as a word that can be counted.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::HeaderTooLarge { .. } => "header_too_large",
            Self::TooManyHops { .. } => "too_many_hops",
            Self::BadTag => "bad_tag",
            Self::BadMeta => "bad_meta",
            Self::BadSendAt => "bad_send_at",
            Self::BadPriority => "bad_priority",
            Self::ManyFroms { .. } => "many_froms",
            Self::Ambiguous(_) => "bad_from",
            Self::NullFrom => "null_from",
            Self::NoFrom => "no_from",
        }
    }
}

/// Makes a message ready. `data` is what followed DATA, dots unstuffed, line ends CRLF.
///
/// The header ends at the empty line, or else before the first line that is no field. In that case an empty line is put in, as other mail
/// systems do, so that all of them agree on where the header ends.
pub fn prepare(data: &Bytes, submission: &Submission<'_>, limits: HeaderLimits) -> Result<Prepared, Unfit> {
    let header = Header::scan(data, limits.header).ok_or(Unfit::HeaderTooLarge { limit: limits.header })?;
    let mut found = HeaderFacts::read(data, &header)?;
    if found.hops > limits.hops {
        return Err(Unfit::TooManyHops { hops: found.hops, limit: limits.hops });
    }
    let (missing, message_id) = found.missing(submission)?;
    let mut parts = vec![Bytes::from(submission.received())];
    parts.extend(kept(data, &header));
    // The message may break off inside its last field.
    if parts.last().is_some_and(|last| !last.ends_with(b"\r\n")) {
        parts.push(Bytes::from_static(b"\r\n"));
    }
    parts.extend((!missing.is_empty()).then(|| Bytes::from(missing)));
    parts.extend((!header.has_empty_line).then(|| Bytes::from_static(b"\r\n")));
    parts.extend((header.end < data.len()).then(|| data.slice(header.end..)));
    // Who sends for the authors, or sends again, is checked and signed for as they are.
    let senders = std::mem::take(&mut found.senders);
    let authors = Some(found.authors).filter(|authors| !authors.is_empty());
    let authors = authors.map(|authors| authors.into_iter().chain(senders).collect());
    let from_domain = found.from_domains.first().cloned();
    let mut known: HashSet<String> = found.from_domains.iter().cloned().collect();
    found.from_domains.extend(found.sender_domains.into_iter().filter(|domain| known.insert(domain.clone())));
    Ok(Prepared {
        size: parts.iter().map(|part| part.len() as u64).sum(),
        parts,
        message_id,
        from_domains: found.from_domains,
        from_domain,
        signed_by: found.signed_by,
        one_click: found.list_unsubscribe && found.list_unsubscribe_post,
        authors,
        hops: found.hops,
        header_8bit: !data[..header.end].is_ascii(),
        stream: found.stream,
        tags: found.tags,
        meta: found.meta,
        send_at: found.send_at,
        priority: found.priority,
    })
}

/// The message without the From_ lines of an mbox file that stand before its header (RFC 4155; `git format-patch`, formail and mail readers write
/// them). They would end the header before it begins.
pub fn without_mbox_lines(data: &Bytes) -> Bytes {
    let mut start = 0;
    // RFC 5322 §4.5.2: a field may have blanks before its colon, and `From : a@x` is one.
    let is_mbox = |at: usize| (data[at..].starts_with(b"From ") || data[at..].starts_with(b">From ")) && !Header::begins(data, at);
    while is_mbox(start) {
        let Some(end) = memchr::memmem::find(&data[start..], b"\r\n") else { return data.clone() };
        start += end + 2;
    }
    // Text that happens to begin so is no header's beginning.
    if start > 0 && Header::begins(data, start) { data.slice(start..) } else { data.clone() }
}

/// Whether a message can be sent as lines: it holds no NUL, and CR and LF only as pairs.
pub fn is_lines(data: &[u8]) -> bool {
    let pairs = memchr::memmem::find_iter(data, b"\r\n").count();
    let count = |byte| memchr::memchr_iter(byte, data).count();
    count(b'\r') == pairs && count(b'\n') == pairs && count(0) == 0
}

/// The header of a stored message, without the empty line behind it.
pub fn header_block(message: &[u8]) -> &[u8] {
    if message.starts_with(b"\r\n") {
        return b"";
    }
    memchr::memmem::find(message, b"\r\n\r\n").map_or(message, |at| &message[..at + 2])
}

/// Signatures that a message came with and that are looked at, at most.
const SIGNATURES_MAX: usize = 10;

/// What was read from the header.
#[derive(Default)]
struct HeaderFacts {
    hops: usize,
    has_date: bool,
    message_id: Option<String>,
    from_domains: Vec<String>,
    signed_by: Vec<String>,
    list_unsubscribe: bool,
    list_unsubscribe_post: bool,
    authors: Vec<String>,
    /// The addresses in Sender and Resent- fields and in display names, and their domains.
    senders: Vec<String>,
    sender_domains: Vec<String>,
    froms: usize,
    stream: Option<String>,
    tags: Vec<Arc<str>>,
    meta: Vec<Arc<str>>,
    send_at: Option<Timestamp>,
    priority: Option<TransferPriority>,
}

impl HeaderFacts {
    fn read(data: &[u8], header: &Header) -> Result<Self, Unfit> {
        let mut found = Self::default();
        for field in header.fields.iter().filter(|field| !field.is_blank(data)) {
            let name = field.name(data);
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            if is("Received") {
                found.hops += 1;
            } else if is("Date") {
                found.has_date = true;
            } else if is("Message-ID") {
                found.message_id.get_or_insert(field.text(data));
            } else if is("From") {
                found.froms += 1;
                if sender::is_null(field.value(data)) {
                    return Err(Unfit::NullFrom);
                }
                let Mailboxes { specs, shown } = mailboxes::read(field.value(data)).ok_or(Unfit::Ambiguous("From"))?;
                found.from_domains = sender::domains(field.value(data));
                found.authors = specs;
                found.also_sends(shown);
            } else if let Some(name) = SENDER_FIELDS.into_iter().find(|name| is(name)) {
                let Mailboxes { specs, shown } = mailboxes::read(field.value(data)).ok_or(Unfit::Ambiguous(name))?;
                found.also_sends(specs);
                found.also_sends(shown);
            } else if is("DKIM-Signature") {
                found.signed_by.extend(alignment::signer(&field.text(data)).filter(|_| found.signed_by.len() < SIGNATURES_MAX));
            } else if is("List-Unsubscribe") {
                found.list_unsubscribe = true;
            } else if is("List-Unsubscribe-Post") {
                found.list_unsubscribe_post = true;
            } else if is(STREAM_FIELD) {
                found.stream.get_or_insert(field.text(data));
            } else if is(TAG_FIELD) {
                found.tags.push(tag(&field.text(data), found.tags.len())?);
            } else if is(SEND_AT_FIELD) {
                let moment = moment(&field.text(data)).filter(|_| found.send_at.is_none());
                found.send_at = Some(moment.ok_or(Unfit::BadSendAt)?);
            } else if is(PRIORITY_FIELD) {
                let priority = TransferPriority::parse(&field.text(data)).filter(|_| found.priority.is_none());
                found.priority = Some(priority.ok_or(Unfit::BadPriority)?);
            } else if let Some(name) = field.name_behind(data, META_PREFIX) {
                let fact = fact(name, &field.text(data), &found.meta)?;
                found.meta.push(fact);
            }
        }
        if found.froms > 1 {
            return Err(Unfit::ManyFroms { count: found.froms });
        }
        Ok(found)
    }

    fn also_sends(&mut self, addresses: Vec<String>) {
        for address in &addresses {
            self.sender_domains.extend(sender::domains(format!("<{address}>").as_bytes()));
        }
        self.senders.extend(addresses);
    }

    /// The fields that a message must have (RFC 5322 §3.6) and this one lacks, and its Message-ID. A missing From is made from the
    /// reverse-path.
    fn missing(&mut self, submission: &Submission<'_>) -> Result<(String, Option<Arc<str>>), Unfit> {
        let mut fields = String::new();
        if self.froms == 0 {
            if submission.reverse_path.is_empty() {
                return Err(Unfit::NoFrom);
            }
            let from = format!("<{}>", submission.reverse_path);
            self.from_domains = sender::domains(from.as_bytes());
            self.authors = vec![submission.reverse_path.to_owned()];
            fields += &format!("From: {from}\r\n");
        }
        if !self.has_date {
            fields += &format!("Date: {}\r\n", posthaste_mail::rfc5322_date(submission.now));
        }
        let id = match &self.message_id {
            Some(text) => presentable_id(text),
            None => {
                let id = format!("<{}@{}>", submission.id, submission.hostname);
                fields += &format!("Message-ID: {id}\r\n");
                Some(id.into())
            }
        };
        Ok((fields, id))
    }
}

/// The header without the fields that are taken out, as slices of the original.
fn kept(data: &Bytes, header: &Header) -> Vec<Bytes> {
    let mut slices = Vec::new();
    let mut start = 0;
    for field in &header.fields {
        if is_taken_out(field, data) {
            slices.push(start..field.start);
            start = field.end;
        } else if let Some(blanks) = field.blanks_before_the_colon(data) {
            // RFC 5322 §4.5 allowed them once. Verifiers disagree about what they mean, and so about every signature over the field.
            slices.push(start..blanks.start);
            start = blanks.end;
        }
    }
    slices.push(start..header.fields_end());
    slices.into_iter().filter(|range| !range.is_empty()).map(|range| data.slice(range)).collect()
}

fn is_taken_out(field: &Field, data: &[u8]) -> bool {
    let name = field.name(data);
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    // RFC 5322 §3.6.3: nobody may learn who is in Bcc. An empty Date, Message-ID or From counts as missing and makes room for ours.
    is("Bcc")
        || is("Resent-Bcc")
        || is(STREAM_FIELD)
        || is(TAG_FIELD)
        || is(RETURN_FIELD)
        || is(SEND_AT_FIELD)
        || field.name_behind(data, META_PREFIX).is_some()
        || (field.is_blank(data) && (is("Date") || is("Message-ID") || is("From")))
}

fn tag(text: &str, before: usize) -> Result<Arc<str>, Unfit> {
    let fits = before < TAGS_MAX && text.len() <= TAG_MAX && !text.chars().any(char::is_control);
    if fits { Ok(text.into()) } else { Err(Unfit::BadTag) }
}

/// A time in the form of RFC 3339 or of a Date field (RFC 5322 §3.3).
fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| jiff::fmt::rfc2822::parse(text).ok().map(|at| at.timestamp()))
}

/// A fact as `name=value`, if it can be logged beside those `before`.
fn fact(name: &[u8], value: &str, before: &[Arc<str>]) -> Result<Arc<str>, Unfit> {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    let fits = before.len() < META_MAX
        && (1..=META_NAME_MAX).contains(&name.len())
        && name.bytes().all(is_plain)
        && before.iter().all(|other| other.split_once('=').is_none_or(|(other, _)| other != name))
        && value.len() <= META_VALUE_MAX
        && !value.chars().any(char::is_control);
    if fits { Ok(format!("{name}={value}").into()) } else { Err(Unfit::BadMeta) }
}

/// The client's Message-ID as it is logged: from '<' to '>' if there are such, printable throughout.
fn presentable_id(text: &str) -> Option<Arc<str>> {
    let inner = text.find('<').and_then(|start| text[start..].find('>').map(|len| &text[start..=start + len]));
    let id = inner.unwrap_or(text);
    (id.len() <= MESSAGE_ID_MAX && !id.chars().any(char::is_control)).then(|| id.into())
}

#[cfg(test)]
mod tests;
