//! What a lane's page shows beside what the governor says: its day by hour.

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::warmup::LaneStatus;
use posthaste_tallies::{Counter, Dimension, Grain, Span, pair};
use serde::Serialize;

use crate::site::Site;

/// An hour of a lane.
#[derive(Debug, Serialize)]
pub(super) struct Hour {
    /// Its begin.
    pub(super) from: Timestamp,
    /// Recipients that were delivered.
    pub(super) delivered: u64,
    /// Attempts that were refused or put off.
    pub(super) refused: u64,
}

/// The last 24 hours of a lane.
pub(super) async fn hours(site: &Site, source: &str, provider: &str, now: Timestamp) -> Vec<Hour> {
    let Some(figures) = site.desk.figures.clone() else { return Vec::new() };
    let key = pair(source, provider);
    let read = move || {
        let span = Span {
            from: now.checked_sub(SignedDuration::from_hours(23)).unwrap_or(now),
            to: now.checked_add(SignedDuration::from_mins(1)).unwrap_or(now),
        };
        let series = figures.read_soon(|tallies| tallies.series(Dimension::SourceProvider, span, Grain::Hour)).unwrap_or_default();
        let hour = |from: Timestamp, cell: &posthaste_tallies::Cell| {
            let delivered = cell.get(Counter::Delivered);
            Hour { from, delivered, refused: cell.get(Counter::Attempts).saturating_sub(delivered) }
        };
        let begin = now.as_second().div_euclid(3600) * 3600;
        let begins = (0..24).rev().filter_map(|back| Timestamp::from_second(begin - back * 3600).ok());
        let of = |from| series.iter().find(|(at, _)| *at == from).and_then(|(_, block)| block.get(&key));
        begins.map(|from| of(from).map_or(Hour { from, delivered: 0, refused: 0 }, |cell| hour(from, cell))).collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

/// The address of a lane's page.
pub(super) fn path(source: &str, provider: &str) -> String {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("/warmup/{}/{}", encoded(source), encoded(provider))
}

/// A lane's stage in words: `3 of 28`, `warm`, or `–` without a curve.
pub(super) fn stage(lane: &LaneStatus) -> String {
    match (&lane.curve, lane.stage) {
        (None, _) => "–".into(),
        (_, None) => "warm".into(),
        (_, Some(stage)) => format!("{stage} of {}", lane.stages),
    }
}
