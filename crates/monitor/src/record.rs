//! A parsed line, borrowed from the line's bytes.

use std::{borrow::Cow, fmt, ops::Deref};

use jiff::Timestamp;
use memchr::memmem;
use posthaste_mail::MessageId;
use serde::{Deserialize, Deserializer, de::Visitor};

/// A string in a line, borrowed unless it holds escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogText<'a>(Cow<'a, str>);

impl Deref for LogText<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'a> From<&'a str> for LogText<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

// Implemented by hand, because serde's Option<Cow<str>> always copies.
impl<'de: 'a, 'a> Deserialize<'de> for LogText<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = LogText<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<LogText<'de>, E> {
                Ok(LogText(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<LogText<'de>, E> {
                Ok(LogText(Cow::Owned(text.to_owned())))
            }
        }
        d.deserialize_str(Borrow)
    }
}

/// One line of the log. All fields but the first two may be missing; unknown fields and events are ignored. The schema documents the
/// fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[allow(missing_docs)]
pub struct LogRecord<'a> {
    #[serde(borrow)]
    pub event: LogText<'a>,
    /// The time as written in the line; [`Self::time`] parses it.
    #[serde(rename = "time")]
    pub time_text: LogText<'a>,
    pub id: Option<LogText<'a>>,
    pub node: Option<LogText<'a>>,
    pub message: Option<LogText<'a>>,
    pub message_id: Option<LogText<'a>>,
    pub stream: Option<LogText<'a>>,
    pub from_domain: Option<LogText<'a>>,
    pub dkim: Option<LogText<'a>>,
    #[serde(default)]
    pub one_click: bool,
    pub hold_ms: Option<u64>,
    #[serde(default)]
    pub tags: Vec<LogText<'a>>,
    #[serde(default)]
    pub meta: Vec<LogText<'a>>,
    pub from: Option<LogText<'a>>,
    pub size: Option<u64>,
    pub rcpt: Option<LogText<'a>>,
    pub domain: Option<LogText<'a>>,
    pub age_ms: Option<u64>,
    pub client_ip: Option<LogText<'a>>,
    pub client_ehlo: Option<LogText<'a>>,
    /// The user who submitted the message, or the name that a refused client gave.
    #[serde(borrow)]
    pub user: Option<LogText<'a>>,
    pub spool_seq: Option<u64>,
    pub notice_of: Option<LogText<'a>>,
    #[serde(default)]
    pub recovered: bool,
    pub command: Option<LogText<'a>>,
    pub reason: Option<LogText<'a>>,
    pub until: Option<LogText<'a>>,
    pub by: Option<LogText<'a>>,
    pub retry_at: Option<LogText<'a>>,
    pub provider: Option<LogText<'a>>,
    pub source: Option<LogText<'a>>,
    pub source_ip: Option<LogText<'a>>,
    pub lane_day: Option<LogText<'a>>,
    pub mx_host: Option<LogText<'a>>,
    pub mx_ip: Option<LogText<'a>>,
    pub attempt: Option<u32>,
    #[serde(default)]
    pub not_tried: bool,
    pub smtp_code: Option<u16>,
    pub smtp_enhanced: Option<LogText<'a>>,
    pub smtp_text: Option<LogText<'a>>,
    pub smtp_stage: Option<LogText<'a>>,
    pub cause: Option<LogText<'a>>,
    pub detail: Option<LogText<'a>>,
    pub class: Option<LogText<'a>>,
    pub action: Option<LogText<'a>>,
    pub rule: Option<LogText<'a>>,
    #[serde(default)]
    pub ambiguous: bool,
    pub spf: Option<LogText<'a>>,
    pub dmarc: Option<LogText<'a>>,
    pub tls_version: Option<LogText<'a>>,
    pub tls_cipher: Option<LogText<'a>>,
    pub tls_policy: Option<LogText<'a>>,
    pub tls_verified: Option<bool>,
    pub tls_fallback: Option<LogText<'a>>,
    pub dns_ms: Option<u32>,
    pub connect_ms: Option<u32>,
    pub tls_ms: Option<u32>,
    pub envelope_ms: Option<u32>,
    pub body_ms: Option<u32>,
    pub session: Option<LogText<'a>>,
    #[serde(default)]
    pub other_hosts: Vec<OtherHostRecord<'a>>,
    pub cap: Option<u64>,
    pub used: Option<u64>,
    pub next_release: Option<LogText<'a>>,
    pub curve: Option<LogText<'a>>,
    pub change: Option<LogText<'a>>,
    pub day: Option<LogText<'a>>,
    pub stage_from: Option<LogText<'a>>,
    pub stage_to: Option<LogText<'a>>,
    pub next_cap: Option<u64>,
    pub matched_by: Option<LogText<'a>>,
    pub trust: Option<LogText<'a>>,
    pub why: Option<LogText<'a>>,
    #[serde(default)]
    pub again: bool,
    pub names: Option<LogText<'a>>,
    pub reporting_mta: Option<LogText<'a>>,
    pub remote_mta: Option<LogText<'a>>,
    pub status: Option<LogText<'a>>,
    pub scope: Option<LogText<'a>>,
    pub confidence: Option<f32>,
    pub feedback_type: Option<LogText<'a>>,
    pub kind: Option<LogText<'a>>,
    pub state: Option<LogText<'a>>,
    pub part: Option<LogText<'a>>,
    pub incident: Option<LogText<'a>>,
    pub key: Option<LogText<'a>>,
    pub severity: Option<LogText<'a>>,
    pub n: Option<u64>,
    pub of: Option<u64>,
    pub measure: Option<LogText<'a>>,
    pub limit: Option<LogText<'a>>,
    pub problem_of: Option<LogText<'a>>,
    pub done: Option<LogText<'a>>,
    pub next_step: Option<LogText<'a>>,
    pub query: Option<LogText<'a>>,
    pub since: Option<LogText<'a>>,
}

