//! The simulation's wait lists: mail that no lane may send yet.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};

/// One recipient in the simulation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mail {
    /// Its number in the order of acceptance.
    pub(super) seq: u64,
    pub(super) arrived: Timestamp,
    pub(super) provider: usize,
    pub(super) attempts: u32,
    /// Whether it has had to wait for budget already.
    pub(super) waited: bool,
    /// The source whose turn it was, if one was chosen.
    pub(super) turn: Option<usize>,
}

/// Which wait list: mail for one provider that waits for one lane, for any lane of the pool, or for one lane or any of another pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WaitListKey {
    source: Option<usize>,
    pool: Option<usize>,
    provider: usize,
}

/// The stream's own pool among [`super::pool::SimulatedLanes`].
pub(super) const OWN_POOL: usize = 0;

impl WaitListKey {
    pub(super) fn lane(source: usize, provider: usize) -> Self {
        Self { source: Some(source), pool: None, provider }
    }

    pub(super) fn pool(provider: usize) -> Self {
        Self { source: None, pool: Some(OWN_POOL), provider }
    }

    pub(super) fn either(source: usize, pool: usize, provider: usize) -> Self {
        Self { source: Some(source), pool: Some(pool), provider }
    }

    /// The source that the mail was meant for, if it waits for that one.
    pub(super) fn own(&self) -> Option<usize> {
        self.source
    }

    pub(super) fn other_pool(&self) -> Option<usize> {
        self.pool
    }

    pub(super) fn provider(&self) -> usize {
        self.provider
    }
}

/// All wait lists with mail.
#[derive(Default)]
pub(super) struct WaitLists {
    /// The mail of each list, in the order of acceptance.
    waiting: HashMap<WaitListKey, BTreeMap<u64, Mail>>,
}

impl WaitLists {
    pub(super) fn is_waited_at(&self, key: &WaitListKey) -> bool {
        self.waiting.contains_key(key)
    }

    /// Adds a recipient to a list. True if it is the first there.
    pub(super) fn join(&mut self, key: WaitListKey, mail: Mail) -> bool {
        let queue = self.waiting.entry(key).or_default();
        queue.insert(mail.seq, mail);
        queue.len() == 1
    }

    pub(super) fn first(&self, key: WaitListKey) -> Option<Mail> {
        self.waiting.get(&key)?.first_key_value().map(|(_, mail)| *mail)
    }

    pub(super) fn take_first(&mut self, key: WaitListKey) {
        if let Some(queue) = self.waiting.get_mut(&key) {
            queue.pop_first();
            if queue.is_empty() {
                self.waiting.remove(&key);
            }
        }
    }

    /// Ends the recipients at the head of a list that are too old. Returns how many.
    pub(super) fn expire_first(&mut self, key: WaitListKey, now: Timestamp, expire: SignedDuration) -> u64 {
        let mut expired = 0;
        while self.first(key).is_some_and(|mail| now.duration_since(mail.arrived) >= expire) {
            self.take_first(key);
            expired += 1;
        }
        expired
    }

    /// Ends the recipients in all lists that are too old. Returns how many.
    pub(super) fn expire(&mut self, now: Timestamp, expire: SignedDuration) -> u64 {
        let keys: Vec<_> = self.waiting.keys().copied().collect();
        keys.into_iter().map(|key| self.expire_first(key, now, expire)).sum()
    }

    /// The number of recipients that wait.
    pub(super) fn len(&self) -> u64 {
        self.waiting.values().map(|queue| queue.len() as u64).sum()
    }
}
