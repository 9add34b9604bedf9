//! Questions about the warm-up over the admin socket, and the answers.

mod days_ahead;
mod setbacks;
pub mod status;
pub mod words;

use std::sync::Arc;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

pub use days_ahead::{DayAhead, DaysAhead, Demand};
pub use setbacks::{Missed, Paused, StepBack};
pub use status::{DayStatus, HealthStatus, LaneStatus, LastDay, RateStatus, rows};

use crate::{Counts, Day, Governor, LaneId, LaneKey, Steer};

/// How many days to come an answer has.
const AHEAD: usize = 14;

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "warmup", rename_all = "snake_case")]
pub enum WarmupQuestion {
    /// The state of all lanes.
    Status,
    /// Change a lane's course.
    Steer {
        /// Which lane.
        lane: LaneKey,
        /// How.
        steer: Steer,
        /// Why, for the log.
        reason: String,
        /// Who.
        by: String,
    },
    /// A lane's days.
    Days {
        /// Which lane.
        lane: LaneKey,
    },
    /// The numbers of every lane's days.
    Ledger,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum WarmupAnswer {
    /// To `Status`; and to `Steer`, the lane as it is now.
    Lanes {
        /// By source and provider.
        lanes: Vec<LaneStatus>,
    },
    /// To `Days`.
    Days {
        /// The lane as it is now.
        lane: Box<LaneStatus>,
        /// The curve's caps.
        caps: Vec<u32>,
        /// Oldest first.
        days: Vec<DayStatus>,
        /// The days to come.
        #[serde(default)]
        ahead: DaysAhead,
    },
    /// To `Ledger`.
    Ledger {
        /// Lanes that warm up, with their days.
        lanes: Vec<LaneDays>,
    },
    /// There is no lane of this name; these are the lanes there are.
    NoSuchLane {
        /// Their names, such as `ip1/google`.
        lanes: Vec<String>,
    },
}

/// The numbers of a lane's days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneDays {
    /// Which lane.
    pub lane: LaneKey,
    /// The oldest first. An open day goes on changing.
    pub days: Vec<CountedDay>,
}

/// The numbers of one day.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CountedDay {
    /// Which.
    pub date: Date,
    /// When it began.
    pub starts: Timestamp,
    /// Its numbers.
    pub counts: Counts,
    /// Whether it is over.
    pub closed: bool,
}

impl CountedDay {
    /// A day of the ledger.
    pub fn of(day: &Day) -> Self {
        Self { date: day.date, starts: day.starts, counts: day.counts, closed: day.closed.is_some() }
    }
}

/// Answers a question. The governor reports a change as it reports every change.
pub fn perform(governor: &mut Governor, ask: &WarmupQuestion, now: Timestamp) -> WarmupAnswer {
    match ask {
        WarmupQuestion::Status => WarmupAnswer::Lanes { lanes: rows(governor, now) },
        WarmupQuestion::Steer { lane, steer, reason, by } => {
            let Some(id) = governor.find(lane) else { return no_such_lane(governor) };
            let why: Arc<str> = format!("{by}: {reason}").into();
            governor.steer(id, *steer, &why, now);
            WarmupAnswer::Lanes { lanes: vec![LaneStatus::of(governor, id, now)] }
        }
        WarmupQuestion::Days { lane } => match governor.find(lane) {
            Some(id) => days(governor, id, now),
            None => no_such_lane(governor),
        },
        WarmupQuestion::Ledger => WarmupAnswer::Ledger { lanes: ledger(governor) },
    }
}

fn days(governor: &Governor, id: LaneId, now: Timestamp) -> WarmupAnswer {
    let lane = governor.lane(id);
    let days = lane.ledger().days().iter().map(DayStatus::of).collect();
    let (caps, ahead) = (lane.plan().curve.caps().to_vec(), lane.days_ahead(AHEAD, now));
    WarmupAnswer::Days { lane: Box::new(LaneStatus::of(governor, id, now)), caps, days, ahead }
}

fn ledger(governor: &Governor) -> Vec<LaneDays> {
    let warming = governor.lanes().filter(|(_, lane)| !lane.plan().curve.is_uncapped());
    warming
        .map(|(_, lane)| LaneDays { lane: lane.key().clone(), days: lane.ledger().days().iter().map(CountedDay::of).collect() })
        .collect()
}

fn no_such_lane(governor: &Governor) -> WarmupAnswer {
    let mut lanes: Vec<_> = governor.lanes().map(|(_, lane)| format!("{}/{}", lane.key().source, lane.key().provider)).collect();
    lanes.sort();
    WarmupAnswer::NoSuchLane { lanes }
}

#[cfg(test)]
mod tests;
