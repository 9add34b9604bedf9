//! What operators ask of the queue, and what they do to it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use posthaste_mail::{Attempt, MessageId, Name};
use serde::{Deserialize, Serialize};

use crate::{
    Action, Dispatcher, Fate, Next,
    backlog::{
        domains::Known,
        table::{DomainIx, Phase, QueuedMessage, Rcpt, RecipientState, Seq},
    },
};

/// Which messages an operator means: those that fit every part that is given.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Selection {
    /// This message.
    pub id: Option<MessageId>,
    /// Recipients at this domain.
    pub domain: Option<String>,
    /// Recipients whose mailboxes this provider runs.
    pub provider: Option<String>,
    /// Messages of this stream.
    pub stream: Option<String>,
}

impl Selection {
    /// One message.
    pub fn of(id: MessageId) -> Self {
        Self { id: Some(id), ..Self::default() }
    }
}

/// How many recipients are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages owed.
    pub messages: usize,
    /// Recipients owed.
    pub recipients: usize,
    /// Due now: waiting for a route, a turn, a connection.
    pub due: usize,
    /// Due later.
    pub later: usize,
    /// In the hands of a connection.
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
    /// The sources that have sent or are sending there lately.
    pub sources: Vec<Name>,
    /// Recipients owed.
    pub queued: usize,
    /// Of these, due now.
    pub due: usize,
    /// Of these, held.
    pub held: usize,
    /// Of these, waiting for budget.
    pub budget: usize,
    /// When the last of those will go, as far as that is to be foreseen.
    pub budget_until: Option<Timestamp>,
    /// Of these, in the hands of a connection.
    pub in_flight: usize,
    /// Connections opening or open.
    pub connections: usize,
    /// When the oldest was accepted.
    pub oldest: Option<Timestamp>,
    /// When the next one is due, where none is due now.
    pub next: Option<Timestamp>,
    /// Hosts left alone until then because they could not be reached.
    pub down_until: Option<Timestamp>,
    /// The last trouble.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
}

/// One message of the queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageRow {
    /// Its number in the spool.
    pub seq: Seq,
    /// Its id.
    pub id: MessageId,
    /// When it was accepted.
    pub arrived: Timestamp,
    /// Its stream.
    pub stream: Name,
    /// Bytes as stored.
    pub size: u32,
    /// Recipients owed: place in the envelope, domain, attempts, due, phase.
    pub rcpts: Vec<(Rcpt, String, u16, Timestamp, String)>,
}

impl Dispatcher {
    /// How many recipients are where.
    pub fn counts(&self, now: Timestamp) -> Counts {
        let mut counts = Counts {
            messages: self.table.messages(),
            recipients: self.table.recipients(),
            connections: self.sessions.len(),
            ..Counts::default()
        };
        for (_, owed) in self.table.iter() {
            for s in owed.recipients() {
                match s.phase {
                    Phase::Waiting if s.due > now.as_millisecond() => counts.later += 1,
                    Phase::Waiting => counts.due += 1,
                    Phase::InFlight | Phase::Cancelling => counts.in_flight += 1,
                    Phase::Held => counts.held += 1,
                    Phase::Ended => {}
                }
            }
        }
        counts
    }

    /// The queue's table, the fullest first.
    pub fn lane_rows(&self, now: Timestamp) -> Vec<LaneRow> {
        let mut by_domain: HashMap<DomainIx, LaneRow> = HashMap::new();
        for (_, owed) in self.table.iter() {
            for s in owed.recipients().iter().filter(|s| s.phase != Phase::Ended) {
                let row = by_domain.entry(s.domain).or_insert_with(|| LaneRow::new(self.provider_of(s.domain)));
                row.count(s.phase, s.due, owed.arrived, now.as_millisecond());
            }
        }
        let mut rows: BTreeMap<String, LaneRow> = BTreeMap::new();
        for row in by_domain.into_values() {
            match rows.get_mut(&row.provider) {
                Some(known) => known.add(&row),
                None => drop(rows.insert(row.provider.clone(), row)),
            }
        }
        for lane in self.lanes.lanes.values() {
            let Some(row) = rows.get_mut(lane.provider.as_str()) else { continue };
            row.sources.push(lane.source.clone());
            row.connections += lane.sessions;
            if let Some((at, text)) = &lane.last_error
                && row.last_error_at.is_none_or(|seen| seen < *at)
            {
                (row.last_error_at, row.last_error) = (Some(*at), Some(text.to_string()));
            }
        }
        for path in self.lanes.paths.values() {
            let provider = &self.lanes.lanes[&path.lane].provider;
            if let (Some(row), Some((until, _))) = (rows.get_mut(provider.as_str()), &path.down)
                && *until > now.as_millisecond()
            {
                row.down_until = row.down_until.max(Timestamp::from_millisecond(*until).ok());
            }
        }
        for (seq, rcpt, told) in self.waiting_for_budget() {
            let domain = self.table.get(seq).map(|owed| owed.recipients()[usize::from(rcpt)].domain);
            if let Some(row) = domain.and_then(|domain| rows.get_mut(&self.provider_of(domain))) {
                row.budget += 1;
                row.budget_until = row.budget_until.max(told.filter(|told| *told < Timestamp::MAX));
            }
        }
        let mut rows: Vec<LaneRow> = rows.into_values().collect();
        rows.iter_mut().for_each(|r| r.sources.sort());
        rows.sort_by(|a, b| b.queued.cmp(&a.queued).then_with(|| a.provider.cmp(&b.provider)));
        rows
    }

