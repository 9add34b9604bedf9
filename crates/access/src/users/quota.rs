//! How much a user may send: recipients per short time, and recipients per day (UTC).
//!
//! The rate is a leaky bucket (the "virtual scheduling" form of ITU-T I.371, one timestamp per user): it allows a burst of the whole count
//! and then flows evenly. The days' counts are kept in the spool, so that a restart grants nothing twice. Each day has one quota, ever: a
//! clock that goes back and forth refills none.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use super::{User, rate::Rate};

/// Why a user may not send more now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spent {
    /// The rate is exceeded.
    Rate(Rate),
    /// The day's quota is used up.
    Day(u64),
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => write!(f, "more than {rate} recipients for this user, try again soon"),
            Self::Day(quota) => write!(f, "more than {quota} recipients a day for this user, try again tomorrow (UTC)"),
        }
    }
}

impl Spent {
    /// The reason as a word for the log.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Rate(_) => "user_rate",
            Self::Day(_) => "user_quota",
        }
    }
}

/// What all users have used.
#[derive(Debug, Default)]
pub(crate) struct Quotas(Mutex<HashMap<Arc<str>, Usage>>);

/// The days of which a user's count is kept, at most. They are counted and not limited by age, so that a clock that jumps ahead forgets
/// nothing.
const DAYS_MAX: usize = 16;
/// On a day without a count, a clock that is behind a day with one by at most this many days is believed to have been right on that day:
/// what is sent counts there. If it is further behind, it was wrong on that day.
const STEP_BELIEVED: i64 = 2;

/// What one user has used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Usage {
    /// When the bucket runs dry.
    dry_at: Timestamp,
    /// Recipients by day, counted from 1970, the earliest day first.
    days: Vec<(i64, u64)>,
}

impl Quotas {
    /// Restores saved counts. What cannot be read is ignored.
    pub(crate) fn saved(facts: impl IntoIterator<Item = (Arc<str>, Vec<u8>)>) -> Self {
        let read = facts.into_iter().filter_map(|(user, bytes)| Some((user, Usage::from_bytes(&bytes)?)));
        Self(Mutex::new(read.collect()))
    }

    /// Whether `user` may send to `n` more recipients; charges nothing.
    pub(crate) fn check(&self, user: &User, n: u64, now: Timestamp) -> Result<(), Spent> {
        let usages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        usages.get(&user.name).unwrap_or(&Usage::default()).after(user, n, now).map(drop)
    }

    /// Charges `n` recipients to `user`, all or none. Returns the bytes to save if the user has a daily quota.
    pub(crate) fn take(&self, user: &User, n: u64, now: Timestamp) -> Result<Option<Vec<u8>>, Spent> {
        if user.rate.is_none() && user.daily_quota.is_none() {
            return Ok(None);
        }
        let mut usages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = usages.entry(user.name.clone()).or_default();
        *usage = usage.after(user, n, now)?;
        Ok(user.daily_quota.map(|_| usage.to_bytes()))
    }
}

impl Usage {
    fn after(&self, user: &User, n: u64, now: Timestamp) -> Result<Self, Spent> {
        let days = self.days_after(n, day_of(now), user.daily_quota)?;
        let Some(rate) = user.rate else { return Ok(Self { days, ..*self }) };
        let full = now.saturating_add(rate.per).expect("an hour fits");
        // A bucket fuller than full means that the clock was set back: nobody must be locked out until it has caught up.
        let dry_at = if self.dry_at > full { now } else { self.dry_at.max(now) };
        let drips = u128::from(n) * rate.per.as_nanos() / u128::from(rate.count.get());
        let drip = Duration::from_nanos(u64::try_from(drips).unwrap_or(u64::MAX));
        let dry_at = dry_at.saturating_add(drip).expect("some hours fit");
        if dry_at > full { Err(Spent::Rate(rate)) } else { Ok(Self { dry_at, days }) }
    }

    /// The counts with `n` recipients more, sent on the day `today`.
    fn days_after(&self, n: u64, today: i64, quota: Option<u64>) -> Result<Vec<(i64, u64)>, Spent> {
        let mut days = self.days.clone();
        let at = days.partition_point(|(day, _)| *day < today);
        let behind = days.get(at).is_some_and(|(later, _)| later - today <= STEP_BELIEVED);
        if !behind {
            days.insert(at, (today, 0));
        }
        let (day, used) = &mut days[at];
        *used = used.saturating_add(n);
        if let Some(quota) = quota.filter(|quota| *used > *quota) {
            return Err(Spent::Day(quota));
        }
        let counted = *day;
        if days.len() > DAYS_MAX {
            let oldest = usize::from(days[0].0 == counted);
            days.remove(oldest);
        }
        Ok(days)
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.days.iter().flat_map(|(day, used)| [day.to_be_bytes(), used.to_be_bytes()].concat()).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (pairs, rest) = bytes.as_chunks::<16>();
        let number = |bytes: &[u8]| bytes.try_into().expect("half of 16 bytes");
        let pair = |pair: &[u8; 16]| (i64::from_be_bytes(number(&pair[..8])), u64::from_be_bytes(number(&pair[8..])));
        let days: Vec<_> = pairs.iter().map(pair).collect();
        (rest.is_empty() && days.is_sorted_by(|a, b| a.0 < b.0)).then(|| Self { days, ..Self::default() })
    }
}

