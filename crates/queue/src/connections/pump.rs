//! From a domain's mail to a connection's: routes, lanes, turns, limits.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use posthaste_governor::{Admission, Permit};
use posthaste_mail::{Attempt, Name};

use crate::Way;
use crate::{
    Action, Dispatcher, Fate, Load, SessionId,
    backlog::{
        domains::{Known, Unroutable},
        settle::cancelled_in_flight,
        table::{DomainIx, Phase, Rcpts, RecipientGroup, StreamIx},
    },
    connections::lanes::{LaneIx, QueueIx, Ready},
    dispatcher::{SQUEEZE, Session, millis},
};

/// Loads that a connection carries before it gives way to another host list of its lane that has none.
const GIVE_WAY_AFTER: u32 = 20;

impl Dispatcher {
    /// Brings a group whose time has come to its lane, asking DNS first where that is needed.
    pub(crate) fn place(&mut self, domain: DomainIx, group: RecipientGroup, now: Timestamp) {
        let Some(entry) = self.domains.get_mut(domain) else { return };
        match &entry.known {
            Known::Route(route, until) if *until > now.as_millisecond() => {
                let route = route.clone();
                self.enqueue(&route, group);
            }
            Known::Nowhere(why, until) if *until > now.as_millisecond() => {
                let why = why.clone();
                self.unroutable(&why, &group, now);
            }
            Known::Asking => entry.waiting.push(group),
            _ => {
                entry.known = Known::Asking;
                entry.waiting.push(group);
                self.actions.push(Action::Resolve(domain, entry.name.clone()));
            }
        }
    }

    pub(crate) fn resolved(&mut self, domain: DomainIx, answer: &Result<Arc<Way>, Arc<Unroutable>>, ttl: Duration, now: Timestamp) {
        let Some(entry) = self.domains.get_mut(domain) else { return };
        let until = now.as_millisecond().saturating_add(millis(ttl));
        let waiting = std::mem::take(&mut entry.waiting);
        entry.known = match answer {
            Ok(route) => Known::Route(route.clone(), until),
            Err(why) => Known::Nowhere(why.clone(), until),
        };
        for group in waiting {
            match answer {
                Ok(route) => self.enqueue(route, group),
                Err(why) => self.unroutable(why, &group, now),
            }
        }
        self.gates.way_known(domain);
    }

    /// Its share of a connection against other streams' mail, and against its own of another priority.
    pub(crate) fn share(&self, stream: StreamIx) -> u32 {
        self.streams.share(stream, self.stream_policy(stream).share)
    }

    pub(crate) fn still_down(&self, path: QueueIx) -> Option<Arc<Unroutable>> {
        let (until, why) = self.lanes.paths[&path].down.as_ref()?;
        (*until > self.now.as_millisecond()).then(|| why.clone())
    }

    /// Gives a lane's mail to its connections, and opens more of them as far as the limits allow.
    pub(crate) fn pump(&mut self, lane_ix: LaneIx) {
        if self.draining {
            return;
        }
        loop {
            let Some(lane) = self.lanes.lanes.get_mut(&lane_ix) else { return };
            let Some(path) = lane.turns.front().copied() else { return };
            let sessions = lane.sessions;
            let has_idle = !self.lanes.paths[&path].idle.is_empty();
            if !has_idle && sessions >= self.most_connections(lane_ix) && !self.make_room_in_lane(lane_ix, path) {
                return;
            }
            if !has_idle && self.sessions.len() >= self.policy.connections && !self.make_room() {
                let lane = self.lanes.lanes.get_mut(&lane_ix).expect("looked up above");
                if !std::mem::replace(&mut lane.hungry, true) {
                    self.hungry.push_back(lane_ix);
                }
                return;
            }
            let lane = self.lanes.lanes.get_mut(&lane_ix).expect("looked up above");
            lane.turns.rotate_left(1);
            let Some(load) = self.next_load(path) else { continue };
            self.send(path, load);
        }
    }

