//! What the tallies look at in a line of the log.

use jiff::Timestamp;
use posthaste_mail::Class;
use posthaste_monitor::LogText;
use serde::Deserialize;

/// The fields of a line that are counted. Unknown fields are ignored, and so are unknown events when it comes to counting.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Seen<'a> {
    #[serde(borrow)]
    pub(crate) event: LogText<'a>,
    time: LogText<'a>,
    pub(crate) stream: Option<LogText<'a>>,
    pub(crate) user: Option<LogText<'a>>,
    pub(crate) from_domain: Option<LogText<'a>>,
    pub(crate) domain: Option<LogText<'a>>,
    pub(crate) tags: Vec<LogText<'a>>,
    pub(crate) size: u64,
    pub(crate) age_ms: u64,
    pub(crate) provider: Option<LogText<'a>>,
    pub(crate) source: Option<LogText<'a>>,
    pub(crate) attempt: u32,
    pub(crate) not_tried: bool,
    pub(crate) smtp_code: Option<u16>,
    class: Option<LogText<'a>>,
    pub(crate) rule: Option<LogText<'a>>,
    pub(crate) tls_version: Option<LogText<'a>>,
    pub(crate) tls_verified: Option<bool>,
    pub(crate) dkim: Option<LogText<'a>>,
    pub(crate) spf: Option<LogText<'a>>,
    pub(crate) dmarc: Option<LogText<'a>>,
    pub(crate) one_click: bool,
    pub(crate) machine: bool,
    /// An earlier line told of the same, which was counted.
    pub(crate) again: bool,
    pub(crate) kind: Option<LogText<'a>>,
    /// What speaks for a report that came back.
    pub(crate) why: Option<LogText<'a>>,
    pub(crate) reason: Option<LogText<'a>>,
    dns_ms: u64,
    pub(crate) connect_ms: Option<u64>,
    pub(crate) tls_ms: Option<u64>,
    envelope_ms: Option<u64>,
    body_ms: Option<u64>,
}

impl<'a> Seen<'a> {
    /// Parses a line; None if it is damaged.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        // Whether it is UTF-8 is looked at once, and not for each text.
        serde_json::from_str(str::from_utf8(line).ok()?).ok()
    }

    /// When it happened; None if that cannot be read.
    pub fn time(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }

    /// What the failure means.
    pub(crate) fn class(&self) -> Option<Class> {
        self.class.as_deref()?.parse().ok()
    }

    /// Whether it tells of an attempt: not of a recipient that was only looked at while its hosts were out of reach, or that became too old
    /// in the queue.
    pub(crate) fn is_attempt(&self) -> bool {
        self.provider.is_some() && !self.not_tried && self.attempt > 0
    }

    /// From MAIL to the reply after the message.
    pub(crate) fn dialogue_ms(&self) -> Option<u64> {
        Some(self.envelope_ms?.saturating_add(self.body_ms?))
    }

    /// What went by before the attempt that delivered it at once.
    pub(crate) fn wait_ms(&self) -> u64 {
        let attempt = [Some(self.dns_ms), self.connect_ms, self.tls_ms, self.envelope_ms, self.body_ms];
        attempt.into_iter().flatten().fold(self.age_ms, u64::saturating_sub)
    }
}
