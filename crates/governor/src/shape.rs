//! Shapes: limits of recipients per second, minute, hour and 24 hours. The arithmetic is that of the `governor` crate. Its state is
//! one number, which is kept here so that a limit can be looked at without taking from it, several limits can be taken from together or
//! not at all, and a limit can start without a full burst.

use std::{
    fmt,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{NotKeyed, StateStore},
};
use jiff::Timestamp;

use crate::time::{at, ns};

/// The most recipients in any second, minute, hour and 24 hours. Without any of the four there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// In any second.
    pub second: Option<NonZeroU32>,
    /// In any 60 seconds.
    pub minute: Option<NonZeroU32>,
    /// In any 60 minutes.
    pub hour: Option<NonZeroU32>,
    /// In any 24 hours, restarts included, as a limit starts empty and fills evenly. Unlike a day's budget it does not begin at midnight.
    pub day: Option<NonZeroU32>,
}

impl Shape {
    /// True if nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A shape in force for a lane or a tenant, with its state.
pub struct Shaper {
    shape: Shape,
    windows: Vec<ShapeWindow>,
}

/// One limit: the rate limiter, and the clock and the state that it shares with this module.
struct ShapeWindow {
    rate: RateLimiter<NotKeyed, ArrivalTime, GivenClock, NoOpMiddleware<Nanos>>,
    arrival: ArrivalTime,
    burst: NonZeroU32,
    /// Nanoseconds until a full burst is available again: the state is never further ahead than that.
    reach: u64,
}

/// The theoretical arrival time of the next cell (GCRA), in nanoseconds since 1970; 0 before the first.
#[derive(Clone, Default)]
struct ArrivalTime(Arc<AtomicU64>);

/// A clock that shows the time it was last set to.
#[derive(Clone, Default)]
struct GivenClock(Arc<AtomicU64>);

impl StateStore for ArrivalTime {
    type Key = NotKeyed;

    // There is one owner, so there are no races.
    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let before = self.0.load(Relaxed);
        let (answer, next) = decide((before != 0).then(|| Nanos::new(before)))?;
        self.0.store(next.as_u64(), Relaxed);
        Ok(answer)
    }
}

impl Clock for GivenClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Relaxed))
    }
}

impl ShapeWindow {
    /// At most `most` recipients in any `window`: a tenth of them at once, the rest evenly after that.
    fn new(most: NonZeroU32, window: Duration) -> Self {
        let burst = NonZeroU32::new(most.get() / 10).unwrap_or(NonZeroU32::MIN);
        // A burst and the recipients released within the window add up to the most that the window may hold.
        let parts = u128::from(most.get() - burst.get() + 1);
        let period = window.as_nanos().div_ceil(parts) as u64;
        let quota = Quota::with_period(Duration::from_nanos(period)).expect("a window is longer than 0").allow_burst(burst);
        let arrival = ArrivalTime::default();
        let rate = RateLimiter::new(quota, arrival.clone(), GivenClock::default());
        Self { rate, arrival, burst, reach: period * u64::from(burst.get()) }
    }

    /// Takes `n`, or returns when `n` will be available.
    fn take(&self, n: NonZeroU32, now: Timestamp) -> Result<(), Timestamp> {
        self.rate.clock().0.store(clock_ns(now), Relaxed);
        match self.rate.check_n(n.min(self.burst)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(later)) => Err(at(i128::from(later.earliest_possible().as_u64()))),
            Err(_) => unreachable!("never more than the burst is asked for"),
        }
    }

    fn peek(&self, n: NonZeroU32, now: Timestamp) -> Result<(), Timestamp> {
        let before = self.arrival.0.load(Relaxed);
        let answer = self.take(n, now);
        self.arrival.0.store(before, Relaxed);
        answer
    }
}

impl Shaper {
    /// A shaper that starts with one recipient and not with a burst, as it does not know what was sent before.
    pub fn new(shape: Shape, now: Timestamp) -> Self {
        let windows = [(shape.day, 86_400), (shape.hour, 3600), (shape.minute, 60), (shape.second, 1)];
        let windows: Vec<_> =
            windows.into_iter().filter_map(|(most, seconds)| Some(ShapeWindow::new(most?, Duration::from_secs(seconds)))).collect();
        for limiter in &windows {
            limiter.arrival.0.store(clock_ns(now) + limiter.reach - limiter.reach / u64::from(limiter.burst.get()), Relaxed);
        }
        Self { shape, windows }
    }

    /// The limits in force.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The first time from `now` on at which one recipient may go.
    pub fn next(&self, now: Timestamp) -> Timestamp {
        self.windows.iter().filter_map(|window| window.peek(NonZeroU32::MIN, now).err()).max().map_or(now, |later| later.max(now))
    }

    /// Takes as many of `n` as may go now, from every limit; if none may, `Err` is the time at which one may.
    pub fn take(&mut self, n: NonZeroU32, now: Timestamp) -> Result<NonZeroU32, Timestamp> {
        let granted = self.room(n, now)?;
        for window in &self.windows {
            window.take(granted, now).expect("there is room in every window");
        }
        Ok(granted)
    }

