//! What happened to a lane, with the numbers that decided: one each for the event log.

use std::sync::Arc;

use jiff::{Timestamp, civil::Date};

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
        /// Which.
        date: Date,
        /// What its numbers mean.
        verdict: Verdict,
        /// The stage that it was on.
        from: Stage,
        /// The stage of the next day.
        to: Stage,
        /// What it allowed.
        cap: Option<u32>,
        /// Its numbers.
        counts: Counts,
        /// Its rates.
        health: Health,
    },
    /// The address is blocked: the stage falls at once, and the lane pauses.
    Blocked {
        /// The stage before.
        from: Stage,
        /// The stage from now on.
        to: Stage,
        /// The pause's end.
        until: Timestamp,
    },
    /// After so many idle days it starts again.
    Restarted {
        /// How many.
        idle_days: u32,
        /// The stage from now on.
        to: Stage,
    },
    /// A provider pushed back.
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
    /// An operator's hand.
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
    /// The configuration changed under a lane that is on its way.
    PlanChanged {
        /// The stage, which stays.
        stage: Stage,
        /// The day's cap before.
        from: Option<u32>,
        /// The day's cap from now on.
        to: Option<u32>,
    },
}

/// What an operator can do to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Steer {
    /// One stage up, now.
    Advance,
    /// Stay on the stage, day after day.
    Hold,
    /// Advance and step back again as the numbers say.
    Release,
    /// One stage down, now.
    Back,
    /// To the first stage, now.
    Restart,
    /// Send nothing until told otherwise.
    Stop,
    /// End every pause and climb, now.
    Resume,
}
