//! Connections: which queue's turn it is, which lane gets a connection when they are scarce, and when one is closed.

use std::{collections::VecDeque, sync::Arc};

use jiff::Timestamp;
use posthaste_governor::LaneId;
use posthaste_mail::{Attempt, Class, Name};

use super::{
    lanes::{Down, Lanes, LastError, QueueIx, Ready},
    shares::Shares,
    stalling::Stalling,
};
use crate::{
    Site,
    backlog::{Schedule, streams::Party},
    exchange::{Action, DeliveryJob, SessionId, Unroutable},
    numbers::NumberMap,
    policy::LaneLimits,
    times::millis,
};

/// Jobs that a connection carries before it gives way to another queue of its lane that has no connection.
const GIVE_WAY_AFTER: u32 = 20;
/// Milliseconds until a lane whose receiver wanted no more connections tries one more.
const SQUEEZE: i64 = 60_000;
/// The time for which hosts are left alone doubles with each failure in a row, at most this many times.
const DOUBLINGS_MAX: u32 = 5;

/// A connection, held by a task of its own.
pub(super) struct Session {
    pub(super) queue: QueueIx,
    /// Whose job it carries; None: it is idle, or was told to give up.
    pub(super) party: Option<Party>,
    pub(super) established: bool,
    /// Whether it was told to give up.
    pub(super) leaving: bool,
    /// Whether its hosts stalled when it began, and have said nothing since.
    pub(super) on_trial: bool,
    idle_since: Option<i64>,
    carried: u32,
    /// When it began to open, in milliseconds since 1970.
    begun: i64,
    /// When it was given the job that it carries.
    pub(super) since: i64,
    /// A reload came since: it gets no further job.
    pub(super) outdated: bool,
}

/// A turn for a connection.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The ready queue that has its turn; None: there is no mail or no connection.
    pub(crate) next: Option<QueueIx>,
    /// The connections of all lanes together, if a new one is to be taken: those that have their share of them are left out.
    pub(crate) new_of: Option<usize>,
    /// Idle sessions that were closed to make room, and are to be told so.
    pub(crate) closed: Vec<SessionId>,
}

/// Lanes with their ready mail, and the sessions that carry it.
#[derive(Default)]
pub(crate) struct Connections {
    pub(super) lanes: Lanes,
    pub(super) sessions: NumberMap<SessionId, Session>,
    /// Those that were told to give up and are still there.
    pub(super) leaving: usize,
    /// When sessions are next looked through for some to give up, in milliseconds since 1970.
    pub(super) next_look: i64,
    /// Idle sessions in the order of their time.
    idle: VecDeque<(i64, SessionId)>,
    /// The shares of streams and users, and the lanes that wait for a connection because all are in use.
    pub(super) shares: Shares<LaneId>,
    /// Hosts that were silent the last time.
    pub(super) stalling: Stalling,
    /// Lanes that hold fewer connections than configured, by the time when one more is tried.
    squeezed: Schedule<LaneId>,
    next_session: SessionId,
}

impl Connections {
    /// Lanes and their ready mail, to read.
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Lanes and their ready mail.
    pub(crate) fn lanes_mut(&mut self) -> &mut Lanes {
        &mut self.lanes
    }

    /// Hosts that stall.
    pub(crate) fn stalling(&self) -> &Stalling {
        &self.stalling
    }

    /// Sessions opening or open.
    pub(crate) fn count(&self) -> usize {
        self.sessions.len()
    }

    /// Which ready queue of a lane may send now, over an idle session or a new one. The lane may have `most` connections, all lanes
    /// together `most_in_all`.
    pub(crate) fn turn(&mut self, lane_id: LaneId, most: usize, most_in_all: usize) -> Turn {
        let mut closed = Vec::new();
        let over = |closed| Turn { next: None, new_of: None, closed };
        let Some(lane) = self.lanes.get(lane_id) else { return over(closed) };
        let served = |queue: &QueueIx| {
            let queue = self.lanes.at(*queue);
            let may_open = || self.may_try(queue, most_in_all) && queue.parties().any(|party| self.shares.may_take(party, most_in_all));
            !queue.idle.is_empty() || may_open()
        };
        let Some(place) = lane.turns.iter().position(served) else {
            self.wait(lane_id);
            return over(closed);
        };
        let queue = lane.turns[place];
        let full = lane.sessions >= most;
        let is_new = self.lanes.at(queue).idle.is_empty();
        if is_new {
            if full {
                match self.idle_elsewhere(lane_id, queue) {
                    Some(session) => closed.extend(self.close(session)),
                    None => return over(closed),
                }
            }
            if self.sessions.len() - self.leaving >= most_in_all {
                // Somebody may take one, so one is free or idle.
                closed.extend(self.close_longest_idle());
            }
        }
        let turns = &mut self.lanes.lanes.get_mut(&lane_id).expect("looked up above").turns;
        turns.remove(place);
        turns.push_back(queue);
        Turn { next: Some(queue), new_of: is_new.then_some(most_in_all), closed }
    }