/// What another host said to which an attempt offered the message.
#[derive(Clone, Debug, Default, Deserialize)]
#[allow(missing_docs)]
pub struct OtherHostRecord<'a> {
    #[serde(borrow)]
    pub mx_host: Option<LogText<'a>>,
    pub mx_ip: Option<LogText<'a>>,
    pub lane_day: Option<LogText<'a>>,
    pub smtp_code: Option<u16>,
    pub smtp_text: Option<LogText<'a>>,
    pub smtp_stage: Option<LogText<'a>>,
    pub cause: Option<LogText<'a>>,
    pub detail: Option<LogText<'a>>,
    pub class: Option<LogText<'a>>,
    pub action: Option<LogText<'a>>,
}

impl<'a> LogRecord<'a> {
    /// Parses a line; None if it is damaged.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The time; None if it cannot be parsed.
    pub fn time(&self) -> Option<Timestamp> {
        self.time_text.parse().ok()
    }

    /// The message's id.
    pub fn message(&self) -> Option<MessageId> {
        self.message.as_deref()?.parse().ok()
    }

    /// Whether it is a recipient's ending.
    pub fn is_ending(&self) -> bool {
        is_ending(&self.event)
    }
}

/// The events that may follow an ending: what came back.
pub(crate) fn is_return(event: &str) -> bool {
    matches!(event, "late_bounced" | "complained" | "unsubscribed" | "auto_reply" | "delayed" | "no_report")
}

/// The events that end a recipient. Older relays do not write `suppressed`; a log may be read by any version.
pub(crate) fn is_ending(event: &str) -> bool {
    matches!(event, "delivered" | "bounced" | "expired" | "suppressed" | "cancelled")
}

/// Whether a line neither begins nor ends a recipient, found without parsing it: on a bad day most lines are of this kind.
pub(crate) fn is_routine(line: &[u8]) -> bool {
    matches!(event_word(line), Some("deferred" | "held")) && line.ends_with(b"}")
}

/// The event's word, found without parsing the line.
pub(crate) fn event_word(line: &[u8]) -> Option<&str> {
    // `event` follows time, id and node, at most 220 bytes from the start. Quotes inside strings are escaped, so nothing else matches.
    let head = &line[..line.len().min(256)];
    let word = &head[memmem::find(head, br#""event":""#)? + br#""event":""#.len()..];
    std::str::from_utf8(&word[..memchr::memchr(b'"', word)?]).ok()
}

/// A `log_gap` line.
#[derive(Debug, Deserialize)]
pub(crate) struct GapRecord {
    pub(crate) id: String,
    pub(crate) time: Timestamp,
    pub(crate) file: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) from_byte: u64,
    pub(crate) bytes: u64,
    pub(crate) crc32: Option<u32>,
    pub(crate) detail: String,
}

impl GapRecord {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// The few fields that a fold over millions of lines needs.
#[derive(Debug, Deserialize)]
pub(crate) struct BriefRecord<'a> {
    #[serde(borrow)]
    pub(crate) event: LogText<'a>,
    pub(crate) time: LogText<'a>,
    pub(crate) message: Option<LogText<'a>>,
    pub(crate) rcpt: Option<LogText<'a>>,
    pub(crate) spool_seq: Option<u64>,
    #[serde(default)]
    pub(crate) ambiguous: bool,
}

impl<'a> BriefRecord<'a> {
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The message and recipient; None for lines that are not about a queued recipient.
    pub(crate) fn about(&self) -> Option<(MessageId, &str)> {
        Some((self.message.as_deref()?.parse().ok()?, self.rcpt.as_deref()?))
    }
}
