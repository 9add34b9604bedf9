//! The terms of a line, by which a search knows blocks that need not be read: hashes of its addresses, ids and words.

use std::hash::Hasher as _;

use fnv::FnvHasher;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Criteria,
    texts::{AddressText, IdText, MetaText, domain_of, name_of},
};
use crate::{LogText, index::bare};

/// What of a line is a term.
#[derive(Deserialize)]
pub(super) struct Termed<'a> {
    #[serde(borrow)]
    event: LogText<'a>,
    time: LogText<'a>,
    message: Option<LogText<'a>>,
    notice_of: Option<LogText<'a>>,
    message_id: Option<LogText<'a>>,
    stream: Option<LogText<'a>>,
    user: Option<LogText<'a>>,
    from: Option<LogText<'a>>,
    from_domain: Option<LogText<'a>>,
    rcpt: Option<LogText<'a>>,
    domain: Option<LogText<'a>>,
    provider: Option<LogText<'a>>,
    source: Option<LogText<'a>>,
    class: Option<LogText<'a>>,
    #[serde(default)]
    tags: Vec<LogText<'a>>,
    #[serde(default)]
    meta: Vec<LogText<'a>>,
}

// What a term is about: its first byte. A table holds hashes of these, so another meaning needs another version of the table.
const EVENT: u8 = b'e';
const MESSAGE: u8 = b'm';
const MESSAGE_ID: u8 = b'i';
const STREAM: u8 = b's';
const USER: u8 = b'u';
const SENDER: u8 = b'f';
const SENDER_DOMAIN: u8 = b'F';
const RCPT: u8 = b'r';
const RCPT_DOMAIN: u8 = b'R';
const DOMAIN: u8 = b'd';
const PROVIDER: u8 = b'p';
const SOURCE: u8 = b'o';
const CLASS: u8 = b'c';
const TAG: u8 = b't';
const META: u8 = b'k';
const META_NAME: u8 = b'K';
const RCPT_GRAM: u8 = b'G';

/// The length of the pieces by which parts of recipients are known. Reverse-paths have none: with a return path of its own for each message they
/// would be most of a table, and nobody looks for a part of one.
const GRAM: usize = 4;

impl<'a> Termed<'a> {
    /// None for a damaged line. It takes every line that [`crate::LogRecord::parse`] takes.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    pub(super) fn time(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }

    /// Calls `enter` with each of its terms.
    pub(super) fn each(&self, mut enter: impl FnMut(u64)) {
        let mut one = |kind: u8, text: Option<&str>| text.into_iter().for_each(|text| enter(hash(kind, text.as_bytes())));
        one(EVENT, Some(&self.event));
        for (kind, text) in [
            (MESSAGE, &self.message),
            (MESSAGE, &self.notice_of),
            (STREAM, &self.stream),
            (USER, &self.user),
            (SENDER, &self.from),
            (SENDER_DOMAIN, &self.from_domain),
            (RCPT, &self.rcpt),
            (DOMAIN, &self.domain),
            (PROVIDER, &self.provider),
            (SOURCE, &self.source),
            (CLASS, &self.class),
        ] {
            one(kind, text.as_deref());
        }
        self.rcpt.iter().flat_map(|rcpt| grams(rcpt)).for_each(&mut enter);
        let mut one = |kind: u8, text: Option<&str>| text.into_iter().for_each(|text| enter(hash(kind, text.as_bytes())));
        one(MESSAGE_ID, self.message_id.as_deref().map(bare));
        one(SENDER_DOMAIN, self.from.as_deref().and_then(domain_of));
        one(RCPT_DOMAIN, self.rcpt.as_deref().and_then(domain_of));
        self.tags.iter().for_each(|tag| one(TAG, Some(tag)));
        for fact in &self.meta {
            one(META, Some(fact));
            one(META_NAME, name_of(fact));
        }
    }
}

/// The pieces of an address, in lower case; none of a shorter one.
fn grams(address: &str) -> impl Iterator<Item = u64> {
    address.as_bytes().windows(GRAM).map(|gram| hash(RCPT_GRAM, gram))
}

/// The terms that every line has which matches. A part of a recipient has those of its pieces; other parts, and shorter ones, have none.
pub(super) fn wanted(criteria: &Criteria) -> Vec<u64> {
    let mut terms = Vec::new();
    if let Some(AddressText::Part(text)) = &criteria.rcpt {
        terms.extend(grams(text));
    }
    let mut one = |kind: u8, text: &str| terms.push(hash(kind, text.as_bytes()));
    for (criterion, whole, of_domain) in [(&criteria.rcpt, RCPT, RCPT_DOMAIN), (&criteria.sender, SENDER, SENDER_DOMAIN)] {
        match criterion {
            Some(AddressText::Whole(text)) => one(whole, text),
            Some(AddressText::Domain(text)) => one(of_domain, text),
            Some(AddressText::Part(_)) | None => {}
        }
    }
    for (criterion, kind) in [(&criteria.message, MESSAGE), (&criteria.message_id, MESSAGE_ID)] {
        if let Some(IdText::Whole(text)) = criterion {
            one(kind, text);
        }
    }
    match &criteria.meta {
        Some(MetaText::Whole(text)) => one(META, text),
        Some(MetaText::Name(text)) => one(META_NAME, text),
        None => {}
    }
    for (criterion, kind) in [
        (&criteria.tag, TAG),
        (&criteria.class, CLASS),
        (&criteria.domain, DOMAIN),
        (&criteria.provider, PROVIDER),
        (&criteria.one_event().cloned(), EVENT),
        (&criteria.stream, STREAM),
        (&criteria.user, USER),
        (&criteria.source, SOURCE),
    ] {
        criterion.iter().for_each(|text| one(kind, text));
    }
    terms
}