    /// The next group of a ready queue, and whose it is. `new_of`: as [`Turn::new_of`].
    pub(crate) fn pop(&mut self, queue: QueueIx, new_of: Option<usize>) -> Option<(Ready, Party)> {
        let shares = &self.shares;
        self.lanes.pop(queue, |party| new_of.is_none_or(|most| shares.may_take(party, most)))
    }

    /// The next lane that waits for a connection, if one is free or an idle one can be closed.
    pub(crate) fn next_hungry(&mut self, most_in_all: usize) -> Option<LaneId> {
        self.shares.next(most_in_all, self.may_try_stalling(most_in_all))
    }

    /// Sends a party's job of a queue over one of its idle sessions, or over a new one.
    pub(crate) fn send(&mut self, ix: QueueIx, job: DeliveryJob, party: Party, now: i64) -> Action {
        let queue = self.lanes.queues.get_mut(&ix).expect("the queue of a job exists");
        if let Some(session) = queue.idle.pop() {
            return self.hand_over(session, job, party, now);
        }
        self.next_session += 1;
        let session = self.next_session;
        queue.sessions += 1;
        let site = queue.site.clone();
        let on_trial = self.stalling.has(&site);
        self.stalling.sessions += usize::from(on_trial);
        let lane = self.lanes.lane_of_mut(ix);
        lane.sessions += 1;
        let source = lane.source.clone();
        self.shares.begin(party);
        let party = Some(party);
        let new = Session {
            queue: ix,
            party,
            established: false,
            leaving: false,
            on_trial,
            idle_since: None,
            carried: 1,
            begun: now,
            since: now,
            outdated: false,
        };
        self.sessions.insert(session, new);
        Action::Open { session, site, source, job: Box::new(job) }
    }

    /// Sends another job, a party's, over a session.
    pub(crate) fn hand_over(&mut self, session: SessionId, job: DeliveryJob, party: Party, now: i64) -> Action {
        let s = self.sessions.get_mut(&session).expect("a session that is handed a job exists");
        (s.idle_since, s.since) = (None, now);
        self.shares.begin(party);
        if let Some(before) = s.party.replace(party) {
            self.shares.end(before);
        }
        s.carried += 1;
        Action::Deliver(session, Box::new(job))
    }

    /// A session can take mail: its hosts are reachable.
    pub(crate) fn opened(&mut self, session: SessionId) {
        let Some(s) = self.sessions.get_mut(&session) else { return };
        s.established = true;
        let queue = self.lanes.queues.get_mut(&s.queue).expect("a session's queue exists");
        queue.established += 1;
        queue.down = None;
        queue.failures = 0;
    }

    /// The queue that a session sends for, and the jobs that it has carried.
    pub(crate) fn of(&self, session: SessionId) -> Option<(QueueIx, u32)> {
        self.sessions.get(&session).map(|s| (s.queue, s.carried))
    }

    /// When a session began to open, in milliseconds since 1970.
    pub(crate) fn begun(&self, session: SessionId) -> Option<i64> {
        self.sessions.get(&session).map(|s| s.begun)
    }

    /// Whether a free session has to be closed because others need a connection: another queue of its lane has mail but no connection, and
    /// the lane may open no more (`most`); or another lane waits for one of `most_in_all`.
    pub(crate) fn must_give_way(&self, queue: QueueIx, carried: u32, most: usize, most_in_all: usize) -> bool {
        if !carried.is_multiple_of(GIVE_WAY_AFTER) {
            return false;
        }
        let lane = self.lanes.lane_of(queue);
        let full = lane.sessions >= most;
        full && lane.turns.iter().any(|turn| self.lanes.at(*turn).sessions == 0)
            || self.shares.waiting(self.may_try_stalling(most_in_all)) > 0
    }

