//! What a rule has before it, and what it hands back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use posthaste_tallies::{Dimension, Tallies, TalliesError, pair};
use serde::{Deserialize, Serialize};

use crate::{
    About, ClockStep, Facts, Finding, FindingState, Key, Measure, ProblemOf, Rule, RuleSettings, Severity,
    counts::{ByKey, Counted, Counts},
    text::said,
};

/// What there is to look at.
///
/// How often the tallies are asked, with 200 providers and 50 streams (`examples/tick_cost.rs` measures it): at each tick two or three
/// minutes of five dimensions; every five minutes the times of 50 streams in 15 minutes; once an hour the sums of whole hours, the new hour
/// of each sender and seven days of the providers; once after a start 14 days of hours. That is 15 ms a tick, and half a second for the
/// first one.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The tallies; None: they cannot be read, and only rules that need none are asked.
    pub tallies: Option<&'a Tallies>,
    /// All lines of the log before this time are in the tallies. When the reader has reached the log's end, it is now.
    pub counted: Timestamp,
    /// What the relay knows besides.
    pub facts: &'a Facts,
}

/// One look of the rules.
pub(crate) struct Look<'a> {
    pub(crate) view: View<'a>,
    pub(crate) settings: &'a RuleSettings,
    pub(crate) now: Timestamp,
    pub(crate) counted: &'a mut Counted,
    pub(crate) memory: &'a mut Memory,
    pub(crate) explained: &'a mut Explained,
}

/// Findings about streams that are the mail of some users, with these users: by the finding's id.
pub(crate) type Explained = BTreeMap<String, Vec<Key>>;

/// The users of whom a rule found something critical, and what their mail comes to.
#[derive(Debug, Default)]
pub(crate) struct Culprits {
    users: Vec<Key>,
    sum: Counts,
}

/// What users sent in each stream.
pub(crate) type InStreams = ByKey;

impl Culprits {
    /// Takes note of what was found about a user.
    pub(crate) fn note(&mut self, draft: &Draft) {
        if draft.severity == Severity::Critical && draft.key.about == About::User {
            self.users.push(draft.key.clone());
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Those who sent in this stream, with what they sent in it: what they sent in others is none of its mail.
    pub(crate) fn of_stream(&self, stream: &str, sent: &InStreams) -> Self {
        let mut own = Self::default();
        for user in &self.users {
            if let Some(counts) = sent.get(&*pair(&user.value, stream)) {
                own.users.push(user.clone());
                own.sum.add(counts);
            }
        }
        own
    }

    /// What is left of a stream's counts without theirs; None: there are none.
    pub(crate) fn without(&self, counts: &Counts) -> Option<Counts> {
        (!self.is_empty()).then(|| counts.without(&self.sum))
    }
}

impl<'a> Look<'a> {
    /// The tallies. Rules that need them are asked only where there are some.
    pub(crate) fn tallies(&self) -> &'a Tallies {
        self.view.tallies.expect("rules of tallies are asked when there are some")
    }

    /// The sums of the running minute and the time before it, an hour at most.
    pub(crate) fn recent(&self, dimension: Dimension, window: Duration) -> ByKey {
        self.counted.last_minutes(dimension, minutes(window))
    }

    /// What is found about each key of these dimensions in so much time. Users come before streams: a stream whose finding is the mail of
    /// critical users says so.
    pub(crate) fn blame(
        &mut self,
        dimensions: &[Dimension],
        window: Duration,
        draft: impl Fn(&Self, Dimension, &str, &Counts) -> Option<Draft>,
    ) -> Result<Vec<Draft>, TalliesError> {
        let (mut drafts, mut culprits) = (Vec::new(), Culprits::default());
        for dimension in dimensions {
            let is_streams = *dimension == Dimension::Stream && !culprits.is_empty();
            let sent = if is_streams { self.hours(Dimension::UserStream, window)? } else { InStreams::new() };
            for (key, counts) in self.hours(*dimension, window)? {
                let Some(mut found) = draft(self, *dimension, &key, &counts) else { continue };
                culprits.note(&found);
                let own = culprits.of_stream(&key, &sent);
                if let Some(rest) = own.without(&counts) {
                    let rest = draft(self, *dimension, &key, &rest);
                    self.explain(&mut found, rest.as_ref(), &own);
                }
                drafts.push(found);
            }
        }
        Ok(drafts)
    }

    /// Notes that a finding about a stream is the mail of these users, if `rest`, what is found without it, is not as bad.
    pub(crate) fn explain(&mut self, stream: &mut Draft, rest: Option<&Draft>, by: &Culprits) {
        if rest.is_some_and(|rest| rest.severity >= stream.severity) {
            return;
        }
        let names: Vec<&str> = by.users.iter().map(|user| user.value.as_str()).collect();
        let (word, names) = (if names.len() == 1 { "user" } else { "users" }, said(&names.join(", ")));
        stream.summary = format!("{}{BLAMES}{word} {names}{THE_REST}", stream.summary);
        self.explained.insert(Finding::id_of(stream.rule, &stream.key), by.users.clone());
    }

    /// The sums of the running hour and the whole hours before it.
    pub(crate) fn hours(&mut self, dimension: Dimension, window: Duration) -> Result<ByKey, TalliesError> {
        let tallies = self.tallies();
        self.counted.last_hours(tallies, dimension, hours(window))
    }
}

const BLAMES: &str = " It is the mail of ";
const THE_REST: &str = ": the rest of the stream is as usual.";

/// What is said about a stream, for who may not know its users: without the sentence that names them.
pub fn without_users(text: &str) -> String {
    let parts = text.split_once(BLAMES).and_then(|(before, after)| Some((before, after.split_once(THE_REST)?.1)));
    parts.map_or_else(|| text.to_owned(), |(before, after)| format!("{before}{after}"))
}

/// In whole minutes, one at least.
pub(crate) fn minutes(time: Duration) -> i64 {
    i64::try_from(time.as_secs().div_ceil(60)).unwrap_or(i64::MAX).max(1)
}

/// In whole hours, one at least.
pub(crate) fn hours(time: Duration) -> i64 {
    i64::try_from(time.as_secs().div_ceil(3600)).unwrap_or(i64::MAX).max(1)
}

/// What rules remember from tick to tick, beside what can be read from the tallies again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Streams that were late at the last look, and at how many looks in a row.
    pub(crate) late: BTreeMap<String, u32>,
    /// The number of that look.
    pub(crate) late_look: i64,
    /// What it found.
    pub(crate) late_found: Vec<Draft>,
    /// Providers of which no host answers.
    #[serde(default)]
    pub(crate) unreached: BTreeSet<String>,
    /// Domains about which DNS says nothing.
    #[serde(default)]
    pub(crate) unresolved: BTreeSet<String>,
    /// Providers that put off all that they are sent, and since when.
    #[serde(default)]
    pub(crate) put_off: BTreeMap<String, Timestamp>,
    /// Since when the disk has been slow without a break.
    pub(crate) fsync_since: Option<Timestamp>,
    /// The last step of the clock.
    #[serde(default)]
    pub(crate) clock_stepped: Option<ClockStep>,
}

