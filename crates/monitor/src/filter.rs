//! Selects the lines that a user wants to see.

use aho_corasick::AhoCorasick;
use jiff::Timestamp;

use crate::{LogRecord, LogText};

/// What a line must match: every field that is Some, without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LineFilter {
    pub event: Option<String>,
    pub domain: Option<String>,
    pub provider: Option<String>,
    pub stream: Option<String>,
    pub rcpt: Option<String>,
    pub class: Option<String>,
    pub message: Option<String>,
    /// The earliest time, inclusive.
    pub since: Option<Timestamp>,
    /// The latest time, exclusive.
    pub until: Option<Timestamp>,
}

impl LineFilter {
    /// Whether the record matches.
    pub fn matches(&self, record: &LogRecord<'_>) -> bool {
        let is = |wanted: &Option<String>, has: Option<&LogText<'_>>| match wanted {
            Some(wanted) => has.is_some_and(|has| has.eq_ignore_ascii_case(wanted)),
            None => true,
        };
        is(&self.event, Some(&record.event))
            && is(&self.domain, record.domain.as_ref())
            && is(&self.provider, record.provider.as_ref())
            && is(&self.stream, record.stream.as_ref())
            && is(&self.rcpt, record.rcpt.as_ref())
            && is(&self.class, record.class.as_ref())
            && is(&self.message, record.message.as_ref())
            && self.time_matches(record)
    }

    fn time_matches(&self, record: &LogRecord<'_>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(time) = record.time() else { return false };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

/// Finds the lines worth parsing: those that hold a string in its JSON form, without regard to case.
pub(crate) struct Needle(AhoCorasick);

impl Needle {
    /// A needle for the string as a complete JSON value.
    pub(crate) fn new(text: &str) -> Self {
        let json = serde_json::to_string(text).expect("a string is JSON");
        let finder = AhoCorasick::builder().ascii_case_insensitive(true).build([json]);
        Self(finder.expect("one short pattern makes a small automaton"))
    }

    pub(crate) fn is_in(&self, line: &[u8]) -> bool {
        self.0.is_match(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] =
        br#"{"time":"2026-08-24T10:11:12.345Z","event":"deferred","domain":"gmail.com","provider":"google","rcpt":"\"b c\"@Gmail.com"}"#;

    #[test]
    fn everything_that_is_asked_for_must_match() {
        let record = LogRecord::parse(LINE).unwrap();
        let some = |text: &str| Some(text.to_owned());
        assert!(LineFilter::default().matches(&record));
        let google = LineFilter { event: some("deferred"), provider: some("Google"), domain: some("GMAIL.com"), ..LineFilter::default() };
        assert!(google.matches(&record));
        assert!(!LineFilter { event: some("delivered"), ..google.clone() }.matches(&record));
        assert!(!LineFilter { class: some("rate_limited"), ..google }.matches(&record));
    }

    #[test]
    fn since_is_inside_and_until_is_outside() {
        let record = LogRecord::parse(LINE).unwrap();
        let time = record.time();
        assert!(LineFilter { since: time, ..LineFilter::default() }.matches(&record));
        assert!(!LineFilter { until: time, ..LineFilter::default() }.matches(&record));
    }

    #[test]
    fn a_needle_finds_quoted_addresses_in_any_case() {
        assert!(Needle::new("\"B C\"@gmail.com").is_in(LINE));
        assert!(!Needle::new("c@gmail.com").is_in(LINE));
    }
}
