//! The queue's tables: totals, by provider, and by message.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use posthaste_governor::{Governor, Hold, Lane, LaneId, LaneKey, Priority};
use posthaste_mail::{Class, MessageId, Name};
use serde::{Deserialize, Serialize};

use super::{
    selection::MessageSelection,
    waits::{self, Held, Standing, Waits},
};
use crate::{
    backlog::{
        domains::Known,
        table::{DomainIx, Phase, QueuedMessage, Rcpt, RecipientState, Seq},
    },
    budget::{Budget, block::Block, waitlist::WaitLists},
    login_waits::LoginWaits,
    times::timestamp,
    view::View,
};

/// How many recipients are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCounts {
    /// Messages that are queued.
    pub messages: usize,
    /// Recipients that are queued.
    pub recipients: usize,
    /// Due now: waiting for a route, a turn, a connection.
    pub due: usize,
    /// Due later.
    pub later: usize,
    /// In flight over a connection.
    pub in_flight: usize,
    /// Held by an operator.
    pub held: usize,
    /// Connections opening or open.
    pub connections: usize,
}

/// One line of the queue's table: a provider, or a domain whose provider is not known yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaneRow {
    /// Provider or domain.
    pub provider: String,
    /// The sources that have sent there lately.
    pub sources: Vec<Name>,
    /// Recipients that are queued.
    pub queued: usize,
    /// Of these, due now.
    pub due: usize,
    /// Of these, held.
    pub held: usize,
    /// Of these, waiting for budget.
    pub budget: usize,
    /// When the last of these will go, as far as that can be foreseen.
    pub budget_until: Option<Timestamp>,
    /// Of these, in flight over a connection.
    pub in_flight: usize,
    /// Connections opening or open.
    pub connections: usize,
    /// When the oldest was accepted.
    pub oldest: Option<Timestamp>,
    /// When the next one is due, where none is due now.
    pub next: Option<Timestamp>,
    /// When the first of those that wait has its last attempt, or is given up without one.
    #[serde(default)]
    pub first_end: Option<Timestamp>,
    /// Until when hosts are left alone because they could not be reached.
    pub down_until: Option<Timestamp>,
    /// Why they are left alone.
    #[serde(default)]
    pub down_why: Option<String>,
    /// The last error.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
    /// What it means.
    #[serde(default)]
    pub last_class: Option<Class>,
    /// Recipients that wait because a smart host refuses the relay's login.
    #[serde(default)]
    pub login: usize,
    /// The newest recipient of those that wait that has been tried; the log knows what it was told, also from before a restart.
    #[serde(skip)]
    pub tried: Option<Tried>,
}

/// A recipient that was tried and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tried {
    /// The message's number in the spool.
    pub seq: Seq,
    /// The message.
    pub id: MessageId,
    /// The recipient's place in the envelope.
    pub rcpt: Rcpt,
    /// Attempts that have ended.
    pub attempts: u16,
}

/// A lane that may not send at present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneHold {
    /// Its source.
    pub source: String,
    /// Its provider.
    pub provider: String,
    /// Whether an operator can end it, by the command that the reason names: the lane is paused, stopped or slowed.
    #[serde(default)]
    pub can_be_resumed: bool,
    /// Until when, and why.
    #[serde(flatten)]
    pub held: Held,
}

/// One message of the queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageRow {
    /// Its number in the spool.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// When it was accepted; of a scheduled message, when it is to be sent.
    pub arrived: Timestamp,
    /// Its stream.
    pub stream: Name,
    /// Bytes as stored.
    pub size: u32,
    /// Its recipients that are queued.
    pub rcpts: Vec<RecipientRow>,
    /// What each of them waits for, in the same order.
    #[serde(default)]
    pub standing: Vec<Standing>,
}

/// One recipient of a message. `posthaste queue list --json` prints it as an array.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "RecipientArray", into = "RecipientArray")]
pub struct RecipientRow {
    /// Its position in the envelope.
    pub rcpt: Rcpt,
    /// Its domain.
    pub domain: String,
    /// Attempts that have ended.
    pub attempts: u16,
    /// When it is tried, as far as that is known.
    pub due: Timestamp,
    /// Its phase, in words.
    pub phase: String,
}

