//! Waiting for things that happen, never for time to pass.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for what must come: machines may be slow, and nothing that comes costs that time.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The tests' one clock, for deadlines.
#[expect(clippy::disallowed_methods, reason = "the one place of the tests that asks")]
pub fn instant() -> Instant {
    Instant::now()
}

/// Looks again and again until there is something to see; None once `most` has passed.
pub fn within<T>(most: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = instant() + most;
    loop {
        // The time is taken before the look: what was there in time is seen.
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

/// Looks until there is something to see; fails the test when that takes longer than anybody would wait.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}
