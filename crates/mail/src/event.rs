//! The events of the delivery log, one a line. The JSON Schema of the monitor fixes their words; fields are only ever added.

mod facts;
mod text;

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use serde::Serialize;

pub use facts::{
    Attempt, BudgetFacts, GapFacts, IncidentFacts, LaneFacts, MessageFacts, OtherHost, RecipientFacts, Returned, ReturnedBounce, TlsFacts,
};
pub use text::rfc3339_millis;
use text::{is_false, maybe_millis, millis, reply_fields};

use crate::{EventId, MessageId, Name, Reply, TransferPriority};

/// The value of every line's `v`.
pub const SCHEMA_VERSION: u8 = 1;

/// An event: one line of the delivery log.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When, in UTC.
    #[serde(serialize_with = "millis")]
    pub time: Timestamp,
    /// [`SCHEMA_VERSION`].
    pub v: u8,
    /// The id of this line.
    pub id: EventId,
    /// The relay that wrote it.
    pub node: Name,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. An event about a message is about one of its recipients: a message to three recipients has three records in the log.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The message is on disk in the spool, and the client gets its 250.
    Accepted {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// The client's address; `None` for notices of the relay itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_ip: Option<IpAddr>,
        /// What the client called itself in EHLO.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_ehlo: Option<Arc<str>>,
        /// Its priority among others of its stream, if it is not 0.
        #[serde(skip_serializing_if = "TransferPriority::is_usual")]
        priority: TransferPriority,
        /// The number of the message in the spool, rising in the order of storing.
        spool_seq: u64,
        /// For a failure notice: the message that it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        notice_of: Option<MessageId>,
        /// True if the line was written on recovery because the relay was killed between storing and logging.
        #[serde(skip_serializing_if = "is_false")]
        recovered: bool,
    },
    /// The relay rejected it at submission; it was never queued.
    Rejected {
        /// The client's address.
        client_ip: IpAddr,
        /// What the client called itself in EHLO.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_ehlo: Option<String>,
        /// The user that the client claimed to be; not verified if the login itself was rejected.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// The command that was rejected: `connect`, `ehlo`, `starttls`, `auth`, `mail`, `rcpt`, `data`, `dot`, `rset`, `noop`, `vrfy`,
        /// `help`, `command`; `http`: a request.
        command: Arc<str>,
        /// The reverse-path, if it was given.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The recipient, if the rejection is about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        rcpt: Option<String>,
        /// The relay's reply.
        #[serde(flatten, serialize_with = "reply_fields")]
        reply: Reply,
        /// The reason, as a word that can be counted: `not_allowed`, `bad_address`, `bare_lf`, `too_large`, `too_many_recipients`,
        /// `spool_full`, ...
        reason: Arc<str>,
    },
    /// The recipient waits for something other than a retry. Logged once per change.
    Held {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// `operator`, `scheduled`, `guard` (its user or stream behaves like a stolen account), or why no lane may send yet: `day_cap`, `spread`, `hour_cap`, `window`, `day_over`, `paused`, `stopped`, `slowed`,
        /// `rate`, `no_source`.
        reason: Arc<str>,
        /// Until when, if that is known.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_millis")]
        until: Option<Timestamp>,
        /// Why the guard holds it, and the command that ends it. What a wait for budget says is in the budget's own words.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<Arc<str>>,
        /// The budget that it waits for.
        #[serde(flatten)]
        budget: Option<BudgetFacts>,
    },
    /// An operator released a held recipient.
    Released {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// Who or what released it.
        by: Arc<str>,
    },
    /// An attempt failed temporarily.
    Deferred {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// The attempt.
        #[serde(flatten)]
        attempt: Attempt,
        /// When the next attempt is due.
        #[serde(serialize_with = "millis")]
        retry_at: Timestamp,
    },
    /// The receiver accepted the message. Final.
    Delivered {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// The attempt.
        #[serde(flatten)]
        attempt: Attempt,
    },
    /// Delivery failed permanently. Final.
    Bounced {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// The attempt.
        #[serde(flatten)]
        attempt: Attempt,
    },
    /// The message is too old. Carries the last attempt, if there was one. Final.
    Expired {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// The last attempt.
        #[serde(flatten)]
        attempt: Attempt,
    },
    /// An operator removed it. Final.
    Cancelled {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// Who removed it.
        by: Arc<str>,
        /// The reason, in the operator's words.
        reason: Arc<str>,
    },
    /// The address is on the suppression list; nothing was sent. Final.
    Suppressed {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// Why it is on the list: `hard_bounce`, `complaint`, `unsubscribe`, `manual`.
        reason: Arc<str>,
        /// The scope of the entry: `global`, or a stream or a user.
        scope: Arc<str>,
        /// Since when it is on the list.
        #[serde(serialize_with = "millis")]
        since: Timestamp,
    },
    /// A bounce message came back after the receiver had accepted the mail; the final event came before.
    LateBounced {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// How the report came back.
        #[serde(flatten)]
        returned: Returned,
        /// What the bounce says.
        #[serde(flatten)]
        bounce: ReturnedBounce,
    },
    /// The recipient reported it as spam: a feedback report (RFC 5965) came back.
    Complained {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// How the report came back.
        #[serde(flatten)]
        returned: Returned,
        /// The kind of the complaint, as named by the report: `abuse`, `fraud`, ...
        #[serde(skip_serializing_if = "Option::is_none")]
        feedback_type: Option<Arc<str>>,
    },
    /// The recipient unsubscribed from this stream.
    Unsubscribed {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// How the report came back.
        #[serde(flatten)]
        returned: Returned,
    },
    /// A vacation note or another automatic reply came back. Nothing follows from it.
    AutoReply {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// How it came back.
        #[serde(flatten)]
        returned: Returned,
    },
    /// Another host still tries to deliver it, and says so. Nothing follows from it.
    Delayed {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// How the report came back.
        #[serde(flatten)]
        returned: Returned,
    },
    /// What came back reports no failure: a person's mail, a report of success, `not-spam`. Nothing follows from it.
    NoReport {
        /// The message and the recipient.
        #[serde(flatten)]
        about: RecipientFacts,
        /// How it came back.
        #[serde(flatten)]
        returned: Returned,
        /// What it is: `mail`, `delivery_report`, or the type of a feedback report.
        kind: Arc<str>,
    },
    /// Mail came back that belongs to no message that the log knows. Nothing follows from it.
    Unmatched {
        /// The client's address, if it came by SMTP.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_ip: Option<IpAddr>,
        /// The address that it was sent to, if that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        rcpt: Option<Arc<str>>,
        /// What it is: `bounce`, `delayed`, `feedback`, `auto_reply`, `mail`, `delivery_report`.
        kind: Arc<str>,
        /// Why it belongs to none: `no_hint`, `not_in_log`, `forged`, `expired`, `several`, `no_report`.
        reason: Arc<str>,
    },
    /// A lane (a source at a provider) changed: it advanced, held, stepped back, slowed, paused or resumed. Not about a message.
    Lane(Box<LaneFacts>),
    /// The state of the relay itself changed: it started, is stopping, reloaded, has a problem or has recovered. Not about a message.
    Relay {
        /// `started`, `stopping`, `stopped`, `reloaded`, `reload_failed`, `alarm`, `alarm_over`, `recovered`, `quarantined`, `returned`,
        /// `renewed` (a certificate), `issued` (one, by an ACME authority), `banned` (a client), `source_gone`, `source_back`,
        /// `alarm_acknowledged`, `clock_back`.
        state: Arc<str>,
        /// The part concerned: `spool`, `disk`, `dns`, `log`, `returns`, `tls`, `acme`, `auth`, ...
        #[serde(skip_serializing_if = "Option::is_none")]
        part: Option<Arc<str>>,
        /// The number of an alarm that stands until it is acknowledged. Each start writes its line again.
        #[serde(skip_serializing_if = "Option::is_none")]
        alarm: Option<u64>,
        /// The details, for people.
        detail: String,
    },
    /// Lines of the log are missing: somebody moved, deleted, shortened or replaced a file of it. Not about a message.
    LogGap(Box<GapFacts>),
    /// An incident opened, changed, was muted or closed. Not about a message.
    Incident(Box<IncidentFacts>),
}

