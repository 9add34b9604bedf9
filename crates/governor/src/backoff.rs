//! How a lane reacts when a provider pushes back: it slows down or pauses at once, then climbs back step by step.

use std::{num::NonZeroU32, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    admission::Hold,
    plan::gap,
    time::{after, between},
};

/// How far to slow a lane down, and how it climbs back. Whatever is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Recipients an hour, sent one at a time.
    pub rate: Option<NonZeroU32>,
    /// Simultaneous connections.
    pub connections: Option<NonZeroU32>,
    /// How long the lane sends nothing.
    pub pause: Option<SignedDuration>,
    /// The climb, which begins after the pause.
    pub climb: Climb,
    /// The receiver's words or advice.
    pub why: Arc<str>,
}

/// The steps of a climb: one step up each interval, never two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Climb {
    /// The interval.
    pub every: SignedDuration,
    /// Recipients an hour added by a step.
    pub rate: NonZeroU32,
    /// Connections added by a step.
    pub connections: NonZeroU32,
}

/// What a lane reaches when nothing slows it: the climb ends there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usual {
    /// Recipients an hour; where unknown, the climb ends after [`STEPS`] steps.
    pub rate: Option<NonZeroU32>,
    /// Connections; where unknown, the climb ends after [`STEPS`] steps.
    pub connections: Option<NonZeroU32>,
}

/// The number of steps of a climb whose end is unknown.
pub const STEPS: u32 = 24;

/// What holds a lane back beside its stage: pauses, climbs and an operator's hold. Durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restrictions {
    /// The lane sends nothing until this pause ends.
    pub pause: Option<Pause>,
    /// The lane sends less than usual.
    pub slow: Option<Slow>,
    /// An operator holds the lane on its stage, for this reason.
    pub held: Option<Arc<str>>,
}

/// A time in which a lane sends nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Its end; `None` if only an operator can end it.
    pub until: Option<Timestamp>,
    /// Its planned length.
    pub length: SignedDuration,
    /// Why.
    pub why: Arc<str>,
}

/// A climb in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slow {
    /// When the climb began.
    pub since: Timestamp,
    /// Recipients an hour: at the beginning of the climb, and at its end.
    pub rate: Option<(NonZeroU32, NonZeroU32)>,
    /// Connections: at the beginning of the climb, and at its end.
    pub connections: Option<(NonZeroU32, NonZeroU32)>,
    /// The steps.
    pub climb: Climb,
    /// The next recipient may go at this time.
    pub next: Timestamp,
    /// Why.
    pub why: Arc<str>,
}

impl Climb {
    fn interval(&self) -> i128 {
        self.every.as_nanos().max(1)
    }
}

impl Slow {
    fn steps(&self, now: Timestamp) -> u32 {
        (between(self.since, now) / self.climb.interval()).clamp(0, i128::from(u32::MAX)) as u32
    }

    /// Recipients an hour at `now`; `None` when the climb is over.
    pub fn rate(&self, now: Timestamp) -> Option<NonZeroU32> {
        climbed(self.rate?, self.climb.rate, self.steps(now))
    }

    /// Simultaneous connections at `now`; `None` when the climb is over.
    pub fn connections(&self, now: Timestamp) -> Option<NonZeroU32> {
        climbed(self.connections?, self.climb.connections, self.steps(now))
    }

    /// When the rate is back to the usual one.
    fn arrives(&self) -> Timestamp {
        let Some((from, usual)) = self.rate else { return self.since };
        let steps = usual.get().saturating_sub(from.get()).div_ceil(self.climb.rate.get());
        after(self.since, self.climb.interval().saturating_mul(i128::from(steps)))
    }
}

fn climbed((from, usual): (NonZeroU32, NonZeroU32), step: NonZeroU32, steps: u32) -> Option<NonZeroU32> {
    let reached = from.saturating_add(step.get().saturating_mul(steps));
    (reached < usual).then_some(reached)
}