fn day_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(86_400)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::{super::testing::user, *};

    fn at(seconds: i64) -> Timestamp {
        "2026-11-23T10:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(seconds.unsigned_abs())
    }

    fn limited(rate: Option<&str>, daily_quota: Option<u64>) -> User {
        User { rate: rate.map(|r| Rate::parse(r).unwrap()), daily_quota, ..user("app") }
    }

    #[test]
    fn a_rate_allows_a_burst_and_then_goes_evenly() {
        let (quotas, app) = (Quotas::default(), limited(Some("6/m"), None));
        let spent = Err(Spent::Rate(app.rate.unwrap()));
        assert_eq!(quotas.take(&app, 6, at(0)), Ok(None));
        assert_eq!(quotas.take(&app, 1, at(9)), spent);
        assert_eq!(quotas.check(&app, 1, at(10)), Ok(()));
        assert_eq!(quotas.take(&app, 1, at(10)), Ok(None));
        assert_eq!(quotas.take(&app, 1, at(11)), spent);
        assert_eq!(quotas.take(&app, 7, at(1000)), spent, "more than the whole count never goes at once");
        assert_eq!(quotas.take(&app, 6, at(1000)), Ok(None));
    }

    #[test]
    fn in_a_long_time_no_more_goes_than_the_rate_and_one_burst() {
        let (quotas, app) = (Quotas::default(), limited(Some("10/m"), None));
        let taken = (0..3600).filter(|second| quotas.take(&app, 1, at(*second)).is_ok()).count();
        assert!((600..=610).contains(&taken), "{taken}");
    }

    #[test]
    fn a_day_has_its_quota_and_the_next_one_another() {
        let (quotas, app) = (Quotas::default(), limited(None, Some(10)));
        assert!(quotas.take(&app, 8, at(0)).is_ok());
        assert_eq!(quotas.take(&app, 3, at(1)), Err(Spent::Day(10)));
        assert!(quotas.take(&app, 2, at(2)).is_ok());
        assert_eq!(quotas.check(&app, 1, at(3)), Err(Spent::Day(10)));
        // 14 hours later it is the 24th.
        assert_eq!(quotas.check(&app, 10, at(14 * 3600)), Ok(()));
        assert_eq!(quotas.check(&app, 1, at(14 * 3600 - 1)), Err(Spent::Day(10)));
    }

    #[test]
    fn the_days_count_is_taken_up_again_after_a_restart_on_the_same_day() {
        let (quotas, app) = (Quotas::default(), limited(Some("100/s"), Some(10)));
        let bytes = quotas.take(&app, 9, at(0)).unwrap().unwrap();
        let again = || Quotas::saved([("app".into(), bytes.clone()), ("odd".into(), vec![1])]);
        assert_eq!(again().check(&app, 2, at(60)), Err(Spent::Day(10)));
        assert_eq!(again().check(&app, 2, at(86_400)), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_and_forth_refills_no_day() {
        const DAY: i64 = 86_400;
        let from = at(40 * DAY);
        let day = |n: i64| from + SignedDuration::from_secs(n * DAY);
        let app = limited(None, Some(10));
        for path in [[-1, 0], [1, 0], [30, 0], [-30, 0], [-1, -2]] {
            let (mut quotas, mut sent) = (Quotas::default(), HashMap::<i64, u64>::new());
            let mut saved = quotas.take(&app, 8, from).unwrap().unwrap();
            *sent.entry(0).or_default() += 8;
            for n in path.into_iter().cycle().take(6) {
                while let Ok(bytes) = quotas.take(&app, 1, day(n)) {
                    *sent.entry(n).or_default() += 1;
                    saved = bytes.unwrap();
                }
                // A kill at any time.
                quotas = Quotas::saved([("app".into(), saved.clone())]);
            }
            assert!(sent.values().all(|n| *n <= 10), "{path:?}: {sent:?}");
            let near: u64 = sent.iter().filter(|(day, _)| (-2..=0).contains(*day)).map(|(_, n)| n).sum();
            assert!(near <= 10, "{path:?}: a day on which nothing was counted yet gives none either: {sent:?}");
        }
    }

    #[test]
    fn a_clock_that_was_a_month_ahead_locks_nobody_out_and_only_so_many_days_are_kept() {
        let (quotas, app) = (Quotas::default(), limited(None, Some(10)));
        assert!(quotas.take(&app, 10, at(30 * 86_400)).is_ok());
        let mut bytes = Vec::new();
        for day in 0..28 {
            bytes = quotas.take(&app, 10, at(day * 86_400)).unwrap().unwrap();
        }
        assert_eq!(bytes.len(), 16 * DAYS_MAX);
        assert_eq!(quotas.check(&app, 1, at(30 * 86_400)), Err(Spent::Day(10)), "that day has its count already");
        let long_ago = Timestamp::UNIX_EPOCH;
        assert!(quotas.take(&app, 10, long_ago).is_ok());
        assert_eq!(quotas.check(&app, 1, long_ago), Err(Spent::Day(10)), "also with the most days kept");
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let (quotas, app) = (Quotas::default(), limited(Some("1/h"), None));
        assert!(quotas.take(&app, 1, at(1_000_000)).is_ok());
        assert!(quotas.take(&app, 1, at(0)).is_ok());
        assert!(quotas.take(&app, 1, at(1)).is_err());
        assert!(quotas.take(&app, 1, at(3600)).is_ok());
    }

    #[test]
    fn a_rate_is_a_count_and_a_unit() {
        for (text, per) in [("2/s", 1), ("100/m", 60), ("5 / h", 3600)] {
            assert_eq!(Rate::parse(text).unwrap().per.as_secs(), per);
        }
        for bad in ["", "5", "0/s", "-1/s", "5/d", "5/", "/s", "99999999999/s"] {
            assert!(Rate::parse(bad).is_none(), "{bad:?}");
        }
        assert_eq!(Rate::parse("100/h").unwrap().to_string(), "100/h");
    }
}
