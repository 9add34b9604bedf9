//! The dispatcher: who is tried when, over which connection. Pure: inputs and the time in, actions out.
//!
//! A recipient is always in exactly one place, which its `RecipientState::phase` and the queues tell:
//!
//! ```text
//! accepted ─→ domain.waiting ─(route known)─→ path (ready) ─→ session (in flight) ─→ ended
//!                  ▲                                               │
//!                  └────────── schedule (due later) ◀──deferred────┘        held: in no queue until released
//! ```
//!
//! Queues hold groups; a group is void when its message is gone, its recipients moved on, or the message's epoch rose.
//! So whoever moves mail out of turn (an operator, say) raises the epoch and makes new groups, and never searches a queue.

use std::collections::{HashMap, HashSet, VecDeque};

use jiff::Timestamp;
use posthaste_governor::{Governor, Shaper};
use posthaste_mail::{Name, TransferPriority};

use crate::{
    Action, Arrival, DomainIx, Input, Policy, Rcpt, Seq, SessionId,
    backlog::{
        deadlines::Deadlines,
        domains::Domains,
        schedule::Schedule,
        streams::Streams,
        table::{Phase, QueuedMessage, Rcpts, RecipientGroup, RecipientState, StreamIx, Table},
    },
    budget::{permits::Writing, waitlist::WaitLists},
    connections::lanes::{LaneIx, Lanes, QueueIx},
};

/// Milliseconds between two cleanings of lists that nobody uses any more.
const SWEEP_EVERY: i64 = 60_000;
/// Turns of sources that are remembered: beyond, all begin anew, each somewhere else.
const TURNS_MAX: usize = 100_000;
/// Milliseconds until a lane whose receiver wanted no more connections tries one more.
pub(crate) const SQUEEZE: i64 = 60_000;

/// A connection in the hands of a task.
pub(crate) struct Session {
    pub(crate) path: QueueIx,
    pub(crate) established: bool,
    pub(crate) idle_since: Option<i64>,
    pub(crate) carried: u32,
    pub(crate) has: Option<Seq>,
}

/// The queue and its rules. One task owns it.
pub struct Dispatcher {
    pub(crate) policy: Policy,
    pub(crate) table: Table,
    pub(crate) domains: Domains,
    pub(crate) lanes: Lanes,
    pub(crate) sessions: HashMap<SessionId, Session>,
    pub(crate) schedule: Schedule<(DomainIx, RecipientGroup)>,
    /// Idle sessions in the order of their time.
    pub(crate) idle: VecDeque<(i64, SessionId)>,
    /// Lanes that wait for a connection because all are in use.
    pub(crate) hungry: VecDeque<LaneIx>,
    /// Lanes that hold fewer connections than configured, by the time when one more is tried.
    pub(crate) squeezed: Schedule<LaneIx>,
    pub(crate) streams: Streams,
    /// Whose turn it is, by stream and provider.
    pub(crate) sources_turn: HashMap<(StreamIx, Name), u64>,
    pub(crate) turns_begun: u64,
    pub(crate) governor: Governor,
    pub(crate) gates: WaitLists,
    pub(crate) deadlines: Deadlines,
    /// Streams with a rate of their own.
    pub(crate) tenants: HashMap<StreamIx, Shaper>,
    /// Sources that are not on this host.
    pub(crate) gone: HashSet<Name>,
    pub(crate) writing: Writing,
    /// Lanes that got mail while this input was handled.
    pub(crate) to_pump: Vec<LaneIx>,
    pub(crate) now: Timestamp,
    pub(crate) next_session: SessionId,
    pub(crate) next_sweep: i64,
    pub(crate) draining: bool,
    pub(crate) actions: Vec<Action>,
}

