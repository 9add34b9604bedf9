//! What others do to the files that are not written any more, while the log is open and while it is not.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicI64, Ordering::SeqCst},
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    CURRENT, EventLog, LogError, LogOptions, Position, files,
    inventory::{LIST, TWIN},
    outside_tests::{read, write_into},
    refuse_newer,
    testing::*,
};
use crate::audit;

/// A clock that shows another time whenever it is asked, so that each sync is also a look at all files.
pub(super) fn ticking() -> Timestamp {
    static SECONDS: AtomicI64 = AtomicI64::new(0);
    still() + SignedDuration::from_secs(SECONDS.fetch_add(2, SeqCst))
}

pub(super) fn open_at(dir: &Path, keep_files: usize) -> EventLog<u64> {
    let options = LogOptions { look: Duration::from_secs(1), rotate_age: Duration::MAX, keep_files, ..options(dir) };
    EventLog::open(options, ticking, stamp, |_, _| ()).unwrap().0
}

/// A log with two rotated files of three lines and two lines in the current one.
pub(super) fn rotated(dir: &Path) -> EventLog<u64> {
    let log = open_at(dir, 1000);
    append(&log, 0..3);
    log.rotate_now().unwrap();
    append(&log, 3..6);
    log.rotate_now().unwrap();
    append(&log, 6..8);
    log
}

/// What a start has to say.
pub(super) fn said_at_start(dir: &Path) -> Vec<String> {
    let log = open_at(dir, 1000);
    log.flush().unwrap();
    log.take_alarms().iter().map(ToString::to_string).collect()
}

pub(super) fn first(dir: &Path) -> PathBuf {
    files::list(dir).unwrap()[0].path.clone()
}

type Deed = fn(&Path);

/// Writes a list and its twin, as the relay has left them at some time.
pub(super) fn put_list(dir: &Path, list: &[u8]) {
    [LIST, TWIN].into_iter().for_each(|name| fs::write(dir.join(name), list).unwrap());
}

/// Others' writes come later than ours; the file system's clock may be too coarse to tell.
pub(super) fn later(path: &Path) {
    File::open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(3_000_000_000)).unwrap();
}

fn delete(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn cut(path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    OpenOptions::new().write(true).open(path).unwrap().set_len(length / 3 + 10).unwrap();
    later(path);
}

/// Changes a letter in the middle of the file.
fn change(path: &Path) {
    let length = fs::metadata(path).unwrap().len();
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(b"#", length / 2).unwrap();
    later(path);
}

const DEEDS: [(Deed, &str); 3] = [(delete, "deleted"), (cut, "truncated"), (change, "overwritten")];

/// The one gap, which says what is missing of these bytes; and an audit finds it until the bytes are back.
fn assert_is_told(dir: &Path, path: &Path, before: &[u8], cause: &str) {
    let gaps = read(dir).1;
    let number = |key: &str| gaps[0][key].as_u64().unwrap();
    assert_eq!((gaps.len(), gaps[0]["cause"].as_str()), (1, Some(cause)), "{gaps:?}");
    assert_eq!(number("from_byte") + number("bytes"), before.len() as u64);
    assert_eq!(number("from_byte"), if cause == "truncated" { before.len() as u64 / 3 } else { 0 });
    let found = audit(dir, [], None).unwrap();
    assert!(found.gaps.len() == 1 && !found.balanced(), "{cause}: {found}");
    fs::write(path, before).unwrap();
    let found = audit(dir, [], None).unwrap();
    assert_eq!(found.gaps, [], "{cause}: it is back");
}

#[test]
fn a_rotated_file_that_others_delete_cut_or_change_is_a_gap_that_is_told_once() {
    for (deed, cause) in DEEDS {
        let dir = tempfile::tempdir().unwrap();
        let log = rotated(dir.path());
        let path = first(dir.path());
        let before = fs::read(&path).unwrap();
        deed(&path);
        append(&log, 8..9);
        append(&log, 9..10);
        let alarms: Vec<String> = log.take_alarms().iter().map(ToString::to_string).collect();
        assert!(alarms.len() == 1 && alarms[0].contains(&path.display().to_string()), "{alarms:?}");
        log.close().unwrap();
        drop(open_at(dir.path(), 1000));
        assert_is_told(dir.path(), &path, &before, cause);
    }
}

#[test]
fn an_idle_log_notices_that_a_rotated_file_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { look: Duration::from_millis(1), ..options(dir.path()) };
    let (tell, told) = std::sync::mpsc::channel();
    let (log, _) = EventLog::<u64>::open(options, ticking, stamp, move |_, end: &Position| {
        let _ = tell.send(*end);
    })
    .unwrap();
    append(&log, 0..3);
    log.rotate_now().unwrap();
    append(&log, 3..4);
    while told.try_recv().is_ok() {}
    fs::remove_file(first(dir.path())).unwrap();
    told.recv_timeout(Duration::from_secs(30)).expect("nobody appended anything, and yet there is a durable line");
    assert_eq!((read(dir.path()).1.len(), log.take_alarms().len()), (1, 1));
}

