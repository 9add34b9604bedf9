//! How a day's cap is spread over the day.

use std::num::NonZeroU32;

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    health::Share,
    time::{HOUR, after, between, div_up, hour_start},
    window::{Span, Window},
};

/// When a lane sends, and how evenly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    pub(crate) window: Window,
    pub(crate) zone: TimeZone,
    pub(crate) burst: NonZeroU32,
    /// In thousandths of the even rate.
    catch_up: u32,
    pub(crate) reserve: Share,
}

/// Why a pace cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaceError {
    /// At 1, recipients not sent in time are lost for the day; above 24, nothing is spread any more.
    #[error("catch_up = {0}: it must be between 1 and 24")]
    CatchUp(String),
    /// A larger reserve would shut out mail that is not urgent.
    #[error("reserve = {0}: at most 50 %")]
    Reserve(Share),
}

/// How urgent mail is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// May use the budget outside the plan's reserve.
    #[default]
    Usual,
    /// Somebody is waiting for it: may use the reserve as well.
    Urgent,
}

impl Pace {
    /// All day in UTC, bursts of 20, catching up at up to four times the even rate, no reserve.
    pub fn new() -> Self {
        let burst = NonZeroU32::new(20).expect("20 is not 0");
        Self { window: Window::ALWAYS, zone: TimeZone::UTC, burst, catch_up: 4000, reserve: Share::NONE }
    }

    /// The hours at which mail goes out.
    pub fn with_window(self, window: Window) -> Self {
        Self { window, ..self }
    }

    /// The zone in which days begin and end.
    pub fn with_zone(self, zone: TimeZone) -> Self {
        Self { zone, ..self }
    }

    /// The most recipients that may go at one moment.
    pub fn with_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }

    /// How many times the even rate a lane may reach to make up for mail that came late in the day.
    pub fn with_catch_up(self, times: f64) -> Result<Self, PaceError> {
        if !(1.0..=24.0).contains(&times) {
            return Err(PaceError::CatchUp(times.to_string()));
        }
        Ok(Self { catch_up: (times * 1000.0).round() as u32, ..self })
    }

    /// The share of the day, of the hour and of the burst that is kept for urgent mail. Its unused part is released to all mail as the day and the
    /// hour go by.
    pub fn with_reserve(self, reserve: Share) -> Result<Self, PaceError> {
        if reserve > Share::percent(50) { Err(PaceError::Reserve(reserve)) } else { Ok(Self { reserve, ..self }) }
    }

    /// The hours at which mail goes out.
    pub fn window(&self) -> Window {
        self.window
    }

    /// The zone in which days begin and end.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The most recipients that may go at one moment.
    pub fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    pub(crate) fn span_at(&self, now: Timestamp) -> Span {
        self.window.span(self.zone.to_datetime(now).date(), &self.zone)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

/// The line along which the rest of a day's cap is released: `base` recipients at once, then one every `num / den` nanoseconds.
///
/// It is redrawn when it runs ahead of the mail by more than the burst: the rest of the cap is then spread over the rest of
/// the window, but no steeper than `catch_up` allows; recipients that do not fit are not sent that day. All numbers are whole, so
/// that the time of each release is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    since: Timestamp,
    opens: Timestamp,
    closes: Timestamp,
    cap: u32,
    base: u32,
    num: i128,
    den: i128,
    /// The parts of the cap and of the burst that are kept for urgent mail when the window opens.
    kept: (u32, u32),
}

impl Release {
    /// A line from `since` on (moved into the window), when `used` of the cap are used and `ready` more may go at once.
    pub(crate) fn new(pace: &Pace, (opens, closes): (Timestamp, Timestamp), since: Timestamp, cap: u32, used: u32, ready: u32) -> Self {
        let since = since.clamp(opens, closes);
        let base = used.saturating_add(ready).min(cap);
        let (whole, left) = (between(opens, closes), between(since, closes));
        // One part more than there are recipients, so that the last one goes before the window closes and not as it closes.
        let even = (left, i128::from(cap - base) + 1);
        let steepest = (whole * 1000, i128::from(pace.catch_up) * i128::from(cap));
        let (num, den) = if even.0 * steepest.1 > steepest.0 * even.1 { even } else { steepest };
        let at_once = cap.min(pace.burst.get());
        let kept = (pace.reserve.down(cap), pace.reserve.up(at_once).min(at_once - 1));
        Self { since, opens, closes, cap, base, num, den, kept }
    }

