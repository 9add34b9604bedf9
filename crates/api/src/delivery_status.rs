//! `GET /v1/messages/{id}`: a message's delivery status, from the log and the queue.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use posthaste_access::users::Right;
use posthaste_mail::{MessageId, rfc3339_millis};
use posthaste_message::MessageRecord;
use posthaste_monitor::{LogRecord, MessageHistory, RecipientHistory, trace_message};
use posthaste_queue::{MessageRow, MessageSelection};
use posthaste_spool::Spool;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

use crate::{
    auth::Principal,
    problem::{BoxedRefusal, Problem, Refusal},
    state::{Api, Segment},
};

/// The most events shown for one recipient; the latest are shown.
const EVENTS_MAX: usize = 20;

/// Writes times like those in the events, so that the same time has the same text.
fn as_in_the_log<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&rfc3339_millis(*time))
}

fn maybe_as_in_the_log<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => as_in_the_log(time, to),
        None => to.serialize_none(),
    }
}

/// A message's delivery status.
// Clients are generated from the names in the OpenAPI document, so those of these schemas stay as they were first published.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageStory)]
pub(super) struct DeliveryStatus {
    /// Its id.
    #[schema(example = "01K6Z5D0V4QK9M2T8YJ3N7RXCE")]
    id: String,
    /// Its Message-ID field.
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    /// The address that failure notices go to; empty: no notices.
    from: String,
    /// Its stream.
    stream: String,
    /// Its tags.
    tags: Vec<String>,
    /// The application's own data.
    meta: BTreeMap<String, String>,
    /// Its size as stored, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// When it was accepted.
    #[serde(serialize_with = "as_in_the_log")]
    #[schema(format = DateTime, value_type = String)]
    accepted: Timestamp,
    /// Whether all recipients have reached their final status.
    ended: bool,
    /// The status of each recipient.
    recipients: Vec<RecipientStatus>,
}

/// The delivery status of one recipient.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecipientStory)]
pub(super) struct RecipientStatus {
    /// The address.
    address: String,
    /// Its status.
    state: DeliveryState,
    /// Delivery attempts so far.
    attempts: u64,
    /// The time of the next attempt, if known.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_as_in_the_log")]
    #[schema(format = DateTime, value_type = Option<String>)]
    next_attempt: Option<Timestamp>,
    /// The latest events, the oldest first, as in the delivery log (`posthaste log --schema`).
    #[schema(value_type = Vec<Object>)]
    events: Vec<Box<RawValue>>,
}

/// The delivery status of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RecipientState)]
pub(super) enum DeliveryState {
    /// It waits in the queue.
    Queued,
    /// It is held back.
    Held,
    /// An attempt failed temporarily, and delivery is tried again.
    Deferred,
    /// The receiver accepted it.
    Delivered,
    /// It was refused permanently.
    Bounced,
    /// Delivery was tried until the message was too old.
    Expired,
    /// The address is on the suppression list: nothing was sent.
    Suppressed,
    /// An operator removed it.
    Cancelled,
}

