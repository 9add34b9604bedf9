//! The messages that wait for delivery: each recipient's state, the schedule, the domains and their routes, the streams, and the times by
//! which senders want messages delivered.
//!
//! The backlog knows nothing of connections and budgets. Its decisions about recipients are returned as records, to be logged.

pub(crate) mod deadlines;
pub(crate) mod domains;
pub(crate) mod guarded;
mod ids;
mod passing;
mod schedule;
mod setback;
mod settle;
pub(crate) mod streams;
pub(crate) mod table;

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use posthaste_mail::Name;

pub(crate) use self::schedule::Schedule;
use self::{
    deadlines::Deadlines,
    domains::{Domains, Route},
    guarded::Guarded,
    streams::{Party, Streams},
    table::{DomainIx, Phase, QueuedMessage, Rcpt, Rcpts, RecipientGroup, RecipientState, Seq, StreamIx, Table},
};
use super::{
    exchange::{Arrival, Unroutable},
    policy::{Policy, StreamPolicy},
    times::{expires, millis},
};
use crate::Site;

/// Every queued message, and what is known about its route.
#[derive(Default)]
pub(crate) struct Backlog {
    table: Table,
    domains: Domains,
    streams: Streams,
    deadlines: Deadlines,
    guarded: Guarded,
    /// Groups that are due later.
    schedule: Schedule<(DomainIx, RecipientGroup)>,
}

/// One message's recipients that wait for budget, in groups by domain.
pub(crate) struct Apart {
    /// Their message's stream.
    pub(crate) stream: StreamIx,
    /// When they have their last chance, in milliseconds since 1970.
    pub(crate) until: i64,
    /// The groups.
    pub(crate) groups: Vec<(DomainIx, RecipientGroup)>,
}

impl Backlog {
    /// The number of a stream; true if it is new.
    pub(crate) fn stream(&mut self, name: &Name) -> (StreamIx, bool) {
        self.streams.whole_of(name)
    }

    /// Takes in a message of this stream; false if all its recipients had ended before.
    pub(crate) fn insert(&mut self, arrival: Arrival, stream: StreamIx) -> bool {
        let Arrival { seq, id, arrived, put_off, stream: _, user, priority, deliver_by, size, domains, progress, guarded, warm } = arrival;
        let stream = self.streams.part_of(stream, priority, user.as_deref());
        let phase = match (&progress, &guarded) {
            (Some(_), _) => Phase::Ended,
            (None, Some(_)) => Phase::Held,
            (None, None) => Phase::Waiting,
        };
        let mut recipients = vec![RecipientState { due: 0, domain: 0, attempts: 0, passed: 0, phase }; domains.len()];
        for saved in progress.iter().flat_map(|p| &p.recipients) {
            if let Some(recipient) = recipients.get_mut(usize::from(saved.0)) {
                let phase = if saved.3 { Phase::Held } else { Phase::Waiting };
                *recipient = RecipientState { due: saved.2, domain: 0, attempts: saved.1, passed: 0, phase };
            }
        }
        let mut queued = false;
        for (recipient, domain) in recipients.iter_mut().zip(&domains).filter(|(recipient, _)| recipient.phase != Phase::Ended) {
            recipient.domain = self.domains.add_recipient(domain);
            queued = true;
        }
        if queued {
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            let mut message = QueuedMessage::new(id, (arrived.as_millisecond(), put_off), stream, size, recipients);
            message.warm = warm;
            self.table.insert(seq, message);
            if let Some(why) = guarded {
                self.guarded.hold(seq, user, why);
            } else if let Some(begins) = progress.as_ref().and_then(|progress| progress.begins) {
                self.guarded.was_released(seq, begins);
            }
            if let Some(by) = deliver_by {
                self.deadlines.watch(seq, arrived.as_millisecond(), by, progress.is_some_and(|progress| progress.told_late));
            }
        }
        queued
    }

