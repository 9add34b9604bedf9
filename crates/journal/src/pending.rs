//! Messages that are stored but have no durable `accepted` line yet, which a checkpoint must not count as announced.
//!
//! The spool's numbers rise but have gaps, so "all up to N are announced" cannot be seen from the announced numbers alone. The intake takes
//! a [`PendingToken`] before it stores a message, and drops it when the line is durable or the message was not stored. A message's number
//! is above every number known when its token was taken, so all messages up to the number known to the oldest token are announced.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The messages under way.
#[derive(Clone, Debug, Default)]
pub struct Pending(Arc<Mutex<PendingState>>);

#[derive(Debug, Default)]
struct PendingState {
    /// The highest number that the spool is known to have assigned.
    highest: u64,
    /// The open tokens in the order in which they were taken, each with the highest number known then.
    open: BTreeMap<u64, u64>,
    next: u64,
}

/// One message under way.
#[derive(Debug)]
pub struct PendingToken {
    of: Pending,
    key: u64,
}

impl Pending {
    /// Takes a token for a message; to be called before it is stored.
    pub fn begin(&self) -> PendingToken {
        let mut state = self.lock();
        let (key, highest) = (state.next, state.highest);
        state.next += 1;
        state.open.insert(key, highest);
        drop(state);
        PendingToken { of: self.clone(), key }
    }

    /// The spool has assigned this number.
    pub fn stored(&self, seq: u64) {
        let mut state = self.lock();
        state.highest = state.highest.max(seq);
    }

    /// Every message up to this number has its durable line.
    pub fn announced_through(&self) -> u64 {
        let state = self.lock();
        state.open.first_key_value().map_or(state.highest, |(_, known)| *known)
    }

    fn lock(&self) -> MutexGuard<'_, PendingState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingToken {
    fn drop(&mut self) {
        self.of.lock().open.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counts_as_announced_while_an_older_message_is_under_way() {
        let pending = Pending::default();
        let first = pending.begin();
        let second = pending.begin();
        pending.stored(5);
        pending.stored(9);
        drop(second);
        assert_eq!(pending.announced_through(), 0, "the first may be 5 or 9");
        let third = pending.begin();
        drop(first);
        assert_eq!(pending.announced_through(), 9, "the third comes behind 9");
        pending.stored(12);
        assert_eq!(pending.announced_through(), 9);
        drop(third);
        assert_eq!(pending.announced_through(), 12);
    }
}
