//! `GET /v1/messages/{id}`: a message's delivery status, from the log and the queue.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::ControlFlow,
    sync::Arc,
};

use axum::{extract::State, http::StatusCode, response::Response};
use jiff::Timestamp;
use posthaste_access::users::Right;
use posthaste_mail::{MessageId, rfc3339_millis};
use posthaste_message::MessageRecord;
use posthaste_monitor::{Key, LogRecord, LogText};
use posthaste_queue::{MessageRow, MessageSelection};
use posthaste_spool::Spool;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

use crate::{
    answer,
    auth::Principal,
    problem::{BoxedRefusal, Problem, Refusal},
    state::{Api, Segment},
};

/// The most events shown for one recipient; the latest are shown.
const EVENTS_MAX: usize = 20;
/// The most bytes of events in one answer: of a message with many recipients, fewer of each are shown.
const EVENTS_BYTES: usize = 8 << 20;
/// The memory of an answer, until it is written: the events as they are read and as they are sent, and the recipients' names.
const ANSWER_MEMORY: u64 = 3 * EVENTS_BYTES as u64;

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
    /// The latest events, the oldest first, as in the delivery log (`posthaste log --schema`): 20 at most, fewer if all recipients of the message
    /// have many.
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
pub(super) async fn message(State(api): State<Arc<Api>>, who: Principal, Segment(id): Segment) -> Result<Response, Refusal> {
    tell(&api, &who, &id).await.map_err(|refused| *refused)
}

async fn tell(api: &Arc<Api>, who: &Principal, id: &str) -> Result<Response, BoxedRefusal> {
    who.may_by(&[Right::Read, Right::Monitor])?;
    let id: MessageId = id.parse().map_err(|_| Refusal::not_found("message"))?;
    // The queue is read before the log: a recipient that ends in between is reported as ended.
    let rows = api.queue.messages(MessageSelection::one(id), 1).await;
    let rows = rows.map_err(|why| Refusal::http(StatusCode::SERVICE_UNAVAILABLE, "stopping", why.to_string()))?.rows;
    let spool = api.intake.spool.clone();
    let turn = api.turn().await;
    let share = api.bodies.for_answer(&who.0.name, &api.settings.get(), ANSWER_MEMORY).await?;
    let found = api.read_log_in(&turn, move |log| {
        let mut found = Found::default();
        log.lines(&Key::message(id), |line| found.look(id, line))?;
        Ok((found, due(&spool, rows.first())))
    });
    let (found, due) = found.await.map_err(|why| {
        tracing::error!(%why, "the log cannot be read for the API");
        Refusal::http(StatusCode::SERVICE_UNAVAILABLE, "log_trouble", "the relay cannot read its log, try again later")
    })?;
    let status = found.status.filter(|_| who.may_see(found.owner.as_ref().map(|owner| owner.as_deref())));
    let mut status = status.ok_or_else(|| Refusal::not_found("message"))?;
    status.recipients = found.recipients.into_iter().map(|recipient| recipient.status(&due)).collect();
    status.ended = status.recipients.iter().all(|recipient| recipient.state.is_end());
    Ok(answer::json(&status, share))
}

/// The next attempt of each recipient still in the queue.
fn due(spool: &Spool, row: Option<&MessageRow>) -> HashMap<String, Timestamp> {
    let read = |row: &MessageRow| MessageRecord::decode(&spool.meta(row.seq).ok()??).ok();
    let Some((row, record)) = row.and_then(|row| Some((row, read(row)?))) else { return HashMap::new() };
    let named = |rcpt: u16| record.envelope.recipients.get(usize::from(rcpt)).map(ToString::to_string);
    row.rcpts.iter().filter_map(|recipient| Some((named(recipient.rcpt)?, recipient.due))).collect()
}

/// What the log has of a message.
struct Found {
    /// What the first line says; None: there is none.
    status: Option<DeliveryStatus>,
    /// The user who submitted it; Some(None): nobody logged in; None: the log no longer tells.
    owner: Option<Option<String>>,
    recipients: Vec<FoundRecipient>,
    by_address: HashMap<Arc<str>, usize>,
    /// How many events of each recipient are kept.
    most: usize,
    bytes: usize,
}

/// What the log has of a recipient.
struct FoundRecipient {
    address: Arc<str>,
    end: Option<DeliveryState>,
    state: DeliveryState,
    attempts: u32,
    events: VecDeque<Box<RawValue>>,
}

impl Default for Found {
    fn default() -> Self {
        Self { status: None, owner: None, recipients: Vec::new(), by_address: HashMap::new(), most: EVENTS_MAX, bytes: 0 }
    }
}

impl Found {
    fn look(&mut self, id: MessageId, line: &[u8]) -> ControlFlow<()> {
        let record = LogRecord::parse(line).filter(|record| record.message() == Some(id));
        if let Some((record, rcpt)) = record.as_ref().and_then(|record| Some((record, record.rcpt.as_deref()?))) {
            self.status.get_or_insert_with(|| DeliveryStatus::of(id, record));
            if &*record.event == "accepted" {
                self.owner.get_or_insert_with(|| record.user.as_deref().map(str::to_owned));
            }
            self.take(rcpt, record, line);
        }
        ControlFlow::Continue(())
    }