    /// Up to `limit` messages that fit, the oldest first, and how many fit in all.
    pub fn message_rows(&self, selection: &Selection, limit: usize) -> (Vec<MessageRow>, usize) {
        let mut seqs = self.select(selection);
        let total = seqs.len();
        seqs.truncate(limit);
        let shown: HashSet<Seq> = seqs.iter().copied().collect();
        let waits = self.waiting_for_budget().filter(|(seq, ..)| shown.contains(seq));
        let waits: HashMap<(Seq, Rcpt), Option<Timestamp>> = waits.map(|(seq, rcpt, told)| ((seq, rcpt), told)).collect();
        (seqs.into_iter().filter_map(|seq| self.table.get(seq).map(|owed| self.row(seq, owed, &waits))).collect(), total)
    }

    /// Makes what fits due now, and forgets what was thought of its hosts; how many messages.
    pub fn retry(&mut self, selection: &Selection, now: Timestamp) -> (usize, Vec<Action>) {
        let seqs = self.select(selection);
        self.domains.forget_routes();
        for path in self.lanes.paths.values_mut() {
            (path.down, path.failures) = (None, 0);
        }
        let mut moved = 0;
        for seq in seqs {
            let Some(owed) = self.table.get_mut(seq) else { continue };
            let waiting = owed.recipients_mut().iter_mut().filter(|s| s.phase == Phase::Waiting);
            let count = waiting.map(|s| s.due = now.as_millisecond()).count();
            if count > 0 {
                owed.epoch = owed.epoch.wrapping_add(1);
                moved += 1;
                self.queue_all(seq, now);
            }
        }
        (moved, self.finish())
    }

    /// Keeps back what fits; what a connection has in hand goes on. How many messages.
    pub fn hold(&mut self, selection: &Selection, reason: &str, now: Timestamp) -> (usize, Vec<Action>) {
        let reason: Arc<str> = reason.into();
        self.change(selection, now, |s| (s.phase == Phase::Waiting).then(|| (Phase::Held, Next::Held(reason.clone()))))
    }

    /// Lets go what was held; how many messages.
    pub fn release(&mut self, selection: &Selection, by: &str, now: Timestamp) -> (usize, Vec<Action>) {
        let by: Arc<str> = by.into();
        let (count, mut actions) =
            self.change(selection, now, |s| (s.phase == Phase::Held).then(|| (Phase::Waiting, Next::Released(by.clone()))));
        for seq in self.select(selection) {
            if let Some(owed) = self.table.get_mut(seq) {
                owed.epoch = owed.epoch.wrapping_add(1);
                self.queue_all(seq, now);
            }
        }
        actions.append(&mut self.finish());
        (count, actions)
    }

    /// Removes what fits. What a connection has in hand is removed when that attempt fails. How many messages.
    pub fn cancel(&mut self, selection: &Selection, by: &str, reason: &str, now: Timestamp) -> (usize, Vec<Action>) {
        let (by, reason): (Arc<str>, Arc<str>) = (by.into(), reason.into());
        let fits = self.fitting_domains(selection);
        for seq in self.select(selection) {
            let Some(owed) = self.table.get_mut(seq) else { continue };
            let in_flight = |s: &&mut RecipientState| s.phase == Phase::InFlight && fits.as_ref().is_none_or(|f| f.contains(&s.domain));
            owed.recipients_mut().iter_mut().filter(in_flight).for_each(|s| s.phase = Phase::Cancelling);
        }
        self.change(selection, now, |s| {
            matches!(s.phase, Phase::Waiting | Phase::Held).then(|| (Phase::Ended, Next::Cancelled(by.clone(), reason.clone())))
        })
    }

    fn change(
        &mut self,
        selection: &Selection,
        now: Timestamp,
        to: impl Fn(&RecipientState) -> Option<(Phase, Next)>,
    ) -> (usize, Vec<Action>) {
        let mut changed = 0;
        let fits = self.fitting_domains(selection);
        for seq in self.select(selection) {
            let Some(owed) = self.table.get_mut(seq) else { continue };
            let (id, warm) = (owed.id, owed.warm.clone());
            let mut fates = Vec::new();
            for (rcpt, s) in (0..).zip(owed.recipients_mut()) {
                if fits.as_ref().is_none_or(|f| f.contains(&s.domain))
                    && let Some((phase, next)) = to(s)
                {
                    if phase != Phase::Ended {
                        s.phase = phase;
                    }
                    fates.push(Fate { rcpt, attempt: u32::from(s.attempts), said: None, next, was_due: Timestamp::UNIX_EPOCH });
                }
            }
            if fates.is_empty() {
                continue;
            }
            changed += 1;
            for fate in fates.iter().filter(|f| matches!(f.next, Next::Cancelled(..))) {
                self.end(seq, fate.rcpt);
            }
            self.record(seq, id, warm, Arc::new(Attempt::default()), fates, now);
        }
        (changed, self.finish())
    }

