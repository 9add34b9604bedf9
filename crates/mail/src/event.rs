//! One line of the delivery log. The words are fixed by the JSON Schema beside the monitor; fields are only ever added.

mod facts;
mod text;

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use serde::Serialize;

pub use facts::{Attempt, BudgetFacts, LaneFacts, MessageFacts, RecipientFacts, Returned, ReturnedBounce, TlsFacts};
pub use text::rfc3339_millis;
use text::{is_false, maybe_millis, millis, reply_fields};

use crate::{EventId, MessageId, Name, Reply, TransferPriority};

/// The value of every line's `v`.
pub const SCHEMA_VERSION: u8 = 1;

/// Something that happened, once, at a time.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When, in UTC.
    #[serde(serialize_with = "millis")]
    pub time: Timestamp,
    /// [`SCHEMA_VERSION`].
    pub v: u8,
    /// This line's own id.
    pub id: EventId,
    /// The relay that says it.
    pub node: Name,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. Those about a message carry one recipient each: a message with three recipients has three stories.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The spool has it on disk, and the client is told 250.
    Accepted {
        /// Whose story it belongs to.
        #[serde(flatten)]
        about: RecipientFacts,
        /// The client's address; None for notices that the relay wrote itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_ip: Option<IpAddr>,
        /// What the client called itself in EHLO.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_ehlo: Option<Arc<str>>,
        /// Who handed it in, where that was said.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<Arc<str>>,
        /// How it stands among others of its stream, where that is not as usual.
        #[serde(skip_serializing_if = "TransferPriority::is_usual")]
        priority: TransferPriority,
        /// The spool's number of the message, rising in the order of storing.
        spool_seq: u64,
        /// For a failure notice: the message it is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        notice_of: Option<MessageId>,
        /// True where the line was written on recovery: the relay was killed between storing and logging.
        #[serde(skip_serializing_if = "is_false")]
        recovered: bool,
    },
    /// The relay refused it at submission; it was never queued.
    Rejected {
        /// The client's address.
        client_ip: IpAddr,
        /// What the client called itself in EHLO.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_ehlo: Option<String>,
        /// Who the client said it is: it need not be true where that is what was refused.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// The command that was refused: `connect`, `ehlo`, `starttls`, `auth`, `mail`, `rcpt`, `data`, `dot`, `rset`, `noop`, `vrfy`, `help`,
        /// `command`; `http`: a request.
        command: Arc<str>,
        /// The reverse-path, if it had been given.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The recipient, where the refusal was about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        rcpt: Option<String>,
        /// The relay's own reply.
        #[serde(flatten, serialize_with = "reply_fields")]
        reply: Reply,
        /// Why, in a word that can be counted: `not_allowed`, `bad_address`, `bare_lf`, `too_large`, `too_many_recipients`, `spool_full`, ...
        reason: Arc<str>,
    },
    /// It has to wait for something other than a retry: logged once per change.
    Held {
        /// Whose story it belongs to.
        #[serde(flatten)]
        about: RecipientFacts,
        /// `operator`, or why no lane may send it yet: `day_cap`, `spread`, `hour_cap`, `window`, `day_over`, `paused`, `stopped`, `slowed`,
        /// `rate`, `no_source`.
        reason: Arc<str>,
        /// Until when, where that is known.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_millis")]
        until: Option<Timestamp>,
        /// Whose budget it waits for.
        #[serde(flatten)]
        budget: Option<BudgetFacts>,
    },
    /// An operator let go what was held.
    Released {
        /// Whose story it belongs to.
        #[serde(flatten)]
        about: RecipientFacts,
        /// Who or what.
        by: Arc<str>,
    },
    /// An attempt failed for now.
    Deferred {
        /// Whose story it belongs to.
        #[serde(flatten)]
        about: RecipientFacts,
        /// The attempt.
        #[serde(flatten)]
        attempt: Attempt,
        /// When it is tried again.
        #[serde(serialize_with = "millis")]
        retry_at: Timestamp,
    },
    /// The receiver took responsibility. Ends the story.
    Delivered {
        /// Whose story it belongs to.
        #[serde(flatten)]
        about: RecipientFacts,
        /// The attempt.
        #[serde(flatten)]
        attempt: Attempt,
    },
    /// Refused for good. Ends the story.
    Bounced {
        /// Whose story it belongs to.
        #[serde(flatten)]
        about: RecipientFacts,
        /// The attempt.
        #[serde(flatten)]
        attempt: Attempt,
    },
    /// Too old. Carries the last attempt, if there was one. Ends the story.
    Expired {
        /// Whose story it belongs to.
        #[serde(flatten)]
        about: RecipientFacts,
        /// The last attempt.
        #[serde(flatten)]
        attempt: Attempt,
    },
    /// An operator removed it. Ends the story.
    Cancelled {
        /// Whose story it belongs to.
        #[serde(flatten)]
        about: RecipientFacts,
        /// Who.
        by: Arc<str>,
        /// Why, in the operator's words.
        reason: Arc<str>,
    },
    /// The address is on the suppression list: nothing was sent. Ends the story.
    Suppressed {
        /// Whose story it belongs to.
        #[serde(flatten)]
        about: RecipientFacts,
        /// Why it is on the list: `hard_bounce`, `complaint`, `unsubscribe`, `manual`.
        reason: Arc<str>,
        /// For whom: `global`, or a stream or a user.
        scope: Arc<str>,
        /// Since when.
        #[serde(serialize_with = "millis")]
        since: Timestamp,
    },
    /// A bounce message came back after the receiver had taken the mail. The story had ended before.
    LateBounced {
        /// Whose story it belongs to.
        #[serde(flatten)]
        about: RecipientFacts,
        /// How it came back.
        #[serde(flatten)]
        returned: Returned,
        /// What it says.
        #[serde(flatten)]
        bounce: ReturnedBounce,
    },
    /// The recipient called it spam: a feedback report (RFC 5965) came back.
    Complained {
        /// Whose story it belongs to.
        #[serde(flatten)]
        about: RecipientFacts,
        /// How it came back.
        #[serde(flatten)]
        returned: Returned,
        /// The complaint's kind in the report's own word: `abuse`, `fraud`, ...
        #[serde(skip_serializing_if = "Option::is_none")]
        feedback_type: Option<Arc<str>>,
    },
    /// The recipient wants no more mail of this stream.
    Unsubscribed {
        /// Whose story it belongs to.
        #[serde(flatten)]
        about: RecipientFacts,
        /// How it came back.
        #[serde(flatten)]
        returned: Returned,
    },
    /// A lane (a source at a provider) advanced, held, stepped back, slowed, paused, resumed. Not about a message.
    Lane(Box<LaneFacts>),
    /// The relay itself: started, stopping, reloaded, in trouble, out of it. Not about a message.
    Relay {
        /// `started`, `stopping`, `stopped`, `reloaded`, `reload_failed`, `alarm`, `alarm_over`, `recovered`, `quarantined`, `returned`,
        /// `renewed` (a certificate), `issued` (one, by an ACME authority), `banned` (a client), `source_gone`, `source_back`.
        state: Arc<str>,
        /// What is concerned: `spool`, `disk`, `dns`, `log`, `returns`, `tls`, `acme`, `auth`, ...
        #[serde(skip_serializing_if = "Option::is_none")]
        part: Option<Arc<str>>,
        /// The particulars, for people.
        detail: String,
    },
}

impl What {
    /// The word in the line's `event`.
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
            Self::Lane(_) => "lane",
            Self::Relay { .. } => "relay",
        }
    }

    /// True where it ends a recipient's story.
    pub fn is_ending(&self) -> bool {
        matches!(
            self,
            Self::Delivered { .. } | Self::Bounced { .. } | Self::Expired { .. } | Self::Suppressed { .. } | Self::Cancelled { .. }
        )
    }

    /// Whose story it belongs to; None for events that are not about a queued message.
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
            | Self::Unsubscribed { about, .. } => Some(about),
            Self::Rejected { .. } | Self::Lane(_) | Self::Relay { .. } => None,
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
