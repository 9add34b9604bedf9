//! The plan of a lane: its curve, its pace, and when it advances, holds, steps back or starts again.

use std::{num::NonZeroU32, sync::Arc};

use jiff::SignedDuration;

use crate::{
    curve::{Curve, Stage},
    health::{Share, Thresholds},
    pace::Pace,
    time::{HOUR, div_up},
};

/// Everything that decides how a lane warms up. Many lanes share a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// How many recipients a day.
    pub curve: Curve,
    /// When in the day.
    pub pace: Pace,
    /// From which rates the lane holds and steps back.
    pub thresholds: Thresholds,
    /// A lane advances if its accepted recipients are at least this share of its cap.
    pub advance_at: Share,
    /// On a day with fewer recipients answered than this, a lane does not step back; nor does it advance if its cap allowed that many.
    pub min_sample: u32,
    /// After this many idle days a lane starts again.
    pub idle_reset: NonZeroU32,
    /// How long a lane pauses when its address is blocked.
    pub block_pause: SignedDuration,
    /// What happens to mail when the lane has no budget.
    pub overflow: Overflow,
}

/// What happens to mail when its lane has no budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It waits for the lane's next release.
    #[default]
    Defer,
    /// The pool's other lanes send it, the warmest first.
    Spill,
    /// The lanes of the pool of this name send it.
    Pool(Arc<str>),
}

impl Plan {
    /// This curve, with the defaults for everything else.
    pub fn new(name: &str, curve: Curve) -> Self {
        Self {
            name: name.into(),
            curve,
            pace: Pace::new(),
            thresholds: Thresholds::default(),
            advance_at: Share::percent(90),
            min_sample: 100,
            idle_reset: NonZeroU32::new(30).expect("30 is not 0"),
            block_pause: SignedDuration::from_hours(4),
            overflow: Overflow::default(),
        }
    }

    /// The plan of a source that does not warm up: no cap, and the defaults for everything else.
    pub fn warm() -> Self {
        Self::new("none", Curve::uncapped())
    }

    /// Recipients an hour that a lane on this stage sends when nothing slows it; `None` without a cap.
    pub(crate) fn usual_rate(&self, stage: Stage) -> Option<NonZeroU32> {
        let even = div_up(i128::from(self.curve.cap(stage)?), i128::from(self.pace.window.hours()));
        NonZeroU32::new(even.clamp(1, i128::from(u32::MAX)) as u32)
    }
}

/// Nanoseconds between two recipients at this rate.
pub(crate) fn gap(per_hour: NonZeroU32) -> i128 {
    div_up(HOUR, i128::from(per_hour.get()))
}
