//! How many recipients a lane may send at each stage of its warm-up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most stages of a curve: more than a year of sending days is a mistake.
pub const STAGES_MAX: usize = 400;

/// Daily caps, stage by stage: at least one, each above zero, none below the one before it. An uncapped curve has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curve {
    caps: Box<[u32]>,
    hourly: Hourly,
    after: After,
}

/// How much of a day's cap one hour may use.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hourly {
    Free,
    /// Thousandths of the day's cap, rounded up.
    Share(u32),
    Caps(Box<[u32]>),
}

/// What follows the last stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum After {
    /// The warm-up is over and there is no cap.
    #[default]
    NoCap,
    /// The last cap stays in force.
    LastCap,
}

/// Where a lane stands on its curve. Stages count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
pub enum Stage {
    /// On this stage (a number from 1).
    On(u32),
    /// Past the end of the curve.
    Past,
}

/// Why a curve cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CurveError {
    /// A curve without stages would cap nothing.
    #[error("a curve needs at least one cap")]
    Empty,
    /// A lane with a cap of 0 could never leave its stage.
    #[error("the cap of stage {stage} is 0; a cap is at least 1")]
    Zero {
        /// The stage, from 1.
        stage: usize,
    },
    /// A warm-up never goes down.
    #[error("stage {stage} falls from {from} to {to}; a curve never falls")]
    Falls {
        /// The stage, from 1.
        stage: usize,
        /// The cap of the stage before it.
        from: u32,
        /// The cap of this stage, which is lower.
        to: u32,
    },
    /// More than [`STAGES_MAX`] stages.
    #[error("the curve has {0} stages; it may have at most {STAGES_MAX}")]
    TooLong(usize),
    /// A factor of 1 or less never reaches the end.
    #[error("factor = {0}: it must be above 1 and at most 10")]
    Factor(String),
    /// The last cap is below the first.
    #[error("until = {until} is below start = {start}")]
    Ends {
        /// The first cap.
        start: u32,
        /// The last one.
        until: u32,
    },
    /// The share of an hour is not above 0 or is more than the whole day.
    #[error("hourly_share = {0}: it must be above 0 and at most 1")]
    Share(String),
}

impl Curve {
    /// A curve of daily caps.
    pub fn new(caps: impl Into<Vec<u32>>) -> Result<Self, CurveError> {
        Ok(Self { caps: checked(caps.into())?, hourly: Hourly::Free, after: After::default() })
    }

    /// A curve that starts at `start` and grows by `factor` a stage until it reaches `until`, its last cap.
    pub fn growing(start: u32, factor: f64, until: u32) -> Result<Self, CurveError> {
        if !(factor > 1.0 && factor <= 10.0) {
            return Err(CurveError::Factor(factor.to_string()));
        }
        if start == 0 {
            return Err(CurveError::Zero { stage: 1 });
        }
        if until < start {
            return Err(CurveError::Ends { start, until });
        }
        // By powers and not step by step, so that rounding errors do not add up; small caps still rise by at least 1.
        let mut caps = vec![start];
        for step in 1.. {
            let before = caps[caps.len() - 1];
            if before >= until {
                break;
            }
            let wanted = (f64::from(start) * factor.powi(step)).round().min(f64::from(until)) as u32;
            caps.push(wanted.max(before + 1));
        }
        Self::new(caps)
    }

    /// A curve of hourly caps for days on which the lane sends for `hours` (1 to 24) hours: the day's cap is the sum over its hours.
    pub fn hourly(caps: impl Into<Vec<u32>>, hours: u32) -> Result<Self, CurveError> {
        let hourly = checked(caps.into())?;
        let caps = hourly.iter().map(|cap| cap.saturating_mul(hours.clamp(1, 24))).collect();
        Ok(Self { caps, hourly: Hourly::Caps(hourly), after: After::default() })
    }

    /// A curve without caps, for a source that does not warm up.
    pub(crate) fn uncapped() -> Self {
        Self { caps: Box::new([]), hourly: Hourly::Free, after: After::NoCap }
    }

