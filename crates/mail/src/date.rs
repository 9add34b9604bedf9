//! Times as mail writes them.

use jiff::{Timestamp, tz::TimeZone};

/// A moment as RFC 5322 §3.3 writes it, in UTC.
pub fn rfc5322_date(at: Timestamp) -> String {
    // The printer fails only for years before 0, where no clock of ours can be.
    jiff::fmt::rfc2822::to_string(&at.to_zoned_datetime(TimeZone::UTC)).unwrap_or_else(|_| "Thu, 1 Jan 1970 00:00:00 +0000".into())
}