    /// Groups the waiting recipients of a message by domain and time, with at most `at_once` in each group. Groups that are due later are
    /// scheduled; the others are returned.
    pub(crate) fn regroup(&mut self, seq: Seq, at_once: usize, now: i64) -> Vec<(DomainIx, RecipientGroup)> {
        let Some(message) = self.table.get(seq) else { return Vec::new() };
        let epoch = message.epoch;
        let group = |rcpts| RecipientGroup { seq, rcpts, epoch };
        if let [one] = message.recipients() {
            let alone = (one.domain, group(Rcpts::One([0])));
            return match one.phase {
                Phase::Waiting if one.due > now => {
                    self.schedule.add(one.due, alone);
                    Vec::new()
                }
                Phase::Waiting => vec![alone],
                _ => Vec::new(),
            };
        }
        // In the order of their first recipient, so that a simulation repeats.
        let mut groups: Vec<((DomainIx, i64), Vec<Rcpt>)> = Vec::new();
        let mut positions: HashMap<(DomainIx, i64), usize> = HashMap::new();
        for (rcpt, recipient) in message.queued().filter(|(_, recipient)| recipient.phase == Phase::Waiting) {
            let key = (recipient.domain, recipient.due);
            let position = *positions.entry(key).or_insert_with(|| {
                groups.push((key, Vec::new()));
                groups.len() - 1
            });
            groups[position].1.push(rcpt);
        }
        let mut due_now = Vec::with_capacity(groups.len());
        for ((domain, due), rcpts) in groups {
            for chunk in rcpts.chunks(at_once) {
                let group = (domain, group(Rcpts::new(chunk.to_vec())));
                if due > now {
                    self.schedule.add(due, group);
                } else {
                    due_now.push(group);
                }
            }
        }
        due_now
    }

    /// Makes all groups of a message void, whichever queue they are in.
    pub(crate) fn void_groups(&mut self, seq: Seq) {
        if let Some(message) = self.table.get_mut(seq) {
            message.epoch = message.epoch.wrapping_add(1);
        }
    }

    /// Takes out some groups that are due now; None if there are none.
    pub(crate) fn take_due(&mut self, now: i64) -> Option<Vec<(DomainIx, RecipientGroup)>> {
        self.schedule.take_due(now)
    }

    /// Schedules a group that cannot be taken up now; it is due at once when it can.
    pub(crate) fn put_off(&mut self, domain: DomainIx, group: RecipientGroup, now: Timestamp) {
        self.schedule.add(now.as_millisecond(), (domain, group));
    }

    /// The route for a group of this party that is due, with the group, unless it waits here for the answer of DNS.
    pub(crate) fn place(
        &mut self,
        domain: DomainIx,
        group: RecipientGroup,
        party: Party,
        now: Timestamp,
    ) -> (Route, Option<RecipientGroup>) {
        self.domains.place(domain, group, party, now.as_millisecond())
    }

    /// Where a party's mail for a domain goes.
    pub(crate) fn route(&mut self, domain: DomainIx, party: Party, now: Timestamp) -> Route {
        self.domains.route(domain, party, now.as_millisecond())
    }

    /// Keeps the answer of DNS for `ttl`; returns the groups that waited for it. True: it is an answer to a question of before a reload, which is
    /// not kept.
    pub(crate) fn resolved(
        &mut self,
        domain: DomainIx,
        answer: &Result<Arc<Site>, Arc<Unroutable>>,
        ttl: Duration,
        now: Timestamp,
    ) -> (Vec<RecipientGroup>, bool) {
        let now = now.as_millisecond();
        self.domains.resolved(domain, answer, now, now.saturating_add(millis(ttl)))
    }

    /// Forgets a domain's route, so that DNS is asked again.
    pub(crate) fn forget_route(&mut self, domain: DomainIx) {
        self.domains.forget_route(domain);
    }

    /// Forgets the routes of these messages' queued recipients, so that DNS is asked again. Other mail keeps what is known of its provider.
    pub(crate) fn forget_routes_of(&mut self, messages: &[Seq]) {
        for message in messages.iter().filter_map(|seq| self.table.get(*seq)) {
            message.queued().for_each(|(_, recipient)| self.domains.forget_route(recipient.domain));
        }
    }

    /// Forgets every route, and what DNS still answers to questions of before.
    pub(crate) fn outdate_routes(&mut self) {
        self.domains.outdate_routes();
    }

