//! Waiting for conditions, never for time to pass.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for something that must happen. It is long, since machines may be slow, and costs time only in a failure.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// How often a file is checked.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The tests' only clock, for deadlines.
#[expect(clippy::disallowed_methods, reason = "the one place of the tests that asks")]
pub fn instant() -> Instant {
    Instant::now()
}

/// Calls `look` repeatedly until it returns something; None once `most` has passed.
pub fn within<T>(most: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = instant() + most;
    loop {
        // The time is taken before the look, so that everything in time is seen.
        let last = instant() >= deadline;
        if let Some(seen) = look() {
            return Some(seen);
        }
        if last {
            return None;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Calls `look` until it returns something; fails the test if that takes too long.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}