    /// How many recipients of the day's cap may have been used by `now`.
    pub(crate) fn until(&self, now: Timestamp, priority: Priority) -> u32 {
        let gone = between(self.since, now).max(0) * self.den / self.num;
        let released = i128::from(self.base).saturating_add(gone).min(i128::from(self.cap)) as u32;
        match priority {
            Priority::Urgent => released,
            Priority::Usual => {
                let (of_cap, of_burst) = self.kept_at(now);
                released.saturating_sub(of_burst).min(self.cap - of_cap)
            }
        }
    }

    /// The first time, not before `now`, at which `target` recipients of the cap may have been used. It can be after the window's end.
    pub(crate) fn time_of(&self, target: u32, priority: Priority, now: Timestamp) -> Timestamp {
        let more = i128::from(target.saturating_sub(self.base));
        let line = if more == 0 { now } else { after(self.since, div_up(more * self.num, self.den)).max(now) };
        if priority == Priority::Urgent || self.kept == (0, 0) {
            return line;
        }
        // The sum of two stepped lines has no closed inverse; it rises, so bisection finds the first such time.
        let (mut low, mut high) = (line, self.closes.max(line));
        while between(low, high) > 0 {
            let middle = after(low, between(low, high) / 2);
            if self.until(middle, priority) >= target {
                high = middle;
            } else {
                low = after(middle, 1);
            }
        }
        high
    }

    fn kept_at(&self, now: Timestamp) -> (u32, u32) {
        let (whole, left) = (between(self.opens, self.closes), between(now, self.closes));
        let part = |kept: u32| (i128::from(kept) * left.clamp(0, whole) / whole) as u32;
        (part(self.kept.0), part(self.kept.1))
    }
}

/// The cap of each hour, and the part of it that is kept for urgent mail when the hour begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HourCap {
    /// In recipients.
    pub(crate) cap: u32,
    kept: u32,
}

/// How long before the hour's end nothing is kept for urgent mail any more.
const FREE: i128 = HOUR / 60;

impl HourCap {
    pub(crate) fn new(pace: &Pace, cap: u32) -> Self {
        Self { cap, kept: pace.reserve.up(cap).min(cap.saturating_sub(1)) }
    }

    /// How many recipients may have been used by `now` in this hour, counted since 1970. What is kept for urgent mail shrinks evenly and is
    /// rounded up, because few are kept of the cap of an hour; in the last minute nothing is.
    pub(crate) fn until(&self, hour: i64, now: Timestamp, priority: Priority) -> u32 {
        let left = between(now, hour_start(hour + 1)).clamp(0, HOUR);
        match priority {
            Priority::Urgent => self.cap,
            Priority::Usual => self.cap - div_up(i128::from(self.kept) * (left - FREE).max(0), HOUR - FREE) as u32,
        }
    }

