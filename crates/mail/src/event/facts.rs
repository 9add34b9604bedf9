//! What events say of messages, recipients, attempts, lanes and reports: the fields that several kinds of lines share.

use std::{net::IpAddr, sync::Arc};

use jiff::{Timestamp, civil::Date};
use serde::Serialize;

use super::text::{is_false, maybe_millis, maybe_reply_fields, no_tags};
use crate::{Action, Class, EnhancedCode, MessageId, Name, Reply, Scope, Stage};

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
    /// Facts of the application's own: `name=value`.
    #[serde(skip_serializing_if = "no_tags")]
    pub meta: Arc<[Arc<str>]>,
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
    /// Whether the receiver understands DSN (RFC 3461) and gives notice itself where that was asked for. Not in the log.
    #[serde(skip)]
    pub dsn: bool,
    /// Whether the receiver understands DELIVERBY (RFC 2852) and looks at the time itself. Not in the log.
    #[serde(skip)]
    pub deliver_by: bool,
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