#[test]
fn what_was_done_to_a_file_while_nobody_wrote_is_told_at_the_start() {
    for current in [false, true] {
        for (deed, cause) in DEEDS {
            let dir = tempfile::tempdir().unwrap();
            rotated(dir.path()).close().unwrap();
            let path = if current { dir.path().join(CURRENT) } else { first(dir.path()) };
            let before = fs::read(&path).unwrap();
            deed(&path);
            let log = open_at(dir.path(), 1000);
            log.flush().unwrap();
            assert_eq!(log.take_alarms().len(), 1, "{current} {cause}");
            log.close().unwrap();
            let gaps = read(dir.path()).1;
            assert_eq!(gaps.len(), 1, "{current} {cause}: {gaps:?}");
            if !current {
                assert_is_told(dir.path(), &path, &before, cause);
            }
            assert_eq!(said_at_start(dir.path()), Vec::<String>::new());
        }
    }
}

#[test]
fn lines_that_a_kill_left_behind_the_list_are_compared_too() {
    let dir = tempfile::tempdir().unwrap();
    rotated(dir.path()).close().unwrap();
    let list = fs::read(dir.path().join(LIST)).unwrap();
    let log = open_at(dir.path(), 1000);
    append(&log, 8..20);
    log.close().unwrap();
    // As a kill would have left it.
    put_list(dir.path(), &list);
    assert_eq!(said_at_start(dir.path()), Vec::<String>::new());
    put_list(dir.path(), &list);
    OpenOptions::new().write(true).open(dir.path().join(CURRENT)).unwrap().write_all_at(b"#", 200).unwrap();
    let log = open_at(dir.path(), 1000);
    log.flush().unwrap();
    assert_eq!((log.take_alarms().len(), read(dir.path()).1.len()), (1, 1));
}

#[test]
fn the_relays_own_deletion_of_old_files_is_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    for keep in [3, 1] {
        let log = open_at(dir.path(), keep);
        for n in 0..6 {
            append(&log, [n]);
            log.rotate_now().unwrap();
        }
        append(&log, [6]);
        assert_eq!((log.take_alarms(), files::list(dir.path()).unwrap().len()), (vec![], keep + 1));
        log.close().unwrap();
        assert_eq!(read(dir.path()).1, Vec::<Value>::new());
        assert!(audit(dir.path(), [], None).unwrap().balanced());
    }
}

#[test]
fn a_lost_file_that_told_of_a_gap_still_tells_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = rotated(dir.path());
    for next in 8..12 {
        // Each time the file with the last gap's line is rotated, and goes.
        delete(&files::list(dir.path()).unwrap().iter().rfind(|file| file.rotated.is_some()).unwrap().path);
        append(&log, [next]);
        log.rotate_now().unwrap();
    }
    log.close().unwrap();
    let known: std::collections::BTreeSet<String> = read(dir.path()).1.iter().map(|gap| gap["file"].to_string()).collect();
    assert_eq!(known.len(), 4, "{known:?}");
}

