//! Why something may not go, in words.

use jiff::Timestamp;
use posthaste_governor::{Hold, Shape};
use posthaste_mail::Name;

use crate::budget::waitlist::{LOOK_AGAIN, after};

/// Why something may not go.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) source: Option<Name>,
    pub(crate) provider: Name,
    /// When the first may go.
    pub(crate) at: Timestamp,
    /// `None`: the sources are gone.
    pub(crate) hold: Option<Hold>,
}

/// What an event says of mail that waits for budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// In a word: `day_cap`, `spread`, `paused`, ...
    pub reason: &'static str,
    /// When it will go, if nothing else happens; None where that is not to be foreseen.
    pub until: Option<Timestamp>,
    /// The source whose turn it was.
    pub source: Option<Name>,
    /// Who runs the mailboxes.
    pub provider: Option<Name>,
    /// The lane's cap.
    pub cap: Option<u32>,
    /// What of it is gone.
    pub used: Option<u32>,
    /// When the lane may send again.
    pub next_release: Option<Timestamp>,
    /// For people.
    pub detail: String,
}

impl Block {
    pub(crate) fn no_source(provider: Name, now: Timestamp) -> Self {
        Self { source: None, provider, at: after(now, LOOK_AGAIN), hold: None }
    }

    /// A stream that has sent what it may for now.
    pub(crate) fn of_stream(stream: &Name, at: Timestamp, shape: Shape) -> Self {
        Self { source: None, provider: stream.clone(), at, hold: Some(Hold::Shaped(shape)) }
    }

    /// The reason in a word, the cap and what of it is gone, and a sentence.
    pub(crate) fn told(&self) -> Wait {
        let source = self.source.as_ref().map_or("the pool", |s| s.as_str());
        let lane = format!("{source} at {}", self.provider);
        let (reason, cap, used, detail) = match &self.hold {
            None => ("no_source", None, None, format!("no source of the pool is on this host: {}", self.provider)),
            Some(Hold::DayCap { cap, used }) => ("day_cap", Some(*cap), Some(*used), format!("{lane}: the day's {cap} are used")),
            Some(Hold::Spread { cap, used }) => (
                "spread",
                Some(*cap),
                Some(*used),
                format!("{lane}: {used} of the day's {cap} are used, the rest comes as the day goes by"),
            ),
            Some(Hold::HourCap { cap }) => ("hour_cap", Some(*cap), None, format!("{lane}: the hour's {cap} are used")),
            Some(Hold::Window) => ("window", None, None, format!("{lane}: outside of its sending hours")),
            Some(Hold::DayOver) => ("day_over", None, None, format!("{lane}: the clock went back into a day that is over")),
            Some(Hold::Paused { why }) => ("paused", None, None, format!("{lane} pauses: {why}")),
            Some(Hold::Stopped { why }) => ("stopped", None, None, format!("{lane} is stopped: {why}")),
            Some(Hold::Slowed { per_hour, why }) => ("slowed", Some(*per_hour), None, format!("{lane}: {per_hour} an hour: {why}")),
            Some(Hold::Shaped(_)) => ("rate", None, None, format!("{lane}: as many as its rate allows")),
        };
        let next_release = (self.at < Timestamp::MAX).then_some(self.at);
        let (source, provider) = (self.source.clone(), Some(self.provider.clone()));
        Wait { reason, until: None, source, provider, cap, used, next_release, detail }
    }
}