    /// A group's stream, and how many of its recipients are still to be sent; None when it is void.
    pub(crate) fn waiting(&self, group: &RecipientGroup) -> Option<(StreamIx, usize)> {
        self.table.count(group)
    }

    /// The stream of a message that is queued.
    pub(crate) fn stream_of(&self, seq: Seq) -> Option<StreamIx> {
        self.table.get(seq).map(|message| message.stream)
    }

    /// A group's first `n` recipients that are still to be sent, and the rest, if there is one; None when the group is void.
    pub(crate) fn split(&self, group: &RecipientGroup, n: usize) -> Option<(RecipientGroup, Option<RecipientGroup>)> {
        self.table.split(group, n)
    }

    /// A group's recipients that are still to be sent, by domain, because their routes may differ later. None when it is void.
    pub(crate) fn apart(&self, group: &RecipientGroup, policy: &Policy) -> Option<Apart> {
        let (message, rcpts) = self.table.open(group)?;
        let part = |(domain, rcpts)| (domain, RecipientGroup { seq: group.seq, rcpts: Rcpts::new(rcpts), epoch: group.epoch });
        let groups = by_domain(message, rcpts).into_iter().map(part).collect();
        Some(Apart { stream: message.stream, until: self.last_chance(group.seq, message, policy), groups })
    }

    /// When the message of a group expires, in milliseconds since 1970; None: it is gone.
    pub(crate) fn expiry(&self, group: &RecipientGroup, policy: &Policy) -> Option<i64> {
        self.table.get(group.seq).map(|message| self.expires(group.seq, message, policy))
    }

    /// When a message expires, in milliseconds since 1970.
    pub(crate) fn expires(&self, seq: Seq, message: &QueuedMessage, policy: &Policy) -> i64 {
        self.deadlines.expires(seq, expires(message.arrived, self.stream_policy(message.stream, policy).retry.expire))
    }

    /// The rules of a stream.
    pub(crate) fn stream_policy<'p>(&self, stream: StreamIx, policy: &'p Policy) -> &'p StreamPolicy {
        policy.stream(self.streams.name(stream))
    }

    /// When the next group is due or the next deadline passes, in milliseconds since 1970.
    pub(crate) fn next(&self) -> Option<i64> {
        [self.schedule.next(), self.deadlines.next()].into_iter().flatten().min()
    }

    /// When the next deadline of a message passes, in milliseconds since 1970.
    #[cfg(test)]
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.deadlines.next()
    }

    /// Forgets domains that are no longer needed.
    pub(crate) fn sweep(&mut self, now: i64) {
        self.domains.sweep(now);
        self.table.give_back();
    }

    /// Whether many domains are no longer needed.
    pub(crate) fn is_littered(&self) -> bool {
        self.domains.are_littered()
    }

    /// The queued messages, to read.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// The domains, to read.
    pub(crate) fn domains(&self) -> &Domains {
        &self.domains
    }

    /// The streams, to read.
    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// The messages that the guard holds, to read.
    pub(crate) fn guarded(&self) -> &Guarded {
        &self.guarded
    }

    /// The guard holds a message no longer: its age counts from now on, or from the time that its sender has set.
    pub(crate) fn let_go(&mut self, seq: Seq, now: Timestamp) {
        let Some(message) = self.table.get_mut(seq).filter(|_| self.guarded.let_go(seq)) else { return };
        message.arrived = message.arrived.max(now.as_millisecond());
        self.guarded.was_released(seq, message.arrived);
    }
}

/// Recipients of one message by domain, in the order of each domain's first recipient.
fn by_domain(message: &QueuedMessage, rcpts: Vec<Rcpt>) -> Vec<(DomainIx, Vec<Rcpt>)> {
    if let [one] = rcpts[..] {
        return vec![(message.recipient(one).domain, rcpts)];
    }
    let mut by_domain: Vec<(DomainIx, Vec<Rcpt>)> = Vec::new();
    for rcpt in rcpts {
        let domain = message.recipient(rcpt).domain;
        match by_domain.iter_mut().find(|(known, _)| *known == domain) {
            Some((_, rcpts)) => rcpts.push(rcpt),
            None => by_domain.push((domain, vec![rcpt])),
        }
    }
    by_domain
}