    /// Closes an idle connection of the lane that leads elsewhere; false where there is none.
    fn make_room_in_lane(&mut self, lane: LaneIx, wanted: QueueIx) -> bool {
        let idle = self
            .lanes
            .paths
            .iter()
            .find(|(ix, p)| p.lane == lane && **ix != wanted && !p.idle.is_empty())
            .and_then(|(_, p)| p.idle.first());
        let Some(session) = idle.copied() else { return false };
        self.close(session);
        true
    }

    /// Closes the connection that has been idle longest; false where all are at work.
    fn make_room(&mut self) -> bool {
        while let Some((since, session)) = self.idle.pop_front() {
            if self.sessions.get(&session).is_some_and(|s| s.idle_since == Some(since)) {
                self.close(session);
                return true;
            }
        }
        false
    }

    fn send(&mut self, path: QueueIx, load: Load) {
        let queue = self.lanes.paths.get_mut(&path).expect("the path of a load exists");
        if let Some(session) = queue.idle.pop() {
            return self.hand_over(session, load);
        }
        self.next_session += 1;
        let session = self.next_session;
        queue.sessions += 1;
        let route = queue.route.clone();
        let lane = self.lanes.lane_of(path);
        lane.sessions += 1;
        let source = lane.source.clone();
        self.sessions.insert(session, Session { path, established: false, idle_since: None, carried: 1, has: Some(load.seq) });
        self.actions.push(Action::Open { session, route, source, load: Box::new(load) });
    }

    fn hand_over(&mut self, session: SessionId, load: Load) {
        let s = self.sessions.get_mut(&session).expect("idle sessions exist");
        s.idle_since = None;
        s.carried += 1;
        s.has = Some(load.seq);
        self.actions.push(Action::Deliver(session, Box::new(load)));
    }

    /// Takes the next group that still holds something out of a host list, and marks its recipients as in flight.
    fn next_load(&mut self, path: QueueIx) -> Option<Load> {
        while let Some(ready) = self.lanes.pop(path) {
            if let Some((group, permit)) = self.permitted(path, ready)
                && let Some(mut load) = self.load(&group)
            {
                self.permit(&mut load, permit);
                return Some(load);
            }
        }
        None
    }

    /// What of a group the lane may send now, with its permit. The rest stays first in line, or goes elsewhere.
    fn permitted(&mut self, path: QueueIx, ready: Ready) -> Option<(RecipientGroup, Box<Permit>)> {
        let Ready { mut group, mut permit } = ready;
        let Some((owed, rcpts)) = self.table.open(&group) else {
            self.give_back(permit);
            return None;
        };
        let (n, stream) = (rcpts.len(), owed.stream);
        if let Some(old) = permit.take_if(|permit| permit.count() as usize != n || !self.governor.holds(permit, self.now)) {
            self.give_back(Some(old));
        }
        if let Some(permit) = permit {
            return Some((group, permit));
        }
        let lane = self.lanes.paths[&path].lane;
        match self.admit(lane, n, self.stream_policy(stream).priority) {
            Admission::Go(permit) => {
                if let Some((first, rest)) = self.table.split(&group, permit.count() as usize) {
                    let share = self.share(stream);
                    self.lanes.push_front(path, (stream, share), rest.into());
                    group = first;
                }
                Some((group, Box::new(permit)))
            }
            Admission::NotBefore(at, hold) => {
                let way = self.lanes.paths[&path].route.clone();
                self.overflow(lane, &way, group, at, hold);
                None
            }
        }
    }

    fn load(&mut self, group: &RecipientGroup) -> Option<Load> {
        let (owed, rcpts) = self.table.open(group)?;
        let mut attempt = 1;
        for rcpt in &rcpts {
            let state = owed.recipient(*rcpt);
            state.phase = Phase::InFlight;
            attempt = attempt.max(u32::from(state.attempts) + 1);
        }
        Some(Load { seq: group.seq, id: owed.id, rcpts, attempt, warm: owed.warm.clone(), permit: None, lane_day: None, durable: 0 })
    }

    pub(crate) fn opened(&mut self, session: SessionId) {
        let Some(s) = self.sessions.get_mut(&session) else { return };
        s.established = true;
        let path = self.lanes.paths.get_mut(&s.path).expect("a session's path exists");
        path.established += 1;
        path.down = None;
        path.failures = 0;
    }

