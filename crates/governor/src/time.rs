//! Conversion of times to nanoseconds and back, for arithmetic.

use jiff::Timestamp;

/// One second.
pub(crate) const SECOND: i128 = 1_000_000_000;
/// One hour.
pub(crate) const HOUR: i128 = 3_600 * SECOND;

/// Nanoseconds since 1970.
pub(crate) fn ns(at: Timestamp) -> i128 {
    at.as_nanosecond()
}

/// The time `ns` nanoseconds since 1970, clamped to the range of [`Timestamp`].
pub(crate) fn at(ns: i128) -> Timestamp {
    Timestamp::from_nanosecond(ns).unwrap_or(if ns < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// `time` moved by `by` nanoseconds.
pub(crate) fn after(time: Timestamp, by: i128) -> Timestamp {
    at(ns(time).saturating_add(by))
}

/// Nanoseconds from `from` to `to`; negative if `to` is earlier.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> i128 {
    ns(to) - ns(from)
}

/// `a / b` rounded up, for `b > 0`.
pub(crate) fn div_up(a: i128, b: i128) -> i128 {
    -(-a).div_euclid(b)
}

/// When an hour, counted since 1970, begins.
pub(crate) fn hour_start(hour: i64) -> Timestamp {
    at(i128::from(hour) * HOUR)
}
