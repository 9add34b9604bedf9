//! What others do to the log's file while it is open.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    sync::atomic::Ordering::SeqCst,
};

use serde_json::Value;

use super::{CURRENT, EventLog, Lines, LogError, LogOptions, Position, files, testing::*};

/// The numbers that a reader finds, in order, and the `log_gap` lines.
pub(super) fn read(dir: &Path) -> (Vec<u64>, Vec<Value>) {
    let (mut lines, mut numbers, mut gaps) = (Lines::all(dir), Vec::new(), Vec::new());
    while let Some(line) = lines.next_line().unwrap() {
        let Ok(value) = serde_json::from_slice::<Value>(line.bytes) else { continue };
        match value["event"].as_str() {
            Some("log_gap") => gaps.push(value),
            _ => numbers.push(number(line.bytes)),
        }
    }
    (numbers, gaps)
}

/// Writes five lines, lets somebody do something, and writes five more. Returns what a reader finds then, and the alarms.
fn around(dir: &Path, deed: impl FnOnce(&Path)) -> (Vec<u64>, Vec<Value>, Vec<String>) {
    let (durable, on_durable) = Durable::new();
    let (log, _) = EventLog::open(options(dir), still, stamp, on_durable).unwrap();
    append(&log, 0..5);
    deed(&dir.join(CURRENT));
    append(&log, 5..10);
    let alarms = log.take_alarms().iter().map(ToString::to_string).collect();
    log.close().unwrap();
    assert_eq!(durable.tickets(), (0..10).collect::<Vec<_>>());
    let (numbers, gaps) = read(dir);
    (numbers, gaps, alarms)
}

pub(super) fn write_into(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn a_deleted_file_is_a_gap_that_says_what_was_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut length = 0;
    let (numbers, gaps, alarms) = around(dir.path(), |path| {
        length = fs::metadata(path).unwrap().len();
        fs::remove_file(path).unwrap();
    });
    assert_eq!(numbers, [5, 6, 7, 8, 9]);
    let gap = &gaps[0];
    assert_eq!((gap["cause"].as_str(), gap["from_byte"].as_u64(), gap["bytes"].as_u64()), (Some("deleted"), Some(0), Some(length)));
    assert_eq!(
        (gap["lines"].as_u64(), gap["accepted"].as_u64(), gap["since"].as_str()),
        (Some(5), Some(0), Some("2026-08-24T10:00:00.000Z"))
    );
    assert!(alarms[0].contains("was deleted") && alarms[0].contains("-1.log"), "{alarms:?}");
    let first = fs::read_to_string(dir.path().join(CURRENT)).unwrap();
    assert!(first.lines().next().unwrap().contains("log_gap"), "the gap is the first line of the new file: {first}");
}

#[test]
fn a_deleted_folder_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (numbers, gaps, _) = around(dir.path(), |path| fs::remove_dir_all(path.parent().unwrap()).unwrap());
    assert_eq!((numbers, gaps.len()), ((5..10).collect(), 1));
}

#[test]
fn a_file_that_moved_away_is_a_gap_that_says_where_it_is_now() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = elsewhere.path().join("old.log");
    let (numbers, gaps, alarms) = around(dir.path(), |path| fs::rename(path, &target).unwrap());
    assert_eq!((numbers, gaps[0]["cause"].as_str()), ((5..10).collect(), Some("moved")));
    assert!(alarms[0].contains(&target.display().to_string()), "{alarms:?}");
    // The alarm says where it belongs; back there, it is read first.
    let name = alarms[0].rsplit("move it to ").next().unwrap();
    fs::rename(&target, name).unwrap();
    assert_eq!(read(dir.path()).0, (0..10).collect::<Vec<_>>());
}

#[test]
fn a_file_that_was_renamed_in_its_folder_stays_part_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (numbers, gaps, alarms) = around(dir.path(), |path| fs::rename(path, path.with_extension("log.1")).unwrap());
    assert_eq!((numbers, gaps.len()), ((0..10).collect(), 0));
    assert!(alarms[0].contains("delivery.log.1") && alarms[0].contains("No line is missing"), "{alarms:?}");
    // As logrotate's `create` does it.
    let dir = tempfile::tempdir().unwrap();
    let (numbers, gaps, _) = around(dir.path(), |path| {
        fs::rename(path, path.with_extension("log.1")).unwrap();
        fs::write(path, "").unwrap();
    });
    assert_eq!((numbers, gaps.len(), files::list(dir.path()).unwrap().len()), ((0..10).collect(), 0, 2));
}

