//! The path of a recipient group from its domain to a connection and back: routes, lanes, turns, and the results of sessions.

use std::{sync::Arc, time::Duration};

use posthaste_bounce::Verdict;
use posthaste_governor::LaneId;
use posthaste_mail::{Attempt, Class, Failure, LocalCause, Name, in_one_line};

use super::Dispatcher;
use crate::{
    Site,
    backlog::{
        domains::Route,
        streams::Party,
        table::{DomainIx, RecipientGroup, StreamIx},
    },
    budget::{Chosen, Through, waitlist::WaitListKey},
    connections::lanes::{QueueIx, Ready, StreamShare},
    exchange::{Action, AttemptResult, DeliveryJob, JobOutcome, Offered, SessionId, Unroutable},
};

/// The length to which a lane's last error is cut for the queue's table, in characters.
const LAST_ERROR_MAX: usize = 300;

impl Dispatcher {
    /// Brings a group that is due to its lane, asking DNS first if necessary.
    pub(super) fn place(&mut self, domain: DomainIx, group: RecipientGroup) {
        if self.halt.is_halted() {
            return self.backlog.put_off(domain, group, self.now);
        }
        let Some((stream, _)) = self.backlog.waiting(&group) else { return };
        let party = self.backlog.streams().party(stream);
        match self.backlog.place(domain, group, party, self.now) {
            (Route::To(site), Some(group)) => self.enqueue(&site, group),
            (Route::Nowhere(why, since), Some(group)) => self.nowhere(domain, &why, since, group),
            (Route::Unknown(Some(name)), _) => self.actions.push(Action::Resolve(domain, name, party)),
            _ => {}
        }
    }

    pub(super) fn resolved(&mut self, domain: DomainIx, answer: &Result<Arc<Site>, Arc<Unroutable>>, ttl: Duration) {
        let (groups, is_outdated) = self.backlog.resolved(domain, answer, ttl, self.now);
        for group in groups {
            match answer {
                _ if is_outdated => self.place(domain, group),
                _ if self.halt.is_halted() => self.backlog.put_off(domain, group, self.now),
                Ok(site) => self.enqueue(site, group),
                Err(why) => self.unroutable(domain, why, group),
            }
        }
        self.budget.lists_mut().route_known(domain);
    }

    /// Brings a group whose route is known to a lane that may send it, or to a wait list.
    fn enqueue(&mut self, site: &Arc<Site>, group: RecipientGroup) {
        let Some((stream, n)) = self.backlog.waiting(&group) else { return };
        let streams = self.backlog.streams();
        let stream = streams.whole(stream);
        match self.budget.through(stream, n, streams.name(stream), self.now) {
            Through::All => self.choose(site, stream, n, group),
            Through::Wait(block) => self.wait(&WaitListKey::Stream(stream), block, &group),
            Through::Part(granted, block) => {
                let Some((first, rest)) = self.backlog.split(&group, granted as usize) else { return };
                if let Some(rest) = rest {
                    self.wait(&WaitListKey::Stream(stream), Some(block), &rest);
                }
                self.choose(site, stream, granted as usize, first);
            }
        }
    }

    /// The same for a group that the stream's own rate has let through. `n` of its recipients are still to be sent.
    pub(super) fn choose(&mut self, site: &Arc<Site>, stream: StreamIx, n: usize, group: RecipientGroup) {
        let view = view!(self);
        let stream = view.backlog.streams().whole(stream);
        match self.budget.choose(stream, n, &site.provider, view) {
            Chosen::Lane(lane) => self.send_by(lane, site, group.into()),
            Chosen::Spilled(lane) => self.send_by(lane, site, Ready { group, permit: None, spilled: true }),
            Chosen::Wait(key, block) => self.wait(&key, block, &group),
        }
    }

    /// Queues a group in a lane.
    pub(super) fn send_by(&mut self, lane: LaneId, site: &Arc<Site>, ready: Ready) {
        let Some((stream, _)) = self.backlog.waiting(&ready.group) else { return self.budget.give_back(ready.permit, self.now) };
        if self.connections.lanes().get(lane).is_none() {
            let source = self.budget.source(lane);
            self.connections.lanes_mut().add(lane, &source, &site.provider);
        }
        let queue = self.connections.lanes_mut().queue(lane, site);
        if let Some(down) = self.connections.still_down(queue, self.now.as_millisecond())
            && self.backlog.may_pass(&ready.group, down.since, &self.policy, self.now)
        {
            self.budget.give_back(ready.permit, self.now);
            return self.pass_over(queue, &ready.group, &down.why);
        }
        let share = self.share(stream, &site.provider);
        self.connections.lanes_mut().push(queue, share, ready);
        self.to_pump.push(lane);
    }

