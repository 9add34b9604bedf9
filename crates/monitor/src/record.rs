//! A line read back: what folds and people need, borrowed from the line.

use std::{borrow::Cow, fmt, ops::Deref};

use jiff::Timestamp;
use memchr::memmem;
use posthaste_mail::MessageId;
use serde::{Deserialize, Deserializer, de::Visitor};

/// A string of a line, borrowed where it holds no escapes.
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

// By hand, because serde's own Option<Cow<str>> always copies.
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

/// One line of the log. Every field but the first two may be missing; fields and events that this version does not know are passed over.
/// The fields' meaning is in the schema.
#[derive(Clone, Debug, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Story<'a> {
    #[serde(borrow)]
    pub event: Text<'a>,
    /// As it stands in the line; [`Self::time`] reads it.
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
    /// Who handed it in, or said it is that.
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
    /// Reads a line; None where it is damaged.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// When it happened; None where the line has no readable time.
    pub fn time(&self) -> Option<Timestamp> {
        self.time_text.parse().ok()
    }

    /// The message's id.
    pub fn message(&self) -> Option<MessageId> {
        self.message.as_deref()?.parse().ok()
    }

    /// True where it ends a recipient's story.
    pub fn is_ending(&self) -> bool {
        is_ending(&self.event)
    }
}

/// The events that stand behind an ending: what came back.
pub(crate) fn is_return(event: &str) -> bool {
    matches!(event, "late_bounced" | "complained" | "unsubscribed")
}

/// The events that end a recipient's story. `suppressed` is said by later relays; a log is read by any version.
pub(crate) fn is_ending(event: &str) -> bool {
    matches!(event, "delivered" | "bounced" | "expired" | "suppressed" | "cancelled")
}

/// True for the lines that neither begin nor end a story, without parsing them: on a bad day they are the most.
pub(crate) fn is_routine(line: &[u8]) -> bool {
    // `event` stands behind time, id and node, at most 220 bytes from the start. Quotes inside of strings are escaped, so nothing else matches.
    let head = &line[..line.len().min(256)];
    let Some(at) = memmem::find(head, br#""event":""#) else { return false };
    let event = &line[at + br#""event":""#.len()..];
    (event.starts_with(b"deferred\"") || event.starts_with(b"held\"")) && line.ends_with(b"}")
}

/// The few fields that a fold over millions of lines looks at.
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

    /// Whose story it belongs to; None for lines that are not about a queued recipient.
    pub(crate) fn about(&self) -> Option<(MessageId, &str)> {
        Some((self.message.as_deref()?.parse().ok()?, self.rcpt.as_deref()?))
    }
}
