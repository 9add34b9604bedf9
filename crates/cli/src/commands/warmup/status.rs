//! `posthaste warmup status`

use std::{io::Write, process::ExitCode};

use clap::Args;
use jiff::Timestamp;
use posthaste_governor::warmup::{LaneStatus, RateStatus, WarmupAnswer, WarmupQuestion};
use posthaste_host::clock;
use posthaste_relay::admin::Request;

use super::common::{ODD, json};
use crate::commands::table::{fitted, percent, span};
use crate::commands::{At, count};
use crate::screen;

/// Which lanes to show.
#[derive(Args)]
pub(super) struct Show {
    /// Show only this source's lanes.
    #[arg(long)]
    source: Option<String>,
    /// Show only lanes at this provider.
    #[arg(long)]
    provider: Option<String>,
    /// Print one JSON object per lane.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self, at: &At) -> anyhow::Result<ExitCode> {
        let WarmupAnswer::Lanes { mut lanes } = at.ask(&Request::Warmup(WarmupQuestion::Status))? else { anyhow::bail!(ODD) };
        lanes.retain(|lane| self.source.as_deref().is_none_or(|source| *lane.source == *source));
        lanes.retain(|lane| self.provider.as_deref().is_none_or(|provider| *lane.provider == *provider));
        show(&lanes, self.json, &mut screen::out())?;
        if lanes.is_empty() {
            screen::say("no lane is warming up: no source with a curve has sent mail yet, or none matches");
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Shows lanes.
pub(super) fn show(lanes: &[LaneStatus], as_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if as_json {
        return lanes.iter().try_for_each(|lane| json(lane, out));
    }
    if !lanes.is_empty() {
        write!(out, "{}", text(lanes, clock::now(), screen::width()))?;
    }
    Ok(())
}

const HEAD: [&str; 12] =
    ["lane", "stage", "cap", "used", "accepted", "left", "next", "bounces", "deferred", "complaints", "tomorrow", "as it stands"];

fn text(lanes: &[LaneStatus], now: Timestamp, width: Option<usize>) -> String {
    let rows: Vec<_> = lanes.iter().map(|lane| (cells(lane, now), notes(lane))).collect();
    fitted(&HEAD, &rows, width)
}

fn cells(lane: &LaneStatus, now: Timestamp) -> Vec<String> {
    let number = |n: Option<u32>| n.map_or_else(|| "any".to_owned(), |n| n.to_string());
    let stage = match (&lane.curve, lane.stage) {
        (None, _) => "-".to_owned(),
        (_, None) => "warm".to_owned(),
        (_, Some(stage)) => format!("{stage}/{}", lane.stages),
    };
    let next = match lane.next_release {
        None => "-".to_owned(),
        Some(at) if at <= now => "now".to_owned(),
        Some(at) => span(at.duration_since(now).as_secs()),
    };
    let rate = |rate: &RateStatus| percent(rate.now);
    vec![
        format!("{}/{}", lane.source, lane.provider),
        stage,
        number(lane.cap),
        lane.used.to_string(),
        lane.accepted.to_string(),
        number(lane.remaining),
        next,
        rate(&lane.health.hard_bounces),
        rate(&lane.health.deferrals),
        rate(&lane.health.complaints),
        number(lane.next_cap),
        lane.verdict.clone(),
    ]
}

/// What is unusual about the lane, and how the last day ended.
fn notes(lane: &LaneStatus) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(hold) = &lane.hold {
        let until = lane.next_release.map_or_else(|| "until an operator resumes it".to_owned(), |at| format!("until {at:.0}"));
        notes.push(format!("waits {until}: {hold}"));
    }
    if let Some(why) = &lane.kept_by_operator {
        notes.push(format!("kept on its stage by {why}"));
    }
    if let Some(why) = &lane.slowed_why {
        let rate = lane.slowed_to.map(|rate| format!("{rate} an hour"));
        let connections = lane.connections.map(|n| count(n, "connection"));
        let to: Vec<_> = rate.into_iter().chain(connections).collect();
        notes.push(format!("slowed to {}: {why}", to.join(", ")));
    }
    let health = &lane.health;
    for (name, rate) in [("hard bounces", health.hard_bounces), ("deferrals", health.deferrals), ("complaints", health.complaints)] {
        if rate.now >= rate.hold {
            let (now, hold, back) = (percent(rate.now), percent(rate.hold), percent(rate.step_back));
            notes.push(format!("{name}: {now} of {}; the lane holds its stage from {hold} and steps back from {back}", health.sample));
        }
    }
    if lane.lost > 0 {
        notes.push(format!("{} recipients of the day's budget were lost in a crash", lane.lost));
    }
    if let Some(last) = &lane.last {
        let cap = last.cap.map_or_else(String::new, |cap| format!(" of {cap}"));
        notes.push(format!("{}: {} accepted{cap}: {}", last.date, last.counts.accepted, last.verdict));
    }
    notes
}

#[cfg(test)]
mod tests {
    use posthaste_governor::{Curve, Governor, LaneKey, Outcome, Plan, Shape, Stage};

    use super::*;
    use posthaste_governor::warmup::rows;

    #[test]
    fn the_table_tells_the_budget_the_health_and_the_reason() {
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let mut governor = Governor::new();
        let plan = Plan { min_sample: 5, ..Plan::new("mine", Curve::new([20, 100]).unwrap()) }.into();
        let lane = governor.open(&LaneKey::new("ip1", "google"), &plan, Stage::FIRST, Shape::default(), now);
        for (n, outcome) in [(18, Outcome::Accepted), (2, Outcome::HardBounce)] {
            let posthaste_governor::Admission::Go(permit) = governor.admit(lane, n, now) else { panic!("the burst is 20") };
            governor.settle(permit, outcome, now);
        }
        let text = text(&rows(&governor, now), now, None);
        let expected = "\
lane        stage  cap  used  accepted  left    next  bounces  deferred  complaints  tomorrow  as it stands
ip1/google    1/2   20    20        18     0  1d00h   10.0 %     0.0 %       0.0 %        20  step back: hard bounces reached its rate
    waits until 2026-11-24T00:00:00Z: the day's budget is gone: 20 of 20
    hard bounces: 10.0 % of 20; the lane holds its stage from 3.0 % and steps back from 10.0 %
";
        assert_eq!(text, expected.replace("  left    next", "  left   next"));
    }
}
