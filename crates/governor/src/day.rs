//! One lane's one civil day: what was allowed, what was used, and the verdict at its end.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::{
    admission::Outcome,
    curve::Stage,
    health::{Counts, Grade, Share, Sign},
    plan::Plan,
    time::HOUR,
};

/// A day in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Which day.
    pub date: Date,
    /// When it began, in the zone that held then.
    pub starts: Timestamp,
    /// When it ends. The next day does not open before, whatever zone is configured meanwhile.
    pub ends: Timestamp,
    /// The stage that the lane is on.
    pub stage: Stage,
    /// How many recipients may go; `None`: any number.
    pub cap: Option<u32>,
    /// How much of the cap the durable record lets go. After a crash all of it counts as gone.
    pub leased: u32,
    /// Leased before a crash, and never accounted for.
    #[serde(default)]
    pub lost: u32,
    /// What was done and met.
    pub counts: Counts,
    /// The last hour in which something was reserved, in hours since 1970, and how much.
    #[serde(default)]
    pub hour: (i64, u32),
    /// When this record was last written to.
    pub as_of: Timestamp,
    /// The last day before this one on which something was answered.
    #[serde(default)]
    pub last_sent: Option<Date>,
    /// A block has cost it a stage already.
    #[serde(default)]
    pub stepped_back: bool,
    /// Set when the day is over: nothing more is reserved on it, even if the clock comes back to it.
    #[serde(default)]
    pub closed: Option<Closing>,
    /// Reserved and not yet settled.
    #[serde(skip)]
    pub(crate) reserved: u32,
    /// Lost just now, and perhaps sent within this hour.
    #[serde(skip)]
    pub(crate) hour_debt: u32,
}

/// How a day ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// What was decided.
    pub verdict: Verdict,
    /// The stage of the next day.
    pub next: Stage,
}

/// What a day's numbers mean for the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// One stage up.
    Advance,
    /// The same stage, and why.
    Hold(Why),
    /// One stage down, and the sign that says so.
    StepBack(Sign),
    /// Nothing was answered: the day does not count.
    Idle,
    /// The last stage is reached.
    Finished,
}

/// Why a lane stays on its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Too few were accepted.
    UsedLess {
        /// So many.
        accepted: u32,
        /// So many are needed.
        needed: u32,
    },
    /// Some rate is at its threshold.
    Health(Sign),
    /// Too few were answered to judge by.
    FewAnswers {
        /// So many.
        answered: u32,
        /// The plan's `min_sample`.
        needed: u32,
    },
    /// A block has cost a stage on this day already.
    SteppedBack,
    /// An operator holds it.
    Operator,
}

impl Day {
    /// What counts against the cap.
    pub fn charge(&self) -> u32 {
        self.counts.spent.saturating_add(self.reserved).saturating_add(self.lost)
    }

    pub(crate) fn is_open_at(&self, now: Timestamp) -> bool {
        self.closed.is_none() && self.starts <= now && now < self.ends
    }

    /// The hour that `now` counts into, and what was reserved in it. A clock that went back a little counts into the later hour.
    pub(crate) fn hour_at(&self, now: Timestamp) -> (i64, u32) {
        let (hour, used) = self.hour;
        match hour_of(now) {
            later if later > hour || later + CLOCK_HOURS < hour => (later, self.hour_debt),
            _ => (hour, used.saturating_add(self.hour_debt)),
        }
    }

    /// What this day's numbers mean for the stage.
    fn verdict(&self, plan: &Plan, held: bool) -> Verdict {
        let counts = &self.counts;
        if counts.spent == 0 {
            return Verdict::Idle;
        }
        if self.stepped_back {
            return Verdict::Hold(Why::SteppedBack);
        }
        let health = plan.thresholds.read(counts);
        let enough = counts.spent >= plan.min_sample;
        if let Some(sign) = health.worst {
            let bad = health.grade == Grade::Bad && enough;
            return if bad { Verdict::StepBack(sign) } else { Verdict::Hold(Why::Health(sign)) };
        }
        if held {
            return Verdict::Hold(Why::Operator);
        }
        let Some(cap) = self.cap else { return Verdict::Finished };
        if plan.curve.next(self.stage) == self.stage {
            return Verdict::Finished;
        }
        if !enough && cap >= plan.min_sample {
            return Verdict::Hold(Why::FewAnswers { answered: counts.spent, needed: plan.min_sample });
        }
        let needed = needed(plan.advance_at, cap);
        if counts.accepted < needed {
            return Verdict::Hold(Why::UsedLess { accepted: counts.accepted, needed });
        }
        Verdict::Advance
    }

    /// Writes down what became of so many.
    pub(crate) fn answer(&mut self, outcome: Outcome, count: u32) {
        self.counts.answer(outcome, count);
    }

    pub(crate) fn closing(&self, plan: &Plan, held: bool) -> Closing {
        let verdict = self.verdict(plan, held);
        let next = match verdict {
            Verdict::Advance => plan.curve.next(self.stage),
            Verdict::StepBack(_) => plan.curve.back(self.stage),
            Verdict::Hold(_) | Verdict::Idle | Verdict::Finished => self.stage,
        };
        Closing { verdict, next }
    }

    /// The last day on which something was answered, this one included.
    pub(crate) fn sent_last(&self) -> Option<Date> {
        if self.counts.spent > 0 { Some(self.date) } else { self.last_sent }
    }
}

fn needed(advance_at: Share, cap: u32) -> u32 {
    advance_at.up(cap).max(1)
}

/// Hours since 1970.
pub(crate) fn hour_of(now: Timestamp) -> i64 {
    now.as_nanosecond().div_euclid(HOUR) as i64
}

/// When that hour begins.
pub(crate) fn hour_start(hour: i64) -> Timestamp {
    crate::time::at(i128::from(hour) * HOUR)
}

/// A clock further back than this was wrong before, not now.
const CLOCK_HOURS: i64 = 2;
