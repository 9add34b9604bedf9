//! Mail for hosts that cannot be reached: it is deferred with a line that says why, and not every message finds out for itself.

use std::sync::Arc;

use posthaste_bounce::Verdict;
use posthaste_mail::{Attempt, Failure};

use super::Dispatcher;
use crate::{
    backlog::table::{DomainIx, RecipientGroup},
    connections::lanes::{QueueIx, Ready},
    exchange::{DeliveryJob, Unroutable},
    verdicts::not_tried,
};

impl Dispatcher {
    /// Leaves hosts alone that a session which began to open at `begun` (milliseconds since 1970) could not reach: all mail for them is
    /// tried later, without an attempt for each message. What has its last chance shares this attempt if it began since, or has another.
    pub(super) fn leave_alone(&mut self, queue: QueueIx, begun: i64, failure: Failure, verdict: Verdict) {
        let why = Arc::new(Unroutable { failure, verdict });
        self.connections.leave_alone(queue, begun, why.clone(), self.policy.host_down, self.now.as_millisecond());
        if self.halt.is_halted() {
            return;
        }
        let mut another = Vec::new();
        for ready in self.connections.lanes_mut().empty(queue) {
            match self.backlog.has_last_chance(&ready.group, &self.policy, self.now) {
                Some(since) if begun < since => another.push(ready),
                shared => {
                    self.budget.give_back(ready.permit, self.now);
                    match shared {
                        Some(_) => self.not_reached(queue, &ready.group, &why),
                        None => self.pass_over(queue, &ready.group, &why),
                    }
                }
            }
        }
        another.into_iter().for_each(|ready| self.queue_again(queue, ready));
    }

    fn queue_again(&mut self, queue: QueueIx, ready: Ready) {
        let Some((stream, _)) = self.backlog.waiting(&ready.group) else { return self.budget.give_back(ready.permit, self.now) };
        let share = self.share(stream, &self.connections.site(queue).provider);
        self.connections.lanes_mut().push(queue, share, ready);
    }

    /// Defers a group whose hosts are known to be out of reach, without an attempt.
    pub(super) fn pass_over(&mut self, queue: QueueIx, group: &RecipientGroup, why: &Unroutable) {
        let facts = Arc::new(Attempt { not_tried: true, ..self.connections.facts(queue) });
        let record = self.backlog.pass_over(group, (&not_tried(&why.failure), &why.verdict), facts, &self.policy, self.now);
        record.iter().for_each(|record| self.note_logins(queue, record));
        record.into_iter().for_each(|record| self.record(record));
    }

    /// Settles a group whose hosts could not be reached just now.
    fn not_reached(&mut self, queue: QueueIx, group: &RecipientGroup, why: &Unroutable) {
        let Some(job) = self.backlog.take(group, self.now) else { return };
        let (facts, party) = (Arc::new(self.connections.facts(queue)), self.party_of(job.seq));
        let record = self.backlog.fail(&job, (&why.failure, &why.verdict), facts, &self.policy, self.now);
        record.iter().for_each(|record| self.note_logins(queue, record));
        record.into_iter().for_each(|record| self.record_not_offered(party, record));
    }

    /// DNS said at `since` (milliseconds since 1970) that a domain has no hosts: a group is passed over, or DNS is asked again.
    pub(super) fn nowhere(&mut self, domain: DomainIx, why: &Unroutable, since: i64, group: RecipientGroup) {
        if why.verdict.permanent {
            return self.unroutable(domain, why, group);
        }
        if !self.backlog.may_pass(&group, since, &self.policy, self.now) {
            self.backlog.forget_route(domain);
            return self.place(domain, group);
        }
        let record = self.backlog.pass_over(&group, (&not_tried(&why.failure), &why.verdict), Arc::default(), &self.policy, self.now);
        record.into_iter().for_each(|record| self.record(record));
    }

    /// Defers or bounces a group that has no hosts, as DNS said just now. What bounces waits while its party has too many endings under way.
    pub(super) fn unroutable(&mut self, domain: DomainIx, why: &Unroutable, group: RecipientGroup) {
        let party = self.party_of(group.seq);
        if why.verdict.permanent && !self.halt.endings.has_room(party, self.policy.unlogged_max) {
            return self.halt.endings.wait(party, domain, group);
        }
        if let Some(job) = self.backlog.take(&group, self.now) {
            self.settle_failed(&job, &why.failure, &why.verdict, Arc::default());
        }
    }

    pub(super) fn settle_failed(&mut self, job: &DeliveryJob, failure: &Failure, verdict: &Verdict, facts: Arc<Attempt>) {
        let party = self.party_of(job.seq);
        let record = self.backlog.fail(job, (failure, verdict), facts, &self.policy, self.now);
        record.into_iter().for_each(|record| self.record_not_offered(party, record));
    }
}
