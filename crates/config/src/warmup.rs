//! `curves`, `[curve.NAME]`, and the warm-up keys of a source.

use std::sync::Arc;

use jiff::civil::Date;
use posthaste_governor::{CurveFileError, Curves, Plan, STAGES_MAX, Stage};
use toml::de::DeValue;

use super::{
    environment::Environment,
    error::ConfigError,
    reader::{Item, Parsed, Table, fault},
    reference::no_such,
    value::{expected, list, number, string},
};

/// How a source warms up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warmup {
    /// The curve's name.
    pub curve: Arc<str>,
    /// Where lanes without a history start.
    pub start: Start,
}

/// Where lanes without a history start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The source has been warming up since this day.
    Since(Date),
    /// Lanes start on this stage.
    Stage(Stage),
}

impl Start {
    /// The stage on which a lane without a history starts, if this relay first saw its source on `seen`. A source that has been warming up
    /// for some days is assumed to have climbed one stage on each of them; after more days than the curve has stages it is past the curve's
    /// end.
    ///
    /// `seen` does not change while lanes come and go: a provider that gets its first mail in a month starts where the others did.
    pub fn first_stage(self, plan: &Plan, seen: Date) -> Stage {
        match self {
            Self::Stage(stage) => stage,
            Self::Since(since) => {
                let days = i64::from((seen - since).get_days()).max(0);
                match u32::try_from(days).unwrap_or(u32::MAX).saturating_add(1) {
                    number if number <= plan.curve.stages() => Stage::On(number),
                    _ => plan.curve.next(Stage::On(plan.curve.stages())),
                }
            }
        }
    }
}

impl Warmup {
    pub(super) fn read(t: &Table<'_>, read: &ReadCurves) -> Option<Self> {
        let curves = &read.curves;
        let known = |item: Item<'_>| match string(item)? {
            name if curves.names().any(|known| known == name) => Ok(Some(Arc::<str>::from(name))),
            // It may be one of the curves with errors, which are reported at their own lines.
            _ if read.broken => Ok(None),
            _ => fault(item, no_such("curve", curves.names())),
        };
        let curve = t.given("warmup", known).flatten();
        let since = t.given("since", date);
        let stage = t.given("stage", number(1..=STAGES_MAX as u32));
        if !t.has("warmup") {
            for key in ["since", "stage"].into_iter().filter(|key| t.has(key)) {
                t.object(
                    key,
                    "sets where a warm-up begins, but this source has no warm-up; give it a curve, such as warmup = \"standard\"",
                );
            }
        }
        if t.has("since") && t.has("stage") {
            t.object("stage", "since and stage both say where the warm-up begins; give one of them");
        }
        let curve = curve?;
        if let Some(stage) = stage {
            let longest = longest(curves, &curve);
            if stage > longest {
                t.object("stage", format!("the curve {curve} has {longest} stages; a source past its last stage needs no warm-up"));
            }
        }
        let start = since.map(Start::Since).unwrap_or(Start::Stage(stage.map_or(Stage::FIRST, Stage::On)));
        Some(Self { curve, start })
    }
}

/// The operator's curves over the built-in ones.
pub(super) struct ReadCurves {
    pub(super) curves: Curves,
    /// Whether some could not be read; that has been reported.
    broken: bool,
}

/// Curves in the configuration itself come first, then those in its files in order, then the built-in ones.
pub(super) fn read_curves(t: &Table<'_>, environment: &Environment<'_>) -> ReadCurves {
    let own = t.leave("curve").map(|(text, file)| Curves::parse_among_others(text, file));
    let files = t.get("curves", list(|item| environment.text_file(item)));
    let files = files.iter().map(|(path, text)| Curves::parse(text, &path.display().to_string()));
    let (mut curves, mut broken) = (Curves::default(), false);
    for read in own.into_iter().chain(files) {
        match read {
            Ok(more) => curves = curves.or(more),
            Err(errors) => {
                broken = true;
                errors.into_iter().for_each(|error| t.report(from_library(error)));
            }
        }
    }
    ReadCurves { curves: curves.or(Curves::shipped()), broken }
}

fn from_library(error: CurveFileError) -> ConfigError {
    let CurveFileError { file, line, key, message } = error;
    ConfigError { file, line: Some(line), column: None, key, value: None, message, unread: false }
}

fn longest(curves: &Curves, name: &str) -> u32 {
    let plans = curves.providers(name).chain([""]).filter_map(|provider| curves.plan(name, provider));
    plans.map(|plan| plan.curve.stages()).max().unwrap_or(1)
}

/// `2026-11-23`, with or without quotes.
fn date(item: Item<'_>) -> Parsed<Date> {
    let text = match item.get_ref() {
        DeValue::Datetime(date) => date.to_string(),
        DeValue::String(text) => text.to_string(),
        _ => return expected(item, "a date such as 2026-11-23"),
    };
    text.parse().or_else(|_| fault(item, "expected a date such as 2026-11-23"))
}

#[cfg(test)]
mod tests;
