//! Selects the lines that a user wants to see.

use aho_corasick::{AhoCorasick, Input, Span, packed::Searcher};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{LogRecord, LogText, SCHEMA, record::event_word};

/// The words for events, as the schema lists them.
pub fn events() -> Vec<String> {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let words = schema["properties"]["event"]["enum"].as_array().expect("the schema lists the events");
    words.iter().filter_map(|word| word.as_str()).map(str::to_owned).collect()
}

/// What a line must match: every field that is Some, without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LineFilter {
    pub event: Option<String>,
    pub domain: Option<String>,
    pub provider: Option<String>,
    pub stream: Option<String>,
    pub rcpt: Option<String>,
    pub class: Option<String>,
    pub message: Option<String>,
    pub tag: Option<String>,
    pub user: Option<String>,
    pub source: Option<String>,
    #[serde(default)]
    pub from_domain: Option<String>,
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
            && is(&self.user, record.user.as_ref())
            && is(&self.source, record.source.as_ref())
            && is(&self.from_domain, record.from_domain.as_ref())
            && self.tag.as_ref().is_none_or(|tag| record.tags.iter().any(|has| has.eq_ignore_ascii_case(tag)))
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

/// Finds the lines that match a filter, and parses few others.
pub struct LineFinder {
    filter: LineFilter,
    /// What every such line holds.
    needles: Vec<Needle>,
}

impl LineFinder {
    /// A finder of the lines that match the filter.
    pub fn new(filter: LineFilter) -> Self {
        let LineFilter { domain, provider, stream, rcpt, class, message, tag, user, source, from_domain, .. } = &filter;
        let needles = [domain, provider, stream, rcpt, class, message, tag, user, source, from_domain];
        let needles = needles.into_iter().flatten().map(|text| Needle::new(text)).collect();
        Self { filter, needles }
    }

    /// The line's record, if it matches.
    pub fn find<'l>(&self, line: &'l [u8]) -> Option<LogRecord<'l>> {
        let event = self.filter.event.as_ref();
        let is_other = event.is_some_and(|wanted| event_word(line).is_some_and(|word| !word.eq_ignore_ascii_case(wanted)));
        if is_other || !self.needles.iter().all(|needle| needle.is_in(line)) {
            return None;
        }
        LogRecord::parse(line).filter(|record| self.filter.matches(record))
    }
}

/// Finds the lines worth parsing: those that hold a string in its JSON form, without regard to case.
pub(crate) struct Needle {
    /// The JSON form, in lower case.
    text: Vec<u8>,
    finder: Finder,
}

/// An automaton without regard to case looks at each byte, at some hundred MB a second. A search for the few ways in which some bytes of the text
/// may be written looks at 16 or more of them at once, and what it finds is compared.
enum Finder {
    /// Finds the bytes of the text that begin at `at`.
    Some { at: usize, searcher: Searcher },
    /// Finds all of it.
    Whole(AhoCorasick),
}

/// How many bytes of a needle are looked for, if it has so many; and in how many ways at most.
const CORE: usize = 4;
const WAYS: usize = 8;

impl Finder {
    fn new(text: &[u8]) -> Self {
        let letters = |core: &[u8]| core.iter().filter(|b| b.is_ascii_alphabetic()).count();
        // With fewer letters there are fewer ways.
        let cores = [CORE, CORE - 1].into_iter().flat_map(|length| text.windows(length).enumerate());
        let core = cores.filter(|(_, core)| 1 << letters(core) <= WAYS).min_by_key(|(_, core)| (CORE - core.len(), letters(core)));
        let some = core.and_then(|(at, core)| Some(Self::Some { at, searcher: Searcher::new(ways(core))? }));
        some.unwrap_or_else(|| {
            let whole = AhoCorasick::builder().ascii_case_insensitive(true).build([text]);
            Self::Whole(whole.expect("one short pattern makes a small automaton"))
        })
    }
}

/// All ways in which these bytes may be written.
fn ways(core: &[u8]) -> Vec<Vec<u8>> {
    core.iter().fold(vec![Vec::new()], |ways, b| {
        let cases = if b.is_ascii_alphabetic() { &[b.to_ascii_lowercase(), b.to_ascii_uppercase()][..] } else { &[*b] };
        ways.iter().flat_map(|way| cases.iter().map(|case| [&way[..], &[*case]].concat())).collect()
    })
}

impl Needle {
    /// A needle for the string as a complete JSON value.
    pub(crate) fn new(text: &str) -> Self {
        Self::of_json(&json(text))
    }

    /// A needle for the string as a part of a JSON value.
    pub(crate) fn part(text: &str) -> Self {
        Self::of_json(inner(&json(text)))
    }

    /// A needle for the string as the beginning of a JSON value.
    pub(crate) fn beginning(text: &str) -> Self {
        let json = json(text);
        Self::of_json(&json[..json.len() - 1])
    }

    /// A needle for the string as the end of a JSON value.
    pub(crate) fn end(text: &str) -> Self {
        Self::of_json(&json(text)[1..])
    }