/// A finding without its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Draft {
    pub(crate) rule: Rule,
    pub(crate) key: Key,
    pub(crate) severity: Severity,
    pub(crate) measure: Measure,
    pub(crate) summary: String,
    pub(crate) problem_of: ProblemOf,
    pub(crate) done: String,
    pub(crate) next_step: String,
    /// The command that shows the events.
    pub(crate) query: String,
    /// How far before the first finding the events begin, if the command takes a time.
    pub(crate) since: Option<Duration>,
}

impl Draft {
    /// The finding, first seen at this time.
    pub(crate) fn finding(self, first_seen: Timestamp, now: Timestamp) -> Finding {
        let begin = self.since.map(|back| first_seen.checked_sub(back).unwrap_or(first_seen));
        let begin = begin.and_then(|begin| Timestamp::from_second(begin.as_second()).ok());
        let query = begin.map_or_else(|| self.query.clone(), |begin| format!("{} --since {begin}", self.query));
        Finding {
            id: Finding::id_of(self.rule, &self.key),
            rule: self.rule,
            key: self.key,
            severity: self.severity,
            measure: self.measure,
            first_seen,
            last_seen: now,
            state: FindingState::Open,
            summary: self.summary,
            problem_of: self.problem_of,
            done: self.done,
            next_step: self.next_step,
            query,
        }
    }
}

/// What `posthaste log` and the texts call it: `stream` and `news`.
pub(crate) fn sender(dimension: Dimension, key: &str) -> (Key, &'static str) {
    match dimension {
        Dimension::User => (Key::new(About::User, key), "user"),
        _ => (Key::new(About::Stream, key), "stream"),
    }
}

/// The severity of a rate with a limit for each, and the limit; None below both.
pub(crate) fn graded(rate: f64, warn: f64, critical: f64) -> Option<(Severity, f64, &'static str)> {
    match rate {
        rate if rate >= critical => Some((Severity::Critical, critical, "critical")),
        rate if rate >= warn => Some((Severity::Warn, warn, "warn")),
        _ => None,
    }
}
