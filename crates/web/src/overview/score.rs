//! The health score, where it goes, and what costs the most.

use maud::{Markup, html};
use posthaste_findings::score::Score;

use crate::snapshot::Snapshot;

/// Losses that are shown.
const LOSSES: usize = 3;

pub(super) fn draw(snapshot: &Snapshot) -> Markup {
    html! {
        h2 { "Health score" }
        @match &snapshot.scores {
            None => { p .quiet { "Not judged yet: the first look takes a minute after the start." } }
            Some(scores) => { (score(&scores.all, snapshot.week_ago)) }
        }
    }
}

fn score(score: &Score, week_ago: Option<(u8, &str)>) -> Markup {
    let Some(value) = score.value else { return html! { p .quiet { (score.note) } } };
    let band =
        score.band.and_then(|band| serde_json::to_value(band).ok()).and_then(|band| band.as_str().map(str::to_owned)).unwrap_or_default();
    html! {
        p .score { strong .(band) { (value) } " of 100 · " (band)
            @if let Some((before, arrow)) = week_ago { " · " span aria-label=(format!("{before} seven days ago")) { (arrow) " " (before) " seven days ago" } }
            " · " (score.note) }
        @if !score.losses.is_empty() {
            ol .losses { @for loss in score.losses.iter().take(LOSSES) {
                li { strong { "−" (format!("{:.1}", loss.points)) } " " (crate::words::foreign(&loss.sentence)) " " em { (crate::words::sentence(loss.next_step)) } }
            } }
        }
    }
}
