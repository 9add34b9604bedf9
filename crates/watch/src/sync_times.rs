//! How long fdatasync takes: in the last minute or two, and ever since the start.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sketches_ddsketch::{Config, DDSketch};

use crate::Buckets;

/// How long syncs took. Clones share it.
///
/// A sync costs milliseconds, and to note one some tens of nanoseconds. Two sketches are kept, of the running minute and of the one before,
/// each with some dozens of buckets.
#[derive(Clone)]
pub struct SyncTimes(Arc<Mutex<Minutes>>);

struct Minutes {
    began: Instant,
    /// The number of the running minute.
    minute: u64,
    running: DDSketch,
    before: DDSketch,
    /// How many took longer than a bound and no longer than the next, and how long all of them took.
    ever: ([u64; BOUNDS.len() + 1], Duration),
}

/// The bounds of the histogram, in seconds: from a battery-backed cache to a disk that fails.
const BOUNDS: [f64; 14] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

impl SyncTimes {
    /// Begins to count minutes now.
    pub fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Minutes { began: now, minute: 0, running: sketch(), before: sketch(), ever: Default::default() })))
    }

    /// A sync that is over now took this long.
    pub fn note(&self, took: Duration, now: Instant) {
        let mut minutes = self.at(now);
        let seconds = took.as_secs_f64();
        minutes.running.add(seconds);
        minutes.ever.0[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        minutes.ever.1 = minutes.ever.1.saturating_add(took);
    }

    /// All syncs since the start, in seconds.
    pub fn histogram(&self) -> Buckets {
        let (counts, sum) = self.0.lock().unwrap_or_else(PoisonError::into_inner).ever;
        Buckets::new(BOUNDS.into_iter().chain([f64::INFINITY]).zip(counts).collect(), sum.as_secs_f64())
    }

    /// What 99 of 100 syncs did not exceed in the running minute and the one before, with an error of 2 %; None if there were none.
    pub fn p99(&self, now: Instant) -> Option<Duration> {
        let minutes = self.at(now);
        let mut both = minutes.before.clone();
        let merged = both.merge(&minutes.running);
        drop(minutes);
        merged.expect("both have the same buckets");
        let seconds = both.quantile(0.99).expect("0.99 is a share")?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    fn at(&self, now: Instant) -> MutexGuard<'_, Minutes> {
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.saturating_duration_since(minutes.began).as_secs() / 60;
        if minute > minutes.minute {
            let last = std::mem::replace(&mut minutes.running, sketch());
            minutes.before = if minute == minutes.minute + 1 { last } else { sketch() };
            minutes.minute = minute;
        }
        minutes
    }
}

/// 2 % of error; nothing is shorter than a microsecond.
fn sketch() -> DDSketch {
    DDSketch::new(Config::new(0.02, 2048, 1e-6))
}

#[cfg(test)]
mod tests {
    use posthaste_host::clock;

    use super::*;

    #[test]
    fn the_99th_percentile_is_that_of_the_last_minutes() {
        let begin = clock::instant();
        let at = |second: u64| begin + Duration::from_secs(second);
        let times = SyncTimes::new(begin);
        let near = |milliseconds: u64, second: u64| {
            let told = times.p99(at(second)).unwrap().as_secs_f64() * 1000.0;
            assert!((told - milliseconds as f64).abs() <= 0.03 * milliseconds as f64, "{told} is not {milliseconds}");
        };
        assert_eq!(times.p99(begin), None);
        (0..98).for_each(|n| times.note(Duration::from_millis(5), at(n / 2)));
        (0..2).for_each(|_| times.note(Duration::from_millis(400), at(50)));
        near(400, 59);
        near(400, 119);
        assert_eq!(times.p99(at(120)), None, "that minute is over");
        (0..1000).for_each(|_| times.note(Duration::from_millis(5), at(130)));
        (0..5).for_each(|_| times.note(Duration::from_millis(400), at(185)));
        near(5, 190);
        assert_eq!(times.p99(at(1000)), None, "a long pause");
    }

    #[test]
    fn the_histogram_has_all_since_the_start() {
        let begin = clock::instant();
        let times = SyncTimes::new(begin);
        for (took, second) in [(500, 0), (501, 1), (2_000_000, 2), (60_000_000, 1000)] {
            times.note(Duration::from_micros(took), begin + Duration::from_secs(second));
        }
        let told = format!("{:?}", times.histogram());
        let expected: Vec<(f64, u64)> = vec![(0.000_5, 1), (0.001, 1), (2.0, 1), (f64::INFINITY, 1)];
        let all = BOUNDS
            .into_iter()
            .chain([f64::INFINITY])
            .map(|bound| (bound, expected.iter().find(|(at, _)| *at == bound).map_or(0, |(_, n)| *n)));
        assert_eq!(told, format!("{:?}", Buckets::new(all.collect(), 62.001_001)));
    }
}