    /// A session without more mail stays open for a while.
    pub(crate) fn rest(&mut self, session: SessionId, now: i64) {
        let s = self.sessions.get_mut(&session).expect("a session that rests exists");
        s.idle_since = Some(now);
        if let Some(party) = s.party.take() {
            self.shares.end(party);
        }
        self.lanes.queues.get_mut(&s.queue).expect("a session's queue exists").idle.push(session);
        self.idle.push_back((now, session));
    }

    /// Takes a session off all lists. Returns its queue, if the session existed.
    pub(crate) fn forget(&mut self, session: SessionId) -> Option<QueueIx> {
        let s = self.sessions.remove(&session)?;
        self.leaving -= usize::from(s.leaving);
        self.stalling.sessions -= usize::from(s.on_trial);
        if let Some(party) = s.party {
            self.shares.end(party);
        }
        let queue = self.lanes.queues.get_mut(&s.queue).expect("a session's queue exists");
        queue.sessions -= 1;
        queue.established -= usize::from(s.established);
        queue.idle.retain(|i| *i != session);
        self.lanes.lane_of_mut(s.queue).sessions -= 1;
        Some(s.queue)
    }

    /// The same, but returns the session, which is to be told so.
    pub(crate) fn close(&mut self, session: SessionId) -> Option<SessionId> {
        self.forget(session).map(|_| session)
    }

    /// Closes the next session that has been idle since `since` or longer.
    pub(crate) fn close_idle(&mut self, since: i64) -> Option<SessionId> {
        while let Some((idle_since, session)) = self.idle.front().copied() {
            let current = self.is_idle_since(session, idle_since);
            if current && idle_since > since {
                return None;
            }
            self.idle.pop_front();
            if current {
                return self.close(session);
            }
        }
        None
    }

    /// No session gets a further job. Returns the idle ones, which are closed.
    pub(crate) fn leave_all(&mut self) -> Vec<SessionId> {
        self.sessions.values_mut().for_each(|session| session.outdated = true);
        self.close_all_idle()
    }

    /// Closes every idle session.
    pub(crate) fn close_all_idle(&mut self) -> Vec<SessionId> {
        let idle: Vec<SessionId> = self.sessions.iter().filter(|(_, s)| s.idle_since.is_some()).map(|(id, _)| *id).collect();
        idle.into_iter().filter_map(|session| self.close(session)).collect()
    }

    /// Closes the idle sessions of a queue.
    pub(crate) fn close_idle_of(&mut self, queue: QueueIx) -> Vec<SessionId> {
        let idle = self.lanes.queues.get_mut(&queue).map(|queue| std::mem::take(&mut queue.idle)).unwrap_or_default();
        idle.into_iter().filter_map(|session| self.close(session)).collect()
    }

    /// The queues of lanes whose source satisfies `fits`.
    pub(crate) fn queues_of(&self, fits: impl Fn(&Name) -> bool) -> Vec<QueueIx> {
        let queues = self.lanes.queues.iter();
        queues.filter(|(_, queue)| fits(&self.lanes.lanes[&queue.lane].source)).map(|(ix, _)| *ix).collect()
    }

    /// A session could not be opened. If others to the same hosts are open, the receiver wants no more of them: the lane is limited to
    /// those for a while. Returns whether it is.
    pub(crate) fn squeeze(&mut self, queue: QueueIx, now: i64) -> bool {
        let (lane, established) = (self.lanes.at(queue).lane, self.lanes.at(queue).established);
        if established == 0 {
            return false;
        }
        let until = now + SQUEEZE;
        self.lanes.lane_of_mut(queue).squeezed = Some((established, until));
        self.squeezed.add(until, lane);
        true
    }

    /// Takes out some lanes that may have to try one more connection now.
    pub(crate) fn take_squeezed(&mut self, now: i64) -> Option<Vec<LaneId>> {
        self.squeezed.take_due(now)
    }

