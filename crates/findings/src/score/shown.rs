//! A score as people and machines see it.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Bands, Factor, Loss, Measure, Settings, Window,
    figures::{some_tenths, thousands},
    judge::{Judged, Samples},
    loss::losses,
};

/// A score, or how much mail is missing for one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// From 0 to 100, rounded; None: not enough mail yet.
    pub value: Option<u8>,
    /// How good that is.
    pub band: Option<Band>,
    /// What is wrong now all the same, in words: "mail stands (provider:google) since 2026-11-29T14:02:00Z". The score judges mail that is finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub but: Option<String>,
    /// The incidents that are not closed and about the same, the worst first; five at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Beside>,
    /// How many of the factors were measured.
    pub measured: usize,
    /// "3 of 4 factors measured", or "not enough mail yet: 63 of 100".
    pub note: String,
    /// Which view was the lower one and counts; None: no score, or parts of it have it from one view and parts from the other.
    pub window: Option<Window>,
    /// What the last days come to; None: not enough mail.
    pub days: Option<u8>,
    /// What the last 24 hours alone come to; None: not enough mail.
    pub last_day: Option<u8>,
    /// The finished recipients behind it, of all days that count.
    pub finished: u64,
    /// Each factor, in the order of [`Factor::ALL`].
    pub factors: Vec<FactorScore>,
    /// What cost points, the most first. Their points add up to what is missing to 100.
    pub losses: Vec<Loss>,
    /// What was seen of each measure, in the order of [`Measure::ALL`]; left out where only the score itself is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<MeasureScore>,
}

/// An incident that is not closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Beside {
    /// Its id.
    pub incident: String,
    /// The rule that found it.
    pub rule: String,
    /// What it is about: `provider:google`.
    pub key: String,
    /// How bad it is.
    pub severity: String,
    /// When it opened.
    pub since: Timestamp,
}

/// What was seen of a measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeasureScore {
    /// Which.
    pub measure: Measure,
    /// The factor that it is a part of.
    pub factor: Factor,
    /// How many count against it.
    pub bad: u64,
    /// Of how many; 0: nothing is known.
    pub of: u64,
    /// What these are: "finished recipients".
    pub denominator: &'static str,
    /// How many there have to be.
    pub min: u64,
    /// Up to which rate in percent it costs nothing.
    pub good_to: f64,
    /// From which rate in percent on it costs its whole part.
    pub bad_from: f64,
    /// What is left of it, from 0 to 100, to a tenth; None: not measured.
    #[serde(serialize_with = "some_tenths")]
    pub value: Option<f64>,
    /// "30 of 1,000 finished recipients", or why it is not measured.
    pub note: String,
}

/// What is left of a factor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FactorScore {
    /// Which.
    pub factor: Factor,
    /// Its weight in the formula.
    pub weight: u32,
    /// From 0 to 100, to a tenth; None: not measured.
    #[serde(serialize_with = "some_tenths")]
    pub value: Option<f64>,
}

/// How good a score is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Band {
    /// Receivers will soon take no mail, if they still do.
    Critical,
    /// Something has to be done.
    Act,
    /// Worth a look.
    Watch,
    /// All is well.
    Good,
}

/// Where a score goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// Better than it was.
    Up,
    /// Much as it was.
    Level,
    /// Worse than it was.
    Down,
}

impl Score {
    /// A score as it is shown. `finished` recipients are behind it, or are what there is where `judged` is None; so are the `seen` samples.
    pub(super) fn new(judged: Option<Judged>, seen: &Samples, finished: u64, settings: &Settings) -> Self {
        let values = judged.as_ref().map_or([None; Factor::ALL.len()], |judged| judged.factors);
        let value_of = |factor: Factor| values[factor as usize].map(|left| 100.0 * left.clamp(0.0, 1.0));
        let factors = Factor::ALL.map(|factor| FactorScore { factor, weight: settings.weight(factor), value: value_of(factor) });
        let measured = factors.iter().filter(|factor| factor.value.is_some()).count();
        let value = judged.as_ref().map(|judged| rounded(judged.points));
        let [days, last_day] = judged.as_ref().map_or([None; 2], |judged| judged.views.map(|points| points.map(rounded)));
        let (samples, left) = judged.as_ref().map_or((seen, [None; Measure::ALL.len()]), |judged| (&judged.samples, judged.left));
        let measures = Measure::ALL.map(|measure| MeasureScore::new(measure, samples, left[measure as usize], settings));
        let note = match value {
            Some(_) => format!("{measured} of {} factors measured", Factor::ALL.len()),
            None => format!("not enough mail yet: {} of {}", thousands(finished), thousands(settings.least())),
        };
        let window = judged.as_ref().and_then(|judged| judged.window);
        let losses = judged.map_or_else(Vec::new, |judged| losses(judged, settings));
        Self {
            value,
            band: value.map(|value| settings.bands.of(value)),
            but: None,
            beside: Vec::new(),
            measured,
            note,
            window,
            days,
            last_day,
            finished,
            factors: factors.into(),
            losses,
            measures: measures.into(),
        }
    }
}

/// A score is from 0 to 100.
fn rounded(points: f64) -> u8 {
    points.round().clamp(0.0, 100.0) as u8
}

impl MeasureScore {
    fn new(measure: Measure, samples: &Samples, left: Option<f64>, settings: &Settings) -> Self {
        let (line, share) = (settings.line(measure), samples[measure as usize].plain);
        let (bad, of, denominator) = (share.bad.min(share.of), share.of, measure.of());
        let seen = format!("{} of {} {denominator}", thousands(bad), thousands(of));
        let note = match left {
            Some(_) => seen,
            None if of == 0 => "not measured".to_owned(),
            None if of < line.min => format!("not enough {denominator} yet: {} of {}", thousands(of), thousands(line.min)),
            None => format!("not measured here: {seen}"),
        };
        Self {
            measure,
            factor: measure.factor(),
            bad,
            of,
            denominator,
            min: line.min,
            good_to: line.good,
            bad_from: line.bad,
            value: left.map(|left| 100.0 * left),
            note,
        }
    }
}

impl Trend {
    /// Where a score goes from what it was before, such as 7 days ago; None if there is or was none.
    pub fn of(now: &Score, before: &Score) -> Option<Self> {
        let change = i16::from(now.value?) - i16::from(before.value?);
        Some(match change {
            _ if change >= CHANGE => Self::Up,
            _ if change <= -CHANGE => Self::Down,
            _ => Self::Level,
        })
    }

    /// The arrow for it.
    pub fn arrow(self) -> &'static str {
        match self {
            Self::Up => "↑",
            Self::Level => "→",
            Self::Down => "↓",
        }
    }
}

/// Points by which a score must differ for people to see a change: one may come from rounding.
const CHANGE: i16 = 2;

impl Bands {
    /// The band of a score.
    pub fn of(&self, value: u8) -> Band {
        match value {
            _ if value >= self.good => Band::Good,
            _ if value >= self.watch => Band::Watch,
            _ if value >= self.act => Band::Act,
            _ => Band::Critical,
        }
    }
}
