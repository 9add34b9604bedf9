//! How a provider receives a lane's mail: rates over a day, and their grade.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::admission::Outcome;

/// A share of a whole, from 0 to 1, kept in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(u32);

const WHOLE: u32 = 1_000_000;

/// A number that is not a share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not between 0 and 1 (0 % and 100 %)")]
pub struct ShareError(pub String);

/// The outcomes of one lane's day, in recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Answered by the provider, with any answer.
    pub spent: u32,
    /// Accepted by the provider.
    pub accepted: u32,
    /// Rejected for good because the address is invalid.
    pub hard_bounces: u32,
    /// Rejected for good for another reason.
    pub refused: u32,
    /// Deferred because of rate or reputation.
    pub throttled: u32,
    /// Deferred for another reason.
    pub deferred: u32,
    /// Rejected because the sending address is blocked.
    pub blocked: u32,
    /// Reserved and never offered to the provider.
    pub given_back: u32,
    /// Feedback reports that arrived on this day.
    pub complaints: u32,
}

/// The shares from which a lane holds its stage and from which it steps back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    hold: Share,
    step_back: Share,
}

/// A threshold with which a lane would step back before it holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("hold = {hold} is above step_back = {step_back}, or one of them is 0 %")]
pub struct ThresholdError {
    /// The lower one, as given.
    pub hold: Share,
    /// The upper one, as given.
    pub step_back: Share,
}

/// A threshold for each sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Of the recipients answered.
    pub hard_bounces: Threshold,
    /// Of the recipients answered: those deferred because of rate or reputation.
    pub deferrals: Threshold,
    /// Of the recipients accepted.
    pub complaints: Threshold,
}

/// A sign of bad reception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// Invalid addresses.
    HardBounces,
    /// Deferrals because of rate or reputation.
    Deferrals,
    /// Recipients who reported spam.
    Complaints,
    /// The sending address is blocked.
    Block,
}

/// The grade of all signs together: that of the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Every rate is below its threshold.
    Good,
    /// A rate is high enough to hold the stage.
    Fair,
    /// A rate is high enough to step back, or the address is blocked.
    Bad,
}

/// A lane's health over a day, with its rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// The grade of the numbers, even if they are too few to act on.
    pub grade: Grade,
    /// The sign that decided the grade; `None` if the grade is good.
    pub worst: Option<Sign>,
    /// The share of invalid addresses among the recipients answered.
    pub hard_bounces: Share,
    /// The share of deferrals because of rate or reputation among the recipients answered.
    pub deferrals: Share,
    /// The share of complaints among the recipients accepted.
    pub complaints: Share,
    /// The number of recipients answered.
    pub sample: u32,
}

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The whole.
    pub const ALL: Self = Self(WHOLE);

    /// From a number between 0 and 1.
    pub fn new(share: f64) -> Result<Self, ShareError> {
        if (0.0..=1.0).contains(&share) { Ok(Self((share * f64::from(WHOLE)).round() as u32)) } else { Err(ShareError(share.to_string())) }
    }

    /// From a whole number of percent between 0 and 100.
    pub const fn percent(percent: u32) -> Self {
        assert!(percent <= 100, "at most 100 %");
        Self(percent * (WHOLE / 100))
    }

    /// `part` of `whole`, at most all of it. If `whole` is 0, the share is 0 for a `part` of 0 and all of it for any other.
    pub fn of(part: u32, whole: u32) -> Self {
        if part == 0 {
            return Self::NONE;
        }
        Self((u64::from(part) * u64::from(WHOLE)).checked_div(u64::from(whole)).map_or(WHOLE, |share| share.min(u64::from(WHOLE)) as u32))
    }

    /// As a number between 0 and 1.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// This share of `whole`, rounded up.
    pub fn up(self, whole: u32) -> u32 {
        (u64::from(self.0) * u64::from(whole)).div_ceil(u64::from(WHOLE)) as u32
    }

    /// This share of `whole`, rounded down.
    pub fn down(self, whole: u32) -> u32 {
        (u64::from(self.0) * u64::from(whole) / u64::from(WHOLE)) as u32
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / f64::from(WHOLE / 100))
    }
}

impl Threshold {
    /// A threshold; `hold` has to be above 0 and not above `step_back`.
    pub fn new(hold: Share, step_back: Share) -> Result<Self, ThresholdError> {
        if hold == Share::NONE || hold > step_back {
            return Err(ThresholdError { hold, step_back });
        }
        Ok(Self { hold, step_back })
    }

    /// The share from which a lane holds.
    pub fn hold(self) -> Share {
        self.hold
    }

    /// The share from which a lane steps back.
    pub fn step_back(self) -> Share {
        self.step_back
    }

    fn grade(self, rate: Share) -> Grade {
        if rate >= self.step_back {
            Grade::Bad
        } else if rate >= self.hold {
            Grade::Fair
        } else {
            Grade::Good
        }
    }
}

