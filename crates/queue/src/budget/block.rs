//! Why mail may not be sent yet, and how that is worded.

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::{Hold, LaneId, LaneKey, Shape};
use posthaste_mail::Name;

use crate::{exchange::Wait, times::after};

/// How soon a wait list is looked at again if its lanes can carry no more or its sources are gone.
pub(crate) const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// Why mail may not be sent yet.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The source whose turn it was.
    pub(crate) source: Option<Name>,
    /// Its lane.
    pub(crate) lane: Option<LaneId>,
    /// The provider of the mailboxes, or the name of a stream that has used up its rate.
    pub(crate) provider: Name,
    /// When the first recipient may go.
    pub(crate) at: Timestamp,
    /// The governor's reason; None: the sources are gone.
    pub(crate) hold: Option<Hold>,
}

impl Block {
    /// No source of the pool is on this host.
    pub(crate) fn no_source(provider: Name, now: Timestamp) -> Self {
        Self { source: None, lane: None, provider, at: after(now, LOOK_AGAIN), hold: None }
    }

    /// A stream has used up its rate for now.
    pub(crate) fn of_stream(stream: &Name, at: Timestamp, shape: Shape) -> Self {
        Self { source: None, lane: None, provider: stream.clone(), at, hold: Some(Hold::Shaped(shape)) }
    }

    /// Whether an operator can end the wait: the provider, or an operator, holds the lane back.
    pub(crate) fn can_be_resumed(&self) -> bool {
        matches!(self.hold, Some(Hold::Paused { .. } | Hold::Stopped { .. } | Hold::Slowed { .. }))
    }

    fn how_to_resume(&self) -> String {
        let lane = self.source.as_ref().map(|source| LaneKey::new(source.as_str(), self.provider.as_str()));
        lane.map_or_else(String::new, |lane| format!("; {}", lane.how_to_resume()))
    }

    /// The reason as a sentence, without what an operator may do about it.
    pub(crate) fn why(&self) -> String {
        let (mut sentence, command) = (self.wait().detail, self.how_to_resume());
        if self.can_be_resumed() && sentence.ends_with(&command) {
            sentence.truncate(sentence.len() - command.len());
        }
        sentence
    }

    /// The fields of the event: the reason as a word, the cap, how much of it is used, and a sentence.
    pub(crate) fn wait(&self) -> Wait {
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
            Some(Hold::DayOver) => {
                ("day_over", None, None, format!("{lane}: the clock went back: the budget of this day or of a later one was given already"))
            }
            Some(Hold::Paused { until, why }) => {
                let until = until.strftime("%F %T");
                ("paused", None, None, format!("{lane} pauses until {until} UTC: {why}{}", self.how_to_resume()))
            }
            Some(Hold::Stopped { why }) => ("stopped", None, None, format!("{lane} is stopped: {why}{}", self.how_to_resume())),
            Some(Hold::Slowed { per_hour, why }) => {
                ("slowed", Some(*per_hour), None, format!("{lane}: {per_hour} an hour: {why}{}", self.how_to_resume()))
            }
            Some(Hold::Shaped(_)) => ("rate", None, None, format!("{lane}: as many as its rate allows")),
        };
        let next_release = (self.at < Timestamp::MAX).then_some(self.at);
        let (source, provider) = (self.source.clone(), Some(self.provider.clone()));
        Wait { reason, until: None, source, provider, cap, used, next_release, detail }
    }
}
