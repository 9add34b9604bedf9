//! When the report of a day is due, and which were sent. Pure.

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};

/// At which time of the day the report of the day before is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The time of the day.
    pub at: Time,
    /// The zone of the days.
    pub zone: TimeZone,
}

/// Which reports were sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentReports {
    version: u32,
    /// Nothing is due that was due before this.
    since: Timestamp,
    /// The last days whose reports were sent, in the order in which they were: days that a clock went through twice have one report.
    days: Vec<Date>,
}

/// Why a file of sent reports cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableReports {
    /// It is damaged.
    #[error("damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Another version of posthaste wrote it.
    #[error("written by another version of posthaste (format {0})")]
    Version(u32),
}

impl Schedule {
    /// The day whose report is to be sent at this moment, if it was not sent: the last one that has become due, however late it is. Those before it
    /// are not made up for.
    pub fn due(&self, sent: &SentReports, now: Timestamp) -> Option<Date> {
        let today = now.to_zoned_datetime(self.zone.clone()).date();
        // At the end of all time nothing is due.
        let of_today = self.moment(today)?;
        let (moment, date) =
            if of_today <= now { (of_today, today) } else { (self.moment(today.yesterday().ok()?)?, today.yesterday().ok()?) };
        let day = date.yesterday().ok()?;
        // A clock that was ahead when the first report was waited for says nothing.
        let is_since = moment >= sent.since || sent.since > now;
        (is_since && !sent.days.contains(&day)).then_some(day)
    }

    /// The begin and the end of a day.
    pub fn span(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        let begin = |day: Date| Some(day.to_zoned_datetime(self.zone.clone()).ok()?.timestamp());
        Some((begin(day)?, begin(day.tomorrow().ok()?)?))
    }

    /// When the report becomes due on a date. A time that the clocks skip is as much later, and of one that they show twice the first counts.
    fn moment(&self, date: Date) -> Option<Timestamp> {
        Some(date.to_datetime(self.at).to_zoned_datetime(self.zone.clone()).ok()?.timestamp())
    }
}

impl SentReports {
    /// None yet: what was due before `now` is not sent.
    pub fn none_until(now: Timestamp) -> Self {
        Self { version: VERSION, since: now, days: Vec::new() }
    }

    /// Notes that a day's report was sent.
    pub fn add(&mut self, day: Date) {
        self.days.push(day);
        let many = self.days.len().saturating_sub(KEPT);
        self.days.drain(..many);
    }

    /// As it is kept on disk.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("dates are plain data")
    }

    /// Reads what was kept on disk.
    ///
    /// # Errors
    /// It is damaged, or another version wrote it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, UnreadableReports> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        match serde_json::from_slice::<Versioned>(bytes)?.version {
            VERSION => Ok(serde_json::from_slice(bytes)?),
            other => Err(UnreadableReports::Version(other)),
        }
    }
}

