//! Limits the memory of messages being received, over all sessions. When it runs out, the sessions that hold more than an equal share are
//! refused.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// The bytes that all receiving sessions hold, and the number of these sessions.
#[derive(Default)]
pub(super) struct Pressure {
    bytes: AtomicU64,
    sessions: AtomicU64,
}

/// The bytes that one session holds of a message; released when dropped.
pub(super) struct Held {
    of: Arc<Pressure>,
    bytes: u64,
}

impl Pressure {
    /// Begins to receive a message.
    pub(super) fn begin(self: &Arc<Self>) -> Held {
        self.sessions.fetch_add(1, Relaxed);
        Held { of: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// Adds `bytes`. False: all sessions together hold more than `max` bytes, and this one holds more than an equal share of `max`. A
    /// message below its share is always accepted, whatever the others hold.
    pub(super) fn add(&mut self, bytes: u64, max: u64) -> bool {
        self.bytes += bytes;
        let all = self.of.bytes.fetch_add(bytes, Relaxed) + bytes;
        all <= max || self.bytes <= max / self.of.sessions.load(Relaxed).max(1)
    }

    /// The bytes received so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.bytes.fetch_sub(self.bytes, Relaxed);
        self.of.sessions.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_the_limit_one_may_hold_it_all_and_above_it_the_greedy_go() {
        let pressure = Arc::new(Pressure::default());
        let mut greedy = pressure.begin();
        assert!(greedy.add(900, 1000));
        let mut modest: Vec<Held> = (0..9).map(|_| pressure.begin()).collect();
        assert!(modest.iter_mut().all(|held| held.add(100, 1000)), "each has its tenth, whoever else is too greedy");
        assert!(!greedy.add(1, 1000));
        drop(greedy);
        assert!(modest[0].add(100, 1000), "there is room again");
        drop(modest);
        assert_eq!((pressure.bytes.load(Relaxed), pressure.sessions.load(Relaxed)), (0, 0));
    }

    #[test]
    fn all_together_never_hold_more_than_the_limit_and_one_read_each() {
        let pressure = Arc::new(Pressure::default());
        let mut sessions: Vec<Option<Held>> = (0..100).map(|_| Some(pressure.begin())).collect();
        for _ in 0..1000 {
            for held in &mut sessions {
                if held.as_mut().is_some_and(|h| !h.add(10, 5000)) {
                    *held = None;
                }
            }
            assert!(pressure.bytes.load(Relaxed) <= 5000 + 100 * 10);
        }
    }
}
