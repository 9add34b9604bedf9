//! The health score, where it goes, and what costs the most.

use maud::{Markup, html};
use posthaste_findings::score::Score;
use posthaste_watch::OFF;

use crate::{
    snapshot::Snapshot,
    words::{At, foreign},
};

/// Losses that are shown.
const LOSSES: usize = 3;

pub(super) fn draw(snapshot: &Snapshot) -> Markup {
    html! {
        h2 { "Health score" }
        @match &snapshot.scores {
            None if snapshot.is_off => { p .quiet { (crate::words::sentence(OFF)) } }
            None => { p .quiet { "Not judged yet: the first look takes a minute after the start." } }
            Some(scores) => { (score(&scores.all, snapshot.week_ago, &but(&scores.all, snapshot))) }
        }
    }
}

/// What is wrong now beside a score: "; but mail to google stands since 14:02".
pub(crate) fn but(score: &Score, snapshot: &Snapshot) -> Markup {
    let at = |time| At { time, now: snapshot.now, zone: &snapshot.zone };
    html! { @if let Some(worst) = score.beside.first() {
        "; but " a href=(format!("/incidents/{}", worst.incident)) { (foreign(&worst.what())) } " since " (at(worst.since))
    } }
}

fn score(score: &Score, week_ago: Option<(u8, &str)>, but: &Markup) -> Markup {
    let Some(value) = score.value else { return html! { p .quiet { (score.note) } } };
    let band =
        score.band.and_then(|band| serde_json::to_value(band).ok()).and_then(|band| band.as_str().map(str::to_owned)).unwrap_or_default();
    html! {
        p .score { strong .(band) { (value) } " of 100 · " (band) (but)
            @if let Some((before, arrow)) = week_ago { " · " span aria-label=(format!("{before} seven days ago")) { (arrow) " " (before) " seven days ago" } }
            " · " (score.note) }
        @if !score.losses.is_empty() {
            ol .losses { @for loss in score.losses.iter().take(LOSSES) {
                li { strong { "−" (format!("{:.1}", loss.points)) } " " (foreign(&loss.sentence)) " " em { (crate::words::sentence(loss.next_step)) } }
            } }
        }
    }
}
