//! Sources that warm up: where each stands, and when it will be warm.

use std::collections::BTreeMap;

use maud::{Markup, html};
use posthaste_governor::warmup::LaneStatus;

use crate::{
    chart::bar,
    snapshot::Snapshot,
    words::{number, rate},
};

pub(super) fn draw(snapshot: &Snapshot) -> Markup {
    let mut sources: BTreeMap<&str, Vec<&LaneStatus>> = BTreeMap::new();
    for lane in snapshot.lanes.iter().filter(|lane| lane.stage.is_some()) {
        sources.entry(&lane.source).or_default().push(lane);
    }
    html! {
        h2 { "Warm-up" }
        @if sources.is_empty() { p .quiet { "No source warms up." } }
        @else {
            div .scroll tabindex="0" role="region" aria-label="Warm-up" { table {
                thead { tr { th scope="col" { "Source" } th scope="col" { "Stages" } th scope="col" { "Used of today's cap" } th .n scope="col" { "Bounced" }
                    th .n scope="col" { "Put off" } th scope="col" { "Warm in" } } }
                tbody { @for (source, lanes) in &sources { (draw_source(source, lanes)) } }
            } }
        }
    }
}

fn draw_source(source: &str, lanes: &[&LaneStatus]) -> Markup {
    let stages = || lanes.iter().filter_map(|lane| lane.stage);
    let (low, high) = (stages().min().unwrap_or_default(), stages().max().unwrap_or_default());
    let of = lanes.iter().map(|lane| lane.stages).max().unwrap_or_default();
    let (used, cap) =
        lanes.iter().fold((0, 0), |(used, cap), lane| (used + u64::from(lane.used), cap + u64::from(lane.cap.unwrap_or_default())));
    let sample: u64 = lanes.iter().map(|lane| u64::from(lane.health.sample)).sum();
    let share = |of: fn(&LaneStatus) -> f64| lanes.iter().map(|lane| of(lane) * f64::from(lane.health.sample)).sum::<f64>().round() as u64;
    let left = lanes.iter().filter_map(|lane| Some(lane.stages.saturating_sub(lane.stage?) + 1)).max().unwrap_or_default();
    html! {
        tr {
            th scope="row" { a href=(format!("/warmup?source={source}")) { (source) } }
            td { @if low == high { (low) } @else { (low) "–" (high) } " of " (of) " · " (crate::words::counted(lanes.len() as u64, "provider", "providers")) }
            td { (bar(used, cap)) " " (number(used)) " of " (number(cap)) }
            td .n { (rate(share(|lane| lane.health.hard_bounces.now), sample)) }
            td .n { (rate(share(|lane| lane.health.deferrals.now), sample)) }
            td { (crate::words::counted(left.into(), "day", "days")) " at the earliest" }
        }
    }
}
