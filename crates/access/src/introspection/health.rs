//! Whether the endpoint answers, and when to say so: once for each change, and not more than once a minute where it comes and goes.

use std::time::{Duration, Instant};

use posthaste_journal::State;

/// How long nothing is said after it was said that there is trouble.
const PAUSE: Duration = Duration::from_secs(60);

/// What the operator is to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// For the event, and for those who wait for it.
    pub state: State,
    /// For people.
    pub detail: String,
}

#[derive(Debug, Default)]
pub(super) struct Health {
    /// It was said that there is trouble, and not yet that it is over.
    is_down: bool,
    told: Option<Instant>,
}

impl Health {
    /// What became of a question: None: it was answered. What is to be said now.
    pub(super) fn heard(&mut self, trouble: Option<&str>, now: Instant) -> Option<News> {
        match trouble {
            Some(why) if !self.is_down && self.told.is_none_or(|told| now.saturating_duration_since(told) >= PAUSE) => {
                (self.is_down, self.told) = (true, Some(now));
                let detail = format!("tokens cannot be checked, and logins with them are put off: {why}");
                Some(News { state: State::Alarm, detail })
            }
            None if self.is_down => {
                self.is_down = false;
                Some(News { state: State::AlarmOver, detail: "tokens can be checked again".into() })
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