impl Restrictions {
    /// Applies a cut; it lowers rate and connections and never raises them.
    pub(crate) fn cut(&mut self, cut: &Cut, usual: Usual, now: Timestamp) {
        if let Some(length) = cut.pause {
            self.pause_for(length, &cut.why, now);
        }
        let before = self.slow.as_ref();
        let lower = |asked: Option<NonZeroU32>, held: Option<NonZeroU32>| match (asked, held) {
            (Some(asked), Some(held)) => Some(asked.min(held)),
            (asked, held) => asked.or(held),
        };
        let top = |from: NonZeroU32, step: NonZeroU32, usual: Option<NonZeroU32>, known: Option<(NonZeroU32, NonZeroU32)>| {
            usual.or(known.map(|(_, top)| top)).unwrap_or(from.saturating_add(step.get().saturating_mul(STEPS)))
        };
        let rate = lower(cut.rate, before.and_then(|slow| slow.rate(now)))
            .map(|from| (from, top(from, cut.climb.rate, usual.rate, before.and_then(|slow| slow.rate))));
        let connections = lower(cut.connections, before.and_then(|slow| slow.connections(now)))
            .map(|from| (from, top(from, cut.climb.connections, usual.connections, before.and_then(|slow| slow.connections))));
        if rate.is_none() && connections.is_none() {
            return;
        }
        let since = self.pause.as_ref().and_then(|pause| pause.until).map_or(now, |until| until.max(now));
        let next = before.map_or(now, |slow| slow.next);
        self.slow = Some(Slow { since, rate, connections, climb: cut.climb, next, why: cut.why.clone() });
    }

    /// Pauses for `length`; a pause that ends later stays in force.
    pub(crate) fn pause_for(&mut self, length: SignedDuration, why: &Arc<str>, now: Timestamp) {
        let until = after(now, length.as_nanos());
        let longer = self.pause.as_ref().is_some_and(|pause| pause.until.is_none_or(|held| held >= until));
        if !longer {
            self.pause = Some(Pause { until: Some(until), length, why: why.clone() });
        }
    }

    /// Why the lane may not send now, and until when.
    pub(crate) fn hold(&self, now: Timestamp) -> Option<(Timestamp, Hold)> {
        if let Some(pause) = &self.pause {
            match pause.until {
                None => return Some((Timestamp::MAX, Hold::Stopped { why: pause.why.clone() })),
                Some(until) if until > now => return Some((until, Hold::Paused { until, why: pause.why.clone() })),
                Some(_) => {}
            }
        }
        let slow = self.slow.as_ref()?;
        let rate = slow.rate(now)?;
        let until = slow.next.min(slow.arrives());
        (until > now).then(|| (until, Hold::Slowed { per_hour: rate.get(), why: slow.why.clone() }))
    }

    /// How many recipients may go together now, if that is limited.
    pub(crate) fn at_once(&self, now: Timestamp) -> Option<NonZeroU32> {
        self.slow.as_ref()?.rate(now).map(|_| NonZeroU32::MIN)
    }

    /// One recipient went: the next one waits for the gap of the current rate.
    pub(crate) fn went(&mut self, now: Timestamp) {
        if let Some(slow) = &mut self.slow
            && let Some(rate) = slow.rate(now)
        {
            slow.next = after(now, gap(rate));
        }
    }

    /// Removes a pause and a climb that are over; true if that ended all restrictions.
    pub(crate) fn tidy(&mut self, now: Timestamp) -> bool {
        let before = self.pause.is_some() || self.slow.is_some();
        self.pause.take_if(|pause| pause.until.is_some_and(|until| until <= now));
        self.slow.take_if(|slow| slow.since <= now && slow.rate(now).is_none() && slow.connections(now).is_none());
        before && self.pause.is_none() && self.slow.is_none()
    }

    /// The clock went back: pauses and climbs are moved so that none lasts longer than planned.
    pub(crate) fn clock_went_back(&mut self, now: Timestamp) {
        if let Some(pause) = &mut self.pause {
            pause.until = pause.until.map(|until| until.min(after(now, pause.length.as_nanos())));
        }
        let paused_to = self.pause.as_ref().and_then(|pause| pause.until).map_or(now, |until| until.max(now));
        if let Some(slow) = &mut self.slow {
            slow.since = slow.since.min(paused_to);
            if let Some(rate) = slow.rate(now) {
                slow.next = slow.next.min(after(now, gap(rate)));
            }
        }
    }
}