impl Dispatcher {
    /// An empty queue.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            table: Table::default(),
            domains: Domains::default(),
            lanes: Lanes::default(),
            sessions: HashMap::new(),
            schedule: Schedule::default(),
            idle: VecDeque::new(),
            hungry: VecDeque::new(),
            squeezed: Schedule::default(),
            streams: Streams::default(),
            sources_turn: HashMap::new(),
            turns_begun: 0,
            governor: Governor::new(),
            gates: WaitLists::default(),
            deadlines: Deadlines::default(),
            tenants: HashMap::new(),
            gone: HashSet::new(),
            writing: Writing::default(),
            to_pump: Vec::new(),
            now: Timestamp::UNIX_EPOCH,
            next_session: 0,
            next_sweep: 0,
            draining: false,
            actions: Vec::new(),
        }
    }

    /// Takes one input at `now` and says what is to be done about it.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Action> {
        self.now = now;
        match input {
            Input::Arrived(arrival) => self.arrived(*arrival, now),
            Input::Resolved(domain, answer, ttl) => self.resolved(domain, &answer, ttl, now),
            Input::Opened(session) => self.opened(session),
            Input::OpenFailed { session, load, failure, verdict, facts } => self.open_failed(session, *load, failure, verdict, &facts, now),
            Input::Finished { session, load, outcome, usable } => self.finished(session, *load, outcome, usable, now),
            Input::Closed(session) => self.session_gone(session, now),
            Input::Wake => {}
            Input::Policy(policy) => self.follow(*policy),
            Input::Sources(gone) => self.sources_gone(gone),
            Input::Known { source, provider, note } => self.became_known(&source, &provider, note),
            Input::Drain => self.drain(),
        }
        self.turn_the_wheel(now);
        self.finish()
    }

    /// Gives what got mail its connections, keeps the ledger, and says what is to be done.
    pub(crate) fn finish(&mut self) -> Vec<Action> {
        if !self.draining {
            self.open_gates();
        }
        while let Some(lane) = self.to_pump.pop() {
            self.pump(lane);
        }
        self.keep_ledger();
        std::mem::take(&mut self.actions)
    }

    fn follow(&mut self, policy: Policy) {
        self.policy = policy;
        self.follow_policy();
        for stream in self.streams.wholes() {
            self.set_tenant(stream);
        }
        self.gates.look_again_everywhere();
        self.leave_sources();
    }

    /// A stream's own rate, if it has one.
    fn set_tenant(&mut self, stream: StreamIx) {
        let shape = self.stream_policy(stream).shape;
        if shape.is_none() {
            self.tenants.remove(&stream);
        } else if self.tenants.get(&stream).is_none_or(|shaper| shaper.shape() != shape) {
            self.tenants.insert(stream, Shaper::new(shape, self.now));
        }
    }

    /// When [`Input::Wake`] is wanted, at the latest.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let idle = self.idle.front().map(|(since, _)| since + millis(self.policy.idle));
        let next =
            [self.schedule.next(), idle, self.squeezed.next(), self.deadlines.next(), self.ledger_wake()].into_iter().flatten().min();
        let next = next.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        [next, self.gates.next().filter(|_| !self.draining)].into_iter().flatten().min()
    }

    /// Messages and recipients owed.
    pub fn owed(&self) -> (usize, usize) {
        (self.table.messages(), self.table.recipients())
    }

    /// Sessions opening or open.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn arrived(&mut self, arrival: Arrival, now: Timestamp) {
        let Arrival { seq, id, arrived, stream, priority, deliver_by, size, domains, progress, warm } = arrival;
        let stream = self.stream_ix(&stream, priority);
        let fresh =
            RecipientState { due: 0, domain: 0, attempts: 0, phase: if progress.is_some() { Phase::Ended } else { Phase::Waiting } };
        let mut states = vec![fresh; domains.len()];
        for saved in progress.iter().flat_map(|p| &p.owed) {
            if let Some(s) = states.get_mut(usize::from(saved.0)) {
                *s = RecipientState {
                    due: saved.2,
                    domain: 0,
                    attempts: saved.1,
                    phase: if saved.3 { Phase::Held } else { Phase::Waiting },
                };
            }
        }
        for (state, domain) in states.iter_mut().zip(&domains) {
            if state.phase != Phase::Ended {
                state.domain = self.domains.owe(domain);
            }
        }
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let mut owed = QueuedMessage::new(id, arrived.as_millisecond(), stream, size, states);
        owed.warm = warm;
        if owed.owed() > 0 {
            self.table.insert(seq, owed);
            if let Some(by) = deliver_by {
                self.deadlines.watch(seq, by, progress.is_some_and(|progress| progress.told_late));
            }
            self.queue_all(seq, now);
        }
    }

    /// Makes groups of all recipients that wait, by domain and time.
    pub(crate) fn queue_all(&mut self, seq: Seq, now: Timestamp) {
        let Some(owed) = self.table.get(seq) else { return };
        let epoch = owed.epoch;
        let at_once = self.stream_policy(owed.stream).recipients_at_once(&self.policy.limits);
        // In the order of their first recipient, so that a simulation repeats.
        let mut groups: Vec<((DomainIx, i64), Vec<Rcpt>)> = Vec::new();
        let mut places: HashMap<(DomainIx, i64), usize> = HashMap::new();
        for (rcpt, s) in owed.recipients().iter().enumerate().filter(|(_, s)| s.phase == Phase::Waiting) {
            let rcpt = Rcpt::try_from(rcpt).expect("an envelope has at most 65,535 recipients");
            let key = (s.domain, s.due);
            let place = *places.entry(key).or_insert_with(|| {
                groups.push((key, Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(rcpt);
        }
        for ((domain, due), rcpts) in groups {
            for chunk in rcpts.chunks(at_once) {
                let group = RecipientGroup { seq, rcpts: Rcpts::new(chunk.to_vec()), epoch };
                if due > now.as_millisecond() {
                    self.schedule.add(due, (domain, group));
                } else {
                    self.place(domain, group, now);
                }
            }
        }
    }

    fn stream_ix(&mut self, name: &Name, priority: TransferPriority) -> StreamIx {
        let (whole, is_new) = self.streams.whole_of(name);
        if is_new {
            self.set_tenant(whole);
        }
        self.streams.part_of(whole, priority)
    }

    fn turn_the_wheel(&mut self, now: Timestamp) {
        let ms = now.as_millisecond();
        self.look_at_deadlines();
        while let Some(due) = self.schedule.take_due(ms) {
            for (domain, group) in due {
                self.place(domain, group, now);
            }
        }
        while let Some(lanes) = self.squeezed.take_due(ms) {
            lanes.into_iter().for_each(|lane| self.unsqueeze(lane, now));
        }
        self.close_idle(ms);
        if ms >= self.next_sweep {
            self.next_sweep = ms + SWEEP_EVERY;
            self.domains.sweep(ms);
            for governed in self.lanes.sweep(ms) {
                self.governor.forget(governed);
            }
            if self.sources_turn.len() > TURNS_MAX {
                self.sources_turn.clear();
            }
        }
    }
}

pub(crate) fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

pub(crate) fn later(now: Timestamp, wait: std::time::Duration) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond().saturating_add(millis(wait))).unwrap_or(Timestamp::MAX)
}
