//! Hosts whose last session ended because they were silent. They stall until they answer something: together they get a part of the connections,
//! each list of hosts one at a time, so that mail for hosts that answer never waits for all of them to be silent once more.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use posthaste_governor::LaneId;

use super::{
    lanes::{QueueIx, ReadyQueue},
    sessions::Connections,
};
use crate::{Site, exchange::SessionId};

/// Lists of hosts that stall, by their hashes: millions of names would take too much memory, and two that share a hash only share a place.
#[derive(Default)]
pub(super) struct Stalling {
    hash: RandomState,
    /// Since when they stall, in milliseconds since 1970.
    known: HashMap<u64, i64>,
    /// Sessions with such hosts, without those that were told to give up.
    pub(super) sessions: usize,
}

impl Stalling {
    pub(super) fn has(&self, site: &Site) -> bool {
        !self.known.is_empty() && self.known.contains_key(&self.hash.hash_one(&site.key))
    }

    /// Whether one more of `most` connections may be opened to such hosts.
    pub(super) fn has_room(&self, most: usize) -> bool {
        self.sessions < most.div_ceil(PART)
    }

    fn note(&mut self, site: &Site, now: i64) {
        if self.known.len() < KNOWN_MAX {
            self.known.insert(self.hash.hash_one(&site.key), now);
        }
    }

    fn forget(&mut self, site: &Site) -> bool {
        !self.known.is_empty() && self.known.remove(&self.hash.hash_one(&site.key)).is_some()
    }
}

impl Connections {
    /// A session's job has ended, because the hosts were silent or with something that they said. Returns the lane that may open more
    /// connections now, because its hosts stall no longer.
    pub(crate) fn heard(&mut self, queue: QueueIx, session: SessionId, silent: bool, now: i64) -> Option<LaneId> {
        let Self { lanes, stalling, sessions, .. } = self;
        let ReadyQueue { site, lane, .. } = lanes.at(queue);
        if silent {
            stalling.note(site, now);
            return None;
        }
        if let Some(session) = sessions.get_mut(&session) {
            stalling.sessions -= usize::from(std::mem::take(&mut session.on_trial));
        }
        stalling.forget(site).then_some(*lane)
    }

    /// Whether a ready queue may open one more of `most` connections, as far as its hosts are concerned.
    pub(super) fn may_try(&self, queue: &ReadyQueue, most: usize) -> bool {
        !self.stalling.has(&queue.site) || (queue.sessions == 0 && self.stalling.has_room(most))
    }

    /// A lane waits for connections, for the mail of each of its ready queues that none of its sessions is about to try.
    pub(super) fn wait(&mut self, lane: LaneId) {
        let Self { lanes, stalling, shares, .. } = self;
        for queue in lanes.lanes[&lane].turns.iter().map(|queue| lanes.at(*queue)) {
            match stalling.has(&queue.site) {
                false => shares.usual.wait(lane, queue.parties()),
                true if queue.sessions == 0 => shares.stalling.wait(lane, queue.parties()),
                true => {}
            }
        }
    }

    /// Forgets hosts that have not been tried for long.
    pub(crate) fn sweep_stalling(&mut self, now: i64) {
        self.stalling.known.retain(|_, since| now - *since < FORGOTTEN_AFTER);
    }

    pub(super) fn stalling_clock_went_back(&mut self, ms: i64) {
        self.stalling.known.values_mut().for_each(|since| *since -= ms);
    }
}

/// One in so many connections is for hosts that stall.
const PART: usize = 4;
/// So many lists of hosts are remembered, in about 3 MiB. Further ones count as new.
const KNOWN_MAX: usize = 100_000;
/// For so long, in milliseconds: longer than the longest wait between two attempts in the documented schedule.
const FORGOTTEN_AFTER: i64 = 24 * 3_600_000;