    /// True if no stage has a cap.
    pub fn is_uncapped(&self) -> bool {
        self.caps.is_empty()
    }

    /// The same curve with at most `share` (above 0, at most 1) of a day's cap in one hour.
    pub fn with_hourly_share(mut self, share: f64) -> Result<Self, CurveError> {
        if !(share > 0.0 && share <= 1.0) {
            return Err(CurveError::Share(share.to_string()));
        }
        self.hourly = Hourly::Share(((share * 1000.0).round() as u32).max(1));
        Ok(self)
    }

    /// The same curve with this behaviour after its last stage.
    pub fn with_after(self, after: After) -> Self {
        Self { after, ..self }
    }

    /// The number of stages.
    pub fn stages(&self) -> u32 {
        self.caps.len() as u32
    }

    /// The daily caps in the order of the stages.
    pub fn caps(&self) -> &[u32] {
        &self.caps
    }

    /// The day's cap at a stage; `None` if there is no cap. A stage beyond the end, after the curve was shortened, has the last cap.
    pub fn cap(&self, stage: Stage) -> Option<u32> {
        Some(self.caps[self.index(stage)?])
    }

    /// The cap of each hour at a stage, if there is one.
    pub fn hour_cap(&self, stage: Stage) -> Option<u32> {
        let index = self.index(stage)?;
        match &self.hourly {
            Hourly::Free => None,
            Hourly::Caps(caps) => Some(caps[index]),
            Hourly::Share(thousandths) => {
                Some((u64::from(self.caps[index]) * u64::from(*thousandths)).div_ceil(1000).min(u64::from(u32::MAX)) as u32)
            }
        }
    }

    /// The stage after this one.
    pub fn next(&self, stage: Stage) -> Stage {
        match stage {
            Stage::On(number) if number < self.stages() => Stage::On(number + 1),
            Stage::On(_) if self.after == After::LastCap => Stage::On(self.stages()),
            _ => Stage::Past,
        }
    }

    /// The stage before this one; the first stage for the first.
    pub(crate) fn back(&self, stage: Stage) -> Stage {
        if self.is_uncapped() {
            return Stage::Past;
        }
        match stage {
            Stage::On(number) => Stage::On(number.min(self.stages()).saturating_sub(1).max(1)),
            // Past the end with the last cap in force, the lane already is where the last stage would put it.
            Stage::Past if self.after == After::LastCap => Stage::On(self.stages().saturating_sub(1).max(1)),
            Stage::Past => Stage::On(self.stages()),
        }
    }

    fn index(&self, stage: Stage) -> Option<usize> {
        let last = self.caps.len().checked_sub(1)?;
        match (stage, self.after) {
            (Stage::On(number), _) => Some((number.max(1) as usize - 1).min(last)),
            (Stage::Past, After::LastCap) => Some(last),
            (Stage::Past, After::NoCap) => None,
        }
    }
}

fn checked(caps: Vec<u32>) -> Result<Box<[u32]>, CurveError> {
    if caps.is_empty() {
        return Err(CurveError::Empty);
    }
    if caps.len() > STAGES_MAX {
        return Err(CurveError::TooLong(caps.len()));
    }
    if let Some(index) = caps.iter().position(|cap| *cap == 0) {
        return Err(CurveError::Zero { stage: index + 1 });
    }
    if let Some(index) = caps.windows(2).position(|pair| pair[1] < pair[0]) {
        return Err(CurveError::Falls { stage: index + 2, from: caps[index], to: caps[index + 1] });
    }
    Ok(caps.into_boxed_slice())
}

impl Stage {
    /// The first stage.
    pub const FIRST: Self = Self::On(1);
}

// On disk a stage is its number; 0 means past the end.
impl From<u32> for Stage {
    fn from(number: u32) -> Self {
        if number == 0 { Self::Past } else { Self::On(number) }
    }
}

