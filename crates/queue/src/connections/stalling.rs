//! Hosts whose last session ended because they were silent. They stall until they answer something: together they get a part of the connections, or
//! half of what others leave, each list of hosts one at a time, so that mail for hosts that answer never waits for all of them to be silent once
//! more. With `n` lists and half of all connections, all of them have had their turn after `n` times the patience by that half.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use crate::Site;

/// Lists of hosts that stall, by their hashes: millions of names would take too much memory, and two that share a hash only share a place.
#[derive(Default)]
pub(crate) struct Stalling {
    hash: RandomState,
    /// Since when they stall, in milliseconds since 1970.
    known: HashMap<u64, i64>,
    /// Sessions with such hosts, without those that were told to give up.
    pub(super) sessions: usize,
}

impl Stalling {
    pub(crate) fn has(&self, site: &Site) -> bool {
        !self.known.is_empty() && self.known.contains_key(&self.hash.hash_one(&site.key))
    }

    /// Whether one more of `most` connections may be opened to such hosts, of which there are `all` at present: a part of them, or half of what
    /// sessions with other hosts leave.
    pub(super) fn has_room(&self, most: usize, all: usize) -> bool {
        let others = all.saturating_sub(self.sessions);
        self.sessions < most.div_ceil(PART).max(most.saturating_sub(others) / 2)
    }

    /// How many lists of hosts stall.
    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }

    pub(super) fn note(&mut self, site: &Site, now: i64) {
        if self.known.len() < KNOWN_MAX {
            self.known.insert(self.hash.hash_one(&site.key), now);
        }
    }

    pub(super) fn forget(&mut self, site: &Site) -> bool {
        !self.known.is_empty() && self.known.remove(&self.hash.hash_one(&site.key)).is_some()
    }

    /// Forgets those that have not been tried for long.
    pub(super) fn sweep(&mut self, now: i64) {
        self.known.retain(|_, since| now - *since < FORGOTTEN_AFTER);
    }

    pub(super) fn clock_went_back(&mut self, ms: i64) {
        self.known.values_mut().for_each(|since| *since -= ms);
    }
}

/// One in so many connections is for hosts that stall.
const PART: usize = 4;
/// So many lists of hosts are remembered, in about 3 MiB. Further ones count as new.
const KNOWN_MAX: usize = 100_000;
/// For so long, in milliseconds: longer than the longest wait between two attempts in the documented schedule.
const FORGOTTEN_AFTER: i64 = 24 * 3_600_000;
