//! A parsed line, borrowed from the line's bytes.

use std::{borrow::Cow, fmt, ops::Deref};

use jiff::Timestamp;
use memchr::memmem;
use posthaste_mail::MessageId;
use serde::{Deserialize, Deserializer, de::Visitor};

/// A string in a line, borrowed unless it holds escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

// Implemented by hand, because serde's Option<Cow<str>> always copies.
impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        d.deserialize_str(Borrow)
    }
}

/// One line of the log. All fields but the first two may be missing; unknown fields and events are ignored. The schema documents the
/// fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Story<'a> {
    #[serde(borrow)]
    pub event: Text<'a>,
    /// The time as written in the line; [`Self::time`] parses it.
    #[serde(rename = "time")]
    pub time_text: Text<'a>,
    pub id: Option<Text<'a>>,
    pub node: Option<Text<'a>>,
    pub message: Option<Text<'a>>,
    pub message_id: Option<Text<'a>>,
    pub stream: Option<Text<'a>>,
    #[serde(default)]
    pub tags: Vec<Text<'a>>,
    #[serde(default)]
    pub meta: Vec<Text<'a>>,
    pub from: Option<Text<'a>>,
    pub size: Option<u64>,
    pub rcpt: Option<Text<'a>>,
    pub domain: Option<Text<'a>>,
    pub age_ms: Option<u64>,
    pub client_ip: Option<Text<'a>>,
    pub client_ehlo: Option<Text<'a>>,
    /// The user who submitted the message, or the name that a refused client gave.
    #[serde(borrow)]
    pub user: Option<Text<'a>>,
    pub spool_seq: Option<u64>,
    pub notice_of: Option<Text<'a>>,
    #[serde(default)]
    pub recovered: bool,
    pub command: Option<Text<'a>>,
    pub reason: Option<Text<'a>>,
    pub until: Option<Text<'a>>,
    pub by: Option<Text<'a>>,
    pub retry_at: Option<Text<'a>>,
    pub provider: Option<Text<'a>>,
    pub source: Option<Text<'a>>,
    pub source_ip: Option<Text<'a>>,
    pub lane_day: Option<Text<'a>>,
    pub mx_host: Option<Text<'a>>,
    pub mx_ip: Option<Text<'a>>,
    pub attempt: Option<u32>,
    pub smtp_code: Option<u16>,
    pub smtp_enhanced: Option<Text<'a>>,
    pub smtp_text: Option<Text<'a>>,
    pub smtp_stage: Option<Text<'a>>,
    pub cause: Option<Text<'a>>,
    pub detail: Option<Text<'a>>,
    pub class: Option<Text<'a>>,
    pub action: Option<Text<'a>>,
    pub rule: Option<Text<'a>>,
    #[serde(default)]
    pub ambiguous: bool,
    pub tls_version: Option<Text<'a>>,
    pub tls_cipher: Option<Text<'a>>,
    pub tls_policy: Option<Text<'a>>,
    pub tls_verified: Option<bool>,
    pub tls_fallback: Option<Text<'a>>,
    pub dns_ms: Option<u32>,
    pub connect_ms: Option<u32>,
    pub tls_ms: Option<u32>,
    pub envelope_ms: Option<u32>,
    pub body_ms: Option<u32>,
    pub session: Option<Text<'a>>,
    pub cap: Option<u64>,
    pub used: Option<u64>,
    pub next_release: Option<Text<'a>>,
    pub curve: Option<Text<'a>>,
    pub change: Option<Text<'a>>,
    pub day: Option<Text<'a>>,
    pub stage_from: Option<Text<'a>>,
    pub stage_to: Option<Text<'a>>,
    pub next_cap: Option<u64>,
    pub matched_by: Option<Text<'a>>,
    pub names: Option<Text<'a>>,
    pub reporting_mta: Option<Text<'a>>,
    pub remote_mta: Option<Text<'a>>,
    pub status: Option<Text<'a>>,
    pub scope: Option<Text<'a>>,
    pub confidence: Option<f32>,
    pub feedback_type: Option<Text<'a>>,
    pub state: Option<Text<'a>>,
    pub part: Option<Text<'a>>,
}

impl<'a> Story<'a> {
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
    matches!(event, "late_bounced" | "complained" | "unsubscribed")
}

/// The events that end a recipient. Older relays do not write `suppressed`; a log may be read by any version.
pub(crate) fn is_ending(event: &str) -> bool {
    matches!(event, "delivered" | "bounced" | "expired" | "suppressed" | "cancelled")
}

/// Whether a line neither begins nor ends a recipient, found without parsing it: on a bad day most lines are of this kind.
pub(crate) fn is_routine(line: &[u8]) -> bool {
    // `event` follows time, id and node, at most 220 bytes from the start. Quotes inside strings are escaped, so nothing else matches.
    let head = &line[..line.len().min(256)];
    let Some(at) = memmem::find(head, br#""event":""#) else { return false };
    let event = &line[at + br#""event":""#.len()..];
    (event.starts_with(b"deferred\"") || event.starts_with(b"held\"")) && line.ends_with(b"}")
}

/// The few fields that a fold over millions of lines needs.
#[derive(Debug, Deserialize)]
pub(crate) struct BriefRecord<'a> {
    #[serde(borrow)]
    pub(crate) event: Text<'a>,
    pub(crate) time: Text<'a>,
    pub(crate) message: Option<Text<'a>>,
    pub(crate) rcpt: Option<Text<'a>>,
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
