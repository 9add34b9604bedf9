//! What a dialogue waits for at the moment, for whoever looks on.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use posthaste_mail::Stage;

/// The reply that a dialogue waits for: at which stage, since when, and for how long at most.
pub type Awaited = (Stage, Instant, Duration);

/// Shows what a dialogue waits for.
#[derive(Debug)]
pub struct Watch {
    clock: fn() -> Instant,
    waits: Mutex<Option<Awaited>>,
}

impl Watch {
    /// A watch by this clock, for one session.
    pub fn new(clock: fn() -> Instant) -> Self {
        Self { clock, waits: Mutex::new(None) }
    }

    /// What the dialogue waits for; None: nothing yet.
    pub fn waits(&self) -> Option<Awaited> {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dialogue waits for a reply from `since` on.
    pub fn at(&self, stage: Stage, limit: Duration, since: Instant) {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = Some((stage, since, limit));
    }

    pub(crate) fn now(&self, stage: Stage, limit: Duration) {
        self.at(stage, limit, (self.clock)());
    }
}
