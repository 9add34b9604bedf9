//! The formula's numbers.

use std::{collections::BTreeSet, time::Duration};

use jiff::civil::Date;

use super::{Factor, Measure};

/// The formula's numbers. The defaults are those of `[score]` in `config/posthaste.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How many days count, today included.
    pub days: u32,
    /// The age at which a day's mail counts half.
    pub half_life: Duration,
    /// The most that a provider gets at which feedback has stopped a lane.
    pub stopped_lane_cap: u8,
    /// From which score on things are how good.
    pub bands: Bands,
    /// The providers that report complaints, by their names.
    pub complaint_providers: Vec<String>,
    /// Which streams are bulk mail, and which track.
    pub traits: Traits,
    /// The factors' weights, in the order of [`Factor::ALL`].
    pub weights: [u32; Factor::ALL.len()],
    /// The measures' lines, in the order of [`Measure::ALL`].
    pub lines: [Line; Measure::ALL.len()],
}

/// What is known of streams beside their mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// Streams that send bulk mail: only they need List-Unsubscribe.
    pub bulk: BTreeSet<String>,
    /// Streams whose unsubscriptions, opens and clicks come back: only they have engagement.
    pub tracking: BTreeSet<String>,
}

/// The lowest scores of the bands; what is below the last is critical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bands {
    /// All is well.
    pub good: u8,
    /// Worth a look.
    pub watch: u8,
    /// Something has to be done.
    pub act: u8,
}

/// How a measure costs points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Its part of its factor; the parts of what is measured make the whole.
    pub share: u32,
    /// Up to here it costs nothing; in percent (of listings: how many).
    pub good: f64,
    /// From here on it costs its whole part; in percent (of listings: how many). Above `good`.
    pub bad: f64,
    /// The least of what it is a share of, for a rate to be taken.
    pub min: u64,
}

impl Line {
    /// The part of its points that is left at a rate in percent: 1 up to `good`, 0 from `bad` on.
    pub(super) fn left_at(&self, rate: f64) -> f64 {
        ((self.bad - rate) / (self.bad - self.good)).clamp(0.0, 1.0)
    }
}

impl Settings {
    /// A factor's weight.
    pub fn weight(&self, factor: Factor) -> u32 {
        self.weights[factor as usize]
    }

    /// A measure's line.
    pub fn line(&self, measure: Measure) -> &Line {
        &self.lines[measure as usize]
    }

    /// The finished recipients without which nothing has a score: the minimum that "63 of 100" names.
    pub(super) fn least(&self) -> u64 {
        self.line(Measure::UnknownUsers).min
    }

    /// How old a day is in days; None if it does not count as of that day.
    pub(super) fn age(&self, day: Date, as_of: Date) -> Option<u32> {
        u32::try_from((as_of - day).get_days()).ok().filter(|age| *age < self.days)
    }

    /// What a day's mail counts at an age in days.
    pub(super) fn fading(&self, age: u32) -> f64 {
        let half_lives = f64::from(age) * DAY / self.half_life.as_secs_f64();
        0.5_f64.powf(half_lives)
    }
}

const DAY: f64 = 86_400.0;

impl Default for Settings {
    fn default() -> Self {
        let line = |share, good, bad, min| Line { share, good, bad, min };
        Self {
            days: 15,
            half_life: Duration::from_hours(5 * 24),
            stopped_lane_cap: 60,
            bands: Bands { good: 90, watch: 75, act: 50 },
            complaint_providers: REPORT_COMPLAINTS.map(str::to_owned).to_vec(),
            traits: Traits::default(),
            weights: [30, 40, 20, 10],
            lines: [
                line(70, 0.5, 5.0, 100),
                line(15, 1.0, 5.0, 100),
                line(15, 1.0, 10.0, 100),
                line(45, 0.05, 0.3, 1_000),
                line(25, 0.2, 3.0, 100),
                line(15, 2.0, 20.0, 100),
                line(15, 0.0, 1.0, 0),
                line(40, 0.0, 5.0, 100),
                line(20, 0.0, 5.0, 100),
                line(20, 0.0, 10.0, 100),
                line(10, 0.0, 5.0, 100),
                line(10, 1.0, 10.0, 100),
                line(50, 0.2, 1.0, 500),
                line(50, 60.0, 90.0, 500),
            ],
        }
    }
}

/// Yahoo and Microsoft have feedback loops of their own; the others are in Validity's (spamresource.com, September 2023). Google reports no
/// single complaints.
const REPORT_COMPLAINTS: [&str; 16] = [
    "microsoft",
    "yahoo",
    "comcast",
    "fastmail",
    "rackspace",
    "gandi",
    "locaweb",
    "virgin",
    "sfr",
    "bluewin",
    "libero",
    "tim",
    "telenet",
    "ziggo",
    "telenor",
    "yandex",
];
