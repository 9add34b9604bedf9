//! The fields that several kinds of events share: about messages, recipients, attempts, lanes and reports.

use std::{net::IpAddr, sync::Arc};

use jiff::{Timestamp, civil::Date};
use serde::Serialize;

use super::text::{is_false, maybe_millis, maybe_reply_fields, millis, no_tags};
use crate::{Action, Class, EnhancedCode, MessageId, Name, Reply, Scope, Stage};

/// The facts of a message that are the same in all its events.
#[derive(Clone, Debug, Serialize)]
pub struct MessageFacts {
    /// The id that the client got.
    pub message: MessageId,
    /// The Message-ID header, angle brackets included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Arc<str>>,
    /// The stream.
    pub stream: Name,
    /// The user who submitted it, if the client logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The domain of the From field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_domain: Option<Arc<str>>,
    /// `aligned` if a DKIM signature speaks for the From field's domain, `unaligned` if there are only others; None: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dkim: Option<&'static str>,
    /// Whether it offers to unsubscribe by one click (RFC 8058).
    #[serde(skip_serializing_if = "is_false")]
    pub one_click: bool,
    /// Milliseconds from its acceptance to the time before which its sender does not want it sent (RFC 4865); None: it may go at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<u64>,
    /// Tags, for grouping in reports.
    #[serde(skip_serializing_if = "no_tags")]
    pub tags: Arc<[Arc<str>]>,
    /// Metadata of the application: `name=value`.
    #[serde(skip_serializing_if = "no_tags")]
    pub meta: Arc<[Arc<str>]>,
    /// The reverse-path, empty for `<>`.
    pub from: Arc<str>,
    /// Its size in bytes as stored, the relay's own header lines included.
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

/// The budget that a recipient waits for.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetFacts {
    /// The source whose turn it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Name>,
    /// The provider that runs the recipient's mailboxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// The lane's cap for the day or the hour, as the reason says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<u32>,
    /// How much of it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u32>,
    /// When the lane may send its next recipient.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_millis")]
    pub next_release: Option<Timestamp>,
    /// The same in words.
    pub detail: Arc<str>,
}

/// A change of a lane, with the numbers behind it.
#[derive(Clone, Debug, Serialize)]
pub struct LaneFacts {
    /// The source.
    pub source: Name,
    /// The provider.
    pub provider: Name,
    /// The name of its curve, with the provider if the curve has a variant for it.
    pub curve: Arc<str>,
    /// `advanced`, `held`, `stepped_back`, `finished`, `blocked`, `restarted`, `slowed`, `paused`, `resumed`, `steered`, `plan_changed`.
    pub change: &'static str,
    /// The day that is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<Arc<str>>,
    /// The stage before; `warm` after the last stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_from: Option<Arc<str>>,
    /// The stage from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_to: Option<Arc<str>>,
    /// The cap before: that of the day that is over, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<u32>,
    /// The cap from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cap: Option<u32>,
    /// The day's recipients that the provider answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<u32>,
    /// Of these, accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<u32>,
    /// Of these, rejected for good because the address is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_bounces: Option<u32>,
    /// Of these, deferred because of rate or reputation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<u32>,
    /// Feedback reports that arrived on the day.
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
    /// The reason, in words.
    pub detail: Arc<str>,
}

/// One attempt to deliver a message to a recipient.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Attempt {
    /// Whether the receiver supports DSN (RFC 3461) and so sends requested notices itself. Not in the log.
    #[serde(skip)]
    pub dsn: bool,
    /// Whether the receiver supports DELIVERBY (RFC 2852) and so watches the time itself. Not in the log.
    #[serde(skip)]
    pub deliver_by: bool,
    /// The provider that runs the recipient's mailboxes, once known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// The sending source's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Name>,
    /// The day of the lane's warm-up whose budget the attempt used; absent if the lane does not warm up.
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
    /// The number of the attempt, from 1. For what was not tried, the number of attempts before.
    pub attempt: u32,
    /// Nothing was tried: its hosts were known to be out of reach, or the relay itself could not.
    #[serde(skip_serializing_if = "is_false")]
    pub not_tried: bool,
    /// The receiver's reply.
    #[serde(flatten, serialize_with = "maybe_reply_fields")]
    pub reply: Option<Reply>,
    /// The stage at which the reply came or the attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_stage: Option<Stage>,
    /// What failed if no reply decided it: the word of a [`crate::LocalCause`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// The failure in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Arc<str>>,
    /// What the failure means; absent for a delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// What to do about it; absent for a delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The rule of the classifier that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// True if the connection was lost after the final dot: the receiver may have accepted the message, and it is tried again.
    #[serde(skip_serializing_if = "is_false")]
    pub ambiguous: bool,
    /// The other hosts that this attempt offered it to, in their order: none of them took it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_hosts: Vec<OtherHost>,
    /// What SPF says of the source's address and the domain of the reverse-path (of EHLO, if that is empty): `pass`, `fail`, `softfail`,
    /// `neutral`, `none` or `permerror`. Absent: DNS had not answered, or a smart host delivers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spf: Option<&'static str>,
    /// The DMARC policy of the From field's domain or its organizational domain: `none`, `quarantine`, `reject`, or `absent`. Absent: DNS had not
    /// answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dmarc: Option<&'static str>,
    /// TLS, if there was any.
    #[serde(flatten)]
    pub tls: TlsFacts,
    /// Milliseconds to look up the hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_ms: Option<u32>,
    /// Milliseconds to connect; absent on a reused connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u32>,
    /// Milliseconds for STARTTLS and the handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ms: Option<u32>,
    /// Milliseconds from MAIL to the reply to DATA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envelope_ms: Option<u32>,
    /// Milliseconds from the first byte of the body to the reply to the final dot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_ms: Option<u32>,
    /// The id of the connection, the same for all messages sent over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<str>>,
}

