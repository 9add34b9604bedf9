//! Older copies of the log's files, and of their list, in the place of the newest: no line counts twice, and nothing is hidden.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    CURRENT, EventLog, LogOptions,
    inventory::{LIST, TWIN},
    outside_tests::read,
    put_copy_aside,
    rotated_tests::{first, later, open_at, put_list, rotated, said_at_start, ticking},
    testing::*,
};
use crate::audit;

/// A log whose first file was copied while it held two of its three lines, and whose current file, the second, holds these lines.
fn copied(dir: &Path, second: std::ops::Range<u64>) -> (EventLog<u64>, Vec<u8>) {
    let log = open_at(dir, 1000);
    append(&log, 0..2);
    let copy = fs::read(dir.join(CURRENT)).unwrap();
    append(&log, 2..3);
    log.rotate_now().unwrap();
    append(&log, second);
    (log, copy)
}

fn aside(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains(".not-ours-")).collect()
}

fn said(log: &EventLog<u64>) -> String {
    log.take_alarms().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_older_copy_in_the_place_of_the_current_file_is_put_aside_at_the_start() {
    for second in [3..3, 3..5] {
        let dir = tempfile::tempdir().unwrap();
        let current = dir.path().join(CURRENT);
        let (log, copy) = copied(dir.path(), second.clone());
        log.close().unwrap();
        let lost = fs::read(&current).unwrap();
        fs::write(&current, &copy).unwrap();
        let found = audit(dir.path(), [], None).unwrap();
        assert!(!found.balanced() && found.to_string().contains("what both hold counts twice"), "{found}");
        let log = open_at(dir.path(), 1000);
        append(&log, 8..10);
        let said = said(&log);
        assert!(said.contains("delivery.log was an older copy of delivery-"), "{said}");
        assert_eq!(said.contains("bytes of the log are missing"), !lost.is_empty(), "{said}");
        let (numbers, gaps) = read(dir.path());
        assert_eq!((numbers, gaps.len()), (vec![0, 1, 2, 8, 9], usize::from(!lost.is_empty())));
        assert_eq!(audit(dir.path(), [], None).unwrap().balanced(), lost.is_empty());
        assert_eq!(fs::read(&aside(dir.path())[0]).unwrap(), copy, "nothing is thrown away");
        log.close().unwrap();
        assert_eq!(said_at_start(dir.path()), Vec::<String>::new());
        if !lost.is_empty() {
            fs::write(dir.path().join("delivery-20260824T101112Z-7.log"), lost).unwrap();
            assert!(audit(dir.path(), [], None).unwrap().balanced(), "it is back");
        }
    }
}

#[test]
fn an_older_copy_in_the_place_of_the_current_file_is_put_aside_while_the_log_is_written() {
    for in_place in [false, true] {
        for second in [3..3, 3..5, 3..9] {
            let dir = tempfile::tempdir().unwrap();
            let (current, new) = (dir.path().join(CURRENT), dir.path().join("new"));
            let (log, copy) = copied(dir.path(), second.clone());
            if in_place {
                fs::write(&current, &copy).unwrap();
            } else {
                fs::write(&new, &copy).unwrap();
                fs::rename(&new, &current).unwrap();
            }
            append(&log, 10..12);
            append(&log, 12..13);
            let (said, what) = (said(&log), format!("in place: {in_place}, {second:?}"));
            assert!(!said.is_empty(), "{what}");
            let (numbers, gaps) = read(dir.path());
            assert_eq!(numbers, [0, 1, 2, 10, 11, 12], "{what}: {said}");
            assert_eq!(gaps.len(), usize::from(!second.is_empty()), "{what}");
            log.close().unwrap();
            assert_eq!((said_at_start(dir.path()), aside(dir.path()).len()), (Vec::new(), 1), "{what}");
        }
    }
}

#[test]
fn a_copy_under_the_name_of_a_rotated_file_is_put_aside_within_one_look() {
    for closed in [false, true] {
        for whole in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let mut log = Some(rotated(dir.path()));
            if closed {
                log.take().unwrap().close().unwrap();
            }
            let bytes = fs::read(first(dir.path())).unwrap();
            let copy = dir.path().join("delivery-20260824T101112Z-77.log");
            fs::write(&copy, &bytes[..if whole { bytes.len() } else { bytes.len() / 2 }]).unwrap();
            fs::copy(dir.path().join(CURRENT), dir.path().join("delivery-20260824T101112Z-78.log")).unwrap();
            let log = log.unwrap_or_else(|| open_at(dir.path(), 1000));
            append(&log, 8..10);
            let said = said(&log);
            assert_eq!(said.matches("was an older copy of").count(), 2, "{said}");
            assert_eq!((read(dir.path()).0, aside(dir.path()).len()), ((0..10).collect(), 2));
            log.close().unwrap();
            assert!(audit(dir.path(), [], None).unwrap().balanced());
        }
    }
}

