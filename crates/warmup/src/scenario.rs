//! A scenario for a simulated warm-up: how much mail comes on each day, and how receivers answer it. It knows nothing of lanes and budgets,
//! which the configuration defines. The same scenario is given to the simulation and, in a test, to the dispatcher itself.
//!
//! Nothing in it is random. Rates are met by counting for each lane: of a hundred recipients with 3 % hard bounces the 34th, 67th and 100th
//! bounce.

use std::{collections::HashMap, ops::Range, sync::Arc};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use posthaste_governor::Outcome;

/// How much mail comes, and how it is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The first day.
    pub first: Date,
    /// The time zone of the days; that of the curves, if a day of the scenario is to be a day of the curves.
    pub zone: TimeZone,
    /// Recipients that come in on each day, spread evenly over it. There is one entry for each day of the scenario.
    pub volume: Vec<u64>,
    /// Providers, with their shares of the volume.
    pub mix: Vec<(Arc<str>, u32)>,
    /// How recipients are answered when no spell applies.
    pub usual: Rates,
    /// Periods in which a provider answers differently. If several apply, the last one counts.
    pub spells: Vec<Spell>,
}

/// A period in which a provider answers differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spell {
    /// The provider; None: all providers.
    pub provider: Option<Arc<str>>,
    /// The days, counted from 0.
    pub days: Range<usize>,
    /// How recipients are answered in that period.
    pub rates: Rates,
}

/// How many of ten thousand recipients get each kind of answer; all others are accepted. Together at most 10,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Permanently refused, because the address does not exist.
    pub hard_bounces: u32,
    /// Deferred because of rate or reputation.
    pub throttled: u32,
    /// Deferred for another reason.
    pub deferred: u32,
    /// Refused because the sending address is blocked.
    pub blocked: u32,
}

/// The number of recipients that [`Rates`] refer to.
pub const WHOLE: u32 = 10_000;

/// One recipient that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// When.
    pub at: Timestamp,
    /// The day, counted from 0.
    pub day: usize,
    /// The provider, as an index into [`Scenario::mix`].
    pub provider: usize,
}

/// The receivers. They count, so that rates are met exactly.
#[derive(Clone, Debug)]
pub struct Receivers {
    usual: Rates,
    spells: Vec<Spell>,
    /// How much of each kind of answer is due, in parts of [`WHOLE`], by source and provider.
    due: HashMap<(Arc<str>, Arc<str>), [u32; 4]>,
}

impl Scenario {
    /// The number of days.
    pub fn days(&self) -> usize {
        self.volume.len()
    }

    /// A day's date.
    pub fn date(&self, day: usize) -> Date {
        let days = jiff::Span::new().days(i64::try_from(day).unwrap_or(i64::MAX));
        self.first.checked_add(days).unwrap_or(Date::MAX)
    }

    /// When a day begins. The day after the last one begins when the scenario ends.
    pub fn starts(&self, day: usize) -> Timestamp {
        self.zone.to_timestamp(self.date(day).to_datetime(jiff::civil::Time::midnight())).unwrap_or(Timestamp::MAX)
    }

    /// All recipients that come in, in order. Providers take turns by their shares, which continue from day to day.
    pub fn incoming(&self) -> impl Iterator<Item = Incoming> {
        let whole: i64 = self.mix.iter().map(|(_, share)| i64::from(*share)).sum();
        let mut credit = vec![0_i64; self.mix.len()];
        let times = (0..self.days()).flat_map(|day| {
            let (from, to) = (self.starts(day).as_nanosecond(), self.starts(day + 1).as_nanosecond());
            let volume = self.volume[day];
            (0..volume).map(move |n| {
                let at = from + (to - from) * i128::from(n) / i128::from(volume);
                (day, Timestamp::from_nanosecond(at).expect("it lies between two times"))
            })
        });
        times.filter_map(move |(day, at)| {
            credit.iter_mut().zip(&self.mix).for_each(|(credit, (_, share))| *credit += i64::from(*share));
            let (provider, most) = credit.iter_mut().enumerate().max_by_key(|(index, credit)| (**credit, std::cmp::Reverse(*index)))?;
            *most -= whole;
            Some(Incoming { at, day, provider })
        })
    }

    /// The receivers that answer.
    pub fn receivers(&self) -> Receivers {
        Receivers { usual: self.usual, spells: self.spells.clone(), due: HashMap::new() }
    }
}

