//! What cost points, in words.

use serde::Serialize;

use super::{
    Cause, Measure, Settings, Window,
    figures::{in_points, percent, tenths, thousands},
    judge::{Judged, Lost},
};
use crate::ProblemOf;

/// What cost points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loss {
    /// What it was.
    pub cause: Cause,
    /// How many points it cost, to a tenth in JSON.
    #[serde(serialize_with = "tenths")]
    pub points: f64,
    /// How many recipients, deliveries or tries count against it, of all days that count.
    pub bad: u64,
    /// Of how many.
    pub of: u64,
    /// What these are: "finished recipients".
    pub denominator: &'static str,
    /// The rate in percent, with old days counted less, at the lower end of its interval.
    #[serde(serialize_with = "tenths")]
    pub at_least: f64,
    /// Up to which rate in percent it costs nothing.
    pub good_to: f64,
    /// From which rate in percent on it costs its whole part.
    pub bad_from: f64,
    /// Whose problem it is.
    pub whose: ProblemOf,
    /// Where it cost the most: providers, streams or pairs, the worst first. Nothing if the score is about one place.
    pub at: Vec<String>,
    /// All of it in words.
    pub sentence: String,
    /// What to do about it.
    pub next_step: &'static str,
}

/// All losses in words, the largest first.
pub(super) fn losses(judged: Judged, settings: &Settings) -> Vec<Loss> {
    let window = judged.window;
    let mut losses: Vec<Loss> = judged.lost.into_iter().map(|lost| lost.told(window, settings)).collect();
    losses.sort_by(|one, other| other.points.total_cmp(&one.points));
    losses
}

/// Places that a loss names.
const PLACES: usize = 5;

impl Lost {
    fn told(self, window: Option<Window>, settings: &Settings) -> Loss {
        let Self { cause, points, sample, mut at } = self;
        at.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        at.truncate(PLACES);
        let at: Vec<String> = at.into_iter().map(|(key, _)| key).collect();
        let Cause::Measure(measure) = cause else { return stopped(points, at, settings) };
        let (line, rate) = (settings.line(measure), sample.lower_end());
        let (bad, of) = (sample.plain.bad.min(sample.plain.of), sample.plain.of);
        let when = match window {
            Some(Window::Days) => format!("In {} days, ", settings.days),
            Some(Window::LastDay) => "In the last 24 hours, ".to_owned(),
            None => String::new(),
        };
        let place = at.first().map_or_else(String::new, |place| format!(" (above all: {place})"));
        let cost = in_points(points);
        let sentence = match measure {
            Measure::Listings => {
                let lists = if sample.plain.bad == 1 { "block list" } else { "block lists" };
                format!("Addresses and domains in use are on {} {lists}: it costs {cost}{place}.", thousands(sample.plain.bad))
            }
            _ => format!(
                "{when}{} of {} {} {}: at least {}. Up to {} is good, {} or more is bad; it costs {cost}{place}.",
                thousands(bad),
                thousands(of),
                measure.of(),
                measure.did(),
                percent(rate),
                percent(line.good),
                percent(line.bad)
            ),
        };
        Loss {
            cause,
            points,
            bad,
            of,
            denominator: measure.of(),
            at_least: rate,
            good_to: line.good,
            bad_from: line.bad,
            whose: measure.whose(),
            at,
            sentence,
            next_step: measure.step(),
        }
    }
}

fn stopped(points: f64, at: Vec<String>, settings: &Settings) -> Loss {
    let place = at.first().map_or_else(|| "this provider".to_owned(), Clone::clone);
    let (cost, cap) = (in_points(points), settings.stopped_lane_cap);
    Loss {
        cause: Cause::StoppedLane,
        points,
        bad: 0,
        of: 0,
        denominator: "",
        at_least: 0.0,
        good_to: 0.0,
        bad_from: 0.0,
        whose: ProblemOf::Ours,
        at,
        sentence: format!("A lane is stopped at {place}, which gets {cap} at most for as long as it is; it costs {cost}."),
        next_step: "See what the provider says: `posthaste warmup status` shows the lane and why it stopped.",
    }
}