#[test]
fn the_whole_file_takes_the_place_of_what_was_left_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = rotated(dir.path());
    let path = first(dir.path());
    let whole = fs::read(&path).unwrap();
    let line = 1 + whole.iter().position(|byte| *byte == b'\n').unwrap();
    fs::write(&path, &whole[..line]).unwrap();
    later(&path);
    append(&log, 8..9);
    assert_eq!(read(dir.path()).1.len(), 1);
    // The operator does not put it in its old place.
    fs::write(dir.path().join("delivery-20260824T101112Z-77.log"), &whole).unwrap();
    append(&log, 9..10);
    let mut numbers = read(dir.path()).0;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>(), "{}", said(&log));
    assert!(audit(dir.path(), [], None).unwrap().balanced());
}

#[test]
fn a_copy_is_put_aside_before_the_log_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (log, copy) = copied(dir.path(), 3..5);
    log.close().unwrap();
    assert_eq!(put_copy_aside(dir.path(), still()).unwrap(), None);
    fs::write(dir.path().join(CURRENT), copy).unwrap();
    assert!(put_copy_aside(dir.path(), still()).unwrap().is_some());
    assert_eq!(read(dir.path()).0, [0, 1, 2]);
}

#[test]
fn an_older_list_hides_nothing_while_its_twin_is_there() {
    for name in [LIST, TWIN] {
        let dir = tempfile::tempdir().unwrap();
        let log = open_at(dir.path(), 1000);
        append(&log, 0..3);
        log.flush().unwrap();
        let list = fs::read(dir.path().join(LIST)).unwrap();
        log.rotate_now().unwrap();
        append(&log, 3..6);
        log.rotate_now().unwrap();
        log.close().unwrap();
        fs::write(dir.path().join(name), list).unwrap();
        let second = super::files::list(dir.path()).unwrap()[1].path.clone();
        fs::remove_file(second).unwrap();
        let said = said_at_start(dir.path());
        assert_eq!(said.iter().any(|said| said.contains("was replaced by an older copy")), name == LIST, "{said:?}");
        assert!(said.iter().any(|said| said.contains("is gone")), "{said:?}");
        assert_eq!(read(dir.path()).1.len(), 1);
    }
}

#[test]
fn a_start_that_knows_of_a_newer_list_says_what_it_cannot_know() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_at(dir.path(), 2);
    append(&log, 0..3);
    log.flush().unwrap();
    let list = fs::read(dir.path().join(LIST)).unwrap();
    for n in 3..9 {
        log.rotate_now().unwrap();
        append(&log, n..n + 1);
    }
    log.close().unwrap();
    let list_serial = log.list_serial();
    let start = |expected: usize| {
        let options = LogOptions { list_serial, ..options(dir.path()) };
        let (log, _) = EventLog::<u64>::open(options, ticking, stamp, |_, _| ()).unwrap();
        log.flush().unwrap();
        let said = log.take_alarms();
        assert_eq!(said.len(), expected, "{said:?}");
        log.close().unwrap();
    };
    start(0);
    put_list(dir.path(), &list);
    start(1);
    start(0);
    let gaps: Vec<Value> = read(dir.path()).1;
    assert_eq!((gaps.len(), gaps[0]["cause"].as_str()), (1, Some("list_replaced")), "what retention deleted is no gap: {gaps:?}");
    let found = audit(dir.path(), [], None).unwrap();
    assert!(!found.balanced() && found.to_string().contains("replaced by older copies"), "{found}");
}

#[test]
fn a_list_that_is_replaced_while_the_log_is_written_is_written_again() {
    for name in [LIST, TWIN] {
        let dir = tempfile::tempdir().unwrap();
        let (log, path) = (rotated(dir.path()), dir.path().join(name));
        let before = fs::read(&path).unwrap();
        append(&log, 8..9);
        for harm in [(|path| fs::remove_file(path).unwrap()) as fn(&Path), |path| fs::write(path, "{}").unwrap()] {
            harm(&path);
            append(&log, 9..10);
            assert!(said(&log).contains("It was written again"));
            assert!(fs::read(&path).unwrap().len() >= before.len());
        }
        append(&log, 11..12);
        assert_eq!(said(&log), "");
    }
}