type RecipientArray = (Rcpt, String, u16, Timestamp, String);

impl From<RecipientArray> for RecipientRow {
    fn from((rcpt, domain, attempts, due, phase): RecipientArray) -> Self {
        Self { rcpt, domain, attempts, due, phase }
    }
}

impl From<RecipientRow> for RecipientArray {
    fn from(row: RecipientRow) -> Self {
        (row.rcpt, row.domain, row.attempts, row.due, row.phase)
    }
}

/// Some messages of the queue.
#[derive(Clone, Debug)]
pub struct Messages {
    /// The oldest that fit.
    pub rows: Vec<MessageRow>,
    /// How many fit in all.
    pub total: usize,
}

/// Why mail of these messages is not sent now, although an operator wants it: how many recipients wait for lanes that pause or are stopped, until
/// when, and the command that ends it.
pub(crate) fn not_sent(view: View<'_>, governor: &Governor, seqs: &[Seq], scheduled: bool) -> Vec<String> {
    let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
    let now = view.now.as_millisecond();
    for message in seqs.iter().filter_map(|seq| view.backlog.table().get(*seq)) {
        let tried = |recipient: &RecipientState| recipient.phase == Phase::Waiting && (scheduled || !message.is_scheduled(recipient, now));
        for (_, recipient) in message.queued().filter(|(_, recipient)| tried(recipient)) {
            *waiting.entry(view.backlog.domains().provider(recipient.domain)).or_default() += 1;
        }
    }
    let line = |(provider, rcpts): (&str, usize)| {
        let lanes = governor.lanes().filter(|(_, lane)| &*lane.key().provider == provider);
        let is_stopped = |block: &Block| matches!(block.hold, Some(Hold::Paused { .. } | Hold::Stopped { .. }));
        let holds: Option<Vec<Block>> =
            lanes.map(|(id, _)| waits::hold(governor, id, Priority::Urgent, view.now).filter(is_stopped)).collect();
        let first = waits::held(&holds?.into_iter().min_by_key(|block| block.at)?);
        let who = if rcpts == 1 { "1 recipient waits".to_owned() } else { format!("{rcpts} recipients wait") };
        Some(format!("{who} {}", in_words(&first)))
    };
    waiting.into_iter().filter_map(line).collect()
}

/// Until when something waits, and why.
fn in_words(Held { until, why }: &Held) -> String {
    let until = until.map(|until| format!("until {} UTC: ", until.strftime("%F %T")));
    until.unwrap_or_else(|| "without a known end: ".into()) + why
}

/// The lanes at providers with mail in these rows that may not send at present.
pub(crate) fn lane_holds(view: View<'_>, governor: &Governor, rows: &[LaneRow]) -> Vec<LaneHold> {
    let waits = |lane: &LaneKey| rows.iter().any(|row| row.provider == *lane.provider);
    let lanes = governor.lanes().filter(|(_, lane)| waits(lane.key()));
    let hold = |(id, lane): (LaneId, &Lane)| {
        let block = waits::hold(governor, id, Priority::Usual, view.now)?;
        let (source, provider) = (lane.key().source.to_string(), lane.key().provider.to_string());
        Some(LaneHold { source, provider, can_be_resumed: block.can_be_resumed(), held: waits::held(&block) })
    };
    lanes.filter_map(hold).collect()
}

/// How many recipients are in which state. Scans every message.
pub(crate) fn counts(view: View<'_>, connections: usize) -> QueueCounts {
    let table = view.backlog.table();
    let mut counts = QueueCounts { messages: table.messages(), recipients: table.recipients(), connections, ..QueueCounts::default() };
    let now = view.now.as_millisecond();
    for (_, recipient) in table.iter().flat_map(|(_, message)| message.queued()) {
        match recipient.phase {
            Phase::Waiting if recipient.due > now => counts.later += 1,
            Phase::Waiting => counts.due += 1,
            Phase::InFlight | Phase::Cancelling => counts.in_flight += 1,
            Phase::Held => counts.held += 1,
            Phase::Ended => {}
        }
    }
    counts
}

