//! Arithmetic with times: milliseconds since 1970 in tables of a million entries, timestamps elsewhere.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A duration in milliseconds, cut where it is longer than any message waits.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// `wait` after `now`, in whole milliseconds.
pub(crate) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond().saturating_add(millis(wait))).unwrap_or(Timestamp::MAX)
}

/// `wait` after `time`, to the nanosecond.
pub(crate) fn after(time: Timestamp, wait: SignedDuration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// When a message that was accepted at `arrived` expires; all in milliseconds since 1970.
pub(crate) fn expires(arrived: i64, expire: Duration) -> i64 {
    arrived.saturating_add(millis(expire))
}

/// Milliseconds since 1970 as a timestamp.
pub(crate) fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}