    /// A session is free: more of the same, or idle, or away.
    pub(crate) fn session_free(&mut self, session: SessionId, usable: bool, now: Timestamp) {
        let Some(s) = self.sessions.get_mut(&session) else { return };
        s.has = None;
        let (path, carried) = (s.path, s.carried);
        if !usable || self.draining || carried >= self.messages_per_connection(path) || self.must_give_way(path, carried) {
            self.close(session);
            return self.after_close(path);
        }
        if let Some(load) = self.next_load(path) {
            return self.hand_over(session, load);
        }
        let since = now.as_millisecond();
        self.sessions.get_mut(&session).expect("looked up above").idle_since = Some(since);
        self.lanes.paths.get_mut(&path).expect("a session's path exists").idle.push(session);
        self.idle.push_back((since, session));
        let lane = self.lanes.paths[&path].lane;
        self.pump(lane);
        self.feed_the_hungry();
    }

    fn messages_per_connection(&self, path: QueueIx) -> u32 {
        self.policy.limits(self.lanes.paths[&path].route.provider.as_str()).messages_per_connection
    }

    /// Whether another host list of the lane has mail but no connection, and the lane may open no more.
    fn must_give_way(&self, path: QueueIx, carried: u32) -> bool {
        let ix = self.lanes.paths[&path].lane;
        let lane = &self.lanes.lanes[&ix];
        let full = lane.sessions >= self.most_connections(ix);
        carried.is_multiple_of(GIVE_WAY_AFTER) && full && lane.turns.iter().any(|p| self.lanes.paths[p].sessions == 0)
            || carried.is_multiple_of(GIVE_WAY_AFTER) && !self.hungry.is_empty()
    }

    pub(crate) fn session_gone(&mut self, session: SessionId, _now: Timestamp) {
        if let Some(path) = self.forget(session) {
            self.after_close(path);
        }
    }

    fn close(&mut self, session: SessionId) {
        if self.forget(session).is_some() {
            self.actions.push(Action::Close(session));
        }
    }

    /// Takes a session off all lists; its path, if it was there.
    pub(crate) fn forget(&mut self, session: SessionId) -> Option<QueueIx> {
        let s = self.sessions.remove(&session)?;
        let path = self.lanes.paths.get_mut(&s.path).expect("a session's path exists");
        path.sessions -= 1;
        path.established -= usize::from(s.established);
        path.idle.retain(|i| *i != session);
        self.lanes.lane_of(s.path).sessions -= 1;
        Some(s.path)
    }

    pub(crate) fn after_close(&mut self, path: QueueIx) {
        let lane = self.lanes.paths[&path].lane;
        self.feed_the_hungry();
        self.pump(lane);
    }

    /// Lanes that waited for a connection take turns, while there are any or somebody else's is idle.
    fn feed_the_hungry(&mut self) {
        while !self.hungry.is_empty() && (self.sessions.len() < self.policy.connections || self.make_room()) {
            let lane = self.hungry.pop_front().expect("not empty");
            if let Some(l) = self.lanes.lanes.get_mut(&lane) {
                l.hungry = false;
                self.pump(lane);
            }
        }
    }

    /// The receiver wants no more connections than there are: stay with them for a while.
    pub(crate) fn squeeze(&mut self, path: QueueIx, established: usize, until: i64) {
        let lane_ix = self.lanes.paths[&path].lane;
        self.lanes.lane_of(path).squeezed = Some((established.max(1), until));
        self.squeezed.add(until, lane_ix);
    }

    /// One more connection is tried.
    pub(crate) fn unsqueeze(&mut self, lane_ix: LaneIx, now: Timestamp) {
        let Some(lane) = self.lanes.lanes.get_mut(&lane_ix) else { return };
        let Some((most, until)) = lane.squeezed.filter(|(_, until)| *until <= now.as_millisecond()) else { return };
        if most + 1 >= self.policy.limits(lane.provider.as_str()).connections {
            lane.squeezed = None;
        } else {
            let next = until.max(now.as_millisecond()) + SQUEEZE;
            lane.squeezed = Some((most + 1, next));
            self.squeezed.add(next, lane_ix);
        }
        self.pump(lane_ix);
    }