/// Get a message's delivery status.
///
/// Searches the delivery log from the time when the message was accepted. A message that the log no longer contains is not found, nor is one
/// of another user, unless the token has the right to "monitor".
#[utoipa::path(
    get,
    path = "/v1/messages/{id}",
    tag = "messages",
    security(("token" = ["read"])),
    params(("id" = String, Path, description = "The id from the answer that accepted it.")),
    responses(
        (status = 200, description = "So far.", body = DeliveryStatus),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such message.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The log cannot be read at present.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn message(State(api): State<Arc<Api>>, who: Principal, Segment(id): Segment) -> Result<Json<DeliveryStatus>, Refusal> {
    tell(&api, &who, &id).await.map(Json).map_err(|refused| *refused)
}

async fn tell(api: &Arc<Api>, who: &Principal, id: &str) -> Result<DeliveryStatus, BoxedRefusal> {
    who.may_by(&[Right::Read, Right::Monitor])?;
    let id: MessageId = id.parse().map_err(|_| Refusal::not_found("message"))?;
    // The queue is read before the log: a recipient that ends in between is reported as ended.
    let rows = api.queue.messages(MessageSelection::one(id), 1).await;
    let rows = rows.map_err(|why| Refusal::http(StatusCode::SERVICE_UNAVAILABLE, "stopping", why.to_string()))?.rows;
    let spool = api.intake.spool.clone();
    let found = api.read_log(move |log| Ok((trace_message(log, id)?, due(&spool, rows.first()))));
    let (found, due) = found.await.map_err(|why| {
        tracing::error!(%why, "the log cannot be read for the API");
        Refusal::http(StatusCode::SERVICE_UNAVAILABLE, "log_trouble", "the relay cannot read its log, try again later")
    })?;
    let history = found.messages.iter().find(|history| history.message == id && who.may_see(owner(history).as_ref().map(|o| o.as_deref())));
    let history = history.ok_or_else(|| Refusal::not_found("message"))?;
    DeliveryStatus::of(history, &due).ok_or_else(|| Refusal::not_found("message"))
}

/// The user who submitted the message; Some(None): nobody logged in; None: the log no longer tells.
fn owner(history: &MessageHistory) -> Option<Option<String>> {
    let records = history.recipients.iter().flat_map(|r| &r.lines).filter_map(|line| LogRecord::parse(line));
    records.filter(|record| &*record.event == "accepted").map(|record| record.user.as_deref().map(str::to_owned)).next()
}

/// The next attempt of each recipient still in the queue.
fn due(spool: &Spool, row: Option<&MessageRow>) -> HashMap<String, Timestamp> {
    let read = |row: &MessageRow| MessageRecord::decode(&spool.meta(row.seq).ok()??).ok();
    let Some((row, record)) = row.and_then(|row| Some((row, read(row)?))) else { return HashMap::new() };
    let named = |rcpt: u16| record.envelope.recipients.get(usize::from(rcpt)).map(ToString::to_string);
    row.rcpts.iter().filter_map(|recipient| Some((named(recipient.rcpt)?, recipient.due))).collect()
}

impl DeliveryStatus {
    /// None: every line is damaged.
    fn of(history: &MessageHistory, due: &HashMap<String, Timestamp>) -> Option<Self> {
        let first = history.recipients.iter().flat_map(|r| &r.lines).find_map(|line| LogRecord::parse(line))?;
        let recipients: Vec<_> = history.recipients.iter().map(|r| RecipientStatus::of(r, due.get(&r.rcpt).copied())).collect();
        Some(Self {
            id: history.message.to_string(),
            message_id: first.message_id.as_deref().map(str::to_owned),
            from: first.from.as_deref().unwrap_or_default().to_owned(),
            stream: first.stream.as_deref().unwrap_or_default().to_owned(),
            tags: first.tags.iter().map(|tag| (**tag).to_owned()).collect(),
            meta: first
                .meta
                .iter()
                .filter_map(|fact| fact.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            size: first.size,
            accepted: history.message.time(),
            ended: recipients.iter().all(|r| r.state.is_end()),
            recipients,
        })
    }
}

impl RecipientStatus {
    fn of(history: &RecipientHistory, due: Option<Timestamp>) -> Self {
        let records: Vec<_> = history.lines.iter().filter_map(|line| LogRecord::parse(line)).collect();
        let end = records.iter().rev().find(|record| record.is_ending());
        let state = end.or_else(|| records.iter().rev().find(|record| DeliveryState::after(&record.event).is_some()));
        let state = state.and_then(|record| DeliveryState::after(&record.event)).unwrap_or(DeliveryState::Queued);
        let events = history.lines.iter().skip(history.lines.len().saturating_sub(EVENTS_MAX));
        Self {
            address: history.rcpt.clone(),
            state,
            attempts: records.iter().filter_map(|record| record.attempt).max().unwrap_or(0).into(),
            next_attempt: due.filter(|_| !state.is_end() && state != DeliveryState::Held),
            events: events.filter_map(|line| serde_json::from_slice(line).ok()).collect(),
        }
    }
}

impl DeliveryState {
    /// The status after an event; None: the event does not change it.
    fn after(event: &str) -> Option<Self> {
        match event {
            "accepted" | "released" => Some(Self::Queued),
            "held" => Some(Self::Held),
            _ => serde_json::from_value(Value::String(event.to_owned())).ok(),
        }
    }

    fn is_end(self) -> bool {
        !matches!(self, Self::Queued | Self::Held | Self::Deferred)
    }
}
