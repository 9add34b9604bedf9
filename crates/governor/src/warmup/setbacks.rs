//! What went wrong with a lane of late: why it sends nothing, the last step back of its warm-up, and yesterday if it was missed.

use std::sync::Arc;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::words;
use crate::{Closing, Day, Lane, Sign, Stage, Verdict, Why};

/// A time in which a lane sends nothing, because its provider pushed back or an operator stopped it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when; None: unknown.
    pub since: Option<Timestamp>,
    /// Until when; None: until an operator resumes it.
    pub until: Option<Timestamp>,
    /// Why.
    pub why: Arc<str>,
}

/// A step back of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepBack {
    /// When.
    pub at: Timestamp,
    /// The stage before.
    pub from: Stage,
    /// The stage from then on.
    pub to: Stage,
    /// Why, in words.
    pub why: String,
}

/// A day that was over without a step of the warm-up, because too little was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// The day.
    pub day: Date,
    /// When it was over.
    pub at: Timestamp,
    /// How much the provider accepted on it.
    pub accepted: u32,
    /// What it allowed.
    pub cap: u32,
}

impl Lane {
    /// Why it sends nothing at `now`, whatever its budget.
    pub(super) fn paused(&self, now: Timestamp) -> Option<Paused> {
        let pause = self.restrictions().pause.as_ref().filter(|pause| pause.until.is_none_or(|until| until > now))?;
        let since = pause.until.and_then(|until| until.checked_sub(pause.length).ok());
        Some(Paused { since, until: pause.until, why: pause.why.clone() })
    }

    /// The last step back that the ledger knows of: at the end of a day with bad rates, or amid a day because the address was blocked.
    pub(super) fn last_step_back(&self) -> Option<StepBack> {
        self.ledger().days().iter().rev().find_map(|day| self.at_end_of(day).or_else(|| self.amid(day)))
    }

    fn at_end_of(&self, day: &Day) -> Option<StepBack> {
        let Closing { verdict: Verdict::StepBack(sign), next } = day.closed? else { return None };
        let why = if sign == Sign::Block { BLOCKED.to_owned() } else { format!("{} reached their limit", words::sign(sign)) };
        (next != day.stage).then_some(StepBack { at: day.ends, from: day.stage, to: next, why })
    }

    fn amid(&self, day: &Day) -> Option<StepBack> {
        let at = day.stepped_back_at?;
        let from = self.plan().curve.next(day.stage);
        Some(StepBack { at, from, to: day.stage, why: BLOCKED.into() })
    }

    /// Yesterday, if the lane was in the midst of its warm-up and sent too little for a step, or nothing. A lane that has been idle for so long that it
    /// starts again, days off, and a lane that an operator holds or stops have missed nothing.
    pub(super) fn missed_yesterday(&self, now: Timestamp) -> Option<Missed> {
        let plan = self.plan();
        let held = self.restrictions().held.is_some() || self.restrictions().pause.as_ref().is_some_and(|pause| pause.until.is_none());
        let yesterday = plan.pace.span_at(now).date.yesterday().ok()?;
        let span = plan.pace.window().span(yesterday, plan.pace.zone());
        if held || span.open.is_none() {
            return None;
        }
        let missed = |accepted, cap| Missed { day: yesterday, at: span.ends, accepted, cap };
        if let Some(day) = self.ledger().day(yesterday) {
            let closing = day.closed.unwrap_or_else(|| day.closing(plan, false));
            let too_little = matches!(closing.verdict, Verdict::Idle | Verdict::Hold(Why::UsedLess { .. } | Why::FewAnswers { .. }));
            return day.cap.filter(|_| too_little).map(|cap| missed(day.counts.accepted, cap));
        }
        let last = self.ledger().days().iter().rev().find(|day| day.date < yesterday && day.counts.spent > 0)?;
        let stage = self.stage();
        let idle_days = yesterday.duration_since(last.date).as_hours() / 24;
        if idle_days >= i64::from(plan.idle_reset.get()) || plan.curve.next(stage) == stage {
            return None;
        }
        plan.curve.cap(stage).map(|cap| missed(0, cap))
    }
}

const BLOCKED: &str = "the address is blocked";