    /// Lets a lane try one more connection if it is time for that. Returns whether it is; the lane then needs its turn.
    pub(crate) fn unsqueeze(&mut self, lane_id: LaneId, limits: &LaneLimits, now: i64) -> bool {
        let Some(lane) = self.lanes.lanes.get_mut(&lane_id) else { return false };
        let Some((most, until)) = lane.squeezed.filter(|(_, until)| *until <= now) else { return false };
        if most + 1 >= limits.connections {
            lane.squeezed = None;
        } else {
            let next = until.max(now) + SQUEEZE;
            lane.squeezed = Some((most + 1, next));
            self.squeezed.add(next, lane_id);
        }
        true
    }

    /// The clock went back by `ms` milliseconds: idle sessions, hosts that are left alone and lanes that are limited wait for the rest of their
    /// time.
    pub(crate) fn clock_went_back(&mut self, ms: i64) {
        self.idle.iter_mut().for_each(|(since, _)| *since -= ms);
        for session in self.sessions.values_mut() {
            (session.begun, session.since) = (session.begun - ms, session.since - ms);
            session.idle_since = session.idle_since.map(|since| since - ms);
        }
        for down in self.lanes.queues.values_mut().filter_map(|queue| queue.down.as_mut()) {
            (down.since, down.until) = (down.since - ms, down.until - ms);
        }
        self.next_look -= ms;
        self.stalling.clock_went_back(ms);
        self.squeezed = Schedule::default();
        for (id, lane) in &mut self.lanes.lanes {
            if let Some((_, until)) = &mut lane.squeezed {
                *until -= ms;
                self.squeezed.add(*until, *id);
            }
        }
    }

    /// Leaves hosts alone that a session which began to open at `begun` could not reach, for `wait` after the first failure and longer after
    /// each further one in a row. Sessions that began before the last failure was known are no further ones.
    pub(crate) fn leave_alone(&mut self, queue: QueueIx, begun: i64, why: Arc<Unroutable>, wait: std::time::Duration, now: i64) {
        let queue = self.lanes.queues.get_mut(&queue).expect("a session's queue exists");
        if queue.down.as_ref().is_some_and(|down| begun < down.since) {
            return;
        }
        let wait = millis(wait) << queue.failures.min(DOUBLINGS_MAX);
        queue.failures += 1;
        queue.down = Some(Down { since: now, until: now + wait, why });
    }

    /// Why a queue's hosts are left alone at present.
    pub(crate) fn still_down(&self, queue: QueueIx, now: i64) -> Option<Down> {
        self.lanes.at(queue).down.clone().filter(|down| down.until > now)
    }

    /// Keeps a lane's last error, for the queue's table.
    pub(crate) fn note_error(&mut self, queue: QueueIx, said: &str, class: Class, now: Timestamp) {
        self.lanes.lane_of_mut(queue).last_error = Some(LastError { at: now, class, said: said.into() });
    }

    /// The facts of an attempt that ended before its session opened: the lane's provider and source.
    pub(crate) fn facts(&self, queue: QueueIx) -> Attempt {
        let lane = self.lanes.lane_of(queue);
        Attempt { provider: Some(lane.provider.clone()), source: Some(lane.source.clone()), ..Attempt::default() }
    }

    /// The hosts that a queue leads to.
    pub(crate) fn site(&self, queue: QueueIx) -> &Arc<Site> {
        &self.lanes.at(queue).site
    }

    /// When the next session has been idle for `idle`, or a lane tries one more connection, in milliseconds since 1970.
    pub(crate) fn next(&self, idle: std::time::Duration) -> Option<i64> {
        let idle = self.idle.front().map(|(since, _)| since + millis(idle));
        [idle, self.squeezed.next()].into_iter().flatten().min()
    }

    /// An idle session of the lane that belongs to another queue.
    fn idle_elsewhere(&self, lane: LaneId, wanted: QueueIx) -> Option<SessionId> {
        let other = self.lanes.queues.iter().find(|(ix, q)| q.lane == lane && **ix != wanted && !q.idle.is_empty());
        other.and_then(|(_, queue)| queue.idle.first().copied())
    }

    /// Closes the session that has been idle longest; None if all are in use.
    fn close_longest_idle(&mut self) -> Option<SessionId> {
        while let Some((since, session)) = self.idle.pop_front() {
            if self.is_idle_since(session, since) {
                return self.close(session);
            }
        }
        None
    }

    fn is_idle_since(&self, session: SessionId, since: i64) -> bool {
        self.sessions.get(&session).is_some_and(|s| s.idle_since == Some(since))
    }
}