#[test]
fn a_rotated_file_that_others_rename_stays_part_of_the_log() {
    for closed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Some(rotated(dir.path()));
        let path = first(dir.path());
        if closed {
            log.take().unwrap().close().unwrap();
        }
        fs::rename(&path, dir.path().join("old.log")).unwrap();
        let log = log.unwrap_or_else(|| open_at(dir.path(), 1000));
        append(&log, 8..10);
        assert!(path.exists());
        let alarms = log.take_alarms();
        assert!(alarms.len() == 1 && alarms[0].to_string().contains("old.log"), "{alarms:?}");
        let (numbers, gaps) = read(dir.path());
        assert_eq!((numbers, gaps.len()), ((0..10).collect(), 0));
    }
}

#[test]
fn what_harms_no_line_is_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let log = rotated(dir.path());
    later(&first(dir.path()));
    append(&log, [8]);
    assert_eq!(log.take_alarms(), []);
    write_into(&first(dir.path()), b"a note\n");
    append(&log, [9]);
    append(&log, [10]);
    assert_eq!(log.take_alarms().len(), 1, "told once");
    log.close().unwrap();
    assert_eq!(said_at_start(dir.path()), Vec::<String>::new());
    assert_eq!(read(dir.path()).1.len(), 0);
    assert!(audit(dir.path(), [], None).unwrap().balanced());
}

#[test]
fn a_disk_that_changes_a_byte_is_found_by_the_audit() {
    let dir = tempfile::tempdir().unwrap();
    rotated(dir.path()).close().unwrap();
    let path = first(dir.path());
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    change(&path);
    File::open(&path).unwrap().set_modified(modified).unwrap();
    let found = audit(dir.path(), [], None).unwrap();
    assert!(!found.balanced() && found.to_string().contains("GAP found now: delivery-"), "{found}");
}

#[test]
fn a_list_that_others_spoil_is_said_and_made_anew_and_one_of_a_later_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join(LIST);
    rotated(dir.path()).close().unwrap();
    // A kill between a file's renaming and its entry.
    let mut old: Value = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
    let mut last = old["rotated"].as_array_mut().unwrap().pop().unwrap();
    last["name"] = CURRENT.into();
    old["current"] = last;
    put_list(dir.path(), old.to_string().as_bytes());
    assert_eq!(said_at_start(dir.path()), Vec::<String>::new());
    fs::remove_file(&list).unwrap();
    fs::remove_file(dir.path().join(TWIN)).unwrap();
    let said = said_at_start(dir.path());
    assert!(said.len() == 1 && said[0].contains("delivery.files is gone"), "{said:?}");
    assert_eq!(said_at_start(dir.path()), Vec::<String>::new(), "it is made anew");
    put_list(dir.path(), b"{");
    let log = open_at(dir.path(), 1000);
    log.flush().unwrap();
    assert_eq!(log.take_alarms().len(), 1);
    fs::remove_file(first(dir.path())).unwrap();
    append(&log, [8]);
    assert_eq!(log.take_alarms().len(), 1, "the new list is as good");
    log.close().unwrap();
    fs::write(&list, r#"{"v":2}"#).unwrap();
    assert!(matches!(refuse_newer(dir.path()), Err(LogError::UnknownList { .. })));
    assert_eq!(fs::read_to_string(&list).unwrap(), r#"{"v":2}"#);
}

#[test]
fn a_file_that_was_cut_after_a_kill_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_at(dir.path(), 1000);
    append(&log, 0..3);
    let current = dir.path().join(CURRENT);
    let length = fs::metadata(&current).unwrap().len();
    append(&log, 3..6);
    // Nothing more comes for a while.
    log.flush().unwrap();
    let list = fs::read(dir.path().join(LIST)).unwrap();
    log.close().unwrap();
    // An orderly stop wrote the list; a kill leaves what was there.
    put_list(dir.path(), &list);
    OpenOptions::new().write(true).open(&current).unwrap().set_len(length).unwrap();
    let said = said_at_start(dir.path());
    assert!(said.iter().any(|alarm| alarm.contains("was cut")), "{said:?}");
    let (numbers, gaps) = read(dir.path());
    assert_eq!((numbers, gaps.len()), (vec![0, 1, 2], 1));
}