const VERSION: u32 = 1;
/// A clock that went back by more than a year has other troubles.
const KEPT: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(at: &str, zone: &str) -> Schedule {
        Schedule { at: at.parse().unwrap(), zone: TimeZone::get(zone).unwrap() }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The days that are sent by a relay that looks at these times.
    fn sent(schedule: &Schedule, since: &str, looks: &[&str]) -> Vec<String> {
        let (mut sent, mut days) = (SentReports::none_until(time(since)), Vec::new());
        for look in looks {
            // Every look may be that of another process.
            sent = SentReports::from_bytes(&sent.to_bytes()).unwrap();
            if let Some(day) = schedule.due(&sent, time(look)) {
                sent.add(day);
                days.push(day.to_string());
            }
        }
        days
    }

    #[test]
    fn each_day_is_sent_once_at_its_hour_whatever_restarts() {
        let looks: Vec<String> =
            (0..72 * 4).map(|quarter| (time("2026-11-28T12:00:00Z") + jiff::SignedDuration::from_mins(15 * quarter)).to_string()).collect();
        let looks: Vec<&str> = looks.iter().map(String::as_str).collect();
        assert_eq!(sent(&schedule("07:00", "UTC"), "2026-11-28T12:00:00Z", &looks), ["2026-11-28", "2026-11-29", "2026-11-30"]);
        let due = |look: &str| {
            schedule("07:00", "UTC").due(&SentReports::none_until(time("2026-11-01T00:00:00Z")), time(look)).unwrap().to_string()
        };
        assert_eq!([due("2026-11-29T06:59:59Z"), due("2026-11-29T07:00:00Z")], ["2026-11-27", "2026-11-28"]);
    }

    #[test]
    fn the_day_is_that_of_the_zone() {
        let berlin = schedule("07:00", "Europe/Berlin");
        let days = sent(&berlin, "2026-11-28T12:00:00Z", &["2026-11-29T05:59:00Z", "2026-11-29T06:00:00Z", "2026-11-29T07:00:00Z"]);
        assert_eq!(days, ["2026-11-28"]);
        let (from, to) = berlin.span("2026-10-25".parse().unwrap()).unwrap();
        assert_eq!(to.duration_since(from).as_hours(), 25, "the day on which clocks go back");
    }

    #[test]
    fn a_relay_that_was_down_at_that_hour_catches_up_one_day() {
        let at_seven = schedule("07:00", "UTC");
        assert_eq!(
            sent(&at_seven, "2026-11-20T12:00:00Z", &["2026-11-21T08:00:00Z", "2026-11-27T03:00:00Z", "2026-11-27T07:30:00Z"]),
            ["2026-11-20", "2026-11-25", "2026-11-26"]
        );
        assert_eq!(
            sent(&at_seven, "2026-11-20T12:00:00Z", &["2026-11-20T12:00:00Z", "2026-11-21T06:00:00Z"]),
            [] as [String; 0],
            "it is new"
        );
    }

    #[test]
    fn a_clock_that_is_set_back_or_ahead_repeats_nothing_and_loses_nothing() {
        let at_seven = schedule("07:00", "UTC");
        let back = [
            "2026-11-28T07:00:00Z",
            "2026-11-29T07:00:00Z",
            "2026-11-29T06:30:00Z",
            "2026-11-29T07:00:00Z",
            "2026-11-28T07:00:00Z",
            "2026-11-30T07:00:00Z",
        ];
        assert_eq!(sent(&at_seven, "2026-11-28T06:00:00Z", &back), ["2026-11-27", "2026-11-28", "2026-11-29"]);
        let ahead =
            ["2026-11-29T07:00:00Z", "2031-01-01T12:00:00Z", "2026-11-29T08:00:00Z", "2026-11-30T07:00:00Z", "2026-12-01T07:00:00Z"];
        assert_eq!(sent(&at_seven, "2026-11-28T12:00:00Z", &ahead), ["2026-11-28", "2030-12-31", "2026-11-29", "2026-11-30"]);
        // It was ahead when the first report was waited for.
        assert_eq!(sent(&at_seven, "2031-01-01T12:00:00Z", &["2026-11-30T07:00:00Z"]), ["2026-11-29"]);
    }

    #[test]
    fn an_hour_that_clocks_skip_or_repeat_is_one() {
        let berlin = schedule("02:30", "Europe/Berlin");
        let spring = ["2026-03-29T00:59:00Z", "2026-03-29T01:29:00Z", "2026-03-29T01:30:00Z", "2026-03-29T03:00:00Z"];
        assert_eq!(sent(&berlin, "2026-03-28T12:00:00Z", &spring), ["2026-03-28"]);
        let autumn = ["2026-10-25T00:29:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"];
        assert_eq!(sent(&berlin, "2026-10-24T12:00:00Z", &autumn), ["2026-10-24"]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_cannot_be_read_is_told_apart() {
        let mut sent = SentReports::none_until(time("2026-11-28T12:00:00Z"));
        let first: Date = "2020-01-01".parse().unwrap();
        for day in first.series(jiff::ToSpan::days(1)).take(1000) {
            sent.add(day);
        }
        assert!(sent.days.len() == KEPT && sent.to_bytes().len() < 8_000);
        assert!(matches!(SentReports::from_bytes(b"{}"), Err(UnreadableReports::Damaged(_))));
        assert!(matches!(SentReports::from_bytes(br#"{"version":2}"#), Err(UnreadableReports::Version(2))));
    }
}
