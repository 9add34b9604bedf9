//! One civil day of one lane: its cap, its use, and the verdict at its end.

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
    /// When it began, in the time zone then in force.
    pub starts: Timestamp,
    /// When it ends. The next day does not open before this time, whatever time zone is configured meanwhile.
    pub ends: Timestamp,
    /// The lane's stage on this day.
    pub stage: Stage,
    /// How many recipients may go; `None` for any number.
    pub cap: Option<u32>,
    /// How much of the cap is leased by the durable record. After a crash all of it counts as used.
    pub leased: u32,
    /// Recipients leased before a crash and never accounted for.
    #[serde(default)]
    pub lost: u32,
    /// The day's outcomes.
    pub counts: Counts,
    /// The last hour in which recipients were reserved, in hours since 1970, and how many.
    #[serde(default)]
    pub hour: (i64, u32),
    /// When this record last changed.
    pub as_of: Timestamp,
    /// The last day before this one on which the provider answered anything.
    #[serde(default)]
    pub last_sent: Option<Date>,
    /// A block has already cost the lane a stage on this day.
    #[serde(default)]
    pub stepped_back: bool,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stepped_back_at: Option<Timestamp>,
    /// Set when the day is over: nothing more is reserved on it, even if the clock goes back to it, unless it has no cap.
    #[serde(default)]
    pub closed: Option<Closing>,
    /// Recipients reserved and not yet settled.
    #[serde(skip)]
    pub(crate) reserved: u32,
    /// Recipients lost in a crash just now, and perhaps sent within this hour.
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
    /// Stay on the stage, and why.
    Hold(Why),
    /// One stage down, and the sign that decided.
    StepBack(Sign),
    /// The provider answered nothing: the day does not count.
    Idle,
    /// The lane is on its last stage.
    Finished,
}

/// Why a lane stays on its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Too few recipients were accepted.
    UsedLess {
        /// The recipients accepted.
        accepted: u32,
        /// The recipients needed to advance.
        needed: u32,
    },
    /// A rate reached its threshold.
    Health(Sign),
    /// Too few recipients were answered to judge the day.
    FewAnswers {
        /// The recipients answered.
        answered: u32,
        /// The plan's `min_sample`.
        needed: u32,
    },
    /// A block has already cost a stage on this day.
    SteppedBack,
    /// An operator holds the lane.
    Operator,
}

impl Day {
    /// The recipients that count against the cap: answered, reserved and lost.
    pub fn charge(&self) -> u32 {
        self.counts.spent.saturating_add(self.reserved).saturating_add(self.lost)
    }

    /// Whether any number may go on this day. `free`: no day of the lane has a cap.
    pub(crate) fn is_free(&self, free: bool) -> bool {
        free || self.cap.is_none()
    }

    /// The day as it opens again: if it was over, it has no cap.
    pub(crate) fn again(&self) -> Self {
        let cap = self.cap.filter(|_| self.closed.is_none());
        Self { cap, closed: None, ..self.clone() }
    }

    pub(crate) fn is_open_at(&self, now: Timestamp) -> bool {
        self.closed.is_none() && self.starts <= now && now < self.ends
    }

    /// The hour that `now` belongs to, and the recipients reserved in it. A clock that went back a little stays in the later hour; further back,
    /// what was reserved in the later hour counts in the earlier one.
    pub(crate) fn hour_at(&self, now: Timestamp) -> (i64, u32) {
        let (hour, used) = self.hour;
        let at = hour_of(now);
        let used = if at > hour { 0 } else { used };
        let hour = if at + CLOCK_HOURS < hour { at } else { at.max(hour) };
        (hour, used.saturating_add(self.hour_debt))
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

    /// Counts the outcome of `count` recipients.
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

    /// The last day on which the provider answered anything, this one included.
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

/// If the clock is further back than this, the lane does not wait for the later hour.
const CLOCK_HOURS: i64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hours_use_counts_on_after_a_clock_that_went_back_and_not_in_the_next_hour() {
        let at = |hour: i64| Timestamp::from_second(hour * 3600 + 600).unwrap();
        let day = Day {
            date: Date::ZERO,
            starts: at(0),
            ends: at(24),
            stage: Stage::FIRST,
            cap: Some(100),
            leased: 0,
            lost: 0,
            counts: Counts::default(),
            hour: (12, 40),
            as_of: at(12),
            last_sent: None,
            stepped_back: false,
            stepped_back_at: None,
            closed: None,
            reserved: 0,
            hour_debt: 0,
        };
        let used: Vec<_> = [13, 12, 11, 10, 9, 0].into_iter().map(|hour| day.hour_at(at(hour))).collect();
        assert_eq!(used, [(13, 0), (12, 40), (12, 40), (12, 40), (9, 40), (0, 40)]);
    }
}