    fn take(&mut self, rcpt: &str, record: &LogRecord<'_>, line: &[u8]) {
        let at = self.by_address.get(rcpt).copied().unwrap_or_else(|| {
            let address = Arc::<str>::from(rcpt);
            self.by_address.insert(address.clone(), self.recipients.len());
            let (state, events) = (DeliveryState::Queued, VecDeque::new());
            self.recipients.push(FoundRecipient { address, end: None, state, attempts: 0, events });
            self.recipients.len() - 1
        });
        let recipient = &mut self.recipients[at];
        recipient.attempts = recipient.attempts.max(record.attempt.unwrap_or(0));
        if let Some(state) = DeliveryState::after(&record.event) {
            recipient.state = state;
            recipient.end = recipient.end.filter(|_| !record.is_ending()).or_else(|| record.is_ending().then_some(state));
        }
        if let Ok(event) = serde_json::from_slice::<Box<RawValue>>(line) {
            self.bytes += event.get().len();
            recipient.events.push_back(event);
            self.bytes -= recipient.keep(self.most);
        }
        while self.bytes > EVENTS_BYTES {
            self.most /= 2;
            self.bytes -= self.recipients.iter_mut().map(|recipient| recipient.keep(self.most)).sum::<usize>();
        }
    }
}

impl FoundRecipient {
    /// Keeps this many events, the latest; returns the bytes of the others.
    fn keep(&mut self, most: usize) -> usize {
        let more = self.events.len().saturating_sub(most);
        self.events.drain(..more).map(|event| event.get().len()).sum()
    }

    fn status(self, due: &HashMap<String, Timestamp>) -> RecipientStatus {
        let state = self.end.unwrap_or(self.state);
        RecipientStatus {
            next_attempt: due.get(&*self.address).copied().filter(|_| !state.is_end() && state != DeliveryState::Held),
            address: self.address.to_string(),
            state,
            attempts: self.attempts.into(),
            events: self.events.into(),
        }
    }
}

impl DeliveryStatus {
    /// What a line says of the whole message.
    fn of(id: MessageId, first: &LogRecord<'_>) -> Self {
        let fact = |fact: &LogText<'_>| fact.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            id: id.to_string(),
            message_id: first.message_id.as_deref().map(str::to_owned),
            from: first.from.as_deref().unwrap_or_default().to_owned(),
            stream: first.stream.as_deref().unwrap_or_default().to_owned(),
            tags: first.tags.iter().map(|tag| (**tag).to_owned()).collect(),
            meta: first.meta.iter().filter_map(fact).collect(),
            size: first.size,
            accepted: id.time(),
            ended: false,
            recipients: Vec::new(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: MessageId, event: &str, rcpt: usize, more: &str) -> Vec<u8> {
        format!(r#"{{"v":1,"event":"{event}","time":"2026-11-29T06:00:00Z","message":"{id}","stream":"s","from":"a@b.c","rcpt":"r{rcpt}@x.org"{more}}}"#).into()
    }

    fn found(lines: impl IntoIterator<Item = Vec<u8>>, id: MessageId) -> Found {
        let mut found = Found::default();
        for line in lines {
            let _ = found.look(id, &line);
        }
        found
    }

    #[test]
    fn the_last_ending_counts_and_the_latest_events_are_shown() {
        let id = MessageId::new(Timestamp::UNIX_EPOCH, 1);
        let deferrals = (1..=30).map(|n| line(id, "deferred", 1, &format!(r#","attempt":{n}"#)));
        let ends = [
            line(id, "delivered", 1, ""),
            line(id, "late_bounced", 1, ""),
            line(MessageId::new(Timestamp::UNIX_EPOCH, 2), "accepted", 2, ""),
        ];
        let first = [line(id, "accepted", 1, r#","user":"app""#)];
        let found = found(first.into_iter().chain(deferrals).chain(ends), id);
        assert_eq!((found.owner, found.recipients.len()), (Some(Some("app".into())), 1));
        let status = found.recipients.into_iter().next().unwrap().status(&HashMap::new());
        assert_eq!((status.state, status.attempts, status.events.len()), (DeliveryState::Delivered, 30, EVENTS_MAX));
        assert!(status.events.last().unwrap().get().contains("late_bounced"));
    }

    #[test]
    fn an_answer_about_many_recipients_has_its_bound_and_their_states_all_the_same() {
        let id = MessageId::new(Timestamp::UNIX_EPOCH, 1);
        let meta = format!(r#","meta":["a={}"]"#, "x".repeat(1000));
        let of = |event: &'static str| {
            (0..10_000).map({
                let meta = meta.clone();
                move |rcpt| line(id, event, rcpt, &meta)
            })
        };
        let found = found(of("accepted").chain(of("deferred")).chain(of("delivered")), id);
        assert!(
            found.bytes <= EVENTS_BYTES
                && found.bytes == found.recipients.iter().flat_map(|r| &r.events).map(|e| e.get().len()).sum::<usize>()
        );
        assert_eq!(found.recipients.len(), 10_000);
        assert!(found.recipients.into_iter().all(|recipient| recipient.status(&HashMap::new()).state == DeliveryState::Delivered));
    }
}
