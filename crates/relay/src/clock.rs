//! The one place that asks what time it is. Everything below takes the answer as an argument.

use std::time::Instant;

use jiff::Timestamp;

/// The wall clock, in UTC.
#[expect(clippy::disallowed_methods, reason = "the one place that asks")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The monotonic clock, for durations.
#[expect(clippy::disallowed_methods, reason = "the one place that asks")]
pub fn instant() -> Instant {
    Instant::now()
}
