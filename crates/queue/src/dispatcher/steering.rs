//! Operators' questions to the queue, and their changes of it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::warmup;

use super::Dispatcher;
use crate::{
    backlog::table::{Phase, RecipientState, Seq},
    exchange::{Action, Input, Next},
    operator::{
        guarding,
        question::{Answer, Changed, Question, QueueChange, QueueTable, Reasons},
        rows::{self, QueueCounts},
        selection::MessageSelection,
        waiting, why,
    },
};

/// How long the queue's table lasts, for each recipient in the queue and for each row of the table: making it takes a fiftieth of that. Measured by
/// `crates/relay/examples/table.rs`: 95 to 150 ns for a recipient, and 5 to 8 µs for a row of what waits for a provider.
const RECIPIENT_LASTS: SignedDuration = SignedDuration::from_nanos(7_500);
const ROW_LASTS: SignedDuration = SignedDuration::from_micros(400);

impl Dispatcher {
    /// Answers a question or makes an operator's change; also returns the actions that follow from it.
    pub fn answer(&mut self, question: Question, now: Timestamp) -> (Answer, Vec<Action>) {
        self.turn_clock(now);
        let only = |answer| (answer, Vec::new());
        match question {
            Question::Table => only(Answer::Table(self.table())),
            Question::Messages { selection, limit } => {
                only(Answer::Messages(rows::message_rows(self.view(), &self.budget, &selection, limit)))
            }
            Question::Change(change) => {
                self.last_table = None;
                let (mut not_sent, mut left, mut guarded) = (Vec::new(), 0, 0);
                let (messages, actions) = match change {
                    QueueChange::Retry { selection, scheduled, by: _ } => {
                        let seqs = selection.of(&self.backlog).messages;
                        // Before routes are forgotten: they say whose lanes the mail waits for.
                        not_sent = rows::not_sent(self.view(), self.budget.governor(), &seqs, scheduled);
                        left = seqs.iter().filter(|seq| !scheduled && self.backlog.is_scheduled(**seq, now)).count();
                        self.retry(&selection, scheduled, now)
                    }
                    QueueChange::Hold { selection, reason } => self.hold(&selection, &reason, now),
                    QueueChange::Release { selection, by } => {
                        guarded = self.left_to_the_guard(&selection);
                        self.release(&selection, &by, now)
                    }
                    QueueChange::Cancel { selection, by, reason } => self.cancel(&selection, &by, &reason, now),
                };
                (Answer::Changed(Changed { messages, not_sent, scheduled: left, guarded }), actions)
            }
            Question::Guarded => only(Answer::Guarded(guarding::rows(&self.backlog))),
            Question::Guard(change) => {
                self.last_table = None;
                let (messages, actions) = self.guard(change, now);
                (Answer::Changed(Changed { messages, ..Changed::default() }), actions)
            }
            Question::Why { selection, limit, provider, sources } => {
                let lanes = provider.map(|provider| why::lanes_now(self.view(), &self.budget, &provider, &sources)).unwrap_or_default();
                let waiting = why::waits(self.view(), &self.budget, &selection, limit);
                only(Answer::Why(Reasons { lanes, waiting, halted: self.halted() }))
            }
            Question::Oldest => only(Answer::Oldest(rows::oldest(self.view()))),
            Question::Warmup(ask) => {
                let (answer, actions) = self.warmup(&ask, now);
                (Answer::Warmup(answer), actions)
            }
            Question::ReturnLeases => (Answer::Done, self.return_leases(now)),
            Question::Sync => only(Answer::Done),
        }
    }

    /// The queue's table. It takes a look at every recipient, so it is made anew only when the last one has lasted for fifty times as long
    /// as it takes to make: however often it is asked for, deliveries lose no more than a fiftieth of the time. Totals are always current.
    fn table(&mut self) -> QueueTable {
        let times = |one: SignedDuration, n: usize| one * i32::try_from(n).unwrap_or(i32::MAX);
        let of_recipients = times(RECIPIENT_LASTS, self.backlog.table().recipients());
        let lasting = |(made, table): &&(Timestamp, QueueTable)| {
            let lasts = of_recipients + times(ROW_LASTS, table.lanes.len() + table.waiting.len());
            (SignedDuration::ZERO..lasts).contains(&self.now.duration_since(*made))
        };
        if let Some((_, table)) = self.last_table.as_ref().filter(lasting) {
            let (messages, recipients) = self.queued();
            let counts = QueueCounts { messages, recipients, connections: self.connections.count(), ..table.counts };
            return QueueTable { counts, halted: self.halted(), ..table.clone() };
        }
        let counts = rows::counts(self.view(), self.connections.count());
        let lanes = rows::lane_rows(self.view(), self.budget.lists(), &self.logins);
        let holds = rows::lane_holds(self.view(), self.budget.governor(), &lanes);
        let waiting = waiting::waiting_rows(self.view(), self.budget.lists());
        let table = QueueTable { counts, lanes, holds, waiting, halted: self.halted() };
        self.last_table = Some((self.now, table.clone()));
        table
    }