/// What one of several hosts said to which an attempt offered a message (RFC 5321 §5.1).
#[derive(Clone, Debug, Serialize)]
pub struct OtherHost {
    /// The host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mx_host: Option<Arc<str>>,
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mx_ip: Option<IpAddr>,
    /// The day of the lane's warm-up whose budget this offer used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane_day: Option<Date>,
    /// Its reply.
    #[serde(flatten, serialize_with = "maybe_reply_fields")]
    pub reply: Option<Reply>,
    /// The stage at which the reply came or the offer failed.
    pub smtp_stage: Stage,
    /// What failed if no reply decided it: the word of a [`crate::LocalCause`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// The failure in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Arc<str>>,
    /// What the failure means.
    pub class: Class,
    /// What to do about it.
    pub action: Action,
}

/// How a report about a message came back, and how it was matched.
#[derive(Clone, Debug, Serialize)]
pub struct Returned {
    /// The provider that accepted the message, if the log still has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// The source that sent the message, if the log still has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Name>,
    /// How it was matched: by `verp` (it came to a keyed reverse-path), `feedback` or `content` (a code of the relay in the content of a
    /// feedback loop's report or of another mail), `envid` or `message_id`.
    pub matched_by: &'static str,
    /// How far it is believed: `proof`, `hint` or `nothing`.
    pub trust: &'static str,
    /// Where it comes from, if it came to a keyed reverse-path. The receiving side, by: `network`, `name`, `provider`, `signature`. Others:
    /// `elsewhere`, `sender` (its own reverse-path was not empty), `mailbox`, `undelivered` (nobody is known to have taken the message), `ended`
    /// (the message had bounced before, or ended otherwise).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    /// The host that brought it, if it came by SMTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<IpAddr>,
    /// Whether an earlier line tells the same, matched otherwise or believed less. Nobody was told of it again.
    #[serde(skip_serializing_if = "is_false")]
    pub again: bool,
    /// The recipient that it names, if that is another address.
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
    /// The words that were classified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Arc<str>>,
    /// The host that refused the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_mta: Option<Arc<str>>,
    /// What it means.
    pub class: Class,
    /// Whose problem it is.
    pub scope: Scope,
    /// What to do about it.
    pub action: Action,
    /// The rule of the classifier that decided.
    pub rule: Arc<str>,
    /// The confidence of the rule, from 0 to 1.
    pub confidence: f32,
}

/// The TLS of a connection.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TlsFacts {
    /// `TLSv1.3` or `TLSv1.2`; absent in plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<&'static str>,
    /// The IANA name of the cipher suite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cipher: Option<&'static str>,
    /// The policy in force: `none`, `opportunistic`, `require`, `verify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_policy: Option<&'static str>,
    /// Whether the certificate was verified for the name of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_verified: Option<bool>,
    /// Why the message went in plain text although the receiver offered TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_fallback: Option<Arc<str>>,
}

/// Lines that are missing from the log, and how far the relay knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GapFacts {
    /// `deleted`, `moved` (out of the log's folder), `truncated`, `overwritten`; `not_found`: a start did not find the lines that it had
    /// to compare with the spool; `list_replaced`: the list of the log's files is an older copy, so whether lines are missing is not known.
    pub cause: &'static str,
    /// The file that the lines were in, by the identity that positions name it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Arc<str>>,
    /// The time of the file's first line: the missing lines are no older.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_millis")]
    pub since: Option<Timestamp>,
    /// When the file was rotated: the missing lines are no newer. `None`: it was still written when they were lost.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_millis")]
    pub until: Option<Timestamp>,
    /// The offset of the first missing byte in the file.
    pub from_byte: u64,
    /// How many durable bytes are missing.
    pub bytes: u64,
    /// How many durable lines are missing, at least; `None` if nobody has counted them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Of these, `accepted` lines, one for each recipient of a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<u64>,
    /// Of these, final lines of a recipient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// The CRC-32 of the file up to the last missing byte: a file that is put back can be told from another one by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crc32: Option<u32>,
    /// The same in words.
    pub detail: String,
}

/// An incident: something that a rule found and somebody should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IncidentFacts {
    /// Its id.
    pub incident: Arc<str>,
    /// The rule that found it: `provider_refuses`, `mail_stands`, ...
    pub rule: &'static str,
    /// What it is about: `provider:google`, `stream:news`, `lane:ip1/google`, `relay:disk/spool`.
    pub key: Arc<str>,
    /// `opened`, `changed`, `muted`, `closed`.
    pub state: &'static str,
    /// The same more closely: `opened`, `severity_rose`, `told_again`, `muted`, `unmuted`, `closed`.
    pub change: &'static str,
    /// `warn` or `critical`.
    pub severity: &'static str,
    /// The figure behind it.
    pub n: u64,
    /// What it is a share of; `None`: of nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// What `n` and `of` count, in words.
    pub measure: Arc<str>,
    /// The limit that was reached, with its unit.
    pub limit: Arc<str>,
    /// What is wrong, in one sentence.
    pub detail: String,
    /// Whose problem it is: `ours`, `senders_list`, `receiver`, `dns`.
    pub problem_of: &'static str,
    /// What the relay did about it.
    pub done: String,
    /// What to do next.
    pub next_step: String,
    /// The command that shows the events behind it.
    pub query: String,
    /// When it opened.
    #[serde(serialize_with = "millis")]
    pub since: Timestamp,
    /// The operator who muted or closed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Arc<str>>,
    /// Why it was muted, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Arc<str>>,
    /// Until when it is muted.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_millis")]
    pub until: Option<Timestamp>,
}