#[test]
fn a_file_that_was_emptied_is_a_gap_and_gets_no_hole() {
    let dir = tempfile::tempdir().unwrap();
    let (numbers, gaps, _) = around(dir.path(), |path| drop(fs::File::create(path).unwrap()));
    assert_eq!((numbers, gaps[0]["cause"].as_str(), gaps[0]["lines"].as_u64()), ((5..10).collect(), Some("truncated"), Some(5)));
    assert!(!fs::read(dir.path().join(CURRENT)).unwrap().contains(&0));
}

#[test]
fn what_is_left_of_a_shortened_file_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut line = 0;
    let (numbers, gaps, _) = around(dir.path(), |path| {
        let length = fs::metadata(path).unwrap().len();
        line = length / 5;
        OpenOptions::new().write(true).open(path).unwrap().set_len(length - line - 3).unwrap();
    });
    assert_eq!(numbers, [0, 1, 2, 5, 6, 7, 8, 9]);
    assert_eq!(
        (gaps[0]["from_byte"].as_u64(), gaps[0]["bytes"].as_u64(), gaps[0]["lines"].as_u64()),
        (Some(3 * line), Some(2 * line), Some(2))
    );
}

#[test]
fn what_another_program_appends_leaves_our_lines_whole() {
    for note in [&b"an admin's note"[..], b"a whole line\n"] {
        let dir = tempfile::tempdir().unwrap();
        let (numbers, gaps, alarms) = around(dir.path(), |path| write_into(path, note));
        assert_eq!((numbers, gaps.len(), alarms.len()), ((0..10).collect(), 0, 1));
        assert!(fs::read(dir.path().join(CURRENT)).unwrap().windows(note.len()).any(|bytes| bytes == note), "the note stays");
    }
}

#[test]
fn a_file_that_was_overwritten_in_place_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let (numbers, gaps, _) = around(dir.path(), |path| {
        let length = fs::metadata(path).unwrap().len() as usize;
        fs::write(path, vec![b'\n'; length + 10]).unwrap();
    });
    assert_eq!((numbers, gaps[0]["cause"].as_str()), ((5..10).collect(), Some("overwritten")));
}

#[test]
fn a_copy_in_its_place_becomes_part_of_the_log_and_a_strange_file_stands_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (numbers, gaps, _) = around(dir.path(), |path| {
        let copy = path.with_extension("tmp");
        fs::copy(path, &copy).unwrap();
        fs::rename(&copy, path).unwrap();
    });
    assert_eq!((numbers, gaps.len()), ((0..10).collect(), 1));
    let dir = tempfile::tempdir().unwrap();
    around(dir.path(), |path| {
        fs::remove_file(path).unwrap();
        fs::write(path, "a note").unwrap();
    });
    assert_eq!(fs::read_to_string(dir.path().join("delivery.log.not-ours-20260824T100000Z-1")).unwrap(), "a note");
}

#[test]
fn an_idle_log_notices_it_too_and_the_end_moves() {
    let dir = tempfile::tempdir().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let watching = LogOptions { look: std::time::Duration::from_millis(1), ..options(dir.path()) };
    let (log, _) = EventLog::open(watching, still, stamp, move |_: Vec<u64>, end: &Position| {
        let _ = tell.send(*end);
    })
    .unwrap();
    append(&log, 0..2);
    let before = told.recv().unwrap();
    fs::remove_file(dir.path().join(CURRENT)).unwrap();
    let after = told.recv_timeout(std::time::Duration::from_secs(30)).expect("nobody appended anything");
    assert_ne!(before.file, after.file);
    assert_eq!((read(dir.path()).1.len(), log.take_alarms().len()), (1, 1));
}

