//! What happened to a lane, with the numbers behind it: each change is one event for the log.

use std::sync::Arc;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::{
    curve::Stage,
    day::Verdict,
    health::{Counts, Health},
    key::LaneId,
};

/// Something that happened to a lane.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneChange {
    /// Which lane.
    pub lane: LaneId,
    /// When it was noticed.
    pub at: Timestamp,
    /// What.
    pub change: Change,
}

/// What can happen to a lane.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A day is over.
    DayClosed {
        /// The day.
        date: Date,
        /// What its numbers mean for the stage.
        verdict: Verdict,
        /// The day's stage.
        from: Stage,
        /// The stage of the next day.
        to: Stage,
        /// The day's cap; `None` if it had none.
        cap: Option<u32>,
        /// Its numbers.
        counts: Counts,
        /// Its rates.
        health: Health,
    },
    /// The sending address is blocked: the lane steps back at once and pauses.
    Blocked {
        /// The stage before.
        from: Stage,
        /// The stage from now on.
        to: Stage,
        /// The end of the pause.
        until: Timestamp,
        /// Recipients an hour and connections after it, where these were cut too.
        cut: (Option<u32>, Option<u32>),
        /// The provider's reason, if one is known.
        why: Option<Arc<str>>,
    },
    /// The lane starts again after too many idle days.
    Restarted {
        /// The number of idle days.
        idle_days: u32,
        /// The stage from now on.
        to: Stage,
    },
    /// The provider pushed back.
    Slowed {
        /// Recipients an hour from now on, if that was cut.
        rate: Option<u32>,
        /// Connections from now on, if they were cut.
        connections: Option<u32>,
        /// The end of the pause, if there is one.
        paused_until: Option<Timestamp>,
        /// The provider's reason.
        why: Arc<str>,
    },
    /// Pause and climb are over.
    Resumed,
    /// An operator changed the lane.
    Steered {
        /// What was done.
        steer: Steer,
        /// The stage before.
        from: Stage,
        /// The stage from now on.
        to: Stage,
        /// The operator's reason.
        why: Arc<str>,
    },
    /// The lane has a new plan, in the middle of its warm-up.
    PlanChanged {
        /// The stage, which does not change.
        stage: Stage,
        /// The day's cap before.
        from: Option<u32>,
        /// The day's cap from now on.
        to: Option<u32>,
    },
}

/// What an operator can do to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Steer {
    /// One stage up, now.
    Advance,
    /// Stay on the stage until released.
    Hold,
    /// End a hold: advance and step back by the numbers again.
    Release,
    /// One stage down, now.
    Back,
    /// To the first stage, now.
    Restart,
    /// Send nothing until resumed.
    Stop,
    /// End every pause and climb, and forget days that were opened while the clock was ahead, now.
    Resume,
}

impl Change {
    /// What one reply of a provider has done to a lane, where it did both; None if these are no such changes.
    pub(crate) fn and(&self, later: &Self) -> Option<Self> {
        let lower = |a: &Option<u32>, b: &Option<u32>| [*a, *b].into_iter().flatten().min();
        match (self, later) {
            (
                Self::Slowed { rate, connections, paused_until, why },
                Self::Slowed { rate: r, connections: c, paused_until: until, why: w },
            ) => {
                let (rate, connections, longer) = (lower(rate, r), lower(connections, c), until > paused_until);
                let why = if longer { w } else { why }.clone();
                Some(Self::Slowed { rate, connections, paused_until: (*paused_until).max(*until), why })
            }
            (Self::Slowed { rate, connections, paused_until, why: because }, Self::Blocked { from, to, until, cut, why })
            | (Self::Blocked { from, to, until, cut, why }, Self::Slowed { rate, connections, paused_until, why: because }) => {
                let until = paused_until.map_or(*until, |paused| paused.max(*until));
                let (cut, why) = ((lower(rate, &cut.0), lower(connections, &cut.1)), why.clone().or(Some(because.clone())));
                Some(Self::Blocked { from: *from, to: *to, until, cut, why })
            }
            _ => None,
        }
    }
}
