//! One line of the delivery log. The words are fixed by the JSON Schema beside the monitor; fields are only ever added.

use std::{fmt, net::IpAddr, sync::Arc};

use jiff::{Timestamp, civil::Date};
use serde::{Serialize, Serializer};

use crate::{Action, Class, EnhancedCode, EventId, MessageId, Name, Reply, Scope, Stage};

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
        /// The command that was refused: `connect`, `ehlo`, `mail`, `rcpt`, `data`, `dot`, `command`.
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
        /// `started`, `stopping`, `stopped`, `reloaded`, `reload_failed`, `alarm`, `alarm_over`, `recovered`, `quarantined`, `returned`.
        state: Arc<str>,
        /// What is concerned: `spool`, `disk`, `dns`, `log`, `returns`, ...
        #[serde(skip_serializing_if = "Option::is_none")]
        part: Option<Arc<str>>,
        /// The particulars, for people.
        detail: String,
    },
}

/// What is known of a message and is the same in all its events.
#[derive(Clone, Debug, Serialize)]
pub struct MessageFacts {
    /// The id that the client was told.
    pub message: MessageId,
    /// The Message-ID header, angle brackets included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Arc<str>>,
    /// The stream.
    pub stream: Name,
    /// Tags, by which reports group.
    #[serde(skip_serializing_if = "no_tags")]
    pub tags: Arc<[Arc<str>]>,
    /// The reverse-path, empty for `<>`.
    pub from: Arc<str>,
    /// Bytes as stored, the relay's own header lines included.
    pub size: u64,
}

/// One recipient of one message.
#[derive(Clone, Debug, Serialize)]
pub struct RecipientFacts {
    /// The message.
    #[serde(flatten)]
    pub message: Arc<MessageFacts>,
    /// The recipient's address.
    pub rcpt: Arc<str>,
    /// Its domain.
    pub domain: Arc<str>,
    /// Milliseconds since the message was accepted.
    pub age_ms: u64,
}

/// Whose budget a recipient waits for.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetFacts {
    /// The source whose turn it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Name>,
    /// Who runs the recipient's mailboxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// The lane's cap: of the day or the hour, as the reason says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<u32>,
    /// What of it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u32>,
    /// When the lane may send its next recipient.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_millis")]
    pub next_release: Option<Timestamp>,
    /// The same in words.
    pub detail: Arc<str>,
}

/// What happened to a lane, with the numbers that decided.
#[derive(Clone, Debug, Serialize)]
pub struct LaneFacts {
    /// The source.
    pub source: Name,
    /// The provider.
    pub provider: Name,
    /// The curve that it goes by, with the provider where that has a variant.
    pub curve: Arc<str>,
    /// `advanced`, `held`, `stepped_back`, `finished`, `blocked`, `restarted`, `slowed`, `paused`, `resumed`, `steered`, `plan_changed`.
    pub change: &'static str,
    /// The day that is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<Arc<str>>,
    /// The stage before; `warm` behind the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_from: Option<Arc<str>>,
    /// The stage from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_to: Option<Arc<str>>,
    /// The cap before: of the day that is over, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<u32>,
    /// The cap from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cap: Option<u32>,
    /// The day's recipients: answered by the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<u32>,
    /// Of these, taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<u32>,
    /// Of these, refused for good because the address is no good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_bounces: Option<u32>,
    /// Of these, put off because of rate or reputation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<u32>,
    /// Feedback reports that came in on the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complaints: Option<u32>,
    /// Recipients an hour from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u32>,
    /// Connections from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Until when the lane pauses.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_millis")]
    pub until: Option<Timestamp>,
    /// What decided, in words.
    pub detail: Arc<str>,
}