impl Default for Thresholds {
    /// Hard bounces 3 % and 10 %, deferrals 5 % and 20 %, complaints 0.1 % and 0.3 %.
    fn default() -> Self {
        let share = |hold, step_back| Threshold { hold: Share(hold), step_back: Share(step_back) };
        Self { hard_bounces: share(30_000, 100_000), deferrals: share(50_000, 200_000), complaints: share(1_000, 3_000) }
    }
}

impl Thresholds {
    /// Grades a day's counts.
    pub fn read(&self, counts: &Counts) -> Health {
        let hard_bounces = Share::of(counts.hard_bounces, counts.spent);
        let deferrals = Share::of(counts.throttled, counts.spent);
        let complaints = Share::of(counts.complaints, counts.accepted);
        let blocked = if counts.blocked > 0 { Grade::Bad } else { Grade::Good };
        let signs = [
            (Sign::Block, blocked),
            (Sign::Complaints, self.complaints.grade(complaints)),
            (Sign::HardBounces, self.hard_bounces.grade(hard_bounces)),
            (Sign::Deferrals, self.deferrals.grade(deferrals)),
        ];
        let grade = signs.iter().map(|(_, grade)| *grade).max().unwrap_or(Grade::Good);
        let worst = signs.iter().find(|(_, g)| *g == grade && grade != Grade::Good).map(|(sign, _)| *sign);
        Health { grade, worst, hard_bounces, deferrals, complaints, sample: counts.spent }
    }
}

impl Counts {
    /// Counts the outcome of `count` recipients.
    pub fn answer(&mut self, outcome: Outcome, count: u32) {
        let counter = match outcome {
            Outcome::Accepted => &mut self.accepted,
            Outcome::HardBounce => &mut self.hard_bounces,
            Outcome::Refused => &mut self.refused,
            Outcome::Throttled => &mut self.throttled,
            Outcome::Deferred => &mut self.deferred,
            Outcome::Blocked => &mut self.blocked,
            Outcome::GivenBack => &mut self.given_back,
        };
        *counter = counter.saturating_add(count);
        if outcome != Outcome::GivenBack {
            self.spent = self.spent.saturating_add(count);
        }
    }

    /// The larger of each count: what two incomplete counts of the same day know together.
    pub(crate) fn at_least(self, other: Self) -> Self {
        Self {
            spent: self.spent.max(other.spent),
            accepted: self.accepted.max(other.accepted),
            hard_bounces: self.hard_bounces.max(other.hard_bounces),
            refused: self.refused.max(other.refused),
            throttled: self.throttled.max(other.throttled),
            deferred: self.deferred.max(other.deferred),
            blocked: self.blocked.max(other.blocked),
            given_back: self.given_back.max(other.given_back),
            complaints: self.complaints.max(other.complaints),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(spent: u32, hard_bounces: u32, throttled: u32, complaints: u32) -> Counts {
        Counts { spent, accepted: spent - hard_bounces - throttled, hard_bounces, throttled, complaints, ..Counts::default() }
    }

    #[test]
    fn each_sign_has_its_thresholds() {
        let read = |c| {
            let health = Thresholds::default().read(&c);
            (health.grade, health.worst)
        };
        assert_eq!(read(counts(1000, 29, 49, 0)), (Grade::Good, None));
        assert_eq!(read(counts(1000, 30, 0, 0)), (Grade::Fair, Some(Sign::HardBounces)));
        assert_eq!(read(counts(1000, 100, 0, 0)), (Grade::Bad, Some(Sign::HardBounces)));
        assert_eq!(read(counts(1000, 0, 50, 0)), (Grade::Fair, Some(Sign::Deferrals)));
        assert_eq!(read(counts(1000, 0, 200, 0)), (Grade::Bad, Some(Sign::Deferrals)));
        assert_eq!(read(counts(1000, 0, 0, 1)), (Grade::Fair, Some(Sign::Complaints)));
        assert_eq!(read(counts(1000, 0, 0, 3)), (Grade::Bad, Some(Sign::Complaints)));
        assert_eq!(read(counts(0, 0, 0, 0)), (Grade::Good, None));
        assert_eq!(read(Counts { spent: 1000, accepted: 999, blocked: 1, ..Counts::default() }), (Grade::Bad, Some(Sign::Block)));
    }

    #[test]
    fn shares_and_thresholds_out_of_order_cannot_be_built() {
        for bad in [-0.1, 1.1, f64::NAN] {
            assert!(Share::new(bad).is_err());
        }
        assert!(Threshold::new(Share::percent(5), Share::percent(4)).is_err());
        assert!(Threshold::new(Share::NONE, Share::percent(4)).is_err());
    }

    #[test]
    fn shares_round_as_asked_and_print_as_percent() {
        assert_eq!((Share::percent(90).up(50), Share::percent(90).up(51), Share::percent(90).down(51)), (45, 46, 45));
        assert_eq!(Share::new(0.001).unwrap().to_string(), "0.1 %");
        assert_eq!(Share::of(1, 0), Share::ALL);
    }
}