    fn of_json(json: &str) -> Self {
        let text = json.as_bytes().to_ascii_lowercase();
        Self { finder: Finder::new(&text), text }
    }

    pub(crate) fn is_in(&self, line: &[u8]) -> bool {
        self.find(line, 0).is_some()
    }

    /// Where the string is found first in `bytes`, from the place `from` on.
    pub(crate) fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let (at, searcher) = match &self.finder {
            Finder::Whole(finder) => return finder.find(Input::new(bytes).range(from..)).map(|found| found.start()),
            Finder::Some { at, searcher } => (*at, searcher),
        };
        let mut look = from + at;
        while look < bytes.len() {
            let core = searcher.find_in(bytes, Span::from(look..bytes.len()))?.start();
            let text = bytes.get(core - at..core - at + self.text.len());
            if text.is_some_and(|text| text.eq_ignore_ascii_case(&self.text)) {
                return Some(core - at);
            }
            look = core + 1;
        }
        None
    }
}

/// A string as it stands in a line.
fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

/// A JSON string without its quotes.
fn inner(json: &str) -> &str {
    &json[1..json.len() - 1]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &[u8] =
        br#"{"time":"2026-08-24T10:11:12.345Z","event":"deferred","domain":"gmail.com","provider":"google","rcpt":"\"b c\"@Gmail.com","user":"shop","source":"ip1","from_domain":"shop.test"}"#;

    #[test]
    fn everything_that_is_asked_for_must_match() {
        let record = LogRecord::parse(LINE).unwrap();
        let some = |text: &str| Some(text.to_owned());
        assert!(LineFilter::default().matches(&record));
        let google = LineFilter { event: some("deferred"), provider: some("Google"), domain: some("GMAIL.com"), ..LineFilter::default() };
        assert!(google.matches(&record));
        assert!(!LineFilter { event: some("delivered"), ..google.clone() }.matches(&record));
        let shop = LineFilter { user: some("shop"), source: some("ip1"), from_domain: some("Shop.test"), ..google.clone() };
        assert!(shop.matches(&record));
        assert!(!LineFilter { user: some("app"), ..shop.clone() }.matches(&record));
        assert!(!LineFilter { from_domain: some("gmail.com"), ..shop.clone() }.matches(&record));
        assert!(!LineFilter { source: some("ip2"), ..shop }.matches(&record));
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
    fn a_finder_finds_what_its_filter_matches() {
        let some = |text: &str| Some(text.to_owned());
        let rcpt = LineFilter { rcpt: some("\"B C\"@gmail.com"), ..LineFilter::default() };
        for (filter, fits) in [
            (LineFilter::default(), true),
            (LineFilter { event: some("Deferred"), ..rcpt.clone() }, true),
            (LineFilter { event: some("delivered"), ..rcpt.clone() }, false),
            (LineFilter { domain: some("gmail.co"), ..rcpt.clone() }, false),
            (LineFilter { tag: some("gmail.com"), ..rcpt }, false),
        ] {
            assert_eq!(LineFinder::new(filter.clone()).find(LINE).is_some(), fits, "{filter:?}");
        }
    }

    #[test]
    fn the_events_are_those_that_are_written() {
        let written = crate::samples::each(true).into_iter().map(|event| {
            let mut line = Vec::new();
            crate::encode(&event, &mut line);
            event_word(&line).unwrap().to_owned()
        });
        let written: std::collections::BTreeSet<String> = written.collect();
        assert_eq!(events().into_iter().collect::<std::collections::BTreeSet<_>>(), written);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_needle_is_found_where_it_stands_first(text in "[ab1\"ü@]{0,7}", before in "[ab1ü@\"]{0,40}", behind in "[abAB1ü@]{0,20}", from in 0..9_usize) {
            for hay in [format!("{before}{behind}"), format!("{before}{}{behind}", inner(&json(&text)).to_ascii_uppercase())] {
                let (bytes, from) = (hay.as_bytes(), from.min(hay.len()));
                let wanted = inner(&json(&text)).to_ascii_lowercase();
                let plain = (from..=bytes.len()).find(|at| bytes[*at..].to_ascii_lowercase().starts_with(wanted.as_bytes()));
                prop_assert_eq!(Needle::part(&text).find(bytes, from), plain, "{:?} in {:?}", text, hay);
            }
        }
    }

    #[test]
    fn a_needle_finds_quoted_addresses_in_any_case() {
        assert!(Needle::new("\"B C\"@gmail.com").is_in(LINE));
        assert!(!Needle::new("c@gmail.com").is_in(LINE));
        assert!(Needle::part("\"b C\"@g").is_in(LINE) && Needle::beginning("\"b").is_in(LINE) && Needle::end("@GMAIL.com").is_in(LINE));
        assert!(!Needle::beginning("mail").is_in(LINE) && !Needle::end("@gmail").is_in(LINE));
        let google = memchr::memmem::find(LINE, b"google").unwrap();
        assert_eq!([0, google, google + 1].map(|from| Needle::end("Google").find(LINE, from)), [Some(google), Some(google), None]);
    }
}
