use std::{fs, io::Write, path::Path};

use posthaste_mail::{Event, EventId, GapFacts, MessageId, What};
use proptest::prelude::*;

use crate::{CURRENT, Missing, Unended, Watermark, audit, encode, samples::*};

fn id(n: u64) -> MessageId {
    MessageId::new(at(600), n.into())
}

fn append(dir: &Path, whats: impl IntoIterator<Item = What>) {
    let mut lines = Vec::new();
    for (n, what) in whats.into_iter().enumerate() {
        encode(&Event { id: EventId::new(at(600), n as u128), ..event(600, what) }, &mut lines);
    }
    fs::File::options().create(true).append(true).open(dir.join(CURRENT)).unwrap().write_all(&lines).unwrap();
}

fn missing(dir: &Path, queued: &[(MessageId, &str)], told: &Watermark) -> Missing {
    let mut unended = Unended::read(dir).unwrap();
    queued.iter().for_each(|(message, rcpt)| unended.is_queued(*message, rcpt));
    unended.missing(told).unwrap()
}

#[test]
fn what_was_accepted_and_neither_ended_nor_is_queued_is_missing_with_its_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let all = (1..=9).flat_map(|n| [accepted(id(n), "a@x.org", n), accepted(id(n), "b@x.org", n)]);
    append(dir.path(), all.chain([delivered(id(2), "a@x.org"), deferred(id(3), "a@x.org")]));
    let queued = [(id(1), "a@x.org"), (id(1), "b@x.org"), (id(5), "a@x.org"), (id(5), "b@x.org"), (id(6), "b@x.org")];
    let found = missing(dir.path(), &queued, &Watermark::default());
    let numbers = vec![(2, 4), (6, 9)];
    assert_eq!(found, Missing { recipients: 12, messages: 7, numbers, first: vec![id(2), id(3), id(4)], unproven: 0 });
    let told = Watermark::new(4, &[(8, 8)]);
    assert_eq!(missing(dir.path(), &queued, &told).numbers, [(6, 7), (9, 9)], "what was told is not told again");
    assert_eq!(missing(dir.path(), &queued, &Watermark::new(9, &[])), Missing::default());
}

#[test]
fn what_ends_while_the_spool_is_read_and_what_is_accepted_then_is_not_missing() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), [accepted(id(1), "a@x.org", 1), accepted(id(2), "a@x.org", 2)]);
    let unended = Unended::read(dir.path()).unwrap();
    append(dir.path(), [delivered(id(1), "a@x.org"), accepted(id(3), "a@x.org", 3)]);
    assert_eq!(unended.missing(&Watermark::default()).unwrap().numbers, [(2, 2)]);
}

#[test]
fn an_ending_that_may_be_in_a_gap_of_the_log_is_no_proof() {
    let dir = tempfile::tempdir().unwrap();
    append(dir.path(), [accepted(id(1), "a@x.org", 1), What::LogGap(Box::new(GapFacts { since: Some(at(610)), ..gap(true) }))]);
    assert_eq!(missing(dir.path(), &[], &Watermark::default()), Missing { unproven: 1, ..Missing::default() });
}

proptest! {
    #[test]
    fn it_finds_what_the_audit_finds(story in prop::collection::vec((1..8u64, 0..3u8), 0..40), queued in prop::collection::btree_set(1..8u64, 0..5)) {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), story.into_iter().map(|(n, what)| match what {
            0 => accepted(id(n), "a@x.org", n),
            1 => delivered(id(n), "a@x.org"),
            _ => deferred(id(n), "a@x.org"),
        }));
        let queued: Vec<_> = queued.into_iter().map(|n| (id(n), "a@x.org")).collect();
        let audit = audit(dir.path(), queued.iter().map(|(m, r)| (*m, (*r).to_owned())), None).unwrap();
        let found = missing(dir.path(), &queued, &Watermark::default());
        prop_assert_eq!(found.recipients, audit.missing.count);
    }
}