    pub(super) fn share(&self, stream: StreamIx, provider: &Name) -> StreamShare {
        let policy = self.backlog.stream_policy(stream, &self.policy);
        let share = self.backlog.streams().share(stream, policy.share);
        StreamShare {
            part: self.backlog.streams().part(stream),
            party: self.backlog.streams().party(stream),
            share,
            at_once: policy.recipients_at_once(self.policy.limits(provider.as_str())),
        }
    }

    /// Gives a lane's mail to its connections, and opens more of them as far as the limits allow.
    pub(super) fn pump(&mut self, lane: LaneId) {
        if !self.gives_connections() {
            return;
        }
        while let Some(most) = self.most_connections(lane) {
            let turn = self.connections.turn(lane, most, self.policy.connections);
            self.tell_closed(turn.closed);
            let Some(queue) = turn.next else { return };
            if let Some((job, party)) = self.next_job(queue, turn.new_of) {
                let action = self.connections.send(queue, job, party, self.now.as_millisecond());
                self.actions.push(action);
            }
        }
    }

    /// How many connections a lane may have now; None for a lane that holds nothing.
    fn most_connections(&self, id: LaneId) -> Option<usize> {
        let lane = self.connections.lanes().get(id)?;
        Some(self.budget.most_connections(id, lane, &self.policy, self.now))
    }

    /// Takes the next group that is not void out of a queue, with a permit. Recipients that the permit does not cover stay first in the
    /// queue; a group that gets no permit goes to another lane or to a wait list. `new_of`: as in a turn. Returns whose mail it is, too.
    fn next_job(&mut self, queue: QueueIx, new_of: Option<usize>) -> Option<(DeliveryJob, Party)> {
        while let Some((Ready { mut group, permit, spilled }, party)) = self.connections.pop(queue, new_of) {
            if permit.is_some() {
                self.budget.taken_up(self.connections.lanes().lane_of(queue));
            }
            let Some((stream, n)) = self.backlog.waiting(&group) else {
                self.budget.give_back(permit, self.now);
                continue;
            };
            let lane = self.connections.lanes().at(queue).lane;
            let priority = self.view().stream_policy(stream).priority;
            match self.budget.admit(lane, permit, n, priority, self.now) {
                Ok(permit) => {
                    if (permit.count() as usize) < n
                        && let Some((first, Some(rest))) = self.backlog.split(&group, permit.count() as usize)
                    {
                        let share = self.share(stream, &self.connections.lanes().at(queue).site.provider);
                        self.connections.lanes_mut().push_front(queue, share, Ready { group: rest, permit: None, spilled });
                        group = first;
                    }
                    let mut job = self.backlog.take(&group, self.now).expect("the group was not void");
                    self.budget.grant(&mut job, permit);
                    job.spilled = spilled;
                    return Some((job, party));
                }
                Err(hold) => {
                    let site = self.connections.site(queue).clone();
                    let view = view!(self);
                    match self.budget.overflow(lane, stream, n, hold, view) {
                        Chosen::Lane(lane) => self.send_by(lane, &site, group.into()),
                        Chosen::Spilled(lane) => self.send_by(lane, &site, Ready { group, permit: None, spilled: true }),
                        Chosen::Wait(key, block) => self.wait(&key, block, &group),
                    }
                }
            }
        }
        None
    }

    pub(super) fn finished(&mut self, session: SessionId, mut job: DeliveryJob, outcome: JobOutcome, usable: bool) {
        match outcome {
            JobOutcome::Answered { said, facts } => self.answered(session, job, said, facts),
            JobOutcome::Outdated => self.place_job_again(job),
            JobOutcome::GoesOn(offered) => {
                self.heard(session, Some(false));
                if self.further(session, &mut job, &offered) {
                    job.earlier.push(offered);
                    return self.actions.push(Action::Deliver(session, Box::new(job)));
                }
                let said = offered.said.into_iter().map(|(_, said)| said).collect();
                self.answered(session, job, said, offered.facts);
            }
            JobOutcome::NotOffered { failure } => {
                tracing::debug!(message = %job.id, %failure, "the connection had died; the message goes to another");
                let (queue, _) = self.connections.of(session).expect("a session that reports exists until it is closed");
                self.hand_back(queue, job);
            }
        }
        self.session_free(session, usable);
    }

