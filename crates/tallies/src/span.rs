//! Spans of time, and days.

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};

/// A span of time: from its begin up to, but not including, its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The begin.
    pub from: Timestamp,
    /// The end.
    pub to: Timestamp,
}

/// How fine a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// A figure for each minute.
    Minute,
    /// For each hour.
    Hour,
    /// For each day of the time zone.
    Day,
}

/// When a day begins; None at the end of time.
pub(crate) fn begin_of(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    date.to_zoned_datetime(zone.clone()).ok().map(|begin| begin.timestamp())
}

/// Days since 1970.
pub(crate) fn day_number(date: Date) -> i64 {
    (date - Date::constant(1970, 1, 1)).get_days().into()
}

pub(crate) fn date_of(number: i64) -> Date {
    let days = i32::try_from(number).unwrap_or(0);
    Date::constant(1970, 1, 1).checked_add(days.days()).unwrap_or(Date::ZERO)
}
