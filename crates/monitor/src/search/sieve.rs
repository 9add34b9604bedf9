//! Finds the lines of a block that match, and parses few others.

use std::ops::Range;

use jiff::Timestamp;
use memchr::{memchr, memrchr};

use super::{
    Criteria,
    texts::{AddressText, IdText, MetaText},
};
use crate::{LogRecord, filter::Needle, record::event_word};

/// What a search looks for, in the form in which lines have it.
pub(super) struct Sieve {
    criteria: Criteria,
    /// What every line holds that matches; the rarest first, as far as one can know.
    needles: Vec<Needle>,
    times: Times,
}

/// Whether a line is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fits {
    Yes,
    No,
    /// It holds what is looked for, but cannot be parsed.
    Damaged,
}

impl Sieve {
    pub(super) fn new(criteria: Criteria) -> Self {
        let times = Times { since: criteria.since.map(second), until: criteria.until.map(second) };
        Self { needles: needles(&criteria), times, criteria }
    }

    /// The criteria.
    pub(super) fn criteria(&self) -> &Criteria {
        &self.criteria
    }

    /// Where the lines of this block are that may match, in order, without their ends. A block is whole lines; the last one may have no end.
    pub(super) fn candidates(&self, block: &[u8]) -> Vec<Range<usize>> {
        let (mut found, mut at) = (Vec::new(), 0);
        while at < block.len() {
            let begin = match self.needles.first() {
                None => at,
                Some(needle) => match needle.find(block, at) {
                    // A needle holds no line end, so nothing before the last line end is about this hit.
                    Some(hit) => memrchr(b'\n', &block[at..hit]).map_or(at, |end| at + end + 1),
                    None => break,
                },
            };
            let end = memchr(b'\n', &block[begin..]).map_or(block.len(), |end| begin + end);
            let line = &block[begin..end];
            if !line.is_empty() && self.times.may_match(line) && self.needles.iter().skip(1).all(|needle| needle.is_in(line)) {
                found.push(begin..end);
            }
            at = end + 1;
        }
        found
    }

    /// Whether a candidate matches.
    pub(super) fn fits(&self, line: &[u8]) -> Fits {
        if event_word(line).is_some_and(|event| !self.criteria.event_matches(event)) {
            return Fits::No;
        }
        match LogRecord::parse(line) {
            None => Fits::Damaged,
            Some(record) if self.criteria.matches(&record) => Fits::Yes,
            Some(_) => Fits::No,
        }
    }
}

fn needles(criteria: &Criteria) -> Vec<Needle> {
    let id = |id: &IdText| match id {
        // A Message-ID has angle brackets in the log.
        IdText::Whole(text) | IdText::Part(text) => Needle::part(text),
    };
    let rcpt = |rcpt: &AddressText| match rcpt {
        AddressText::Whole(text) => Needle::new(text),
        AddressText::Domain(text) => Needle::end(&format!("@{text}")),
        AddressText::Part(text) => Needle::part(text),
    };
    let sender = |sender: &AddressText| match sender {
        // It may be the From field's domain, which has no `@`.
        AddressText::Domain(text) => Needle::end(text),
        sender => rcpt(sender),
    };
    let meta = |meta: &MetaText| match meta {
        MetaText::Whole(text) => Needle::new(text),
        MetaText::Name(text) => Needle::beginning(&format!("{text}=")),
    };
    let Criteria { domain, user, stream, class, provider, source, tag, .. } = criteria;
    let words = [tag, domain, class, user, source, stream, provider]
        .into_iter()
        .flatten()
        .chain(criteria.one_event())
        .map(|text| Needle::new(text));
    let ids = criteria.message.iter().chain(&criteria.message_id).map(id);
    let addresses = criteria.rcpt.iter().map(rcpt).chain(criteria.sender.iter().map(sender));
    ids.chain(addresses).chain(criteria.meta.iter().map(meta)).chain(words).collect()
}