    /// Settles the recipients of a job by their results.
    pub(super) fn answered(&mut self, session: SessionId, mut job: DeliveryJob, said: Vec<AttemptResult>, facts: Arc<Attempt>) {
        self.heard(session, silence(&said));
        let queue = self.connections.of(session).map(|(queue, _)| queue);
        if let (Some((error, class)), Some(queue)) = (first_error(&said), queue) {
            self.connections.note_error(queue, &error, class, self.now);
        }
        let smart_host = queue.is_some_and(|queue| self.connections.site(queue).fixed);
        self.budget.spend(job.permit.take(), &said, smart_host, &self.policy, self.now);
        let record = self.backlog.settle(&job, said, facts, &self.policy, self.now);
        record.into_iter().for_each(|record| match queue {
            Some(queue) => self.record_results_at(queue, record),
            None => self.record_results(record),
        });
    }

    /// A session's hosts have said something, or were silent; None: what became of the job tells nothing of them.
    fn heard(&mut self, session: SessionId, silent: Option<bool>) {
        let (Some(silent), Some((queue, _))) = (silent, self.connections.of(session)) else { return };
        if let Some(lane) = self.connections.heard(queue, session, silent, self.now.as_millisecond()) {
            self.to_pump.push(lane);
            self.feed_the_hungry();
        }
    }

    /// Settles what a job used of the budget at one host, and gets it a permit for the next one; false if there is none, and the attempt ends.
    fn further(&mut self, session: SessionId, job: &mut DeliveryJob, offered: &Offered) -> bool {
        let Some(spent) = job.permit.take() else { return false };
        let lane = spent.lane();
        let said: Vec<AttemptResult> = offered.said.iter().map(|(_, said)| said.clone()).collect();
        let smart_host = self.connections.of(session).is_some_and(|(queue, _)| self.connections.site(queue).fixed);
        self.budget.spend(Some(spent), &said, smart_host, &self.policy, self.now);
        let stream = self.backlog.stream_of(job.seq).filter(|_| !self.draining && !self.halt.is_halted());
        let Some(priority) = stream.map(|stream| self.view().stream_policy(stream).priority) else { return false };
        match self.budget.admit(lane, None, job.rcpts.len(), priority, self.now) {
            Ok(permit) if permit.count() as usize == job.rcpts.len() => {
                self.budget.grant(job, permit);
                true
            }
            Ok(too_few) => {
                self.budget.give_back(Some(too_few), self.now);
                false
            }
            Err(_) => false,
        }
    }

    /// A session is free: it gets another job of its queue, stays idle, or is closed.
    fn session_free(&mut self, session: SessionId, usable: bool) {
        let Some((queue, carried)) = self.connections.of(session) else { return };
        if !usable || self.draining || self.connections.is_leaving(session) || self.is_over(queue, carried) {
            let closed = self.connections.close(session);
            self.tell_closed(closed);
            return self.after_close(queue);
        }
        if !self.halt.is_halted()
            && let Some((job, party)) = self.next_job(queue, None)
        {
            let action = self.connections.hand_over(session, job, party, self.now.as_millisecond());
            return self.actions.push(action);
        }
        self.connections.rest(session, self.now.as_millisecond());
        let lane = self.connections.lanes().at(queue).lane;
        self.pump(lane);
        self.feed_the_hungry();
    }

    /// Whether a session has carried as many messages as it may, or another queue needs its connection.
    fn is_over(&self, queue: QueueIx, carried: u32) -> bool {
        let queued = self.connections.lanes().at(queue);
        let most = self.most_connections(queued.lane).unwrap_or(0);
        carried >= self.policy.limits(queued.site.provider.as_str()).messages_per_connection
            || self.connections.must_give_way(queue, carried, most, self.policy.connections)
    }

