//! The keys of a curve, and the plan built from them.

use std::{collections::BTreeMap, fmt::Display, num::NonZeroU32, ops::Range};

use jiff::{SignedDuration, civil::Weekday, tz::TimeZone};
use toml::de::DeValue;

use super::{
    file::{CurveFile, KeyedValue},
    value::{self, Parsed, Value},
};
use crate::{
    curve::{After, Curve, CurveError},
    health::{Share, Threshold},
    pace::Pace,
    plan::{Overflow, Plan},
    window::Window,
};

/// The keys of a curve; its other tables are variants.
const KEYS: [&str; 20] = [
    "caps",
    "hourly",
    "start",
    "factor",
    "until",
    "hourly_share",
    "after",
    "window",
    "days_off",
    "timezone",
    "burst",
    "catch_up",
    "reserve",
    "overflow",
    "advance_at",
    "min_sample",
    "idle_reset",
    "block_pause",
    "hold",
    "step_back",
];

pub(super) fn is_key(name: &str) -> bool {
    KEYS.contains(&name)
}

/// The keys read for a curve, not yet checked against each other.
#[derive(Clone, Default)]
pub(super) struct CurveDraft {
    caps: CapsDraft,
    hourly_share: Option<f64>,
    after: Option<After>,
    window: Option<Window>,
    days_off: Vec<Weekday>,
    zone: Option<TimeZone>,
    burst: Option<NonZeroU32>,
    catch_up: Option<f64>,
    reserve: Option<Share>,
    overflow: Option<Overflow>,
    advance_at: Option<Share>,
    min_sample: Option<u32>,
    idle_reset: Option<NonZeroU32>,
    block_pause: Option<SignedDuration>,
    hold: SignShares,
    step_back: SignShares,
    /// The places of the keys in the text.
    places: BTreeMap<String, Range<usize>>,
    /// An error in it is already reported.
    spoiled: bool,
}

/// The three ways to give caps.
#[derive(Clone, Default)]
struct CapsDraft {
    daily: Option<Vec<u32>>,
    hourly: Option<Vec<u32>>,
    start: Option<u32>,
    factor: Option<f64>,
    until: Option<u32>,
}

#[derive(Clone, Default)]
struct SignShares {
    hard_bounces: Option<Share>,
    deferrals: Option<Share>,
    complaints: Option<Share>,
}

impl CurveDraft {
    pub(super) fn read(&mut self, items: &[(&str, KeyedValue<'_, '_>)], path: &str, file: &mut CurveFile<'_>) {
        if items.iter().any(|(key, _)| KEYS[..5].contains(key)) {
            // A variant that gives caps in one way replaces the caps of its curve, in whatever way they are given.
            self.caps = CapsDraft::default();
            self.places.retain(|key, _| !KEYS[..5].contains(&key.as_str()));
        }
        for (key, item) in items {
            self.places.insert((*key).to_owned(), item.key.clone());
            let path = format!("{path}.{key}");
            let read = match item.value.get_ref() {
                DeValue::Table(table) if matches!(*key, "hold" | "step_back") => {
                    let signs = if *key == "hold" { &mut self.hold } else { &mut self.step_back };
                    for (sign, value) in table {
                        if let Err(message) = signs.set(sign.get_ref(), value) {
                            file.complain(&format!("{path}.{}", sign.get_ref()), sign.span(), message);
                            self.spoiled = true;
                        }
                    }
                    Ok(())
                }
                _ => self.set(key, item.value),
            };
            if let Err(message) = read {
                file.complain(&path, item.key.clone(), message);
                self.spoiled = true;
            }
        }
    }

    fn set(&mut self, key: &str, value: Value<'_, '_>) -> Parsed<()> {
        match key {
            "caps" => self.caps.daily = Some(value::caps(value)?),
            "hourly" => self.caps.hourly = Some(value::caps(value)?),
            "start" => self.caps.start = Some(value::count(value)?),
            "factor" => self.caps.factor = Some(value::number(value)?),
            "until" => self.caps.until = Some(value::count(value)?),
            "hourly_share" => self.hourly_share = Some(value::share(value)?.as_f64()),
            "after" => self.after = Some(value::after(value)?),
            "window" => self.window = Some(value::window(value)?),
            "days_off" => self.days_off = value::days_off(value)?,
            "timezone" => self.zone = Some(value::zone(value)?),
            "burst" => self.burst = Some(value::positive(value)?),
            "catch_up" => self.catch_up = Some(value::number(value)?),
            "reserve" => self.reserve = Some(value::share(value)?),
            "overflow" => self.overflow = Some(value::overflow(value)?),
            "advance_at" => self.advance_at = Some(value::share(value)?),
            "min_sample" => self.min_sample = Some(value::count(value)?),
            "idle_reset" => self.idle_reset = Some(value::days(value)?),
            "block_pause" => self.block_pause = Some(value::duration(value)?),
            "hold" | "step_back" => return Err("expected a table: { hard_bounces = …, deferrals = …, complaints = … }".into()),
            _ => return Err(format!("unknown; keys are: {}", KEYS.join(", "))),
        }
        Ok(())
    }

