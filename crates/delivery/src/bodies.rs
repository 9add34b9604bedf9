//! Limits the memory of bodies that deliveries read from the spool: a receiver may take hours for one.

use std::{
    collections::HashMap,
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
    held: Mutex<Held>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    all: u64,
    /// By whose mail it is.
    owners: HashMap<Arc<str>, u64>,
}

/// The memory of one body; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Bodies>,
    owner: Arc<str>,
    bytes: u64,
}

impl Bodies {
    /// Bodies up to this many bytes need no share: a connection has room for one.
    pub(crate) const SHORT: u64 = 64 << 10;

    /// Waits for the memory of an owner's body of this length, within `max` for all. The longest body gets it once it is alone. None: others hold
    /// it for long.
    pub(crate) async fn take(self: &Arc<Self>, owner: &Arc<str>, bytes: u64, max: u64) -> Option<Share> {
        let granted = async {
            loop {
                let mut freed = pin!(self.freed.notified());
                freed.as_mut().enable();
                if self.grant(owner, bytes, max) {
                    return Share { of: self.clone(), owner: owner.clone(), bytes };
                }
                freed.await;
            }
        };
        timeout(PATIENCE, granted).await.ok()
    }

    /// An owner that has some takes no more than half of what others leave, so that its slow receivers never have all of it. One that has none
    /// finds what is free.
    fn grant(&self, owner: &Arc<str>, bytes: u64, max: u64) -> bool {
        let mut held = self.lock();
        let (own, free) = (held.owners.get(owner).copied().unwrap_or(0), max.saturating_sub(held.all));
        let fits = if own == 0 { bytes <= free } else { bytes <= free / PART && own + bytes <= (own + free) / PART };
        let granted = held.all == 0 || fits;
        if granted {
            held.all += bytes;
            *held.owners.entry(owner.clone()).or_default() += bytes;
        }
        granted
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.of.lock();
        held.all -= self.bytes;
        if let Some(own) = held.owners.get_mut(&self.owner) {
            *own -= self.bytes;
            if *own == 0 {
                held.owners.remove(&self.owner);
            }
        }
        drop(held);
        self.of.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 256 << 20;

    fn share(of: &Arc<Bodies>, owner: &str, mebibytes: u64) -> Option<Share> {
        let (owner, bytes) = (Arc::<str>::from(owner), mebibytes << 20);
        of.grant(&owner, bytes, MAX).then(|| Share { of: of.clone(), owner, bytes })
    }

    #[test]
    fn long_bodies_leave_some_memory_to_shorter_ones_and_the_longest_goes_alone() {
        let bodies = Arc::new(Bodies::default());
        let long: Vec<_> = (0..100).filter_map(|_| share(&bodies, "ann", 50)).collect();
        assert_eq!(long.len(), 2);
        let others: Vec<_> = (0..100).filter_map(|n| share(&bodies, &n.to_string(), 50)).collect();
        assert_eq!(others.len(), 3, "each has one");
        assert!(share(&bodies, "ann", 1).is_none() && share(&bodies, "eve", 5).is_some(), "what is left is for those who have none");
        assert!(bodies.lock().all <= MAX);
        drop((long, others));
        assert_eq!(bodies.lock().all, 0);
        assert!(bodies.lock().owners.is_empty());
        let longest = share(&bodies, "ann", 2 * 256);
        assert!(longest.is_some() && share(&bodies, "eve", 1).is_none());
        drop(longest);
        assert!(share(&bodies, "eve", 1).is_some());
    }

    #[test]
    fn slow_bodies_of_one_owner_keep_nobody_elses_out() {
        let bodies = Arc::new(Bodies::default());
        let slow: Vec<_> = (0..100).filter_map(|_| share(&bodies, "bob", 12)).collect();
        assert_eq!(slow.len(), 10, "half of all");
        let others: Vec<_> = ["ann", "eve", "kim"].iter().filter_map(|owner| share(&bodies, owner, 40)).collect();
        assert_eq!(others.len(), 3);
        assert!(share(&bodies, "bob", 1).is_none());
    }
}
