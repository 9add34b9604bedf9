//! What became of an incident, as a value.

use jiff::Timestamp;
use posthaste_mail::{Foreign, Name};
use serde::{Deserialize, Serialize};

/// What became of an incident. Its texts may quote strangers: whoever shows them escapes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The incident's id.
    pub incident: String,
    /// The rule that found it.
    pub rule: String,
    /// What it is about: a provider, a stream, a lane. Empty if it is about the relay as a whole.
    pub key: String,
    /// What happened to it.
    pub change: Change,
    /// How bad it is now.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub title: String,
    /// The figures: n of m, the limit, since when.
    pub detail: String,
    /// Whose problem it is.
    pub problem_of: String,
    /// What to do next, in one sentence. May be empty.
    pub next_step: String,
    /// When the incident began.
    pub since: Timestamp,
    /// When this change happened.
    pub at: Timestamp,
    /// The relay's name in events.
    pub node: Name,
}

/// What happened to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Opened,
    /// It became better or worse.
    Changed,
    /// It is still open after a day.
    ToldAgain,
    /// It is over.
    Closed,
    /// There is none: an operator asks whether the channel works.
    Test,
}

impl Change {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Changed => "changed",
            Self::ToldAgain => "told_again",
            Self::Closed => "closed",
            Self::Test => "test",
        }
    }
}

/// How bad an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody should look at it today.
    Warn,
    /// Somebody should look at it now.
    Critical,
}

impl Severity {
    /// The word in JSON and in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Critical => "critical",
        }
    }
}

impl Notification {
    /// A notification that tests a channel.
    pub fn test(node: Name, now: Timestamp) -> Self {
        Self {
            incident: format!("test-{}", now.as_second()),
            rule: "test".into(),
            key: String::new(),
            change: Change::Test,
            severity: Severity::Warn,
            title: "This is a test of this channel".into(),
            detail: "An operator asked for it with `posthaste alarm test`.".into(),
            problem_of: "nobody".into(),
            next_step: "Nothing is to be done: word of incidents will arrive here.".into(),
            since: now,
            at: now,
            node,
        }
    }

    /// The same with texts that one line can show and that are not longer than anybody reads: what is kept of it is bounded.
    pub(crate) fn bounded(self) -> Self {
        let id = |text: String| Foreign::new(&text).first(ID_MAX);
        let text = |text: String| Foreign::new(&text).first(TEXT_MAX);
        Self {
            incident: id(self.incident),
            rule: id(self.rule),
            key: id(self.key),
            title: text(self.title),
            detail: text(self.detail),
            problem_of: id(self.problem_of),
            next_step: text(self.next_step),
            ..self
        }
    }
}

/// The most characters of an id, a rule's name, a key. PagerDuty's dedup_key has 255.
const ID_MAX: usize = 200;
/// The most characters of a sentence. Five of them fit into the smallest message: an embed of Discord has 4,096 characters.
const TEXT_MAX: usize = 700;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn opened(id: &str) -> Notification {
        Notification {
            incident: id.into(),
            rule: "provider_refuses".into(),
            key: "microsoft".into(),
            change: Change::Opened,
            severity: Severity::Critical,
            title: "microsoft refuses mail for reputation".into(),
            detail: "312 of 950 attempts in 15 minutes were refused, the limit is 10 %".into(),
            problem_of: "ours".into(),
            next_step: "Look at `posthaste why microsoft` and ask for delisting".into(),
            since: "2026-11-29T14:02:00Z".parse().unwrap(),
            at: "2026-11-29T14:17:00Z".parse().unwrap(),
            node: Name::new("mx1").unwrap(),
        }
    }

    #[test]
    fn what_is_kept_of_strangers_text_is_short_and_shows_no_controls() {
        let long = Notification { title: "\u{1b}[2J\u{202e}x\r\n".repeat(1000), key: "k".repeat(1000), ..opened("1") }.bounded();
        assert_eq!((long.title.chars().count(), long.key.len()), (TEXT_MAX, ID_MAX));
        assert!(!long.title.contains(Foreign::is_obeyed));
        assert_eq!(opened("1").bounded(), opened("1"));
    }
}