/// When the oldest message was accepted. Scans every message.
pub(crate) fn oldest(view: View<'_>) -> Option<Timestamp> {
    view.backlog.table().iter().map(|(_, message)| message.arrived).min().map(timestamp)
}

/// The queue's table, the fullest line first. Scans every message.
pub(crate) fn lane_rows(view: View<'_>, lists: &WaitLists, logins: &LoginWaits) -> Vec<LaneRow> {
    let (table, domains, now) = (view.backlog.table(), view.backlog.domains(), view.now.as_millisecond());
    let mut by_domain: HashMap<DomainIx, LaneRow> = HashMap::new();
    for (seq, message) in table.iter() {
        let last = view.backlog.last_chance(seq, message, view.policy);
        for (rcpt, recipient) in message.queued() {
            let row = by_domain.entry(recipient.domain).or_insert_with(|| LaneRow::new(domains.provider(recipient.domain)));
            row.count(recipient, message.arrived, last, now);
            if recipient.attempts > 0 && row.tried.is_none_or(|tried| tried.seq < seq) {
                row.tried = Some(Tried { seq, id: message.id, rcpt, attempts: recipient.attempts });
            }
        }
    }
    for (group, logged_until, _) in lists.all() {
        let Some((message, rcpts)) = table.open(group) else { continue };
        // What waits for longer than it may ends before that.
        let expires = timestamp(view.backlog.expires(group.seq, message, view.policy));
        let until = logged_until.filter(|until| *until < Timestamp::MAX).map(|until| until.min(expires));
        for rcpt in rcpts {
            if let Some(row) = by_domain.get_mut(&message.recipient(rcpt).domain) {
                row.budget += 1;
                row.budget_until = row.budget_until.max(until);
            }
        }
    }
    for (domain, row) in &mut by_domain {
        if let Some(Known::Nowhere(why, asked, _)) = domains.get(*domain).map(|entry| &entry.known) {
            row.last_error = Some(format!("DNS: {}", why.failure));
            (row.last_error_at, row.last_class) = (Some(timestamp(*asked)), Some(why.verdict.class));
        }
    }
    for (site, seq, rcpt) in logins.all() {
        let domain = table.get(seq).map(|message| message.recipient(rcpt).domain);
        if let Some(row) = domain.and_then(|domain| by_domain.get_mut(&domain)) {
            row.last_error = Some(waits::for_login(site));
            row.login += 1;
        }
    }
    let mut rows: BTreeMap<String, LaneRow> = BTreeMap::new();
    for row in by_domain.into_values() {
        match rows.get_mut(&row.provider) {
            Some(known) => known.add(&row),
            None => drop(rows.insert(row.provider.clone(), row)),
        }
    }
    for (_, lane) in view.lanes.iter() {
        let Some(row) = rows.get_mut(lane.provider.as_str()) else { continue };
        row.sources.push(lane.source.clone());
        row.connections += lane.sessions;
        if let Some(last) = &lane.last_error
            && row.last_error_at.is_none_or(|seen| seen < last.at)
        {
            (row.last_error_at, row.last_error, row.last_class) = (Some(last.at), Some(last.said.to_string()), Some(last.class));
        }
    }
    for queue in view.lanes.queues() {
        let Some(lane) = view.lanes.get(queue.lane) else { continue };
        if let (Some(row), Some(down)) = (rows.get_mut(lane.provider.as_str()), &queue.down)
            && down.until > now
        {
            let until = Timestamp::from_millisecond(down.until).ok();
            if row.down_until < until {
                (row.down_until, row.down_why) = (until, Some(waits::left_alone(&down.why)));
            }
        }
    }
    let mut rows: Vec<LaneRow> = rows.into_values().collect();
    rows.iter_mut().for_each(|r| r.sources.sort());
    rows.sort_by(|a, b| b.queued.cmp(&a.queued).then_with(|| a.provider.cmp(&b.provider)));
    rows
}