    /// Makes the selected messages due now, and forgets their routes, and hosts that were out of reach. What its sender wants sent later is left
    /// alone, unless `scheduled` is set. Returns how many messages changed.
    pub(crate) fn retry(&mut self, selection: &MessageSelection, scheduled: bool, now: Timestamp) -> (usize, Vec<Action>) {
        self.now = now;
        let selected = selection.of(&self.backlog);
        self.backlog.forget_routes_of(&selected.messages);
        self.connections.lanes_mut().forget_down_hosts();
        let mut moved = 0;
        for seq in selected.messages.iter().copied() {
            let is_left = !scheduled && self.backlog.is_scheduled(seq, now);
            if !is_left && self.backlog.make_due(seq, |_, recipient| selected.has(recipient.domain), now) {
                moved += 1;
                self.queue_anew(seq);
            }
        }
        (moved, self.finish())
    }

    /// Holds the selected messages; attempts that are under way go on. Returns how many messages changed.
    pub(crate) fn hold(&mut self, selection: &MessageSelection, reason: &str, now: Timestamp) -> (usize, Vec<Action>) {
        let reason: Arc<str> = reason.into();
        let to = |r: &RecipientState| (r.phase == Phase::Waiting).then(|| (Phase::Held, Next::Held(reason.clone())));
        (self.change(selection, now, to), self.finish())
    }

    /// Releases the selected messages that are held. What the guard holds is left alone, unless it is selected by its id. Returns how many
    /// changed.
    pub(crate) fn release(&mut self, selection: &MessageSelection, by: &str, now: Timestamp) -> (usize, Vec<Action>) {
        self.now = now;
        let by: Arc<str> = by.into();
        let mut selected = selection.of(&self.backlog);
        selected.messages.retain(|seq| selection.id.is_some() || self.backlog.guarded().get(*seq).is_none());
        selected.messages.iter().for_each(|seq| self.backlog.let_go(*seq, now));
        let to =
            |r: &RecipientState| (r.phase == Phase::Held && selected.has(r.domain)).then(|| (Phase::Waiting, Next::Released(by.clone())));
        let changed = self.change_these(&selected.messages, to);
        selected.messages.iter().for_each(|seq| self.queue_anew(*seq));
        (changed, self.finish())
    }

    /// How many of the selected messages a release leaves alone, because the guard holds them.
    fn left_to_the_guard(&self, selection: &MessageSelection) -> usize {
        if selection.id.is_some() {
            return 0;
        }
        selection.of(&self.backlog).messages.iter().filter(|seq| self.backlog.guarded().get(**seq).is_some()).count()
    }

    /// Removes the selected messages; a recipient with an attempt under way is removed when that attempt fails. Returns how many changed.
    pub(crate) fn cancel(&mut self, selection: &MessageSelection, by: &str, reason: &str, now: Timestamp) -> (usize, Vec<Action>) {
        let (by, reason): (Arc<str>, Arc<str>) = (by.into(), reason.into());
        let selected = selection.of(&self.backlog);
        for seq in &selected.messages {
            self.backlog.cancel_in_flight(*seq, |domain| selected.has(domain));
        }
        let to = |r: &RecipientState| {
            matches!(r.phase, Phase::Waiting | Phase::Held).then(|| (Phase::Ended, Next::Cancelled(by.clone(), reason.clone())))
        };
        (self.change(selection, now, to), self.finish())
    }

    /// Answers a question about the warm-up. Its changes are logged, acted on and written to the ledger at once.
    fn warmup(&mut self, ask: &warmup::WarmupQuestion, now: Timestamp) -> (warmup::WarmupAnswer, Vec<Action>) {
        let answer = warmup::perform(self.budget.governor_mut(), ask, now);
        let mut actions = self.handle(Input::Wake, now);
        actions.extend(self.budget.write_ledger().map(Action::Ledger));
        (answer, actions)
    }

    /// Returns the leased budget on an orderly stop, when no session is left, so that none of the day's budget is lost.
    pub fn return_leases(&mut self, now: Timestamp) -> Vec<Action> {
        self.now = now;
        for queue in self.connections.queues_of(|_| true) {
            for ready in self.connections.lanes_mut().empty(queue) {
                self.budget.give_back(ready.permit, now);
            }
        }
        self.actions.extend(self.budget.return_leases().map(Action::Ledger));
        std::mem::take(&mut self.actions)
    }

    /// Changes the selected recipients and records it. Returns how many messages changed.
    fn change(&mut self, selection: &MessageSelection, now: Timestamp, to: impl Fn(&RecipientState) -> Option<(Phase, Next)>) -> usize {
        self.now = now;
        let selected = selection.of(&self.backlog);
        self.change_these(&selected.messages, |r| to(r).filter(|_| selected.has(r.domain)))
    }

    /// Changes recipients of these messages and records it. Returns how many messages changed.
    pub(super) fn change_these(&mut self, seqs: &[Seq], to: impl Fn(&RecipientState) -> Option<(Phase, Next)>) -> usize {
        let mut changed = 0;
        for seq in seqs {
            let record = self.backlog.change(*seq, &to, self.now);
            changed += usize::from(record.is_some());
            record.into_iter().for_each(|record| self.record(record));
        }
        changed
    }

    /// Groups what waits of a message anew, and places what is due.
    pub(super) fn queue_anew(&mut self, seq: Seq) {
        self.backlog.void_groups(seq);
        self.queue_all(seq);
    }
}
