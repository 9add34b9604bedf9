//! How much happens in a second: pure.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use posthaste_relay::top::Flow;

/// The last totals that were told, each with its time.
#[derive(Debug, Default)]
pub(super) struct Rates {
    samples: VecDeque<(Timestamp, Flow)>,
}

/// Over so long a time a rate is taken: the log is counted every second or two, so over less it jumps.
const NOW: SignedDuration = SignedDuration::from_secs(10);
/// The longer time.
const MINUTE: SignedDuration = SignedDuration::from_secs(60);

impl Rates {
    /// Takes totals as of a time. Totals that fell were counted anew, and a clock that was set back makes times worthless: both begin again.
    pub(super) fn take(&mut self, at: Timestamp, totals: Flow) {
        let follows = |(last, before): &(Timestamp, Flow)| *last < at && ALL.iter().all(|of| of(before) <= of(&totals));
        if self.samples.back().is_some_and(|last| !follows(last)) {
            self.samples.clear();
        }
        self.samples.push_back((at, totals));
        // The one from which on the longer time is full stays.
        while self.samples.get(1).is_some_and(|(second, _)| at.duration_since(*second) >= MINUTE) {
            self.samples.pop_front();
        }
    }

    /// Forgets everything: what comes next does not follow.
    pub(super) fn clear(&mut self) {
        self.samples.clear();
    }

    /// How many a second, lately; None: not known yet.
    pub(super) fn now(&self, of: fn(&Flow) -> u64) -> Option<f64> {
        self.over(NOW, of).map(|(rate, _)| rate)
    }

    /// How many a second over the last minute; None: it was not watched for so long.
    pub(super) fn minute(&self, of: fn(&Flow) -> u64) -> Option<f64> {
        self.over(MINUTE, of).filter(|(_, watched)| *watched >= MINUTE).map(|(rate, _)| rate)
    }

    /// The rate over this time, or over what of it was watched; and how long that is.
    fn over(&self, time: SignedDuration, of: fn(&Flow) -> u64) -> Option<(f64, SignedDuration)> {
        let (at, last) = self.samples.back()?;
        let older = self.samples.iter().rev().skip(1);
        let (begin, first) = older.clone().find(|(then, _)| at.duration_since(*then) >= time).or(self.samples.front())?;
        let watched = at.duration_since(*begin);
        (watched > SignedDuration::ZERO).then(|| ((of(last) - of(first)) as f64 / watched.as_secs_f64(), watched))
    }
}

const ALL: [fn(&Flow) -> u64; 5] =
    [|flow| flow.accepted, |flow| flow.delivered, |flow| flow.deferred, |flow| flow.bounced, |flow| flow.rejected];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn flow(accepted: u64) -> Flow {
        Flow { accepted, ..Flow::default() }
    }

    #[test]
    fn a_rate_is_what_was_added_over_the_time_that_went_by() {
        let mut rates = Rates::default();
        let of = |flow: &Flow| flow.accepted;
        assert_eq!(rates.now(of), None);
        rates.take(at(0), flow(100));
        assert_eq!(rates.now(of), None, "one look says nothing");
        rates.take(at(2), flow(300));
        assert_eq!((rates.now(of), rates.minute(of)), (Some(100.0), None));
        for n in 2..=60 {
            rates.take(at(2 * n), flow(300));
        }
        assert_eq!((rates.now(of), rates.minute(of)), (Some(0.0), Some(0.0)));
        assert!(rates.samples.len() <= 32, "{} are kept", rates.samples.len());
    }

    #[test]
    fn totals_that_fall_and_clocks_that_go_back_begin_again() {
        let of = |flow: &Flow| flow.accepted;
        let mut rates = Rates::default();
        for (second, n) in [(0, 100), (2, 50)] {
            rates.take(at(second), flow(n));
        }
        assert_eq!(rates.now(of), None);
        rates.take(at(4), flow(70));
        assert_eq!(rates.now(of), Some(10.0));
        rates.take(at(-100), flow(80));
        assert_eq!(rates.now(of), None);
    }
}