    /// The plan, if the keys fit together. If not, the error is reported at the first of the conflicting keys.
    pub(super) fn plan(&self, name: &str, path: &str, at: Range<usize>, file: &mut CurveFile<'_>) -> Option<Plan> {
        if self.spoiled {
            return None;
        }
        let misfit = match self.fitted(name) {
            Ok(plan) => return Some(plan),
            Err(misfit) => misfit,
        };
        match misfit.keys.iter().find_map(|key| Some((key, self.places.get(*key)?))) {
            Some((key, at)) => file.complain(&format!("{path}.{key}"), at.clone(), misfit.message),
            None => file.complain(path, at, misfit.message),
        }
        None
    }

    fn fitted(&self, name: &str) -> Result<Plan, Misfit> {
        let days_off = self.days_off.iter().copied();
        let window = said(&["days_off"], self.window.unwrap_or(Window::ALWAYS).without(days_off))?;
        let mut curve = self.curve(window)?.with_after(self.after.unwrap_or_default());
        if let Some(share) = self.hourly_share {
            if self.caps.hourly.is_some() {
                return misfit(&["hourly_share", "hourly"], "hourly and hourly_share both cap the hour; give one");
            }
            curve = said(&["hourly_share"], curve.with_hourly_share(share))?;
        }
        let mut plan = Plan::new(name, curve);
        plan.pace = self.pace(window)?;
        let (hold, back, usual) = (&self.hold, &self.step_back, plan.thresholds);
        plan.thresholds.hard_bounces = threshold(hold.hard_bounces, back.hard_bounces, usual.hard_bounces, "hard_bounces")?;
        plan.thresholds.deferrals = threshold(hold.deferrals, back.deferrals, usual.deferrals, "deferrals")?;
        plan.thresholds.complaints = threshold(hold.complaints, back.complaints, usual.complaints, "complaints")?;
        plan.overflow = self.overflow.clone().unwrap_or_default();
        plan.advance_at = self.advance_at.unwrap_or(plan.advance_at);
        plan.min_sample = self.min_sample.unwrap_or(plan.min_sample);
        plan.idle_reset = self.idle_reset.unwrap_or(plan.idle_reset);
        plan.block_pause = self.block_pause.unwrap_or(plan.block_pause);
        Ok(plan)
    }

    fn curve(&self, window: Window) -> Result<Curve, Misfit> {
        let caps = &self.caps;
        match (&caps.daily, &caps.hourly, caps.start, caps.factor, caps.until) {
            (Some(caps), None, None, None, None) => said(&["caps"], Curve::new(caps.clone())),
            (None, Some(hourly), None, None, None) => said(&["hourly"], Curve::hourly(hourly.clone(), window.hours())),
            (None, None, Some(start), Some(factor), Some(until)) => {
                let curve = Curve::growing(start, factor, until);
                match curve {
                    Err(CurveError::Zero { .. }) => said(&["start"], curve),
                    Err(CurveError::Ends { .. }) => said(&["until"], curve),
                    _ => said(&["factor"], curve),
                }
            }
            _ => misfit(&KEYS[..5], "give its caps in one way: caps = […], or hourly = […], or start, factor and until"),
        }
    }

    fn pace(&self, window: Window) -> Result<Pace, Misfit> {
        let mut pace = Pace::new().with_window(window);
        pace = pace.with_zone(self.zone.clone().unwrap_or(TimeZone::UTC));
        pace = match self.burst {
            Some(burst) => pace.with_burst(burst),
            None => pace,
        };
        if let Some(times) = self.catch_up {
            pace = said(&["catch_up"], pace.with_catch_up(times))?;
        }
        said(&["reserve"], pace.with_reserve(self.reserve.unwrap_or_default()))
    }
}

/// Keys that are valid alone and do not fit together.
struct Misfit {
    keys: &'static [&'static str],
    message: String,
}

impl SignShares {
    fn set(&mut self, sign: &str, value: Value<'_, '_>) -> Parsed<()> {
        match sign {
            "hard_bounces" => self.hard_bounces = Some(value::share(value)?),
            "deferrals" => self.deferrals = Some(value::share(value)?),
            "complaints" => self.complaints = Some(value::share(value)?),
            _ => return Err("unknown; signs are: hard_bounces, deferrals, complaints".into()),
        }
        Ok(())
    }
}

fn threshold(hold: Option<Share>, back: Option<Share>, usual: Threshold, sign: &str) -> Result<Threshold, Misfit> {
    let threshold = Threshold::new(hold.unwrap_or(usual.hold()), back.unwrap_or(usual.step_back()));
    let keys: &[_] = if hold.is_some() { &["hold", "step_back"] } else { &["step_back", "hold"] };
    threshold.map_err(|error| Misfit { keys, message: format!("{sign}: {error}") })
}

fn said<T, E: Display>(keys: &'static [&'static str], result: Result<T, E>) -> Result<T, Misfit> {
    result.map_err(|error| Misfit { keys, message: error.to_string() })
}

fn misfit<T>(keys: &'static [&'static str], message: &str) -> Result<T, Misfit> {
    Err(Misfit { keys, message: message.into() })
}
