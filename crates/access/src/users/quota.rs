//! How much a user may send: recipients per short time, and recipients per day (UTC).
//!
//! The rate is a leaky bucket (the "virtual scheduling" form of ITU-T I.371, one time per user): it allows a burst of the whole count and
//! then flows evenly, by a clock that nobody sets. The day's count is kept in the spool, so that a restart grants nothing twice. No step of
//! the clock backwards refills a quota: the count of the latest day goes on until that day is over, or until the relay has run for a whole
//! day since it noticed that the clock is behind it; then a day has passed, whatever the clock says.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

/// What one user has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Usage {
    /// When the bucket runs dry, by [`Moment::steady`].
    dry_at: Duration,
    /// The latest day on which the user sent, counted from 1970.
    day: i64,
    /// The recipients that count on that day.
    used: u64,
    /// Since when the wall clock is known to be behind that day, by [`Moment::steady`].
    behind: Option<Duration>,
}

/// How long the wall clock has to stay behind a day, with the relay running, to be believed.
const BELIEVED: Duration = Duration::from_secs(86_400);

/// A time by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The wall clock, which may be set.
    pub(crate) wall: Timestamp,
    /// The time that has passed since some moment before, by a clock that nobody sets.
    pub(crate) steady: Duration,
}

impl Quotas {
    /// Restores saved counts. What cannot be read is ignored.
    pub(crate) fn saved(facts: impl IntoIterator<Item = (Arc<str>, Vec<u8>)>) -> Self {
        let read = facts.into_iter().filter_map(|(user, bytes)| Some((user, Usage::from_bytes(&bytes)?)));
        Self(Mutex::new(read.collect()))
    }

    /// Whether `user` may send to `n` more recipients; charges nothing.
    pub(crate) fn check(&self, user: &User, n: u64, now: Moment) -> Result<(), Spent> {
        self.lock().get(&user.name).copied().unwrap_or_default().after(user, n, now).map(drop)
    }

    /// Charges `n` recipients to `user`, all or none. Returns the bytes to save if the user has a daily quota.
    pub(crate) fn take(&self, user: &User, n: u64, now: Moment) -> Result<Option<Vec<u8>>, Spent> {
        if user.rate.is_none() && user.daily_quota.is_none() {
            return Ok(None);
        }
        let mut usages = self.lock();
        let usage = usages.entry(user.name.clone()).or_default();
        *usage = usage.after(user, n, now)?;
        Ok(user.daily_quota.map(|_| usage.to_bytes()))
    }

