//! The end of what the guard holds: it goes out, is removed, or has been held for too long.

use jiff::Timestamp;

use super::Dispatcher;
use crate::{
    backlog::table::{Phase, RecipientState, Seq},
    exchange::{Action, Next},
    operator::guarding::{self, GuardChange, GuardEnd},
    verdicts::held_too_long,
};

impl Dispatcher {
    /// Ends what the guard holds. Returns how many messages changed.
    pub(crate) fn guard(&mut self, change: GuardChange, now: Timestamp) -> (usize, Vec<Action>) {
        self.now = now;
        let seqs = guarding::selected(&self.backlog, &change);
        let is_held = |recipient: &RecipientState| recipient.phase == Phase::Held;
        let changed = match change.end {
            GuardEnd::Released { by } => {
                seqs.iter().for_each(|seq| self.backlog.let_go(*seq, now));
                let changed = self.change_these(&seqs, |r| is_held(r).then(|| (Phase::Waiting, Next::Released(by.clone()))));
                seqs.iter().for_each(|seq| self.queue_anew(*seq));
                changed
            }
            GuardEnd::Dropped { by, reason } => {
                self.change_these(&seqs, |r| is_held(r).then(|| (Phase::Ended, Next::Cancelled(by.clone(), reason.clone()))))
            }
            GuardEnd::Expired { detail } => seqs.iter().filter(|seq| self.give_up_held(**seq, &detail)).count(),
        };
        (changed, self.finish())
    }

    fn give_up_held(&mut self, seq: Seq, detail: &str) -> bool {
        let record = self.backlog.end_held(seq, held_too_long(detail.to_owned()), self.now);
        record.map(|record| self.record(record)).is_some()
    }
}