/// One try at handing a message over.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Attempt {
    /// Who runs the recipient's mailboxes, once known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// The sending source's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Name>,
    /// The day of the source's warm-up at this provider from whose budget the attempt was made; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane_day: Option<Date>,
    /// The local address of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<IpAddr>,
    /// The receiver's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mx_host: Option<Arc<str>>,
    /// The receiver's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mx_ip: Option<IpAddr>,
    /// 1 for the first try.
    pub attempt: u32,
    /// What the receiver said.
    #[serde(flatten, serialize_with = "maybe_reply_fields")]
    pub reply: Option<Reply>,
    /// Which command the reply or the trouble belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_stage: Option<Stage>,
    /// What went wrong where no reply settled it: a [`crate::LocalCause`]'s word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// The trouble in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Arc<str>>,
    /// What it means; none for a delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// What to do about it; none for a delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// Which rule of the classifier said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// True where the connection died behind the final dot: the receiver may have taken it, and it is tried again.
    #[serde(skip_serializing_if = "is_false")]
    pub ambiguous: bool,
    /// TLS, where there was any.
    #[serde(flatten)]
    pub tls: TlsFacts,
    /// Milliseconds for looking up the hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_ms: Option<u32>,
    /// Milliseconds for connecting; absent on a connection that was used before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u32>,
    /// Milliseconds for STARTTLS and the handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ms: Option<u32>,
    /// Milliseconds from MAIL to the answer to DATA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelope_ms: Option<u32>,
    /// Milliseconds from the body's first byte to the answer to its dot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_ms: Option<u32>,
    /// The connection, the same for all that it carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<str>>,
}

/// How mail about a message came back, and how far it is believed.
#[derive(Clone, Debug, Serialize)]
pub struct Returned {
    /// Who had taken the message, where the log still tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// The source that it had left from, where the log still tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Name>,
    /// By what it was matched: `verp` (a keyed reverse-path), `envid` or `message_id`, which anybody may guess.
    pub matched_by: &'static str,
    /// Whom it names, where that is another address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Arc<str>>,
    /// The host that reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reporting_mta: Option<Arc<str>>,
}

/// What a bounce message says.
#[derive(Clone, Debug, Serialize)]
pub struct ReturnedBounce {
    /// The enhanced code that it reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<EnhancedCode>,
    /// The words that were judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Arc<str>>,
    /// The host that had refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_mta: Option<Arc<str>>,
    /// What it means.
    pub class: Class,
    /// Whose problem it is.
    pub scope: Scope,
    /// What to do about it.
    pub action: Action,
    /// Which rule of the classifier said so.
    pub rule: Arc<str>,
    /// How sure the rule is, 0 to 1.
    pub confidence: f32,
}

/// What protected a connection.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TlsFacts {
    /// `TLSv1.3` or `TLSv1.2`; absent in plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<&'static str>,
    /// The cipher suite's IANA name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cipher: Option<&'static str>,
    /// The policy in force: `none`, `opportunistic`, `require`, `verify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_policy: Option<&'static str>,
    /// Whether the certificate was checked against the host's name and found good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_verified: Option<bool>,
    /// Why it went in plain text although the receiver offered TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_fallback: Option<Arc<str>>,
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

/// RFC 3339 in UTC with three decimals: how every time in the log is written.
pub fn rfc3339_millis(time: Timestamp) -> impl fmt::Display {
    struct Millis(Timestamp);
    impl fmt::Display for Millis {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:.3}", self.0)
        }
    }
    Millis(time)
}

fn millis<S: Serializer>(time: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&rfc3339_millis(*time))
}

fn maybe_millis<S: Serializer>(time: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => millis(time, s),
        None => s.serialize_none(),
    }
}

fn reply_fields<S: Serializer>(reply: &Reply, s: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = s.serialize_map(Some(3))?;
    map.serialize_entry("smtp_code", &reply.code)?;
    if let Some(code) = reply.enhanced {
        map.serialize_entry("smtp_enhanced", &code)?;
    }
    map.serialize_entry("smtp_text", &reply.text)?;
    map.end()
}

fn maybe_reply_fields<S: Serializer>(reply: &Option<Reply>, s: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    match reply {
        Some(reply) => reply_fields(reply, s),
        None => s.serialize_map(Some(0))?.end(),
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn no_tags(tags: &Arc<[Arc<str>]>) -> bool {
    tags.is_empty()
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
            from: "bounce@x.org".into(),
            size: 10_240,
        };
        let about = RecipientFacts { message: Arc::new(message), rcpt: "b@gmail.com".into(), domain: "gmail.com".into(), age_ms: 12 };
        let attempt =
            Attempt { attempt: 2, reply: Some(Reply::new(421, "4.7.28 slow\ndown")), smtp_stage: Some(Stage::Dot), ..Attempt::default() };
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