/// The seconds of the two times, as lines begin with them: `2026-11-23T10:00:00`.
struct Times {
    since: Option<String>,
    until: Option<String>,
}

fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// How a line begins.
const TIME: &[u8] = b"{\"time\":\"";
/// The bytes of a time up to its seconds.
const SECOND: usize = 19;

impl Times {
    /// False only for a line whose time is certainly another: times in this form are ordered as texts.
    fn may_match(&self, line: &[u8]) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(second) = second_of(line) else { return true };
        self.since.as_ref().is_none_or(|since| second >= since.as_bytes())
            && self.until.as_ref().is_none_or(|until| second <= until.as_bytes())
    }
}

/// The second of a line that begins as lines do.
fn second_of(line: &[u8]) -> Option<&[u8]> {
    let (second, rest) = line.strip_prefix(TIME)?.split_at_checked(SECOND)?;
    let is_time = second.iter().all(|b| b.is_ascii_digit() || b"-:T".contains(b)) && matches!(rest, [b'.', _, _, _, b'Z', b'"', ..]);
    is_time.then_some(second)
}

/// The time with which a block begins, if it begins as lines do.
pub(super) fn time_of(block: &[u8]) -> Option<Timestamp> {
    second_of(block)?;
    let time = block.get(TIME.len()..TIME.len() + SECOND + ".123Z".len())?;
    std::str::from_utf8(time).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{encode, samples};

    /// A log of one line of each kind, and broken ones.
    fn log() -> Vec<u8> {
        let mut log = b"\n{\n".to_vec();
        for full in [true, false] {
            samples::each(full).iter().for_each(|event| encode(event, &mut log));
        }
        log.extend_from_slice(br#"{"time":"2026-08-24T10:00:00.000Z","event":"deferred","rcpt":"#);
        log
    }

    #[test]
    fn it_finds_just_what_matches_in_every_field() {
        let log = log();
        for field in [
            ("rcpt", "b@GMAIL.com"),
            ("rcpt", "@Gmail.com"),
            ("rcpt", "*gmail"),
            ("sender", "@x.org"),
            ("sender_domain", "X.org"),
            ("sender", "bounce@X.ORG"),
            ("sender", "ounc"),
            ("message_id", "a@x.org"),
            ("message_id", "a"),
            ("message", "01"),
            ("tag", "press \"X\""),
            ("meta", "order=press \"x\""),
            ("meta", "order"),
            ("class", "rate_limited"),
            ("provider", "Google"),
            ("event", "relay"),
            ("stream", "receipts"),
            ("user", "app"),
            ("source", "ip1"),
            ("since", "2026-08-24T10:00:00.001Z"),
            ("until", "2026-08-24T10:00:00Z"),
            ("until", "2027-01-01T00:00:00Z"),
        ] {
            let criteria = Criteria::read([field], samples::at(0)).unwrap();
            let plain: Vec<&[u8]> =
                log.split(|b| *b == b'\n').filter(|line| LogRecord::parse(line).is_some_and(|record| criteria.matches(&record))).collect();
            let sieve = Sieve::new(criteria);
            let found = sieve.candidates(&log).into_iter().map(|range| &log[range]).filter(|line| sieve.fits(line) == Fits::Yes);
            assert_eq!(found.collect::<Vec<_>>(), plain, "{field:?}");
            assert!(!plain.is_empty() || field.1 == "2026-08-24T10:00:00Z", "{field:?}");
        }
    }

    #[test]
    fn damaged_lines_that_hold_what_is_looked_for_are_told() {
        let log = log();
        let damaged = |event| {
            let sieve = Sieve::new(Criteria::read([("event", event)], samples::at(0)).unwrap());
            sieve.candidates(&log).into_iter().filter(|range| sieve.fits(&log[range.clone()]) == Fits::Damaged).count()
        };
        assert_eq!([damaged("deferred"), damaged("delivered")], [1, 0]);
    }
}
