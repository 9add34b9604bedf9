//! Limits the memory of bodies that deliveries read from the spool: a receiver may take hours for one.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// A body takes at most one part in so many of what is free, so that shorter ones find some.
const PART: u64 = 2;
/// How long a delivery waits for memory: its receiver waits too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bytes that all deliveries hold.
#[derive(Debug, Default)]
pub struct Bodies {
    held: Mutex<u64>,
    freed: Notify,
}

/// The memory of one body; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Bodies>,
    bytes: u64,
}

impl Bodies {
    /// Bodies up to this many bytes need no share: a connection has room for one.
    pub(crate) const SHORT: u64 = 64 << 10;

    /// Waits for the memory of a body of this length, within `max` for all. The longest body gets it once it is alone. None: others hold it for
    /// long.
    pub(crate) async fn take(self: &Arc<Self>, bytes: u64, max: u64) -> Option<Share> {
        let granted = async {
            loop {
                let mut freed = pin!(self.freed.notified());
                freed.as_mut().enable();
                if self.grant(bytes, max) {
                    return Share { of: self.clone(), bytes };
                }
                freed.await;
            }
        };
        timeout(PATIENCE, granted).await.ok()
    }

    fn grant(&self, bytes: u64, max: u64) -> bool {
        let mut held = self.lock();
        let granted = *held == 0 || bytes <= max.saturating_sub(*held) / PART;
        *held += if granted { bytes } else { 0 };
        granted
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.of.lock() -= self.bytes;
        self.of.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_bodies_leave_some_memory_to_shorter_ones_and_the_longest_goes_alone() {
        let (bodies, max) = (Arc::new(Bodies::default()), 256 << 20);
        let taken = |bytes: u64| bodies.grant(bytes, max);
        let large = 50 << 20;
        assert_eq!((0..100).filter(|_| taken(large)).count(), 4);
        assert!(taken(20 << 20) && taken(10 << 20) && !taken(20 << 20));
        assert!(*bodies.lock() <= max);
        *bodies.lock() = 0;
        assert!(taken(2 * max) && !taken(Bodies::SHORT + 1));
        let share = Share { of: bodies.clone(), bytes: 2 * max };
        drop(share);
        assert!(taken(large));
    }
}
