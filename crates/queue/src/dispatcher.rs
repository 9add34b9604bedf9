//! The dispatcher decides which recipients are tried when and over which connection. Inputs and the time go in, actions come out.
//!
//! A recipient is always in exactly one place, given by its phase and the queues:
//!
//! ```text
//! accepted ─→ domain (waits for DNS) ─(route known)─→ ready queue ─→ session (in flight) ─→ ended
//!                  ▲                          │  ▲                        │
//!                  │            no budget yet ▼  │                        │
//!                  │                       wait list                      │
//!                  └────────── schedule (due later) ◀──deferred───────────┘        held: in no queue until released
//! ```
//!
//! Queues hold groups of one message's recipients. A group is void when its message is gone, its recipients moved on, or the message's
//! epoch rose. Code that moves mail out of turn (for an operator, say) raises the epoch and makes new groups; it never searches a queue.
//!
//! The dispatcher owns three parts, each with fields of its own: the [`Backlog`] knows every recipient's state, [`Connections`] the ready
//! mail and the sessions, [`Budget`] what may be sent when. None of them knows the dispatcher, which asks one and hands the answer to the
//! next.

/// What the budget may read of the other parts while it is changed.
macro_rules! view {
    ($self:ident) => {
        crate::view::View {
            backlog: &$self.backlog,
            lanes: $self.connections.lanes(),
            stalling: $self.connections.stalling(),
            policy: &$self.policy,
            halt: &$self.halt,
            now: $self.now,
        }
    };
}

mod clock;
mod guarding;
mod halting;
mod logins;
mod sending;
mod steering;
mod unreachable;
mod waiting;
mod ways;

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use posthaste_governor::{Governor, LaneEntry, LaneId, LaneKey};
use posthaste_mail::Name;

use crate::{
    backlog::{
        Backlog,
        table::{Seq, StreamIx},
    },
    budget::Budget,
    connections::Connections,
    exchange::{Action, Arrival, FateRecord, Input, SessionId},
    halt::Halt,
    login_waits::LoginWaits,
    operator::question::QueueTable,
    policy::Policy,
    times::millis,
    view::View,
};

/// Milliseconds between two removals of lanes, queues and domains that are no longer used.
const SWEEP_EVERY: i64 = 60_000;

/// The queue and its rules. One task owns it.
pub struct Dispatcher {
    policy: Policy,
    backlog: Backlog,
    connections: Connections,
    budget: Budget,
    /// Lanes that got mail while this input was handled.
    to_pump: Vec<LaneId>,
    now: Timestamp,
    next_sweep: i64,
    /// The lanes whose mail waits because the clock went back, and the budget of that day or of a later one was given already; each until then.
    held_days: BTreeMap<LaneKey, Timestamp>,
    halt: Halt,
    logins: LoginWaits,
    draining: bool,
    /// The queue's table as it was last made, and when.
    last_table: Option<(Timestamp, QueueTable)>,
    actions: Vec<Action>,
}