    /// How many of `n` may go now; if none may, `Err` is the time at which one may.
    fn room(&self, n: NonZeroU32, now: Timestamp) -> Result<NonZeroU32, Timestamp> {
        let next = self.next(now);
        if next > now {
            return Err(next);
        }
        Ok(self.windows.iter().fold(n, |n, window| most(window, n, now)))
    }

    /// The clock went back: no limit waits longer than it takes to fill.
    pub fn clock_went_back(&self, now: Timestamp) {
        for window in &self.windows {
            window.arrival.0.fetch_min(clock_ns(now) + window.reach, Relaxed);
        }
    }
}

/// The most of `n` that the limit lets go, given that it lets one go.
fn most(window: &ShapeWindow, n: NonZeroU32, now: Timestamp) -> NonZeroU32 {
    let n = n.min(window.burst);
    if window.peek(n, now).is_ok() {
        return n;
    }
    let (mut fits, mut not) = (1, n.get());
    while not - fits > 1 {
        let middle = fits + (not - fits) / 2;
        let asked = NonZeroU32::new(middle).expect("above 1");
        if window.peek(asked, now).is_ok() { fits = middle } else { not = middle }
    }
    NonZeroU32::new(fits).expect("at least 1")
}

/// Nanoseconds since 1970, at least 1: 0 stands for no time.
fn clock_ns(now: Timestamp) -> u64 {
    ns(now).clamp(1, i128::from(u64::MAX / 2)) as u64
}

/// The copy shares no state with the original.
impl Clone for Shaper {
    fn clone(&self) -> Self {
        let copy = Self::new(self.shape, at(1));
        for (new, old) in copy.windows.iter().zip(&self.windows) {
            new.arrival.0.store(old.arrival.0.load(Relaxed), Relaxed);
        }
        copy
    }
}

impl fmt::Debug for Shaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ahead: Vec<_> = self.windows.iter().map(|window| window.rate.clock().now().duration_since(Nanos::new(0))).collect();
        f.debug_struct("Shaper").field("shape", &self.shape).field("looked", &ahead).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{HOUR, SECOND, after};

    const DAY: i128 = 24 * HOUR;

    fn shape(second: u32, minute: u32) -> Shape {
        Shape { second: NonZeroU32::new(second), minute: NonZeroU32::new(minute), ..Shape::default() }
    }

    fn many(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn no_window_ever_holds_more_than_it_may() {
        for (limits, seconds, most) in [(shape(7, 0), 1, 7), (shape(0, 100), 60, 100), (shape(30, 200), 60, 200), (shape(1, 0), 1, 1)] {
            let mut shaper = Shaper::new(limits, at(0));
            let (mut now, mut sent) = (at(0), Vec::new());
            while now < at(300 * SECOND) {
                match shaper.take(many(5), now) {
                    Ok(granted) => sent.extend(std::iter::repeat_n(now, granted.get() as usize)),
                    Err(later) => {
                        assert_eq!(shaper.take(many(1), after(later, -1)), Err(later), "not before is exact");
                        now = later;
                    }
                }
            }
            for (index, first) in sent.iter().enumerate() {
                let within = sent[index..].iter().take_while(|t| **t < after(*first, seconds * SECOND)).count();
                assert!(within <= most, "{within} in {seconds} s");
            }
            assert!(sent.len() as i128 * seconds >= 200 * most as i128, "and it is used: {}", sent.len());
        }
    }

    #[test]
    fn a_new_shaper_starts_with_one() {
        let mut shaper = Shaper::new(shape(0, 600), at(0));
        assert_eq!(shaper.take(many(50), at(0)), Ok(many(1)));
        assert!(shaper.take(many(1), at(0)).is_err());
    }

    #[test]
    fn what_one_window_refuses_costs_the_others_nothing() {
        let mut shaper = Shaper::new(shape(1, 600), at(SECOND));
        assert_eq!(shaper.take(many(1), at(SECOND)), Ok(many(1)));
        for _ in 0..1000 {
            assert_eq!(shaper.take(many(1), at(SECOND)), Err(at(2 * SECOND)));
        }
        assert_eq!(shaper.take(many(1), at(2 * SECOND)), Ok(many(1)));
    }

    #[test]
    fn a_clock_that_went_back_does_not_stop_it() {
        let mut shaper = Shaper::new(shape(1, 0), at(1000 * SECOND));
        assert!(shaper.take(many(1), at(1000 * SECOND)).is_ok());
        shaper.clock_went_back(at(10 * SECOND));
        assert_eq!(shaper.next(at(10 * SECOND)), at(11 * SECOND));
    }

    #[test]
    fn a_day_is_a_window_like_the_others() {
        let mut shaper = Shaper::new(Shape { day: NonZeroU32::new(48), ..Shape::default() }, at(0));
        let mut sent = Vec::new();
        let mut now = at(0);
        while now < at(3 * DAY) {
            match shaper.take(many(1), now) {
                Ok(_) => sent.push(now),
                Err(later) => now = later,
            }
        }
        assert!(sent.iter().all(|first| sent.iter().filter(|t| *first <= **t && **t < after(*first, DAY)).count() <= 48));
        assert!(sent.len() > 3 * 40, "{}", sent.len());
    }

    #[test]
    fn no_shape_is_no_limit() {
        assert_eq!(Shaper::new(Shape::default(), at(0)).take(many(1000), at(0)), Ok(many(1000)));
    }
}
