//! The comparison of the ledger's days with the log.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use posthaste_governor::warmup::{CountedDay, LaneDays};
use posthaste_governor::{Counts, LaneKey};
use serde::Serialize;

use super::Recount;

/// The result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// The number of lanes' days that were compared.
    pub days: usize,
    /// Recipients answered on them, by the log.
    pub spent: u64,
    /// Days that began before the log does, so that they are incomplete in it.
    pub older: usize,
    /// The numbers that differ.
    pub differences: Vec<Difference>,
}

/// A number in which ledger and log differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The lane, such as `ip1/google`.
    pub lane: String,
    /// Which day.
    pub date: Date,
    /// Which number: `spent`, `accepted`, ...
    pub number: &'static str,
    /// By the ledger.
    pub ledger: u32,
    /// By the log.
    pub log: u32,
}

impl Comparison {
    /// Whether the log has lower numbers than the ledger had before the log was read: some lines may not be written yet.
    pub fn log_is_behind(&self) -> bool {
        self.differences.iter().any(|difference| difference.log < difference.ledger)
    }
}

/// Compares the log with the ledger as it was before and after the log was read: while mail goes out, the log's numbers lie between the
/// two.
///
/// Hard bounces are left out, because the ledger also counts those that became known after delivery. They cannot differ unnoticed if all
/// other numbers agree, since `spent` is the sum of all.
pub fn compare(before: &[LaneDays], after: &[LaneDays], log: &Recount) -> Comparison {
    let (before, after) = (by_day(before), by_day(after));
    let counted: BTreeMap<(LaneKey, Date), Counts> = log.days().map(|(lane, date, counts)| ((lane.clone(), date), counts)).collect();
    let keys: BTreeSet<&(LaneKey, Date)> = after.keys().chain(before.keys()).chain(counted.keys()).collect();
    let mut comparison = Comparison::default();
    for key in keys {
        let counts = counted.get(key).copied().unwrap_or_default();
        let (low, high) = (before.get(key), after.get(key));
        let older = high.or(low).is_some_and(|day| log.first().is_none_or(|first| day.starts < first));
        let differences = differing(key, low.map(|day| day.counts), high.map(|day| day.counts), &counts);
        if older && differences.iter().all(|difference| difference.log < difference.ledger) && !differences.is_empty() {
            comparison.older += 1;
            continue;
        }
        comparison.days += 1;
        comparison.spent += u64::from(counts.spent);
        comparison.differences.extend(differences);
    }
    comparison
}

fn by_day(lanes: &[LaneDays]) -> BTreeMap<(LaneKey, Date), CountedDay> {
    lanes.iter().flat_map(|lane| lane.days.iter().map(|day| ((lane.lane.clone(), day.date), *day))).collect()
}

fn differing((lane, date): &(LaneKey, Date), low: Option<Counts>, high: Option<Counts>, log: &Counts) -> Vec<Difference> {
    let (low, high) = (low.unwrap_or_default(), high.unwrap_or_default());
    let numbers = |counts: &Counts| {
        let Counts { spent, accepted, refused, throttled, deferred, blocked, .. } = *counts;
        [
            ("spent", spent),
            ("accepted", accepted),
            ("refused", refused),
            ("throttled", throttled),
            ("deferred", deferred),
            ("blocked", blocked),
        ]
    };
    let all = numbers(&low).into_iter().zip(numbers(&high)).zip(numbers(log));
    let differs = all.filter_map(|(((number, low), (_, high)), (_, log))| {
        let ledger = if log < low { low } else { high };
        let lane = format!("{}/{}", lane.source, lane.provider);
        (log < low || log > high).then_some(Difference { lane, date: *date, number, ledger, log })
    });
    differs.collect()
}

#[cfg(test)]
mod tests {
    use posthaste_monitor::LogRecord;

    use super::*;

    const DAY: &str = "2026-11-23";

    fn log(first: &str, delivered: usize) -> Recount {
        let mut recount = Recount::default();
        let start = format!(r#"{{"time":"{first}","event":"relay"}}"#);
        let line = format!(r#"{{"time":"{DAY}T10:00:00.000Z","event":"delivered","source":"ip1","provider":"google","lane_day":"{DAY}"}}"#);
        std::iter::once(&start).chain(std::iter::repeat_n(&line, delivered)).for_each(|line| {
            recount.take(&LogRecord::parse(line.as_bytes()).unwrap());
        });
        recount
    }

    fn ledger(spent: u32) -> Vec<LaneDays> {
        let counts = Counts { spent, accepted: spent, ..Counts::default() };
        let starts = format!("{DAY}T00:00:00Z").parse().unwrap();
        let day = CountedDay { date: DAY.parse().unwrap(), starts, counts, closed: false };
        vec![LaneDays { lane: LaneKey::new("ip1", "google"), days: vec![day] }]
    }

    const EARLY: &str = "2026-11-22T10:00:00.000Z";
    const LATE: &str = "2026-11-23T09:00:00.000Z";

    fn numbers(comparison: &Comparison) -> Vec<(&str, u32, u32)> {
        comparison.differences.iter().map(|d| (d.number, d.ledger, d.log)).collect()
    }

    #[test]
    fn equal_numbers_are_no_difference_and_others_are_told() {
        let same = compare(&ledger(5), &ledger(5), &log(EARLY, 5));
        assert_eq!((same.days, same.spent, same.older, same.differences.len()), (1, 5, 0, 0));
        let less = compare(&ledger(5), &ledger(5), &log(EARLY, 4));
        assert_eq!((numbers(&less), less.log_is_behind()), (vec![("spent", 5, 4), ("accepted", 5, 4)], true));
        let more = compare(&ledger(5), &ledger(5), &log(EARLY, 6));
        assert_eq!((numbers(&more), more.log_is_behind()), (vec![("spent", 5, 6), ("accepted", 5, 6)], false));
    }

    #[test]
    fn while_mail_goes_out_the_log_lies_between_two_looks() {
        for delivered in 5..=8 {
            assert!(compare(&ledger(5), &ledger(8), &log(EARLY, delivered)).differences.is_empty(), "{delivered}");
        }
        assert!(!compare(&ledger(5), &ledger(8), &log(EARLY, 9)).differences.is_empty());
        assert!(!compare(&ledger(5), &ledger(8), &log(EARLY, 4)).differences.is_empty());
    }

    #[test]
    fn a_day_that_began_before_the_log_is_not_held_against_it_unless_the_log_knows_more() {
        let older = compare(&ledger(5), &ledger(5), &log(LATE, 3));
        assert_eq!((older.days, older.older, older.differences.len()), (0, 1, 0));
        assert_eq!(compare(&ledger(5), &ledger(5), &log(LATE, 5)).days, 1, "it was whole all the same");
        assert_eq!(numbers(&compare(&ledger(5), &ledger(5), &log(LATE, 6))), [("spent", 5, 6), ("accepted", 5, 6)]);
    }

    #[test]
    fn what_only_the_log_or_only_the_ledger_knows_is_a_difference() {
        assert_eq!(numbers(&compare(&[], &[], &log(EARLY, 2))), [("spent", 0, 2), ("accepted", 0, 2)]);
        assert_eq!(numbers(&compare(&ledger(2), &ledger(2), &log(EARLY, 0))), [("spent", 2, 0), ("accepted", 2, 0)]);
    }
}