/// FNV-1a over the text in lower case, then MurmurHash3's finaliser, since both halves are used. Tables are kept on disk, so the hash has to
/// be the same in every build.
pub(super) fn hash(kind: u8, text: &[u8]) -> u64 {
    let mut fnv = FnvHasher::default();
    fnv.write(&[kind]);
    text.iter().for_each(|b| fnv.write(&[b.to_ascii_lowercase()]));
    let mut sum = fnv.finish();
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        sum = (sum ^ (sum >> 33)).wrapping_mul(factor);
    }
    sum ^ (sum >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LogRecord, encode, samples};

    #[test]
    fn a_line_that_matches_has_every_term_that_is_wanted() {
        let mut asked = 0;
        for event in samples::each(true) {
            let mut line = Vec::new();
            encode(&event, &mut line);
            let record = LogRecord::parse(&line).unwrap();
            let mut terms = Vec::new();
            Termed::parse(&line).expect("it takes what a record takes").each(|term| terms.push(term));
            for (name, text) in fields_of(&record) {
                let criteria = Criteria::read([(name, text.to_ascii_uppercase().as_str())], samples::at(0)).unwrap();
                assert!(criteria.matches(&record), "{name} {text}");
                let wanted = wanted(&criteria);
                assert!(wanted.len() == 1 && terms.contains(&wanted[0]), "{name} {text}");
                asked += 1;
            }
        }
        assert!(asked > 100, "{asked}");
    }

    #[test]
    fn a_line_has_the_pieces_of_every_part_of_its_recipient() {
        let line = br#"{"time":"2026-08-24T10:00:00.000Z","event":"delivered","from":"News@shop.example","rcpt":"zoe.Muller@example.org"}"#;
        let mut terms = Vec::new();
        Termed::parse(line).unwrap().each(|term| terms.push(term));
        let has = |name, text| {
            let wanted = wanted(&Criteria::read([(name, text)], samples::at(0)).unwrap());
            (wanted.len(), wanted.iter().all(|term| terms.contains(term)))
        };
        for (name, text, pieces, held) in [
            ("rcpt", "MULLER", 3, true),
            ("rcpt", "*e.muller@exam*", 10, true),
            ("rcpt", "mueller", 4, false),
            ("rcpt", "zoe", 0, true),
            ("sender", "news", 0, true),
        ] {
            assert_eq!(has(name, text), (pieces, held), "{name} {text}");
        }
    }

    /// What a line is found by, each for itself.
    fn fields_of(record: &LogRecord<'_>) -> Vec<(&'static str, String)> {
        let domain = |text: &str| format!("@{}", domain_of(text).unwrap_or_default());
        let all = [
            ("event", Some(record.event.to_string())),
            ("message", record.message.as_deref().map(str::to_owned)),
            ("message", record.notice_of.as_deref().map(str::to_owned)),
            ("message_id", record.message_id.as_deref().filter(|text| text.contains('@')).map(str::to_owned)),
            ("stream", record.stream.as_deref().map(str::to_owned)),
            ("user", record.user.as_deref().map(str::to_owned)),
            ("sender", record.from.as_deref().filter(|text| text.contains('@')).map(str::to_owned)),
            ("sender", record.from.as_deref().filter(|text| text.contains('@')).map(domain)),
            ("sender", record.from_domain.as_deref().map(|text| format!("@{text}"))),
            ("rcpt", record.rcpt.as_deref().filter(|text| text.contains('@')).map(str::to_owned)),
            ("rcpt", record.rcpt.as_deref().filter(|text| text.contains('@')).map(domain)),
            ("domain", record.domain.as_deref().map(str::to_owned)),
            ("provider", record.provider.as_deref().map(str::to_owned)),
            ("source", record.source.as_deref().map(str::to_owned)),
            ("class", record.class.as_deref().map(str::to_owned)),
            ("tag", record.tags.first().map(|tag| tag.to_string())),
            ("meta", record.meta.first().map(|fact| fact.to_string())),
            ("meta", record.meta.first().and_then(|fact| name_of(fact)).map(str::to_owned)),
        ];
        all.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
    }
}
