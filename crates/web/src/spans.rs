//! Spans of time that pages choose from, and figures of them.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use posthaste_relay::desk::Desk;
use posthaste_tallies::{Grain, Span, Tallies, TalliesError};
use posthaste_watch::OFF;

use crate::trouble::Trouble;

/// A span of time up to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Back {
    /// The word in the query.
    pub(crate) word: &'static str,
    /// The words for people.
    pub(crate) name: &'static str,
    hours: i64,
}

impl Back {
    /// Those that there are.
    pub(crate) const ALL: [Self; 4] = [
        Self { word: "1h", name: "1 hour", hours: 1 },
        Self { word: "24h", name: "24 hours", hours: 24 },
        Self { word: "7d", name: "7 days", hours: 7 * 24 },
        Self { word: "30d", name: "30 days", hours: 30 * 24 },
    ];

    /// The span that is asked for; 24 hours if none is.
    pub(crate) fn of(asked: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|back| Some(back.word) == asked).unwrap_or(Self::ALL[1])
    }

    /// From when to when. The minute that is not over yet counts too.
    pub(crate) fn span(self, now: Timestamp) -> Span {
        let from = now.checked_sub(SignedDuration::from_hours(self.hours)).unwrap_or(now);
        Span { from, to: now.checked_add(SignedDuration::from_mins(1)).unwrap_or(now) }
    }

    /// How fine a chart of it is.
    pub(crate) fn grain(self) -> Grain {
        match self.hours {
            ..=1 => Grain::Minute,
            2..=48 => Grain::Hour,
            _ => Grain::Day,
        }
    }

    /// How a step of its chart is written.
    pub(crate) fn step(self) -> &'static str {
        match self.grain() {
            Grain::Day => "%-d %b",
            _ => "%H:%M",
        }
    }
}

/// Links to the same page for other spans. `path` ends so that `since=…` can follow.
pub(crate) fn tabs(path: &str, chosen: Back) -> Markup {
    html! {
        nav .tabs aria-label="Time" { @for back in Back::ALL {
            a href=(format!("{path}since={}", back.word)) aria-current=[(back == chosen).then_some("page")] { (back.name) }
        } }
    }
}

/// Reads figures on a thread that may block.
pub(crate) async fn figures<T: Send + 'static>(
    desk: &Desk,
    ask: impl FnOnce(&Tallies) -> Result<T, TalliesError> + Send + 'static,
) -> Result<T, Trouble> {
    let none = || Trouble::Unavailable(format!("There are no figures: {OFF}."));
    let figures = desk.figures.clone().ok_or_else(none)?;
    let read = tokio::task::spawn_blocking(move || figures.read_soon(ask)).await;
    read.map_err(|error| Trouble::Unavailable(error.to_string()))?.map_err(|error| Trouble::Unavailable(error.to_string()))
}