    pub(crate) fn close_idle(&mut self, now: i64) {
        let wait = millis(self.policy.idle);
        while let Some((since, session)) = self.idle.front().copied() {
            let current = self.sessions.get(&session).is_some_and(|s| s.idle_since == Some(since));
            if current && since + wait > now {
                return;
            }
            self.idle.pop_front();
            if current {
                self.close(session);
                self.feed_the_hungry();
            }
        }
    }

    pub(crate) fn drain(&mut self) {
        self.draining = true;
        let idle: Vec<SessionId> = self.sessions.iter().filter(|(_, s)| s.idle_since.is_some()).map(|(id, _)| *id).collect();
        idle.into_iter().for_each(|session| self.close(session));
    }

    /// Moves the mail of sources that are gone, or are no longer configured, to others.
    pub(crate) fn leave_sources(&mut self) {
        let known: HashSet<Name> = self.policy.pools.values().flat_map(|pool| pool.sources.iter().map(|(name, _)| name.clone())).collect();
        let left = |source: &Name| self.gone.contains(source) || !known.contains(source);
        let paths: Vec<QueueIx> =
            self.lanes.paths.iter().filter(|(_, p)| left(&self.lanes.lanes[&p.lane].source)).map(|(ix, _)| *ix).collect();
        for path in paths {
            let idle = std::mem::take(&mut self.lanes.paths.get_mut(&path).expect("listed above").idle);
            idle.into_iter().for_each(|session| self.close(session));
            let way = self.lanes.paths[&path].route.clone();
            for ready in self.empty(path) {
                self.give_back(ready.permit);
                if let Some(stream) = self.table.open(&ready.group).map(|(owed, _)| owed.stream) {
                    self.choose(&way, stream, ready.group);
                }
            }
        }
    }

    pub(crate) fn sources_gone(&mut self, gone: HashSet<Name>) {
        self.gone = gone;
        self.gates.look_again_everywhere();
        self.leave_sources();
    }

    /// Recipients of a group that could not even be offered, marked as tried.
    pub(crate) fn take_for_failure(&mut self, group: &RecipientGroup) -> Option<Load> {
        self.load(group)
    }

    /// Everything that waits in a host list.
    pub(crate) fn empty(&mut self, path: QueueIx) -> Vec<Ready> {
        std::iter::from_fn(|| self.lanes.pop(path)).collect()
    }

    /// Facts of an attempt that got as far as knowing its lane.
    pub(crate) fn lane_facts(&self, path: QueueIx) -> Attempt {
        let lane = &self.lanes.lanes[&self.lanes.paths[&path].lane];
        Attempt { provider: Some(lane.provider.clone()), source: Some(lane.source.clone()), ..Attempt::default() }
    }

    /// Puts what a session gave back first in line again. A fresh connection always answers for its first load, so this ends.
    pub(crate) fn hand_back(&mut self, path: QueueIx, mut load: Load, now: Timestamp) {
        let permit = load.permit.take();
        let Some(owed) = self.table.get_mut(load.seq) else { return self.give_back(permit) };
        let (mut waiting, mut cancelled) = (Vec::with_capacity(load.rcpts.len()), Vec::new());
        for rcpt in &load.rcpts {
            let state = owed.recipient(*rcpt);
            match state.phase {
                Phase::Cancelling => cancelled.push(Fate {
                    rcpt: *rcpt,
                    attempt: u32::from(state.attempts),
                    said: None,
                    next: cancelled_in_flight(),
                    was_due: Timestamp::UNIX_EPOCH,
                }),
                _ => {
                    state.phase = Phase::Waiting;
                    waiting.push(*rcpt);
                }
            }
        }
        let (stream, epoch) = (owed.stream, owed.epoch);
        if !waiting.is_empty() {
            let share = self.share(stream);
            let group = RecipientGroup { seq: load.seq, rcpts: Rcpts::new(waiting), epoch };
            self.lanes.push_front(path, (stream, share), Ready { group, permit });
        } else {
            self.give_back(permit);
        }
        if !cancelled.is_empty() {
            cancelled.iter().for_each(|fate| self.end(load.seq, fate.rcpt));
            self.record(load.seq, load.id, load.warm.clone(), Arc::new(Attempt::default()), cancelled, now);
        }
    }
}
