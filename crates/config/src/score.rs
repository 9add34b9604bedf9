//! `[score]`: the numbers of the health score's formula.

use std::time::Duration;

use posthaste_findings::score::{Bands, Factor, Line, Measure, Settings};

use super::{
    reader::{Item, Parsed, Table, fault},
    value::{duration, fraction, list, number, string},
};

pub(super) fn read(t: &Table<'_>) -> Settings {
    let day = Duration::from_hours(24);
    let mut settings = Settings {
        days: t.get("days", number(1..=90)),
        // Shorter, and a day's mail would count nothing on the next.
        half_life: t.get("half_life", duration(day..=365 * day)),
        stopped_lane_cap: t.get("stopped_lane_cap", number(0..=100)),
        bands: t.table("bands", bands),
        complaint_providers: t.get("complaint_providers", list(provider)),
        ..Settings::default()
    };
    for factor in Factor::ALL {
        t.table(factor.as_str(), |t| {
            settings.weights[factor as usize] = t.get("weight", number(1..=1_000));
            for measure in factor.measures() {
                settings.lines[measure as usize] = t.table(measure.as_str(), |t| line(t, measure));
            }
        });
    }
    settings
}

fn bands(t: &Table<'_>) -> Bands {
    let bands = Bands { good: t.get("good", number(1..=100)), watch: t.get("watch", number(1..=100)), act: t.get("act", number(1..=100)) };
    let Bands { good, watch, act } = bands;
    if good <= watch {
        t.object_to(&["good", "watch"], format!("good = {good} must be above watch = {watch}: each band begins where the one below ends"));
    }
    if watch <= act {
        t.object_to(&["watch", "act"], format!("watch = {watch} must be above act = {act}: each band begins where the one below ends"));
    }
    bands
}

fn line(t: &Table<'_>, measure: Measure) -> Line {
    let is_number = measure == Measure::Listings;
    let most = if is_number { 1_000.0 } else { 100.0 };
    let line = Line {
        share: t.get("share", number(1..=1_000)),
        good: t.get("good", fraction(0.0..=most)),
        bad: t.get("bad", fraction(0.0..=most)),
        min: if is_number { 0 } else { t.get("min", number(1..=1_000_000_000)) },
    };
    let (good, bad) = (line.good, line.bad);
    if good >= bad {
        t.object_to(
            &["good", "bad"],
            format!("good = {good} must be below bad = {bad}: it is a share of something bad, and points are lost from good to bad"),
        );
    }
    line
}

/// A provider's name: a word of config/providers.toml or delivery.providers, or a domain.
fn provider(item: Item<'_>) -> Parsed<String> {
    match string(item)? {
        "" => fault(item, "must not be empty"),
        text if text.contains(|c: char| c.is_whitespace() || c.is_uppercase()) => {
            fault(item, "expected a provider's name in small letters, such as \"yahoo\" or \"example.net\"")
        }
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::DEFAULTS,
        document::Document,
        error::ConfigError,
        reader::{Findings, Reading},
    };

    fn parse(text: &str) -> (Settings, Vec<ConfigError>) {
        let base = Document::new("config/posthaste.toml", DEFAULTS).unwrap();
        let user = Document::new("posthaste.toml", text).unwrap();
        let reading = Reading::new(&user, &base);
        let settings = reading.root(|t| t.table("score", read));
        let Findings { errors, .. } = reading.finish();
        (settings, errors)
    }

    #[test]
    fn the_documented_defaults_are_those_of_the_formula() {
        assert_eq!(parse(""), (Settings::default(), vec![]));
    }

    #[test]
    fn each_number_can_be_changed_alone() {
        let (settings, errors) = parse(concat!(
            "[score]\nhalf_life = \"3d\"\ncomplaint_providers = [\"example.net\"]\n[score.bands]\nact = 40\n",
            "[score.reputation.complaints]\nbad = 0.25\n[score.audience]\nweight = 50\nunknown_users = { min = 20, good = 0.25 }\n",
        ));
        assert_eq!(errors, []);
        let mut expected = Settings { half_life: Duration::from_hours(72), ..Settings::default() };
        expected.complaint_providers = vec!["example.net".to_owned()];
        expected.bands.act = 40;
        expected.lines[Measure::Complaints as usize].bad = 0.25;
        expected.weights[Factor::Audience as usize] = 50;
        expected.lines[Measure::UnknownUsers as usize].min = 20;
        expected.lines[Measure::UnknownUsers as usize].good = 0.25;
        assert_eq!(settings, expected);
    }

    #[test]
    fn what_cannot_be_is_refused_where_it_stands() {
        let said = |text: &str| parse(text).1.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        for (text, error) in [
            (
                "[score.authentication]\ntls.good = 10",
                "posthaste.toml:2: score.authentication.tls.good = 10: good = 10 must be below bad = 10",
            ),
            ("[score.engagement]\nweight = 0", "posthaste.toml:2: score.engagement.weight = 0: must be from 1 to 1000"),
            ("[score.audience]\nsuppressed.share = -3", "posthaste.toml:2: score.audience.suppressed.share = -3: must be from 1 to 1000"),
            ("[score.reputation]\nput_off.min = 0", "posthaste.toml:2: score.reputation.put_off.min = 0: must be from 1 to 1000000000"),
            ("[score.bands]\nact = 80", "posthaste.toml:2: score.bands.act = 80: watch = 75 must be above act = 80"),
            ("[score]\nhalf_life = \"1h\"", "posthaste.toml:2: score.half_life = \"1h\": must be from 1d to 365d"),
            (
                "[score]\ncomplaint_providers = [\"Yahoo!\"]",
                "posthaste.toml:2: score.complaint_providers = \"Yahoo!\": expected a provider's name",
            ),
            ("[score]\nstopped_lane_cap = 101", "posthaste.toml:2: score.stopped_lane_cap = 101: must be from 0 to 100"),
            ("[score.audience]\nunknown_user = { min = 5 }", "posthaste.toml:2: score.audience.unknown_user"),
        ] {
            let errors = said(text);
            assert!(errors.starts_with(error) && errors.lines().count() == 1, "{text}: {errors}");
        }
    }
}
