//! Recipients that are due while their hosts are known to be out of reach: they are passed over, which is no attempt, and due again later.
//!
//! Nobody is passed over for longer than its own wait between two attempts, and nobody when it may be its last chance.
//!
//! How often a recipient was passed over is not saved: it only lengthens waits. A start knows of no host that is out of reach, so it tries, and a
//! real attempt ends the count anyway; until then the waits are shorter, never longer. Attempts, due times and last chances are saved or
//! follow from what is.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_bounce::Verdict;
use posthaste_mail::{Attempt, Failure};

use super::{
    Backlog,
    settle::About,
    table::{QueuedMessage, RecipientGroup, RecipientState, Seq},
};
use crate::{
    exchange::{AttemptResult, Fate, FateRecord, Next},
    policy::Policy,
    times::{later, millis, timestamp},
};

impl Backlog {
    /// Whether a group that is due may be passed over, because the same was tried and failed at `since` (milliseconds since 1970): none of
    /// its recipients has waited for as long as it waits between two attempts, and none has its last chance.
    pub(crate) fn may_pass(&self, group: &RecipientGroup, since: i64, policy: &Policy, now: Timestamp) -> bool {
        let Some((message, rcpts)) = self.table.open(group) else { return true };
        let retry = &self.stream_policy(message.stream, policy).retry;
        let now = now.as_millisecond();
        let waits = |recipient: &RecipientState| now < since.saturating_add(millis(retry.least_wait(recipient.waits())));
        now < self.last_chance(group.seq, message, policy) && rcpts.iter().all(|rcpt| waits(message.recipient(*rcpt)))
    }

    /// Since when a group that is due has its last chance, in milliseconds since 1970; None: it has not come.
    pub(crate) fn has_last_chance(&self, group: &RecipientGroup, policy: &Policy, now: Timestamp) -> Option<i64> {
        let message = self.table.get(group.seq)?;
        Some(self.last_chance(group.seq, message, policy)).filter(|since| *since <= now.as_millisecond())
    }

    /// Defers a group that is not tried, for this reason. It counts as no attempt, but lengthens the wait like one.
    pub(crate) fn pass_over(
        &mut self,
        group: &RecipientGroup,
        (failure, verdict): (&Failure, &Verdict),
        facts: Arc<Attempt>,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<FateRecord> {
        let last = timestamp(self.last_chance(group.seq, self.table.get(group.seq)?, policy)).max(now);
        let (message, rcpts) = self.table.open_mut(group)?;
        let (id, warm) = (message.id, message.warm.take());
        let retry = &policy.stream(self.streams.name(message.stream)).retry;
        let mut together: Option<Timestamp> = None;
        let mut fates = Vec::with_capacity(rcpts.len());
        for rcpt in rcpts {
            let recipient = message.recipient_mut(rcpt);
            recipient.passed = recipient.passed.saturating_add(1);
            let salt = group.seq.wrapping_mul(0x1_0001).wrapping_add(u64::from(rcpt));
            let at = *together.get_or_insert_with(|| later(now, retry.wait(recipient.waits(), salt)).min(last));
            let said = Some(AttemptResult::Failed(failure.clone(), verdict.clone()));
            let attempt = u32::from(recipient.attempts);
            let (facts, elsewhere, earlier, next) = (None, Vec::new(), None, Next::Deferred(at));
            fates.push(Fate { rcpt, attempt, said, facts, elsewhere, earlier, next, was_due: Timestamp::UNIX_EPOCH });
        }
        let deferred = self.apply(group.seq, &fates);
        let record = self.record(About { seq: group.seq, id, warm }, facts, fates, now);
        if let Some((due, rcpts)) = deferred {
            self.schedule_later(group.seq, due, rcpts);
        }
        Some(record)
    }

    /// When a message has its last chance, in milliseconds since 1970.
    pub(crate) fn last_chance(&self, seq: Seq, message: &QueuedMessage, policy: &Policy) -> i64 {
        self.deadlines.last_chance(seq, self.expires(seq, message, policy))
    }
}