#[test]
fn nothing_counts_as_durable_that_was_written_into_a_file_nobody_finds() {
    let deeds: [fn(&Path); 3] = [
        |path| fs::remove_file(path).unwrap(),
        |path| drop(fs::File::create(path).unwrap()),
        |path| fs::rename(path, path.with_extension("log.1")).unwrap(),
    ];
    for (deed, durable_before) in deeds.iter().zip([5, 5, 0]) {
        for at_sync in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (faults, _failures) = spoiled();
            let (durable, on_durable) = Durable::new();
            let log = open_spoiled(options(dir.path()), &faults, on_durable).unwrap();
            append(&log, 0..5);
            let (path, deed) = (dir.path().join(CURRENT), *deed);
            if at_sync {
                faults.before_sync(move || deed(&path))
            } else {
                faults.before_append(move || deed(&path))
            }
            append(&log, 5..10);
            let (numbers, gaps) = read(dir.path());
            assert_eq!(numbers, (durable_before..10).collect::<Vec<_>>(), "each line once");
            assert_eq!(gaps.len(), usize::from(durable_before > 0));
            assert_eq!(durable.tickets(), (0..10).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_line_that_lost_only_its_line_end_is_not_written_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, _failures) = spoiled();
    let log = open_spoiled(options(dir.path()), &faults, |_, _| ()).unwrap();
    let path = dir.path().join(CURRENT);
    faults.before_sync(move || {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    });
    log.append_all((0..2).map(numbered).collect(), None);
    append(&log, 2..3);
    assert_eq!(read(dir.path()).0, [0, 1, 2]);
}

#[test]
fn a_new_file_that_cannot_be_made_is_trouble_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, failures) = spoiled();
    let (durable, on_durable) = Durable::new();
    let log = open_spoiled(options(dir.path()), &faults, on_durable).unwrap();
    append(&log, 0..5);
    fs::remove_file(dir.path().join(CURRENT)).unwrap();
    faults.open_fails.store(true, SeqCst);
    log.append(numbered(5), Some(5));
    let waiter = log.clone();
    let flush = std::thread::spawn(move || waiter.flush());
    until_trouble(&log, &failures);
    assert!(log.trouble().unwrap().contains("cannot open"), "{:?}", log.trouble());
    assert_eq!(durable.tickets(), [0, 1, 2, 3, 4]);
    faults.open_fails.store(false, SeqCst);
    log.flush().unwrap();
    flush.join().unwrap().unwrap();
    assert_eq!((log.trouble(), durable.tickets()), (None, vec![5]));
    let (numbers, gaps) = read(dir.path());
    assert_eq!((numbers, gaps.len(), log.take_alarms().len()), (vec![5], 1, 1));
}

#[test]
fn a_torn_write_that_cannot_be_cut_is_cut_later() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, failures) = spoiled();
    let log = open_spoiled(options(dir.path()), &faults, |_, _| ()).unwrap();
    append(&log, 0..3);
    faults.room.store(20, SeqCst);
    faults.cut_fails.store(true, SeqCst);
    log.append(numbered(3), None);
    let waiter = log.clone();
    let flush = std::thread::spawn(move || waiter.flush());
    until_trouble(&log, &failures);
    faults.room.store(u64::MAX, SeqCst);
    faults.cut_fails.store(false, SeqCst);
    log.flush().unwrap();
    flush.join().unwrap().unwrap();
    assert_eq!((current(dir.path()), log.take_alarms()), (vec![0, 1, 2, 3], vec![]));
}

#[test]
fn a_follower_goes_on_in_the_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..3);
    let mut follower = Lines::all(dir.path());
    while follower.next_line().unwrap().is_some() {}
    fs::remove_file(dir.path().join(CURRENT)).unwrap();
    append(&log, 3..4);
    assert!(follower.next_line().unwrap().unwrap().bytes.windows(7).any(|word| word == b"log_gap"));
    assert_eq!(number(follower.next_line().unwrap().unwrap().bytes), 3);
}

#[test]
fn two_writers_are_still_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _log = open(dir.path());
    assert!(matches!(EventLog::<u64>::open(options(dir.path()), still, stamp, |_, _| ()), Err(LogError::InUse(_))));
}

#[test]
fn no_two_files_are_known_by_the_same_first_line() {
    let dir = tempfile::tempdir().unwrap();
    let (durable, on_durable) = Durable::new();
    let (log, _) = EventLog::open(options(dir.path()), still, stamp, on_durable).unwrap();
    let mut known = Vec::new();
    for from in [0, 5, 10] {
        append(&log, from..from + 5);
        let path = dir.path().join(CURRENT);
        let line = fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned();
        assert!(!known.contains(&line), "a position in the lost file would lead into this one: {line}");
        known.push(line);
        fs::remove_file(path).unwrap();
    }
    append(&log, 15..16);
    log.close().unwrap();
    assert_eq!(durable.tickets().len(), 16);
    let (_, gaps) = read(dir.path());
    assert_eq!(gaps.len(), 3, "the gaps of the lost files are told again: {gaps:?}");
}
