//! The governor's findings in words.

use crate::{Hold, Sign, Verdict, Why};

/// A day's verdict, and the reason.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Advance => "advance".into(),
        Verdict::Finished => "finished: no stage is left to advance to".into(),
        Verdict::Idle => "nothing was sent, and the day does not count".into(),
        Verdict::StepBack(sign) => format!("step back: {} reached its rate", self::sign(*sign)),
        Verdict::Hold(why) => format!("hold: {}", self::why(why)),
    }
}

fn why(why: &Why) -> String {
    match why {
        Why::UsedLess { accepted, needed } => format!("{accepted} accepted, {needed} needed"),
        Why::Health(sign) => format!("{} reached its rate", self::sign(*sign)),
        Why::FewAnswers { answered, needed } => format!("{answered} answers, {needed} needed to judge by"),
        Why::SteppedBack => "a block on this day has set it back already".into(),
        Why::Operator => "an operator holds it".into(),
    }
}

/// A sign's name.
pub fn sign(sign: Sign) -> &'static str {
    match sign {
        Sign::HardBounces => "hard bounces",
        Sign::Deferrals => "deferrals",
        Sign::Complaints => "complaints",
        Sign::Block => "a block",
    }
}

/// Why a lane may not send.
pub fn hold(hold: &Hold) -> String {
    match hold {
        Hold::DayCap { cap, used } => format!("the day's budget is gone: {used} of {cap}"),
        Hold::Spread { cap, used } => format!("the day's budget is spread over the day: {used} of {cap} are gone, the next is not due"),
        Hold::HourCap { cap } => format!("the hour's {cap} are gone"),
        Hold::Window => "outside of its sending hours".into(),
        Hold::DayOver => "the clock went back: the budget of this day or of a later one was given already".into(),
        Hold::Paused { why, .. } => format!("paused: {why}"),
        Hold::Stopped { why } => format!("stopped: {why}"),
        Hold::Slowed { per_hour, why } => format!("slowed to {per_hour} an hour: {why}"),
        Hold::Shaped(_) => "its rate is used up for the moment".into(),
    }
}
