//! The sending window of a lane: hours of the day and days of the week, in a time zone.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp,
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};

/// The hours of the day at which mail goes out, and the weekdays on which none does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Minutes since midnight.
    from: u16,
    /// Minutes since midnight, above `from`; [`MINUTES`] is the midnight that ends the day.
    to: u16,
    /// The days off: a bit for each weekday, Monday's the lowest.
    off: u8,
}

/// Why a window cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The text is not of the form `HH:MM-HH:MM`.
    #[error("{0:?} is not a window; write it as \"08:00-20:00\", or \"00:00-24:00\" for all day")]
    Form(String),
    /// The window ends before it begins.
    #[error("the window {0:?} ends before it begins; it cannot extend past midnight")]
    Backwards(String),
    /// All seven days are off.
    #[error("every day of the week is a day off: nothing would ever be sent")]
    NeverOpen,
}

const MINUTES: u16 = 24 * 60;

/// One civil day in a time zone: 23 or 25 hours long when summer time begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) date: Date,
    pub(crate) starts: Timestamp,
    pub(crate) ends: Timestamp,
    /// When the lane sends on this day; `None` on days off.
    pub(crate) open: Option<(Timestamp, Timestamp)>,
}

impl Window {
    /// All day, every day.
    pub const ALWAYS: Self = Self { from: 0, to: MINUTES, off: 0 };

    /// The same hours, without these days.
    pub fn without(self, days: impl IntoIterator<Item = Weekday>) -> Result<Self, WindowError> {
        let off = days.into_iter().fold(self.off, |off, day| off | 1 << day.to_monday_zero_offset());
        if off == 0b111_1111 { Err(WindowError::NeverOpen) } else { Ok(Self { off, ..self }) }
    }

    /// The hours of a usual day in which it is open, rounded up.
    pub fn hours(self) -> u32 {
        u32::from(self.to - self.from).div_ceil(60)
    }

    pub(crate) fn span(self, date: Date, zone: &TimeZone) -> Span {
        let starts = moment(date, 0, zone);
        let ends = date.tomorrow().map_or(Timestamp::MAX, |next| moment(next, 0, zone));
        let off = self.off & 1 << date.weekday().to_monday_zero_offset() != 0;
        let from = if self.from == 0 { starts } else { moment(date, self.from, zone) };
        let to = if self.to == MINUTES { ends } else { moment(date, self.to, zone) };
        // A window inside the hour that summer time skips is empty on that day.
        Span { date, starts, ends, open: (!off && from < to).then_some((from, to)) }
    }
}

/// The time at which the time zone's clocks show this; the first one if they show it twice, the end of the gap if they skip it.
fn moment(date: Date, minutes: u16, zone: &TimeZone) -> Timestamp {
    let time = Time::constant((minutes / 60) as i8, (minutes % 60) as i8, 0, 0);
    zone.to_timestamp(date.to_datetime(time)).unwrap_or(Timestamp::MAX)
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let form = || WindowError::Form(text.to_owned());
        let (from, to) = text.split_once('-').ok_or_else(form)?;
        let (from, to) = (clock(from).ok_or_else(form)?, clock(to).ok_or_else(form)?);
        if from >= to { Err(WindowError::Backwards(text.to_owned())) } else { Ok(Self { from, to, off: 0 }) }
    }
}

/// `HH:MM`, up to 24:00, as minutes since midnight.
fn clock(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let digits = |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u16>().ok())?;
    let (hour, minute) = (digits(hour)?, digits(minute)?);
    (minute < 60 && hour * 60 + minute <= MINUTES).then_some(hour * 60 + minute)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}-{:02}:{:02}", self.from / 60, self.from % 60, self.to / 60, self.to % 60)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::time::{HOUR, between};

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    #[test]
    fn a_window_reads_back() {
        for text in ["00:00-24:00", "08:30-20:00", "23:59-24:00"] {
            assert_eq!(text.parse::<Window>().unwrap().to_string(), text);
        }
        for bad in ["", "8:00-20:00", "08:00", "08:00-24:01", "08:60-09:00", "a-b", "+8:00-09:00"] {
            assert_eq!(bad.parse::<Window>(), Err(WindowError::Form(bad.into())), "{bad}");
        }
        for bad in ["08:00-08:00", "20:00-08:00"] {
            assert_eq!(bad.parse::<Window>(), Err(WindowError::Backwards(bad.into())));
        }
    }

    #[test]
    fn some_day_must_stay() {
        let week = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];
        let weekends = Window::ALWAYS.without(week).unwrap();
        assert_eq!(weekends.without([Weekday::Saturday, Weekday::Sunday]), Err(WindowError::NeverOpen));
    }

    #[test]
    fn days_off_have_no_window() {
        let weekdays = Window::ALWAYS.without([Weekday::Saturday, Weekday::Sunday]).unwrap();
        assert!(weekdays.span(date(2026, 11, 27), &TimeZone::UTC).open.is_some());
        assert!(weekdays.span(date(2026, 11, 28), &TimeZone::UTC).open.is_none());
    }

    #[test]
    fn days_on_which_clocks_change_have_23_and_25_hours() {
        let hours = |day, name: &str| {
            let span = Window::ALWAYS.span(day, &zone(name));
            between(span.starts, span.ends) / HOUR
        };
        assert_eq!(hours(date(2027, 3, 28), "Europe/Berlin"), 23);
        assert_eq!(hours(date(2026, 10, 25), "Europe/Berlin"), 25);
        assert_eq!(hours(date(2028, 2, 29), "Europe/Berlin"), 24);
        assert_eq!(hours(date(2026, 3, 8), "America/New_York"), 23);
    }

    #[test]
    fn a_window_in_the_skipped_hour_is_empty_that_day() {
        let night: Window = "02:00-03:00".parse().unwrap();
        assert_eq!(night.span(date(2027, 3, 28), &zone("Europe/Berlin")).open, None);
        assert!(night.span(date(2027, 3, 29), &zone("Europe/Berlin")).open.is_some());
    }
}