    /// A session could not be opened. If others to the same hosts are open, the receiver wants no more of them; otherwise the hosts are
    /// left alone for a while.
    pub(super) fn open_failed(
        &mut self,
        session: SessionId,
        mut job: DeliveryJob,
        failure: Failure,
        verdict: Verdict,
        facts: Arc<Attempt>,
    ) {
        let begun = self.connections.begun(session).unwrap_or(i64::MIN);
        let Some(queue) = self.connections.forget(session) else {
            self.budget.give_back(job.permit.take(), self.now);
            return self.settle_failed(&job, &failure, &verdict, facts);
        };
        // A bind that failed is no attempt: other sources may send the message.
        let gone = self.budget.is_gone(&self.connections.lanes().lane_of(queue).source);
        if gone && matches!(failure, Failure::Local { cause: LocalCause::SourceUnavailable, .. }) {
            self.hand_back(queue, job);
            self.leave_sources();
            return self.after_close(queue);
        }
        if !verdict.permanent && self.connections.squeeze(queue, self.now.as_millisecond()) {
            self.hand_back(queue, job);
            return self.after_close(queue);
        }
        self.connections.note_error(queue, &failure.to_string(), verdict.class, self.now);
        let said = vec![AttemptResult::Failed(failure.clone(), verdict.clone()); job.rcpts.len()];
        if let Some(silent) = silence(&said) {
            self.to_pump.extend(self.connections.heard(queue, session, silent, self.now.as_millisecond()));
        }
        // Nothing was offered, or a smart host refuses the login: that is about the lane.
        self.budget.spend(job.permit.take(), &said, false, &self.policy, self.now);
        let party = self.party_of(job.seq);
        let record = self.backlog.settle(&job, said, facts, &self.policy, self.now);
        record.iter().for_each(|record| self.note_logins(queue, record));
        record.into_iter().for_each(|record| self.record_not_offered(party, record));
        if !verdict.permanent
            && !matches!(failure, Failure::Local { cause: LocalCause::RelayUnable | LocalCause::LocalError | LocalCause::Shutdown, .. })
        {
            self.leave_alone(queue, begun, failure, verdict);
        }
        self.after_close(queue);
    }

    /// Queues a job that a session gave back first in line again. This ends, because a fresh connection always answers for its first job.
    fn hand_back(&mut self, queue: QueueIx, mut job: DeliveryJob) {
        let permit = job.permit.take();
        let back = self.backlog.hand_back(&job, self.now);
        match back.group {
            Some((group, stream)) => {
                let share = self.share(stream, &self.connections.lanes().at(queue).site.provider);
                self.connections.lanes_mut().push_front(queue, share, Ready { group, permit, spilled: job.spilled });
            }
            None => self.budget.give_back(permit, self.now),
        }
        back.record.into_iter().for_each(|record| self.record(record));
    }

    fn after_close(&mut self, queue: QueueIx) {
        let lane = self.connections.lanes().at(queue).lane;
        self.feed_the_hungry();
        self.pump(lane);
    }

    /// Gives connections in turn to the lanes that wait for one, while one is free or an idle one can be closed.
    pub(super) fn feed_the_hungry(&mut self) {
        if self.halt.is_halted() {
            return;
        }
        while let Some(lane) = self.connections.next_hungry(self.policy.connections) {
            self.pump(lane);
        }
    }

    /// Lets a lane whose receiver wanted no more connections try one more.
    pub(super) fn unsqueeze(&mut self, lane: LaneId) {
        let Some(provider) = self.connections.lanes().get(lane).map(|lane| &lane.provider) else { return };
        let limits = self.policy.limits(provider.as_str());
        if self.connections.unsqueeze(lane, limits, self.now.as_millisecond()) {
            self.pump(lane);
        }
    }
}

/// Whether hosts were silent when they should have spoken; None: nothing came of it that tells.
fn silence(said: &[AttemptResult]) -> Option<bool> {
    let of = |said: &AttemptResult| match said {
        AttemptResult::Delivered(_) => Some(false),
        AttemptResult::Failed(failure, _) | AttemptResult::Unknown(failure, _) => match failure {
            Failure::Refused { .. } => Some(false),
            Failure::Local { cause: LocalCause::Timeout | LocalCause::ConnectTimeout, .. } => Some(true),
            Failure::Local { .. } => None,
        },
        AttemptResult::Suppressed(_) => None,
    };
    said.iter().filter_map(of).max()
}

/// The first failure among the results, as one short line.
fn first_error(said: &[AttemptResult]) -> Option<(String, Class)> {
    let (failure, verdict) = said.iter().find_map(|s| match s {
        AttemptResult::Failed(failure, verdict) | AttemptResult::Unknown(failure, verdict) => Some((failure, verdict)),
        AttemptResult::Delivered(_) | AttemptResult::Suppressed(_) => None,
    })?;
    Some((in_one_line(&failure.to_string(), LAST_ERROR_MAX), verdict.class))
}
