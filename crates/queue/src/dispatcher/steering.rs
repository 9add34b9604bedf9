//! What operators ask of the queue and do to it.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_mail::Name;

use super::Dispatcher;
use crate::{
    backlog::table::{Phase, RecipientState},
    exchange::{Action, Input, Next},
    operator::{
        question::{Answer, Question, QueueTable, Reasons},
        rows::{self, Counts, LaneRow, MessageRow},
        selection::Selection,
        why::{self, LaneNow, WaitingRecipient},
    },
    warmup,
};

impl Dispatcher {
    /// Answers a question, or changes the queue as an operator wants it; what is to be done about that.
    pub fn answer(&mut self, question: Question, now: Timestamp) -> (Answer, Vec<Action>) {
        self.now = now;
        let only = |answer| (answer, Vec::new());
        let changed = |(messages, actions)| (Answer::Changed(messages), actions);
        match question {
            Question::Table => only(Answer::Table(QueueTable { counts: self.counts(now), lanes: self.lane_rows(now) })),
            Question::Messages { selection, limit } => {
                only(Answer::Messages(rows::message_rows(self.view(), self.budget.lists(), &selection, limit)))
            }
            Question::Retry { selection } => changed(self.retry(&selection, now)),
            Question::Hold { selection, reason } => changed(self.hold(&selection, &reason, now)),
            Question::Release { selection, by } => changed(self.release(&selection, &by, now)),
            Question::Cancel { selection, by, reason } => changed(self.cancel(&selection, &by, &reason, now)),
            Question::Why { selection, limit, provider, sources } => {
                let lanes = provider.map(|provider| why::lanes_now(self.view(), &self.budget, &provider, &sources)).unwrap_or_default();
                let waiting = why::waits(self.view(), self.budget.lists(), &selection, limit);
                only(Answer::Why(Reasons { lanes, waiting }))
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

    /// How many recipients are where.
    pub fn counts(&self, now: Timestamp) -> Counts {
        rows::counts(self.view().at(now), self.connections.count())
    }

    /// The queue's table, the fullest line first.
    pub fn lane_rows(&self, now: Timestamp) -> Vec<LaneRow> {
        rows::lane_rows(self.view().at(now), self.budget.lists())
    }

    /// Up to `limit` messages that fit, the oldest first, and how many fit in all.
    pub fn message_rows(&self, selection: &Selection, limit: usize) -> (Vec<MessageRow>, usize) {
        let messages = rows::message_rows(self.view(), self.budget.lists(), selection, limit);
        (messages.rows, messages.total)
    }

    /// How these sources' lanes at a provider stand; those that never sent there are left out.
    pub fn lanes_now(&self, provider: &Name, sources: &[Name], now: Timestamp) -> Vec<(Name, LaneNow)> {
        let lanes = why::lanes_now(self.view().at(now), &self.budget, provider, sources);
        lanes.into_iter().map(|lane| (lane.source, lane.now)).collect()
    }

    /// Up to `limit` recipients that wait and fit, the oldest messages first, and how many fit in all.
    pub fn waits(&self, selection: &Selection, limit: usize, now: Timestamp) -> (Vec<WaitingRecipient>, usize) {
        let waiting = why::waits(self.view().at(now), self.budget.lists(), selection, limit);
        (waiting.first, waiting.total)
    }

    /// Makes what fits due now, and forgets what was thought of its hosts; how many messages.
    pub fn retry(&mut self, selection: &Selection, now: Timestamp) -> (usize, Vec<Action>) {
        self.now = now;
        let selected = selection.of(&self.backlog);
        self.backlog.forget_routes();
        self.connections.lanes_mut().forget_trouble();
        let mut moved = 0;
        for seq in selected.messages {
            if self.backlog.make_due(seq, now) {
                moved += 1;
                self.backlog.void_groups(seq);
                self.queue_all(seq);
            }
        }
        (moved, self.finish())
    }

    /// Keeps back what fits; what a connection has in hand goes on. How many messages.
    pub fn hold(&mut self, selection: &Selection, reason: &str, now: Timestamp) -> (usize, Vec<Action>) {
        let reason: Arc<str> = reason.into();
        let to = |r: &RecipientState| (r.phase == Phase::Waiting).then(|| (Phase::Held, Next::Held(reason.clone())));
        (self.change(selection, now, to), self.finish())
    }

    /// Lets go what was held; how many messages.
    pub fn release(&mut self, selection: &Selection, by: &str, now: Timestamp) -> (usize, Vec<Action>) {
        let by: Arc<str> = by.into();
        let to = |r: &RecipientState| (r.phase == Phase::Held).then(|| (Phase::Waiting, Next::Released(by.clone())));
        let changed = self.change(selection, now, to);
        for seq in selection.of(&self.backlog).messages {
            self.backlog.void_groups(seq);
            self.queue_all(seq);
        }
        (changed, self.finish())
    }

    /// Removes what fits. What a connection has in hand is removed when that attempt fails. How many messages.
    pub fn cancel(&mut self, selection: &Selection, by: &str, reason: &str, now: Timestamp) -> (usize, Vec<Action>) {
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

    /// Answers a question about the warm-up. What it changed is told, acted on, and handed to the disk at once.
    pub fn warmup(&mut self, ask: &warmup::Ask, now: Timestamp) -> (warmup::Answer, Vec<Action>) {
        let answer = warmup::perform(self.budget.governor_mut(), ask, now);
        let mut actions = self.handle(Input::Wake, now);
        actions.extend(self.budget.write_ledger().map(Action::Ledger));
        (answer, actions)
    }

    /// For a stop in good order, when no session is left: nothing of the day is lost by it.
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

    /// Changes those recipients that fit, and has it written down; how many messages.
    fn change(&mut self, selection: &Selection, now: Timestamp, to: impl Fn(&RecipientState) -> Option<(Phase, Next)>) -> usize {
        self.now = now;
        let selected = selection.of(&self.backlog);
        let mut changed = 0;
        for seq in &selected.messages {
            let record = self.backlog.change(*seq, |r| to(r).filter(|_| selected.has(r.domain)), now);
            changed += usize::from(record.is_some());
            record.into_iter().for_each(|record| self.record(record));
        }
        changed
    }
}