    /// The numbers of the messages that fit, the oldest first.
    pub(crate) fn select(&self, selection: &Selection) -> Vec<Seq> {
        if let Some(id) = selection.id {
            return self.table.find(id).into_iter().collect();
        }
        let fits = self.fitting_domains(selection);
        let stream = |owed: &QueuedMessage| selection.stream.as_ref().is_none_or(|s| self.streams.name(owed.stream).as_str() == s);
        let domain = |owed: &QueuedMessage| {
            fits.as_ref().is_none_or(|f| owed.recipients().iter().any(|s| s.phase != Phase::Ended && f.contains(&s.domain)))
        };
        let mut seqs: Vec<Seq> = self.table.iter().filter(|(_, owed)| stream(owed) && domain(owed)).map(|(seq, _)| seq).collect();
        seqs.sort_unstable();
        seqs
    }

    /// The domains that a selection names; None where it names none.
    pub(crate) fn fitting_domains(&self, selection: &Selection) -> Option<HashSet<u32>> {
        if selection.domain.is_none() && selection.provider.is_none() {
            return None;
        }
        let fits = |ix: &u32| {
            let name = self.domains.get(*ix).map_or("", |d| d.name.as_str());
            selection.domain.as_ref().is_none_or(|d| name.eq_ignore_ascii_case(d))
                && selection.provider.as_ref().is_none_or(|p| self.provider_of(*ix).eq_ignore_ascii_case(p))
        };
        Some(self.domains.numbers().filter(fits).collect())
    }

    fn provider_of(&self, domain: u32) -> String {
        match self.domains.get(domain) {
            Some(entry) => match &entry.known {
                Known::Route(route, _) => route.provider.to_string(),
                _ => entry.name.to_string(),
            },
            None => String::new(),
        }
    }

    /// Recipients that wait at a gate, and until when.
    fn waiting_for_budget(&self) -> impl Iterator<Item = (Seq, Rcpt, Option<Timestamp>)> {
        let is_waiting = |seq: Seq, epoch: u16, rcpt: Rcpt| {
            self.table.get(seq).is_some_and(|owed| owed.epoch == epoch && owed.recipients()[usize::from(rcpt)].phase == Phase::Waiting)
        };
        self.gates.all().flat_map(move |(group, told)| {
            let rcpts = group.rcpts.as_slice().iter().copied();
            rcpts.filter(move |rcpt| is_waiting(group.seq, group.epoch, *rcpt)).map(move |rcpt| (group.seq, rcpt, told))
        })
    }

    fn row(&self, seq: Seq, owed: &QueuedMessage, waits: &HashMap<(Seq, Rcpt), Option<Timestamp>>) -> MessageRow {
        let time = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let rcpts = (0..).zip(owed.recipients()).filter(|(_, s)| s.phase != Phase::Ended).map(|(i, s)| {
            let phase = match s.phase {
                Phase::Waiting => "waiting",
                Phase::InFlight => "in flight",
                Phase::Cancelling => "in flight, then dropped",
                Phase::Held => "held",
                Phase::Ended => "ended",
            };
            let domain = self.domains.get(s.domain).map_or_else(String::new, |d| d.name.to_string());
            let phase = match waits.get(&(seq, i)) {
                Some(Some(until)) if *until < Timestamp::MAX => return (i, domain, s.attempts, *until, "waiting for budget".to_owned()),
                Some(_) => "waiting for budget",
                None => phase,
            };
            (i, domain, s.attempts, time(s.due.max(owed.arrived)), phase.to_owned())
        });
        MessageRow {
            seq,
            id: owed.id,
            arrived: time(owed.arrived),
            stream: self.streams.name(owed.stream).clone(),
            size: owed.size,
            rcpts: rcpts.collect(),
        }
    }
}

impl LaneRow {
    fn new(provider: String) -> Self {
        Self {
            provider,
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
            down_until: None,
            last_error: None,
            last_error_at: None,
        }
    }

    fn add(&mut self, other: &Self) {
        self.queued += other.queued;
        self.due += other.due;
        self.held += other.held;
        self.in_flight += other.in_flight;
        self.oldest = earlier(self.oldest, other.oldest);
        self.next = earlier(self.next, other.next);
    }

    fn count(&mut self, phase: Phase, due: i64, arrived: i64, now: i64) {
        self.queued += 1;
        self.oldest = earlier(self.oldest, Timestamp::from_millisecond(arrived).ok());
        match phase {
            Phase::Waiting if due <= now => self.due += 1,
            Phase::Waiting => self.next = earlier(self.next, Timestamp::from_millisecond(due).ok()),
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