    /// Looks at the clock: the users whose counted day is later than today, and the end of the latest of these days.
    pub(crate) fn look(&self, now: Moment) -> Option<(usize, Timestamp)> {
        let mut usages = self.lock();
        let ahead = usages.values_mut().filter_map(|usage| {
            usage.behind = usage.is_ahead(now.wall).then(|| usage.behind.unwrap_or(now.steady));
            (usage.behind.is_some() && !usage.is_over(now)).then_some(usage.day)
        });
        let (users, last) = ahead.fold((0, i64::MIN), |(users, last), day| (users + 1, last.max(day)));
        (users > 0).then(|| (users, Timestamp::from_second(last.saturating_add(1).saturating_mul(DAY)).unwrap_or(Timestamp::MAX)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Usage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Usage {
    fn after(self, user: &User, n: u64, now: Moment) -> Result<Self, Spent> {
        let counted = user.daily_quota.map_or(Ok(self), |quota| self.on_day(n, quota, now))?;
        let Some(rate) = user.rate else { return Ok(counted) };
        let drips = u128::from(n) * rate.per.as_nanos() / u128::from(rate.count.get());
        let drip = Duration::from_nanos(u64::try_from(drips).unwrap_or(u64::MAX));
        let dry_at = self.dry_at.max(now.steady).saturating_add(drip);
        if dry_at > now.steady + rate.per { Err(Spent::Rate(rate)) } else { Ok(Self { dry_at, ..counted }) }
    }

    /// With `n` recipients more.
    fn on_day(self, n: u64, quota: u64, now: Moment) -> Result<Self, Spent> {
        let today = day_of(now.wall);
        let goes_on = self.day == today || (self.is_ahead(now.wall) && !self.is_over(now));
        let (day, before, behind) = if goes_on { (self.day, self.used, self.behind) } else { (today, 0, None) };
        let used = before.saturating_add(n);
        let behind = behind.filter(|_| day > today);
        if used > quota { Err(Spent::Day(quota)) } else { Ok(Self { day, used, behind, ..self }) }
    }

    /// Whether recipients count on a day that is later than today.
    fn is_ahead(self, wall: Timestamp) -> bool {
        self.used > 0 && self.day > day_of(wall)
    }

    /// Whether a whole day has passed since the clock was found to be behind.
    fn is_over(self, now: Moment) -> bool {
        self.behind.is_some_and(|since| now.steady.saturating_sub(since) >= BELIEVED)
    }

    fn to_bytes(self) -> Vec<u8> {
        [self.day.to_be_bytes(), self.used.to_be_bytes()].concat()
    }

    /// Earlier versions kept several days, the latest one last.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (pairs, rest) = bytes.as_chunks::<16>();
        let pair = pairs.last().filter(|_| rest.is_empty())?;
        let number = |bytes: &[u8]| bytes.try_into().expect("half of 16 bytes");
        let (day, used) = (i64::from_be_bytes(number(&pair[..8])), u64::from_be_bytes(number(&pair[8..])));
        Some(Self { day, used, ..Self::default() })
    }
}

/// Seconds of a day.
const DAY: i64 = 86_400;

fn day_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(DAY)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::{super::testing::user, *};

    /// So many seconds on, by both clocks.
    fn at(seconds: u64) -> Moment {
        Moment { wall: morning() + Duration::from_secs(seconds), steady: Duration::from_secs(seconds) }
    }

    /// The wall clock is set so many hours on or back; nearly no time has passed.
    fn set(hours: i64) -> Moment {
        Moment { wall: morning() + SignedDuration::from_hours(hours), steady: Duration::from_secs(1) }
    }

    fn morning() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn take_all(quotas: &Quotas, user: &User, now: Moment) -> u32 {
        (0..1000).take_while(|_| quotas.take(user, 1, now).is_ok()).count() as u32
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
    fn no_step_back_refills_a_quota_whatever_its_length_and_whatever_is_killed() {
        let app = limited(None, Some(10));
        for path in [&[-1][..], &[-72], &[-25, -24, -23], &[-720, -696, -672], &[-21, 0, -21], &[-1, -72, -8760]] {
            for killed in [false, true] {
                let mut quotas = Quotas::default();
                let saved = quotas.take(&app, 10, at(0)).unwrap().unwrap();
                for hours in path {
                    if killed {
                        quotas = Quotas::saved([("app".into(), saved.clone())]);
                    }
                    assert_eq!(take_all(&quotas, &app, set(*hours)), 0, "{path:?} {killed}");
                    let ends = "2026-11-24T00:00:00Z".parse().unwrap();
                    assert_eq!(quotas.look(set(*hours)), (*hours < -10).then_some((1, ends)), "{path:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_left_of_a_quota_goes_out_after_a_step_back_and_not_again_on_the_day_itself() {
        let (quotas, app) = (Quotas::default(), limited(None, Some(10)));
        quotas.take(&app, 4, at(0)).unwrap();
        assert_eq!(take_all(&quotas, &app, set(-72)), 6);
        assert_eq!(take_all(&quotas, &app, set(0)), 0);
        assert_eq!(take_all(&quotas, &app, set(24)), 10);
        assert_eq!(take_all(&quotas, &app, set(0)), 0);
    }

    #[test]
    fn a_clock_that_was_a_month_ahead_is_believed_once_a_day_has_passed() {
        let (quotas, app) = (Quotas::default(), limited(None, Some(10)));
        quotas.take(&app, 10, set(720)).unwrap();
        let from = at(1);
        assert_eq!(quotas.look(from).map(|(users, _)| users), Some(1));
        for (seconds, may) in [(1, 0), (86_399, 0), (86_401, 10), (86_402, 0)] {
            assert_eq!(take_all(&quotas, &app, at(seconds)), may, "{seconds}");
        }
        assert_eq!(quotas.look(at(86_403)), None);
    }

    #[test]
    fn a_rate_takes_no_notice_of_the_clock_that_is_set() {
        let (quotas, app) = (Quotas::default(), limited(Some("50/h"), None));
        assert_eq!(take_all(&quotas, &app, at(0)), 50);
        for hours in [-1, 0, -1, -24, 24, -8760, 8760] {
            assert_eq!(take_all(&quotas, &app, set(hours)), 0, "{hours}");
        }
        let back = Moment { wall: morning() - SignedDuration::from_hours(1), steady: Duration::from_secs(72) };
        assert_eq!(take_all(&quotas, &app, back), 1, "nor does it lock anybody out");
    }

    #[test]
    fn counts_of_several_days_as_earlier_versions_saved_them_are_read() {
        let of = |day: i64, used: u64| [day.to_be_bytes(), used.to_be_bytes()].concat();
        let today = day_of(morning());
        let quotas = Quotas::saved([("app".into(), [of(today - 1, 10), of(today, 7)].concat())]);
        assert_eq!(take_all(&quotas, &limited(None, Some(10)), at(0)), 3);
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