/// Up to `limit` messages that fit, the oldest first. With an id no other message is looked at.
pub(crate) fn message_rows(view: View<'_>, budget: &Budget, selection: &MessageSelection, limit: usize) -> Messages {
    let mut seqs = selection.of(view.backlog).messages;
    let total = seqs.len();
    seqs.truncate(limit);
    let mut waits = Waits::new(view, budget, &seqs);
    let row = |seq| view.backlog.table().get(seq).map(|message| row(view, seq, message, &mut waits));
    Messages { rows: seqs.into_iter().filter_map(row).collect(), total }
}

fn row(view: View<'_>, seq: Seq, message: &QueuedMessage, waits: &mut Waits<'_>) -> MessageRow {
    let (mut rcpts, mut standing) = (Vec::new(), Vec::new());
    for (rcpt, recipient) in message.queued() {
        let stands = waits.of(seq, message, rcpt, recipient);
        let due = stands.held.until.unwrap_or_else(|| timestamp(recipient.due.max(message.arrived)));
        let phase = match &*stands.state {
            "budget" => "waiting for budget",
            word @ ("paused" | "scheduled") => word,
            _ => phase(recipient.phase),
        };
        let domain = view.backlog.domains().name(recipient.domain).to_owned();
        rcpts.push(RecipientRow { rcpt, domain, attempts: recipient.attempts, due, phase: phase.to_owned() });
        standing.push(stands);
    }
    MessageRow {
        seq,
        id: message.id,
        arrived: timestamp(message.arrived),
        stream: view.backlog.streams().name(message.stream).clone(),
        size: message.size,
        rcpts,
        standing,
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::InFlight => "in flight",
        Phase::Cancelling => "in flight, then dropped",
        Phase::Held => "held",
        Phase::Ended => "ended",
    }
}

impl LaneRow {
    fn new(provider: &str) -> Self {
        Self {
            provider: provider.to_owned(),
            sources: Vec::new(),
            queued: 0,
            due: 0,
            held: 0,
            budget: 0,
            budget_until: None,
            in_flight: 0,
            connections: 0,
            oldest: None,
            next: None,
            first_end: None,
            down_until: None,
            down_why: None,
            last_error: None,
            last_error_at: None,
            last_class: None,
            login: 0,
            tried: None,
        }
    }

    fn add(&mut self, other: &Self) {
        self.queued += other.queued;
        self.due += other.due;
        self.held += other.held;
        self.budget += other.budget;
        self.budget_until = self.budget_until.max(other.budget_until);
        self.in_flight += other.in_flight;
        self.oldest = earlier(self.oldest, other.oldest);
        self.login += other.login;
        if self.last_error.is_none() {
            (self.last_error, self.last_error_at, self.last_class) = (other.last_error.clone(), other.last_error_at, other.last_class);
        }
        self.next = earlier(self.next, other.next);
        self.first_end = earlier(self.first_end, other.first_end);
        self.tried = [self.tried, other.tried].into_iter().flatten().max_by_key(|tried| tried.seq);
    }

    /// When the next of its mail goes, of which nothing else is known than that it goes at this time: what expires before does not wait for that.
    pub fn goes(&self, at: Timestamp) -> Timestamp {
        self.first_end.map_or(at, |end| end.min(at))
    }

    /// `last`: when the message has its last attempt, in milliseconds since 1970.
    fn count(&mut self, recipient: &RecipientState, arrived: i64, last: i64, now: i64) {
        self.queued += 1;
        self.oldest = earlier(self.oldest, Timestamp::from_millisecond(arrived).ok());
        if recipient.phase == Phase::Waiting {
            self.first_end = earlier(self.first_end, Timestamp::from_millisecond(last.max(recipient.due)).ok());
        }
        match recipient.phase {
            Phase::Waiting if recipient.due <= now => self.due += 1,
            Phase::Waiting => self.next = earlier(self.next, Timestamp::from_millisecond(recipient.due).ok()),
            Phase::Held => self.held += 1,
            Phase::InFlight | Phase::Cancelling => self.in_flight += 1,
            Phase::Ended => {}
        }
    }
}

/// The earlier of two times, where there are two.
fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    [a, b].into_iter().flatten().min()
}
