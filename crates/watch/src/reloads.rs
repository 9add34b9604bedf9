//! When the configuration was read last, and how that went.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

/// The last reload; at first, the start. Clones share it.
#[derive(Clone, Debug)]
pub struct Reloads(Arc<Mutex<LastReload>>);

/// How the last reload went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastReload {
    /// When a configuration came into force last.
    pub in_force_since: Timestamp,
    /// Whether the last one did; else the one before it stays in force.
    pub succeeded: bool,
}

impl Reloads {
    /// The relay starts now, with a configuration that is in force.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(LastReload { in_force_since: now, succeeded: true })))
    }

    /// A configuration was read, and came into force or did not.
    pub fn note(&self, succeeded: bool, now: Timestamp) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.succeeded = succeeded;
        if succeeded {
            last.in_force_since = now;
        }
    }

    /// How the last one went.
    pub fn last(&self) -> LastReload {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