impl Dispatcher {
    /// An empty queue.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            backlog: Backlog::default(),
            connections: Connections::default(),
            budget: Budget::default(),
            to_pump: Vec::new(),
            now: Timestamp::UNIX_EPOCH,
            next_sweep: i64::MIN,
            held_days: BTreeMap::new(),
            halt: Halt::default(),
            logins: LoginWaits::default(),
            draining: false,
            last_table: None,
            actions: Vec::new(),
        }
    }

    /// Restores the ledger that was read from the disk. Called before any mail is taken in.
    pub fn restore_ledger(&mut self, entries: impl IntoIterator<Item = LaneEntry>) {
        self.budget.restore(entries);
    }

    /// Opens the lanes of all sources that warm up and have a history, so that their days close and are shown even if no mail is sent
    /// there.
    pub fn open_lanes(&mut self, known: &HashSet<LaneKey>, now: Timestamp) {
        self.now = now;
        self.budget.open_lanes(known, &self.policy, now);
    }

    /// Handles one input at `now` and returns the actions that follow from it.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Action> {
        self.turn_clock(now);
        match input {
            Input::Arrived(arrival) => self.arrived(*arrival),
            Input::Resolved(domain, answer, ttl) => self.resolved(domain, &answer, ttl),
            Input::Opened(session) => self.connections.opened(session),
            Input::OpenFailed { session, job, failure, verdict, facts } => self.open_failed(session, *job, failure, verdict, facts),
            Input::Finished { session, job, outcome, usable } => self.finished(session, *job, outcome, usable),
            Input::PartFinished { session, job, said, facts } => self.answered(session, *job, said, facts),
            Input::Logged(of, results) => self.logged(of, results),
            Input::Trouble(why) => self.trouble(why),
            Input::Wake => {}
            Input::Policy(policy) => self.follow(*policy),
            Input::LoginsChanged(sites) => self.logins_changed(&sites),
            Input::Sources(gone) => self.sources_gone(gone),
            Input::Known { source, provider, note } => self.budget.note(&source, &provider, note, &self.policy, now),
            Input::Drain => self.drain(),
        }
        self.turn_the_wheel();
        self.finish()
    }

    /// The latest time at which [`Input::Wake`] is needed; None when nothing is due.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let due = self.backlog.next().filter(|_| !self.halt.is_halted());
        let give_up = self.connections.next_give_up().filter(|_| self.gives_connections());
        let next = [due, give_up, self.connections.next(self.policy.idle), self.budget.next_close(&self.policy)];
        let next = next.into_iter().flatten().min().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let release = self.budget.next_release().filter(|_| !self.draining && !self.halt.is_halted());
        [next, release].into_iter().flatten().min()
    }

    /// The numbers of queued messages and recipients.
    pub fn queued(&self) -> (usize, usize) {
        (self.backlog.table().messages(), self.backlog.table().recipients())
    }

    /// The number of domains that it knows.
    #[cfg(test)]
    pub(crate) fn domains(&self) -> usize {
        self.backlog.domains().numbers().count()
    }

    /// The number of sessions that are opening or open.
    pub fn sessions(&self) -> usize {
        self.connections.count()
    }

    /// Lanes, budgets, health.
    pub fn governor(&self) -> &Governor {
        self.budget.governor()
    }

    /// The same, for changes; their consequences are acted on with the next input.
    pub fn governor_mut(&mut self) -> &mut Governor {
        self.budget.governor_mut()
    }

    /// When the next deadline of a message passes, in milliseconds since 1970.
    #[cfg(test)]
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.backlog.next_deadline()
    }

    /// Gives connections to the lanes that got mail, closes days, and returns the actions, with the ledger's batch and the lanes' changes.
    fn finish(&mut self) -> Vec<Action> {
        if self.gives_connections() {
            self.open_wait_lists();
        }
        while let Some(lane) = self.to_pump.pop() {
            self.pump(lane);
        }
        self.actions.extend(self.budget.keep_ledger(self.now).map(Action::Ledger));
        let changes = self.budget.changes().into_iter();
        self.actions.extend(changes.map(|changed| Action::Lane { key: changed.key, plan: changed.plan, change: changed.change }));
        std::mem::take(&mut self.actions)
    }

    fn follow(&mut self, policy: Policy) {
        self.policy = policy;
        self.budget.follow(&self.policy, self.now);
        for stream in self.backlog.streams().wholes() {
            self.set_rate(stream);
        }
        self.leave_sources();
        self.leave_ways();
    }

    fn sources_gone(&mut self, gone: HashSet<Name>) {
        self.budget.set_gone(gone);
        self.leave_sources();
    }

    fn drain(&mut self) {
        self.draining = true;
        let closed = self.connections.close_all_idle();
        self.tell_closed(closed);
    }

    fn arrived(&mut self, mut arrival: Arrival) {
        if let Some(progress) = &mut arrival.progress {
            self.logins.restore(arrival.seq, progress, self.now.as_millisecond());
        }
        let (stream, is_new) = self.backlog.stream(&arrival.stream);
        if is_new {
            self.set_rate(stream);
        }
        let seq = arrival.seq;
        if self.backlog.insert(arrival, stream) {
            self.backlog.wait_no_longer(seq, &self.policy, self.now.as_millisecond());
            self.queue_all(seq);
        }
    }

    /// Groups the waiting recipients of a message, and places the groups that are due.
    fn queue_all(&mut self, seq: Seq) {
        let Some(stream) = self.backlog.stream_of(seq) else { return };
        let at_once = self.view().stream_policy(stream).recipients_at_once(&self.policy.limits);
        for (domain, group) in self.backlog.regroup(seq, at_once, self.now.as_millisecond()) {
            self.place(domain, group);
        }
    }

    fn set_rate(&mut self, stream: StreamIx) {
        let shape = self.view().stream_policy(stream).shape;
        self.budget.set_rate(stream, shape, self.now);
    }

    fn turn_the_wheel(&mut self) {
        let now = self.now.as_millisecond();
        if !self.halt.is_halted() {
            self.take_up_what_is_due();
        }
        while let Some(lanes) = self.connections.take_squeezed(now) {
            lanes.into_iter().for_each(|lane| self.unsqueeze(lane));
        }
        while let Some(session) = self.connections.close_idle(now - millis(self.policy.idle)) {
            self.actions.push(Action::Close(session));
            self.feed_the_hungry();
        }
        if self.gives_connections() {
            let silent = self.connections.give_up(self.policy.patience, self.policy.connections, now);
            self.tell_closed(silent);
            self.feed_the_hungry();
        }
        if self.backlog.is_littered() {
            self.backlog.sweep(now);
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_EVERY;
            self.backlog.sweep(now);
            self.logins.sweep(self.backlog.table());
            self.connections.sweep_stalling(now);
            let gone = self.connections.lanes_mut().sweep(now);
            self.budget.sweep(gone);
            self.watch_days();
        }
    }

    /// Whether lanes get connections now.
    fn gives_connections(&self) -> bool {
        !self.draining && !self.halt.is_halted()
    }

    fn take_up_what_is_due(&mut self) {
        let overdue = self.backlog.end_overdue(self.now);
        overdue.into_iter().for_each(|record| self.record(record));
        while let Some(due) = self.backlog.take_due(self.now.as_millisecond()) {
            for (domain, group) in due {
                self.place(domain, group);
            }
        }
    }

    fn view(&self) -> View<'_> {
        view!(self)
    }

    fn record(&mut self, mut record: FateRecord) {
        self.logins.settle(&mut record);
        self.actions.push(Action::Record(Box::new(record)));
    }

    fn tell_closed(&mut self, sessions: impl IntoIterator<Item = SessionId>) {
        self.actions.extend(sessions.into_iter().map(Action::Close));
    }
}