    /// The first time, not before `now`, at which `target` recipients of this hour may have been used: where the cap is used up, the
    /// beginning of the next hour.
    pub(crate) fn time_of(&self, hour: i64, target: u32, priority: Priority, now: Timestamp) -> Timestamp {
        let ends = hour_start(hour + 1);
        if target > self.cap {
            return ends;
        }
        if priority == Priority::Urgent || self.kept == 0 {
            return now;
        }
        // The greatest time left at which no more is kept than the target leaves over.
        let left = FREE + i128::from(self.cap - target) * (HOUR - FREE) / i128::from(self.kept);
        after(ends, -left).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::at;

    const DAY: i128 = 24 * HOUR;

    fn release(burst: u32, catch_up: f64, since: i128, cap: u32, used: u32, ready: u32) -> Release {
        let pace = Pace::new().with_burst(NonZeroU32::new(burst).unwrap()).with_catch_up(catch_up).unwrap();
        Release::new(&pace, (at(0), at(DAY)), at(since), cap, used, ready)
    }

    #[test]
    fn a_full_day_is_released_evenly_and_whole_before_the_window_closes() {
        let day = release(1, 1.0, 0, 100, 0, 1);
        assert_eq!(day.until(at(0), Priority::Usual), 1);
        assert_eq!(day.until(at(DAY / 2), Priority::Usual), 51);
        assert_eq!(day.until(at(DAY - 1), Priority::Usual), 100);
        assert!(day.time_of(100, Priority::Usual, at(0)) < at(DAY));
    }

    #[test]
    fn a_late_start_catches_up_no_faster_than_allowed() {
        // Half the day is gone: twice the rate is enough.
        assert_eq!(release(10, 4.0, DAY / 2, 100, 0, 10).until(at(DAY - 1), Priority::Usual), 100);
        // The last hour: at four times the even rate that is 16 or 17 more.
        assert_eq!(release(10, 4.0, DAY / 24 * 23, 100, 0, 10).until(at(DAY - 1), Priority::Usual), 26);
        assert_eq!(release(10, 1.0, DAY / 2, 100, 0, 10).until(at(DAY - 1), Priority::Usual), 59);
    }

    #[test]
    fn the_reserve_is_urgent_mails_first_and_everyones_at_the_end() {
        let pace = Pace::new().with_reserve(Share::percent(20)).unwrap();
        let day = Release::new(&pace, (at(0), at(DAY)), at(0), 100, 0, 20);
        assert_eq!((day.until(at(0), Priority::Usual), day.until(at(0), Priority::Urgent)), (16, 20));
        assert_eq!((day.until(at(DAY - 1), Priority::Usual), day.until(at(DAY - 1), Priority::Urgent)), (100, 100));
        for target in 1..=100 {
            let when = day.time_of(target, Priority::Usual, at(0));
            assert!(day.until(when, Priority::Usual) >= target && when < at(DAY), "{target}");
            assert!(when == at(0) || day.until(after(when, -1), Priority::Usual) < target, "{target}");
        }
    }

    #[test]
    fn an_hour_keeps_its_reserve_for_urgent_mail_and_ends_without_one() {
        let pace = Pace::new().with_reserve(Share::percent(20)).unwrap();
        for cap in [1, 2, 10, 33] {
            let hour = HourCap::new(&pace, cap);
            let kept = Share::percent(20).up(cap).min(cap - 1);
            assert_eq!((hour.until(0, at(0), Priority::Usual), hour.until(0, at(0), Priority::Urgent)), (cap - kept, cap));
            assert_eq!(hour.until(0, at(HOUR - 1), Priority::Usual), cap, "what nobody urgent took is for all");
            for target in 1..=cap {
                let when = hour.time_of(0, target, Priority::Usual, at(0));
                assert!(hour.until(0, when, Priority::Usual) >= target && when < at(HOUR), "{target} of {cap}");
                assert!(when == at(0) || hour.until(0, after(when, -1), Priority::Usual) < target, "{target} of {cap}");
                assert_eq!(hour.time_of(0, target, Priority::Urgent, at(7)), at(7));
            }
            assert_eq!(hour.time_of(0, cap + 1, Priority::Urgent, at(0)), at(HOUR));
        }
    }

    #[test]
    fn the_one_that_a_small_hour_keeps_is_there_until_its_last_minute() {
        let hour = HourCap::new(&Pace::new().with_reserve(Share::percent(10)).unwrap(), 10);
        let usual = |minute: i128| hour.until(0, at(minute * HOUR / 60), Priority::Usual);
        assert_eq!([0, 1, 20, 40, 58, 59].map(usual), [9, 9, 9, 9, 9, 10]);
        assert_eq!(hour.until(0, at(HOUR / 2), Priority::Urgent), 10);
    }

    #[test]
    fn a_pace_out_of_bounds_cannot_be_built() {
        for bad in [0.9, 24.1, f64::NAN] {
            assert!(Pace::new().with_catch_up(bad).is_err());
        }
        assert!(Pace::new().with_reserve(Share::percent(51)).is_err());
    }
}
