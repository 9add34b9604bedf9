//! Whether the endpoint answers, and when to report it: once for each change, and at most once a minute if it comes and goes.

use std::time::{Duration, Instant};

use posthaste_journal::{Finding, Journal, Part, State};

/// The shortest time between two alarms.
const PAUSE: Duration = Duration::from_secs(60);

/// News of the endpoint for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointNews {
    /// The state in the log's event.
    pub state: State,
    /// For people.
    pub detail: String,
}

impl EndpointNews {
    /// Writes it to the delivery log, and raises or ends the alarm about it.
    pub fn write(self, journal: &Journal) {
        let (rule, part) = ("introspection", Part::Introspection);
        if self.state == State::AlarmOver {
            return journal.mended(part, rule, "", || self.detail);
        }
        let remedy = "Check the endpoint ([introspection]); logins with passwords work as before".into();
        journal.raise(Finding { rule, key: String::new(), part: Some(part), what: self.detail, remedy });
    }
}

#[derive(Debug, Default)]
pub(super) struct Health {
    /// An alarm was raised and is not over yet.
    is_down: bool,
    /// When the last alarm was raised.
    alarmed: Option<Instant>,
}

impl Health {
    /// Takes the outcome of a request: `trouble` is None if it was answered. Returns what to report now.
    pub(super) fn heard(&mut self, trouble: Option<&str>, now: Instant) -> Option<EndpointNews> {
        match trouble {
            Some(why) if !self.is_down && self.alarmed.is_none_or(|alarmed| now.saturating_duration_since(alarmed) >= PAUSE) => {
                (self.is_down, self.alarmed) = (true, Some(now));
                let detail = format!("tokens cannot be checked, and logins with them are deferred: {why}");
                Some(EndpointNews { state: State::Alarm, detail })
            }
            None if self.is_down => {
                self.is_down = false;
                Some(EndpointNews { state: State::AlarmOver, detail: "tokens can be checked again".into() })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_host::clock;

    #[test]
    fn trouble_is_told_once_and_its_end_once() {
        let (mut health, now) = (Health::default(), clock::instant());
        let mut at = |seconds, trouble| health.heard(trouble, now + Duration::from_secs(seconds)).map(|news| news.state);
        assert_eq!(at(0, None), None);
        assert_eq!(at(1, Some("no answer")), Some(State::Alarm));
        assert_eq!(at(2, Some("no answer")), None);
        assert_eq!(at(900, Some("no answer")), None);
        assert_eq!(at(901, None), Some(State::AlarmOver));
        assert_eq!(at(902, None), None);
    }

    #[test]
    fn an_endpoint_that_comes_and_goes_is_told_of_once_a_minute() {
        let (mut health, now) = (Health::default(), clock::instant());
        let mut said = 0;
        for second in 0..120 {
            let trouble = (second % 2 == 0).then_some("status 503");
            said += usize::from(health.heard(trouble, now + Duration::from_secs(second)).is_some());
        }
        assert_eq!(said, 4, "down and up, twice");
    }
}
