//! Mail that is ready, and the way it was to go holds no longer: a reload came, or its source is gone.

use std::collections::HashSet;

use posthaste_mail::Name;

use super::Dispatcher;
use crate::{backlog::table::RecipientGroup, exchange::DeliveryJob};

impl Dispatcher {
    /// After a reload: mail that is ready goes the way that holds now, kept connections are closed, and what was known of hosts is forgotten.
    /// Sessions that are busy get no further job, and what they have not offered yet they give back.
    pub(super) fn leave_ways(&mut self) {
        self.backlog.outdate_routes();
        self.connections.lanes_mut().forget_down_hosts();
        let closed = self.connections.leave_all();
        self.tell_closed(closed);
        for queue in self.connections.queues_of(|_| true) {
            for ready in self.connections.lanes_mut().empty(queue) {
                self.budget.give_back(ready.permit, self.now);
                self.place_again(&ready.group);
            }
        }
        self.feed_the_hungry();
    }

    /// A job that was not offered, because the way it was to go holds no longer.
    pub(super) fn place_job_again(&mut self, mut job: DeliveryJob) {
        self.budget.give_back(job.permit.take(), self.now);
        let back = self.backlog.hand_back(&job, self.now);
        if let Some((group, _)) = back.group {
            self.place_again(&group);
        }
        back.record.into_iter().for_each(|record| self.record(record));
    }

    /// Brings a group to its lane once more, each domain's recipients by themselves: their ways may part.
    fn place_again(&mut self, group: &RecipientGroup) {
        let Some(apart) = self.backlog.apart(group, &self.policy) else { return };
        for (domain, group) in apart.groups {
            self.place(domain, group);
        }
    }

    /// Moves the mail of sources that are gone, or are no longer configured, to others.
    pub(super) fn leave_sources(&mut self) {
        let known: HashSet<&Name> = self.policy.pools.values().flat_map(|pool| pool.sources.iter().map(|(name, _)| name)).collect();
        let queues = self.connections.queues_of(|source| self.budget.is_gone(source) || !known.contains(source));
        for queue in queues {
            let closed = self.connections.close_idle_of(queue);
            self.tell_closed(closed);
            let site = self.connections.site(queue).clone();
            for ready in self.connections.lanes_mut().empty(queue) {
                self.budget.give_back(ready.permit, self.now);
                if let Some((stream, n)) = self.backlog.waiting(&ready.group) {
                    self.choose(&site, stream, n, ready.group);
                }
            }
        }
    }
}
