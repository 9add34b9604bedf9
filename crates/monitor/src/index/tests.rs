//! A look-up finds every line of its message, whatever the clock did, and reads little else.

use std::{fs, ops::ControlFlow};

use posthaste_mail::{Event, EventId, MessageId};
use proptest::prelude::*;

use super::*;
use crate::{CURRENT, LogRecord, encode, samples};

/// The lines of these messages, one each, in an order of times that no clock has.
fn lines(file: u64, messages: &[u8]) -> Vec<u8> {
    let mut log = Vec::new();
    for (place, n) in messages.iter().enumerate() {
        let seconds = if place % 2 == 0 { -7200 } else { 7200 };
        let what = samples::accepted(MessageId::new(samples::at(seconds), u128::from(*n)), &format!("r{place}@x.org"), place as u64);
        // As in a real log, no two lines are the same.
        let id = EventId::new(samples::at(seconds), u128::from(1_000_000 + file * 1000 + place as u64));
        encode(&Event { id, ..samples::event(seconds, what) }, &mut log);
    }
    log
}

fn rcpts(lookup: &Lookup, key: &Key) -> Vec<String> {
    let mut found = Vec::new();
    lookup
        .lines(key, |line| {
            found.push(LogRecord::parse(line).unwrap().rcpt.unwrap().to_string());
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn key(place: usize, n: u8) -> Key {
    Key::message(MessageId::new(samples::at(if place.is_multiple_of(2) { -7200 } else { 7200 }), u128::from(n)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// In rotated files with and without tables, in the part in memory, and behind it.
    #[test]
    fn every_line_of_a_message_is_found(
        files in prop::collection::vec(prop::collection::vec(0..5_u8, 1..20), 1..4),
        caught_up in 0..5_usize,
        restarted in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut index = MessageIndex::new(dir.path());
        let mut all = Vec::new();
        for (number, messages) in files.iter().enumerate() {
            let current = dir.path().join(CURRENT);
            // The file grows in two steps, and the index may see it in between.
            let bytes = lines(number as u64, messages);
            let half = bytes[..bytes.len() / 2].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            fs::write(&current, &bytes[..half]).unwrap();
            if number < caught_up {
                index.catch_up().unwrap();
            }
            fs::write(&current, &bytes).unwrap();
            all.extend(messages.iter().enumerate().map(|(place, n)| (number, place, *n)));
            if number + 1 < files.len() {
                let time = samples::at(-(number as i64) * 3600);
                fs::rename(&current, dir.path().join(files::rotated_name(time, number as u64 + 1))).unwrap();
            }
            if number < caught_up {
                index.catch_up().unwrap();
            }
        }
        if restarted {
            index = MessageIndex::new(dir.path());
        }
        let lookup = index.open().unwrap();
        for (_, place, n) in &all {
            let expected: Vec<_> =
                all.iter().filter(|(_, at, other)| other == n && at % 2 == place % 2).map(|(_, at, _)| format!("r{at}@x.org")).collect();
            prop_assert_eq!(rcpts(&lookup, &key(*place, *n)), expected);
        }
        prop_assert!(rcpts(&lookup, &key(0, 9)).is_empty());
        // Every sample has this one.
        prop_assert_eq!(rcpts(&lookup, &Key::message_id("a@x.org")).len(), all.len());
    }
}

#[test]
fn a_lost_or_foreign_table_is_made_again_and_one_of_a_deleted_file_goes() {
    let dir = tempfile::tempdir().unwrap();
    let rotated = dir.path().join(files::rotated_name(samples::at(0), 1));
    fs::write(&rotated, lines(1, &[1, 2, 1])).unwrap();
    fs::write(dir.path().join(CURRENT), lines(2, &[3])).unwrap();
    let index = MessageIndex::new(dir.path());
    let tables = || fs::read_dir(dir.path().join(FOLDER)).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    index.catch_up().unwrap();
    let [table] = &tables()[..] else { panic!("one file is rotated") };
    let good = fs::read(table).unwrap();
    for bad in [None, Some(&b"of another version"[..]), Some(&good[..good.len() - 1])] {
        bad.map_or_else(|| fs::remove_file(table), |bad| fs::write(table, bad)).unwrap();
        assert_eq!(rcpts(&index.open().unwrap(), &key(0, 1)), ["r0@x.org", "r2@x.org"], "the file is read instead");
        index.catch_up().unwrap();
        assert_eq!(fs::read(table).unwrap(), good);
    }
    assert_eq!(tables(), std::slice::from_ref(table));
    assert_eq!(rcpts(&index.open().unwrap(), &key(0, 1)), ["r0@x.org", "r2@x.org"]);
    fs::remove_file(&rotated).unwrap();
    index.catch_up().unwrap();
    assert_eq!(tables(), [] as [PathBuf; 0]);
}

#[test]
fn damage_to_a_table_hides_no_line_and_the_table_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let rotated = dir.path().join(files::rotated_name(samples::at(0), 1));
    // More than a block of entries, each message with two lines far apart.
    let messages: Vec<u8> = (0..=255).chain(0..=255).collect();
    fs::write(&rotated, lines(1, &messages)).unwrap();
    fs::write(dir.path().join(CURRENT), lines(2, &[3])).unwrap();
    let index = MessageIndex::new(dir.path());
    index.catch_up().unwrap();
    let table = fs::read_dir(dir.path().join(FOLDER)).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&table).unwrap();
    assert!(good.len() > 2 * 4084, "{}", good.len());
    for at in (16..good.len()).step_by(97) {
        let mut bad = good.clone();
        let end = bad.len().min(at + 4096);
        bad[at..end].fill(0);
        fs::write(&table, &bad).unwrap();
        let lookup = index.open().unwrap();
        for (place, n) in [(0_usize, 0_u8), (100, 100), (201, 201), (255, 255)] {
            assert_eq!(rcpts(&lookup, &key(place, n)), [format!("r{place}@x.org"), format!("r{}@x.org", place + 256)], "zeros at {at}");
        }
        index.catch_up().unwrap();
        assert!(fs::read(&table).unwrap() == good, "zeros at {at}: not made again");
    }
}
