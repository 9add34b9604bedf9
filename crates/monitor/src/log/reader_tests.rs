use std::{
    fs::{self, OpenOptions},
    io::Write,
};

use proptest::prelude::*;

use super::{Backward, CURRENT, EventLog, Lines, LogError, LogOptions, files, testing::*};
use crate::samples;

fn rest(lines: &mut Lines) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        numbers.push(number(line.bytes));
    }
    numbers
}

#[test]
fn lines_come_in_order_over_all_files_and_go_on_while_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines = Lines::all(dir.path());
    assert_eq!((rest(&mut lines), lines.position()), (vec![], None));
    let log = open(dir.path());
    assert!(rest(&mut lines).is_empty());
    append(&log, 0..3);
    assert_eq!(rest(&mut lines), [0, 1, 2]);
    append(&log, 3..4);
    log.rotate_now().unwrap();
    assert_eq!(rest(&mut lines), [3]);
    append(&log, 4..5);
    log.rotate_now().unwrap();
    log.rotate_now().unwrap();
    append(&log, 5..6);
    log.rotate_now().unwrap();
    assert_eq!(rest(&mut lines), [4, 5]);
    append(&log, 6..8);
    assert_eq!(rest(&mut lines), [6, 7]);
    assert_eq!(rest(&mut Lines::all(dir.path())), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(files::list(dir.path()).unwrap().len(), 4, "an empty file is not rotated");
}

#[test]
fn a_follower_of_a_deleted_file_goes_on_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = EventLog::open(LogOptions { keep_files: 1, ..options(dir.path()) }, still, stamp, |_, _| ()).unwrap();
    append(&log, 0..2);
    let mut lines = Lines::all(dir.path());
    assert_eq!(number(lines.next_line().unwrap().unwrap().bytes), 0);
    for n in 2..5 {
        log.rotate_now().unwrap();
        append(&log, [n]);
    }
    // It holds the first file open; the second was deleted behind its back.
    assert_eq!(rest(&mut lines), [1, 3, 4]);
}

#[test]
fn a_position_stays_true_through_rotations_until_its_file_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (durable, on_durable) = Durable::new();
    let (log, _) = EventLog::open(options(dir.path()), still, stamp, on_durable).unwrap();
    append(&log, 0..2);
    let here = durable.batches().last().unwrap().1;
    log.rotate_now().unwrap();
    assert!(rest(&mut Lines::from(dir.path(), here).unwrap()).is_empty());
    append(&log, 2..4);
    log.rotate_now().unwrap();
    append(&log, 4..5);
    let mut lines = Lines::from(dir.path(), here).unwrap();
    assert_eq!(rest(&mut lines), [2, 3, 4]);
    assert_eq!(lines.position(), Some(durable.batches().last().unwrap().1));
    log.close().unwrap();
    let (_log, opened) = EventLog::<u64>::open(options(dir.path()), still, stamp, |_, _| ()).unwrap();
    assert_eq!(opened.end, lines.position());
    fs::remove_file(&files::list(dir.path()).unwrap()[0].path).unwrap();
    assert!(matches!(Lines::from(dir.path(), here), Err(LogError::Gone(gone)) if gone == here));
}

#[test]
fn a_log_that_ends_in_an_empty_file_ends_where_the_one_before_does() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..2);
    let mut lines = Lines::all(dir.path());
    rest(&mut lines);
    log.rotate_now().unwrap();
    log.close().unwrap();
    let (_log, opened) = EventLog::<u64>::open(options(dir.path()), still, stamp, |_, _| ()).unwrap();
    assert!(opened.end.is_some());
    assert_eq!(opened.end, lines.position());
}

#[test]
fn half_a_line_is_not_given_and_may_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(CURRENT);
    fs::write(&path, "one\ntw").unwrap();
    let mut lines = Lines::all(dir.path());
    assert_eq!(lines.next_line().unwrap().unwrap().bytes, b"one");
    assert!(lines.next_line().unwrap().is_none());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(4).unwrap();
    assert!(lines.next_line().unwrap().is_none());
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"three\n").unwrap();
    assert_eq!(lines.next_line().unwrap().unwrap().bytes, b"three");
    assert_eq!(lines.position().unwrap().offset, 10);
}

#[test]
fn a_rotated_files_torn_end_is_a_line_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("delivery-20260824T101112Z-1.log"), "one\ntw").unwrap();
    fs::write(dir.path().join(CURRENT), "three\n").unwrap();
    let mut lines = Lines::all(dir.path());
    for wanted in ["one", "tw", "three"] {
        assert_eq!(lines.next_line().unwrap().unwrap().bytes, wanted.as_bytes());
    }
    assert!(lines.next_line().unwrap().is_none());
}

#[test]
fn the_last_lines_and_what_follows_them() {
    let dir = tempfile::tempdir().unwrap();
    let all = |n| Lines::last(dir.path(), Backward::last(n), |_| true).unwrap();
    let mut none = all(3).1;
    assert!(rest(&mut none).is_empty());
    let log = open(dir.path());
    append(&log, 0..5000);
    assert_eq!([0, 1, 3, 4990, 9999].map(|n| all(n).0.len()), [0, 1, 3, 4990, 5000]);
    let (last, mut behind) = all(1);
    assert!(rest(&mut behind).is_empty());
    append(&log, [5000]);
    assert_eq!((last.len(), rest(&mut behind)), (1, vec![5000]), "it goes on behind the last line");
    assert_eq!(rest(&mut none).len(), 5001, "it follows a log that was not there");
}

#[test]
fn files_that_ended_before_the_time_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, [0]);
    log.rotate_now().unwrap();
    append(&log, [1]);
    assert_eq!(rest(&mut Lines::since(dir.path(), samples::at(0))), [0, 1]);
    assert_eq!(rest(&mut Lines::since(dir.path(), samples::at(5))), [1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_line_is_read_once_whatever_happens_between(steps in prop::collection::vec(0u8..6, 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path());
        let (mut follower, mut resumed, mut written) = (Lines::all(dir.path()), Lines::all(dir.path()), 0);
        let (mut followed, mut seen) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                0 | 1 => {
                    append(&log, written..written + u64::from(step) + 1);
                    written += u64::from(step) + 1;
                }
                2 => log.rotate_now().unwrap(),
                3 => followed.extend(rest(&mut follower)),
                4 => {
                    seen.extend(resumed.next_line().unwrap().map(|line| number(line.bytes)));
                    resumed = match resumed.position() {
                        Some(position) => Lines::from(dir.path(), position).unwrap(),
                        None if seen.is_empty() => Lines::all(dir.path()),
                        None => resumed,
                    };
                }
                _ => {
                    log.close().unwrap();
                    log = open(dir.path());
                }
            }
        }
        followed.extend(rest(&mut follower));
        seen.extend(rest(&mut resumed));
        prop_assert_eq!(&followed, &(0..written).collect::<Vec<_>>());
        prop_assert_eq!(&seen, &followed);
    }
}
