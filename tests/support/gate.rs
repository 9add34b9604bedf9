//! A gate that a test opens to let others continue.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Closed until opened; clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate for all, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits for the gate to open; false if it did not within `most`.
    pub fn wait(&self, most: Duration) -> bool {
        let closed = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, _) = self.0.1.wait_timeout_while(closed, most, |open| !*open).unwrap_or_else(PoisonError::into_inner);
        *open
    }
}
