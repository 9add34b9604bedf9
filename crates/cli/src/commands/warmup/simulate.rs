//! `posthaste warmup simulate`

use std::{
    io::{BufWriter, Write},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use jiff::{civil::Date, tz::TimeZone};
use posthaste_config::Config;
use posthaste_host::clock;
use posthaste_mail::Name;
use posthaste_relay::settings::Settings;
use posthaste_warmup::{
    scenario::{Rates, Scenario, WHOLE},
    simulate::{DayRow, LaneDay, Simulation, simulate},
};

use super::common::json;
use crate::commands::table::{fitted, span};
use crate::commands::{At, Elsewhere};
use crate::{progress::Progress, screen};

/// The mail to simulate.
#[derive(Args)]
pub(super) struct Simulate {
    /// Recipients per day, such as 50000/day; or day by day, such as 1000,5000,20000: the last number is used for all later days.
    #[arg(long, value_parser = volume)]
    volume: Volume,
    /// Each provider's share, such as google=40,microsoft=25,yahoo=20,example.net=15.
    #[arg(long, value_parser = mix)]
    mix: Mix,
    /// The number of days.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=400))]
    days: u16,
    /// The first day. Default: today.
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// The stream whose pool, urgency and retries are used.
    #[arg(long, default_value = "default", value_parser = |text: &str| Name::new(text))]
    stream: Name,
    /// The share of the mail that receivers defer at each attempt, such as 2%.
    #[arg(long, default_value = "0%", value_parser = rate, value_name = "PERCENT")]
    retry_rate: u32,
    /// The share of the mail that receivers refuse because the address is invalid, such as 1%.
    #[arg(long, default_value = "0%", value_parser = rate, value_name = "PERCENT")]
    bounce_rate: u32,
    /// Show every lane's days too.
    #[arg(long)]
    lanes: bool,
    /// Print one JSON object per day.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Volume(Vec<u64>);

#[derive(Clone, Debug, PartialEq)]
struct Mix(Vec<(Arc<str>, u32)>);

/// The most recipients on one day. They are simulated one by one, some 400,000 a second.
const VOLUME_MAX: u64 = 100_000_000;

impl Simulate {
    pub(super) fn run(self, at: &At) -> anyhow::Result<ExitCode> {
        let config = Config::load_for_elsewhere(at.file()?.as_deref(), &Elsewhere).map(|(config, _)| config);
        let config = config.map_err(|errors| anyhow::anyhow!("the configuration is invalid:\n{errors}"))?;
        let streams = || config.streams.keys().map(Name::as_str).collect::<Vec<_>>().join(", ");
        anyhow::ensure!(config.streams.contains_key(&self.stream), "there is no stream {}; streams are: {}", self.stream, streams());
        let zone = zone(&config, &self.stream, &self.mix.0[0].0);
        let scenario = self.scenario(zone);
        let seen = config.sources.keys().map(|source| (source.clone(), scenario.first)).collect();
        let policy = Settings::new(config)?.policy(&seen);
        let progress = Progress::endless("simulating the warm-up");
        let simulation = simulate(&policy, &self.stream, &scenario);
        drop(progress);
        let mut out = BufWriter::new(screen::out());
        if self.json {
            simulation.days.iter().try_for_each(|day| json(day, &mut out))?;
        } else {
            write!(out, "{}", days(&simulation))?;
            if self.lanes {
                write!(out, "\n{}", lanes(&simulation))?;
            }
            write!(out, "\n{}", summary(&simulation))?;
        }
        out.flush()?;
        if simulation.days.iter().all(|day| day.lanes.is_empty()) {
            screen::say("no source in this stream's pool is warming up; [source.NAME] warmup = \"standard\" gives a source a curve");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn scenario(&self, zone: TimeZone) -> Scenario {
        let Volume(given) = &self.volume;
        let last = given.last().copied().unwrap_or(0);
        let volume = given.iter().copied().chain(std::iter::repeat(last)).take(self.days.into()).collect();
        let first = self.from.unwrap_or_else(|| zone.to_datetime(clock::now()).date());
        let usual = Rates { deferred: self.retry_rate, hard_bounces: self.bounce_rate, ..Rates::default() };
        Scenario { first, zone, volume, mix: self.mix.0.clone(), usual, spells: Vec::new() }
    }
}

/// The time zone of the first curve that applies to the stream's mail, so that the table's days are the curve's days.
fn zone(config: &Config, stream: &Name, provider: &str) -> TimeZone {
    let sources = config.sources_of(&config.streams[stream]);
    let plan = sources.iter().find_map(|(source, _)| config.plan(source, provider));
    plan.map_or(TimeZone::UTC, |plan| plan.pace.zone().clone())
}

const HEAD: [&str; 10] = ["day", "arrived", "sent", "bounced", "put off", "deferred", "spilled", "held", "worst delay", "stages"];

fn days(simulation: &Simulation) -> String {
    let row = |day: &DayRow| {
        let expired = (day.expired > 0).then(|| format!("{} expired", day.expired));
        let numbers = [day.arrived, day.sent, day.bounced, day.put_off, day.deferred, day.spilled, day.held].map(|n| n.to_string());
        let first = format!("{:>3} {}", day.day, day.date);
        let row = [first].into_iter().chain(numbers).chain([span(day.worst_delay), stages(&day.lanes)]);
        (row.collect(), expired.into_iter().collect())
    };
    fitted(&HEAD, &simulation.days.iter().map(row).collect::<Vec<_>>(), screen::width())
}

/// Such as `ip1 3-5, ip2 warm`: from the slowest of a source's lanes to the fastest.
fn stages(lanes: &[LaneDay]) -> String {
    let mut sources: Vec<(&str, Vec<u32>)> = Vec::new();
    for lane in lanes {
        // A lane past the end of its curve is further than any stage.
        let stage = u32::from(lane.stage).checked_sub(1).unwrap_or(u32::MAX);
        match sources.last_mut() {
            Some((source, stages)) if *source == &*lane.source => stages.push(stage),
            _ => sources.push((&lane.source, vec![stage])),
        }
    }
    let word = |stage: u32| if stage == u32::MAX { "warm".to_owned() } else { (stage + 1).to_string() };
    let words = sources.into_iter().map(|(source, stages)| {
        let (low, high) = (*stages.iter().min().expect("a source has lanes"), *stages.iter().max().expect("a source has lanes"));
        if low == high { format!("{source} {}", word(low)) } else { format!("{source} {}-{}", word(low), word(high)) }
    });
    words.collect::<Vec<_>>().join(", ")
}

fn lanes(simulation: &Simulation) -> String {
    let row = |day: &DayRow, lane: &LaneDay| {
        let cap = lane.cap.map_or_else(|| "any".to_owned(), |cap| cap.to_string());
        let first = format!("{:>3} {}/{}", day.day, lane.source, lane.provider);
        (vec![first, lane.stage.to_string(), cap, lane.spent.to_string(), lane.accepted.to_string()], Vec::new())
    };
    let rows: Vec<_> = simulation.days.iter().flat_map(|day| day.lanes.iter().map(move |lane| row(day, lane))).collect();
    fitted(&["day and lane", "stage", "cap", "used", "accepted"], &rows, screen::width())
}

fn summary(simulation: &Simulation) -> String {
    let day = |number: Option<usize>| number.map_or_else(|| "not within these days".to_owned(), |number| format!("day {number}"));
    let mut out = format!(
        "full volume, each day's mail sent on its day: {}\nno mail waits for budget any more: {}\nworst delay: {}\n",
        day(simulation.full_volume()),
        day(simulation.unbound()),
        span(simulation.worst_delay())
    );
    if simulation.expired() > 0 {
        out += &format!("expired before there was budget for them: {} recipients\n", simulation.expired());
    }
    out
}

/// `50000/day`, `50_000`, `1000,2000`.
fn volume(text: &str) -> Result<Volume, String> {
    let text = text.strip_suffix("/day").unwrap_or(text);
    let number = |part: &str| part.trim().replace('_', "").parse::<u64>().ok().filter(|n| *n <= VOLUME_MAX);
    let days: Option<Vec<_>> = text.split(',').map(number).collect();
    days.map(Volume).ok_or_else(|| format!("expected a volume such as 50000/day, or days such as 1000,5000, each at most {VOLUME_MAX}"))
}

/// `google=40,microsoft=25`.
fn mix(text: &str) -> Result<Mix, String> {
    let share = |part: &str| {
        let (provider, share) = part.split_once('=')?;
        let share: u32 = share.trim().trim_end_matches('%').trim().parse().ok().filter(|share| (1..=1_000_000).contains(share))?;
        let provider = Name::new(provider.trim()).ok()?;
        Some((Arc::from(provider.as_str()), share))
    };
    let mix: Option<Vec<(Arc<str>, u32)>> = text.split(',').map(share).collect();
    let mix = mix.ok_or("expected providers with their shares, such as google=40,microsoft=25,example.net=35")?;
    match mix.iter().enumerate().find(|(at, (name, _))| mix[..*at].iter().any(|(other, _)| other == name)) {
        Some((_, (twice, _))) => Err(format!("{twice} is given twice")),
        None => Ok(Mix(mix)),
    }
}

/// `2%`, `0.5 %`: in parts of [`WHOLE`].
fn rate(text: &str) -> Result<u32, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok()).filter(|p| (0.0..=50.0).contains(p));
    percent.map(|p| (p * f64::from(WHOLE) / 100.0).round() as u32).ok_or_else(|| "expected a percentage from 0% to 50%, such as 2%".into())
}

#[cfg(test)]
mod tests {
    use posthaste_governor::Stage;

    use super::*;

    #[test]
    fn volumes_mixes_and_rates_are_read() {
        assert_eq!(volume("50000/day"), Ok(Volume(vec![50_000])));
        assert_eq!(volume("1_000,2000"), Ok(Volume(vec![1000, 2000])));
        assert_eq!(mix("google=40, example.net=60%"), Ok(Mix(vec![("google".into(), 40), ("example.net".into(), 60)])));
        assert_eq!([rate("2%"), rate("0.5 %"), rate("0%")], [Ok(200), Ok(50), Ok(0)]);
        for bad in ["", "x", "-1", "1000/hour", "999999999999"] {
            assert!(volume(bad).is_err(), "{bad}");
        }
        for bad in ["", "google", "google=0", "google=1,google=2", "a b=1"] {
            assert!(mix(bad).is_err(), "{bad}");
        }
        assert!(rate("2").is_err() && rate("51%").is_err());
    }

    #[test]
    fn stages_are_told_by_source_from_the_slowest_to_the_quickest() {
        let lane = |source: &str, provider: &str, stage| LaneDay {
            source: source.into(),
            provider: provider.into(),
            stage,
            cap: None,
            spent: 0,
            accepted: 0,
        };
        let all = [
            lane("ip1", "google", Stage::On(3)),
            lane("ip1", "yahoo", Stage::On(12)),
            lane("ip2", "google", Stage::Past),
            lane("ip3", "google", Stage::Past),
            lane("ip3", "yahoo", Stage::On(28)),
        ];
        assert_eq!(stages(&all), "ip1 3-12, ip2 warm, ip3 28-warm");
    }
}