impl What {
    /// The word in the field `event` of the line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Rejected { .. } => "rejected",
            Self::Held { .. } => "held",
            Self::Released { .. } => "released",
            Self::Deferred { .. } => "deferred",
            Self::Delivered { .. } => "delivered",
            Self::Bounced { .. } => "bounced",
            Self::Expired { .. } => "expired",
            Self::Cancelled { .. } => "cancelled",
            Self::Suppressed { .. } => "suppressed",
            Self::LateBounced { .. } => "late_bounced",
            Self::Complained { .. } => "complained",
            Self::Unsubscribed { .. } => "unsubscribed",
            Self::AutoReply { .. } => "auto_reply",
            Self::Delayed { .. } => "delayed",
            Self::NoReport { .. } => "no_report",
            Self::Unmatched { .. } => "unmatched",
            Self::Lane(_) => "lane",
            Self::Relay { .. } => "relay",
            Self::LogGap(_) => "log_gap",
            Self::Incident(_) => "incident",
        }
    }

    /// True for the final event of a recipient.
    pub fn is_ending(&self) -> bool {
        matches!(
            self,
            Self::Delivered { .. } | Self::Bounced { .. } | Self::Expired { .. } | Self::Suppressed { .. } | Self::Cancelled { .. }
        )
    }

    /// The message and the recipient; `None` for events that are not about a queued message.
    pub fn about(&self) -> Option<&RecipientFacts> {
        match self {
            Self::Accepted { about, .. }
            | Self::Held { about, .. }
            | Self::Released { about, .. }
            | Self::Deferred { about, .. }
            | Self::Delivered { about, .. }
            | Self::Bounced { about, .. }
            | Self::Expired { about, .. }
            | Self::Suppressed { about, .. }
            | Self::Cancelled { about, .. }
            | Self::LateBounced { about, .. }
            | Self::Complained { about, .. }
            | Self::Unsubscribed { about, .. }
            | Self::AutoReply { about, .. }
            | Self::Delayed { about, .. }
            | Self::NoReport { about, .. } => Some(about),
            Self::Rejected { .. } | Self::Unmatched { .. } | Self::Lane(_) | Self::Relay { .. } | Self::LogGap(_) | Self::Incident(_) => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_line() {
        let message = MessageFacts {
            message: MessageId::new(Timestamp::UNIX_EPOCH, 7),
            message_id: Some("<a@x.org>".into()),
            stream: Name::new("receipts").unwrap(),
            user: None,
            from_domain: None,
            dkim: None,
            one_click: false,
            hold_ms: None,
            tags: Arc::from([Arc::from("may")]),
            meta: ["order=7".into()].into(),
            from: "bounce@x.org".into(),
            size: 10_240,
        };
        let about = RecipientFacts { message: Arc::new(message), rcpt: "b@gmail.com".into(), domain: "gmail.com".into(), age_ms: 12 };
        let attempt = Attempt {
            attempt: 2,
            reply: Some(Reply::new(421, "4.7.28 slow\ndown")),
            smtp_stage: Some(crate::Stage::Dot),
            ..Attempt::default()
        };
        let event = Event {
            time: "2026-08-24T10:11:12.3456Z".parse().unwrap(),
            v: SCHEMA_VERSION,
            id: EventId::new(Timestamp::UNIX_EPOCH, 1),
            node: Name::new("mx1").unwrap(),
            what: What::Deferred { about, attempt, retry_at: "2026-08-24T10:16:12Z".parse().unwrap() },
        };
        let line = serde_json::to_value(&event).unwrap();
        assert_eq!(line["time"], "2026-08-24T10:11:12.345Z");
        assert_eq!(line["event"], "deferred");
        assert_eq!(line["smtp_enhanced"], "4.7.28");
        assert_eq!(line["smtp_text"], "4.7.28 slow\ndown");
        assert_eq!(line["retry_at"], "2026-08-24T10:16:12.000Z");
        assert!(line.as_object().unwrap().values().all(|v| !v.is_object()), "{line}");
    }
}