impl Receivers {
    /// How a provider answers one recipient from this source on this day.
    pub fn answer(&mut self, source: &Arc<str>, provider: &Arc<str>, day: usize) -> Outcome {
        let fits = |spell: &&Spell| spell.days.contains(&day) && spell.provider.as_ref().is_none_or(|whose| whose == provider);
        let rates = self.spells.iter().rev().find(fits).map_or(self.usual, |spell| spell.rates);
        let due = self.due.entry((source.clone(), provider.clone())).or_default();
        let parts = [rates.hard_bounces, rates.throttled, rates.deferred, rates.blocked];
        due.iter_mut().zip(parts).for_each(|(due, part)| *due += part);
        // Each recipient gets one answer. If two kinds are due at once, the next recipient gets the other one.
        let Some(kind) = due.iter().position(|due| *due >= WHOLE) else { return Outcome::Accepted };
        due[kind] -= WHOLE;
        [Outcome::HardBounce, Outcome::Throttled, Outcome::Deferred, Outcome::Blocked][kind]
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn scenario(volume: Vec<u64>) -> Scenario {
        Scenario {
            first: date(2026, 3, 28),
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            volume,
            mix: vec![("google".into(), 40), ("microsoft".into(), 25), ("example.net".into(), 35)],
            usual: Rates::default(),
            spells: Vec::new(),
        }
    }

    #[test]
    fn each_days_mail_is_spread_evenly_over_all_of_the_day() {
        let scenario = scenario(vec![24, 23, 0, 24]);
        let incoming: Vec<_> = scenario.incoming().collect();
        assert_eq!(incoming.len(), 71);
        // On the second day the clocks skip an hour, and it has 23.
        for pair in incoming[..47].windows(2) {
            assert_eq!(pair[1].at.duration_since(pair[0].at).as_secs(), 3600);
        }
        assert_eq!((incoming[47].day, incoming[47].at), (3, "2026-03-30T22:00:00Z".parse().unwrap()));
        assert_eq!(scenario.starts(4), "2026-03-31T22:00:00Z".parse().unwrap());
    }

    #[test]
    fn providers_have_their_shares_at_any_time() {
        let mut counts = [0_usize; 3];
        for (n, incoming) in scenario(vec![500, 501]).incoming().enumerate() {
            counts[incoming.provider] += 1;
            for (count, share) in counts.iter().zip([0.40, 0.25, 0.35]) {
                assert!((*count as f64 - share * (n + 1) as f64).abs() <= 1.5, "{counts:?} of {}", n + 1);
            }
        }
        assert_eq!(counts.iter().sum::<usize>(), 1001);
    }

    #[test]
    fn receivers_keep_their_rates_for_each_source_and_spells_pass() {
        let mut scenario = scenario(vec![0; 9]);
        let bad = Rates { hard_bounces: 1200, throttled: 500, deferred: 100, blocked: 10 };
        scenario.usual = Rates { hard_bounces: 100, ..Rates::default() };
        scenario.spells = vec![Spell { provider: Some("google".into()), days: 3..5, rates: bad }];
        let mut receivers = scenario.receivers();
        let mut count = |source: &str, provider: &str, day: usize| {
            let (source, provider) = (source.into(), provider.into());
            let answers: Vec<_> = (0..1000).map(|_| receivers.answer(&source, &provider, day)).collect();
            let of = |wanted| answers.iter().filter(|answer| **answer == wanted).count();
            [Outcome::Accepted, Outcome::HardBounce, Outcome::Throttled, Outcome::Deferred, Outcome::Blocked].map(of)
        };
        let mut expect = |source, provider, day, expected: [usize; 5]| {
            let counted = count(source, provider, day);
            // Of kinds that are due at once one comes now and the others next.
            let near = counted[1..].iter().zip(&expected[1..]).all(|(counted, expected)| counted.abs_diff(*expected) <= 1);
            assert!(near, "{source} at {provider} on day {day}: {counted:?}, not {expected:?}");
        };
        expect("ip1", "google", 2, [990, 10, 0, 0, 0]);
        expect("ip1", "google", 3, [819, 120, 50, 10, 1]);
        expect("ip2", "google", 4, [819, 120, 50, 10, 1]);
        expect("ip1", "microsoft", 4, [990, 10, 0, 0, 0]);
        expect("ip1", "google", 5, [990, 10, 0, 0, 0]);
    }
}
