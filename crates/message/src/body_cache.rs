//! Memory for the bodies of messages that are sent at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The memory for bodies of messages that are sent at once, and how much of it is in use.
#[derive(Clone, Debug)]
pub struct WarmBudget {
    used: Arc<AtomicUsize>,
    max: Arc<AtomicUsize>,
}

/// One body's share of the budget, given back when dropped.
#[derive(Debug)]
pub struct WarmShare {
    used: Arc<AtomicUsize>,
    size: usize,
}

impl WarmBudget {
    /// A budget of `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { used: Arc::default(), max: Arc::new(max.into()) }
    }

    /// Changes the budget. Bodies that are in memory stay there until they are sent.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Takes `size` bytes of the budget; None if that much is not left, so that the body has to be read back from the spool.
    pub fn take(&self, size: usize) -> Option<WarmShare> {
        let before = self.used.fetch_add(size, Ordering::Relaxed);
        let share = WarmShare { used: self.used.clone(), size };
        (before + size <= self.max.load(Ordering::Relaxed)).then_some(share)
    }
}

impl Drop for WarmShare {
    fn drop(&mut self) {
        self.used.fetch_sub(self.size, Ordering::Relaxed);
    }
}