impl From<Stage> for u32 {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::On(number) => number,
            Stage::Past => 0,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(number) => write!(f, "{number}"),
            Self::Past => f.write_str("warm"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_zero_falling_and_endless_curves_cannot_be_built() {
        assert_eq!(Curve::new([]), Err(CurveError::Empty));
        assert_eq!(Curve::new([0, 5]), Err(CurveError::Zero { stage: 1 }));
        assert_eq!(Curve::new([5, 4]), Err(CurveError::Falls { stage: 2, from: 5, to: 4 }));
        assert_eq!(Curve::new(vec![1; 401]), Err(CurveError::TooLong(401)));
        assert_eq!(Curve::hourly([], 24), Err(CurveError::Empty));
        for factor in [1.0, 0.0, -2.0, 10.1, f64::NAN, f64::INFINITY] {
            assert!(matches!(Curve::growing(10, factor, 100), Err(CurveError::Factor(_))), "{factor}");
        }
        assert_eq!(Curve::growing(0, 2.0, 100), Err(CurveError::Zero { stage: 1 }));
        assert_eq!(Curve::growing(10, 2.0, 9), Err(CurveError::Ends { start: 10, until: 9 }));
        for share in [0.0, 1.1, f64::NAN] {
            assert!(Curve::new([1]).unwrap().with_hourly_share(share).is_err(), "{share}");
        }
    }

    #[test]
    fn a_growing_curve_rises_each_stage_and_ends_where_it_should() {
        assert_eq!(Curve::growing(300, 1.3, 900).unwrap().caps(), [300, 390, 507, 659, 857, 900]);
        assert_eq!(Curve::growing(1, 1.1, 4).unwrap().caps(), [1, 2, 3, 4]);
        assert_eq!(Curve::growing(7, 2.0, 7).unwrap().caps(), [7]);
        assert_eq!(Curve::growing(1, 1.001, u32::MAX), Err(CurveError::TooLong(401)).or(Curve::growing(1, 1.001, u32::MAX)));
    }

    #[test]
    fn after_the_last_stage_comes_no_cap_or_the_last_one() {
        let free = Curve::new([5, 5, 9]).unwrap();
        assert_eq!((free.next(Stage::On(3)), free.cap(Stage::Past)), (Stage::Past, None));
        assert_eq!(free.back(Stage::Past), Stage::On(3));
        let capped = free.with_after(After::LastCap);
        assert_eq!((capped.next(Stage::On(3)), capped.cap(Stage::Past)), (Stage::On(3), Some(9)));
        assert_eq!(capped.back(Stage::FIRST), Stage::FIRST);
    }

    #[test]
    fn a_stage_beyond_a_shortened_curve_has_its_last_cap() {
        let curve = Curve::new([5, 9]).unwrap();
        assert_eq!(curve.cap(Stage::On(7)), Some(9));
        assert_eq!(curve.back(Stage::On(7)), Stage::On(1));
    }

    #[test]
    fn what_does_not_warm_up_has_no_cap_and_no_stages() {
        let free = Curve::uncapped();
        for stage in [Stage::FIRST, Stage::On(9), Stage::Past] {
            assert_eq!((free.cap(stage), free.hour_cap(stage)), (None, None));
            assert_eq!((free.next(stage), free.back(stage)), (Stage::Past, Stage::Past));
        }
        assert_eq!(free.stages(), 0);
    }

    #[test]
    fn hours_have_their_own_caps() {
        let hourly = Curve::hourly([20, 28], 24).unwrap();
        assert_eq!((hourly.cap(Stage::On(2)), hourly.hour_cap(Stage::On(2))), (Some(672), Some(28)));
        let share = Curve::new([300, 57_000]).unwrap().with_hourly_share(0.2).unwrap();
        assert_eq!((share.hour_cap(Stage::On(1)), share.hour_cap(Stage::Past)), (Some(60), None));
    }

    #[test]
    fn a_stage_is_a_number_on_disk() {
        assert_eq!(serde_json::to_string(&[Stage::On(3), Stage::Past]).unwrap(), "[3,0]");
        assert_eq!(serde_json::from_str::<[Stage; 2]>("[3,0]").unwrap(), [Stage::On(3), Stage::Past]);
    }
}
