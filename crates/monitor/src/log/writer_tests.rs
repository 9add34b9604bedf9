use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{CURRENT, EventLog, LogError, LogOptions, SyncTimer, files, testing::*};
use crate::samples;

fn file_count(dir: &Path) -> usize {
    files::list(dir).unwrap().len()
}

#[test]
fn tickets_come_back_in_order_once_their_lines_are_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (durable, on_durable) = Durable::new();
    let (log, opened) = EventLog::open(options(dir.path()), still, stamp, on_durable).unwrap();
    assert_eq!((opened.end, opened.cut), (None, 0));
    append(&log, 0..700);
    log.append(numbered(700), None);
    append(&log, 701..705);
    assert_eq!(current(dir.path()), (0..705).collect::<Vec<_>>());
    let batches = durable.batches();
    let tickets: Vec<_> = batches.iter().flat_map(|(tickets, _)| tickets.clone()).collect();
    assert_eq!(tickets, (0..705).filter(|n| *n != 700).collect::<Vec<_>>());
    let length = fs::metadata(dir.path().join(CURRENT)).unwrap().len();
    assert_eq!(batches.last().unwrap().1.offset, length);
    assert_eq!(log.queued(), 0);
}

#[test]
fn what_is_written_becomes_durable_without_being_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let soon = LogOptions { sync: Duration::from_millis(5), ..options(dir.path()) };
    let (log, _) = EventLog::open(soon, still, stamp, move |tickets: Vec<u64>, _: &_| drop(tell.send(tickets))).unwrap();
    log.append(numbered(1), Some(1));
    assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(vec![1]));
}

#[test]
fn a_torn_tail_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..3);
    log.close().unwrap();
    let path = dir.path().join(CURRENT);
    let whole = fs::read(&path).unwrap();
    // Longer than one look backwards.
    let torn = [&whole[..], &vec![b'x'; 150_000]].concat();
    fs::write(&path, torn).unwrap();
    let (log, opened) = EventLog::<u64>::open(options(dir.path()), still, stamp, |_, _| ()).unwrap();
    assert_eq!(opened.cut, 150_000);
    assert_eq!(opened.end.unwrap().offset, whole.len() as u64);
    append(&log, 3..5);
    assert_eq!(current(dir.path()), [0, 1, 2, 3, 4]);
}

#[test]
fn a_file_of_nothing_but_half_a_line_becomes_empty() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(CURRENT), "{\"time\":").unwrap();
    let (_, opened) = EventLog::<u64>::open(options(dir.path()), still, stamp, |_, _| ()).unwrap();
    assert_eq!((opened.cut, opened.end), (8, None));
    assert!(current(dir.path()).is_empty());
}

#[test]
fn a_full_disk_tears_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, failures) = spoiled();
    let (durable, on_durable) = Durable::new();
    let log = open_spoiled(options(dir.path()), &faults, on_durable).unwrap();
    append(&log, 0..3);
    assert_eq!(log.trouble(), None);
    faults.room.store(100, SeqCst);
    for n in 3..2000 {
        log.append(numbered(n), Some(n));
    }
    until_trouble(&log, &failures);
    assert_eq!(current(dir.path()), [0, 1, 2], "the torn line is cut off");
    assert_eq!(durable.tickets(), [0, 1, 2]);
    faults.room.store(u64::MAX, SeqCst);
    log.flush().unwrap();
    assert_eq!(log.trouble(), None);
    assert_eq!(current(dir.path()), (0..2000).collect::<Vec<_>>());
    assert_eq!(durable.tickets(), (3..2000).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_is_tried_again_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, failures) = spoiled();
    let (tell, told) = std::sync::mpsc::channel();
    let eager = LogOptions { retry: Duration::from_millis(1), sync: Duration::ZERO, ..options(dir.path()) };
    let log = open_spoiled(eager, &faults, move |tickets, _| drop(tell.send(tickets))).unwrap();
    faults.room.store(10, SeqCst);
    log.append(numbered(7), Some(7));
    until_trouble(&log, &failures);
    faults.room.store(u64::MAX, SeqCst);
    assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(vec![7]));
    assert_eq!(current(dir.path()), [7]);
}

#[test]
fn after_a_failed_sync_everything_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, failures) = spoiled();
    let (durable, on_durable) = Durable::new();
    let log = open_spoiled(options(dir.path()), &faults, on_durable).unwrap();
    append(&log, 0..3);
    faults.sync_fails.store(true, SeqCst);
    for n in 3..3000 {
        log.append(numbered(n), Some(n));
    }
    until_trouble(&log, &failures);
    assert_eq!(durable.tickets(), [0, 1, 2], "no ticket without a sync");
    assert_eq!(log.progress(), (3000, 3), "nothing is behind that was not appended, nor durable that was not synced");
    faults.sync_fails.store(false, SeqCst);
    log.flush().unwrap();
    assert_eq!(log.progress(), (3000, 3000));
    assert_eq!((log.trouble(), durable.tickets()), (None, (3..3000).collect()));
    assert_eq!(current(dir.path()), (0..3000).collect::<Vec<_>>());
}

#[test]
fn closing_on_a_full_disk_says_what_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, _failures) = spoiled();
    let log = open_spoiled(options(dir.path()), &faults, |_, _| ()).unwrap();
    append(&log, 0..2);
    faults.room.store(10, SeqCst);
    log.append(numbered(2), None);
    assert!(matches!(log.close(), Err(LogError::Unwritten(_))));
    assert_eq!(current(dir.path()), [0, 1]);
    assert!(matches!(log.flush(), Err(LogError::Closed)));
}

#[test]
fn a_queue_that_grows_too_long_is_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let (faults, failures) = spoiled();
    let short = LogOptions { queue_max: 5, ..options(dir.path()) };
    let log = open_spoiled(short, &faults, |_, _| ()).unwrap();
    faults.sync_fails.store(true, SeqCst);
    for n in 0..4000 {
        log.append(numbered(n), Some(n));
    }
    until_trouble(&log, &failures);
    assert!(log.queued() > 5, "a full batch leaves the rest waiting");
    faults.sync_fails.store(false, SeqCst);
    log.flush().unwrap();
    assert_eq!((log.trouble(), log.queued()), (None, 0));
}

#[test]
fn dropping_the_last_handle_closes_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let other = log.clone();
    drop(log);
    other.append(numbered(0), None);
    drop(other);
    assert_eq!(current(dir.path()), [0]);
    append(&open(dir.path()), 1..3);
    assert_eq!(current(dir.path()), [0, 1, 2]);
}

#[test]
fn a_writer_that_is_gone_is_trouble() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) =
        EventLog::open(options(dir.path()), still, stamp, |tickets: Vec<u64>, _| assert!(tickets.is_empty(), "on purpose")).unwrap();
    append(&log, []);
    assert_eq!(log.trouble(), None);
    log.append(numbered(1), Some(1));
    assert!(matches!(log.flush(), Err(LogError::Closed)));
    assert!(matches!(log.close(), Err(LogError::Panicked)));
    assert!(log.trouble().is_some());
}

#[test]
fn a_second_writer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _log = open(dir.path());
    assert!(matches!(EventLog::<u64>::open(options(dir.path()), still, stamp, |_, _| ()), Err(LogError::InUse(_))));
}

#[test]
fn files_rotate_by_size_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let small = LogOptions { rotate_size: 400, keep_files: 2, ..options(dir.path()) };
    let (log, _) = EventLog::<u64>::open(small, still, stamp, |_, _| ()).unwrap();
    for n in 0..20 {
        append(&log, [n]);
    }
    let files = files::list(dir.path()).unwrap();
    assert_eq!(files.len(), 3);
    // The names differ although the clock stands still.
    assert!(files[0].number + 1 == files[1].number && files[0].rotated == files[1].rotated);
    for file in &files[..2] {
        let length = fs::metadata(&file.path).unwrap().len();
        assert!((400..600).contains(&length), "{length}");
    }
    assert_eq!(current(dir.path()).last(), Some(&19));
}

static AGING: AtomicI64 = AtomicI64::new(0);

fn aging() -> Timestamp {
    samples::at(AGING.load(SeqCst))
}

#[test]
fn files_rotate_by_age_and_the_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let hourly = LogOptions { rotate_age: Duration::from_secs(3600), keep_age: Some(Duration::from_secs(7200)), ..options(dir.path()) };
    let (log, _) = EventLog::<u64>::open(hourly.clone(), aging, stamp, |_, _| ()).unwrap();
    append(&log, [0]);
    AGING.store(3599, SeqCst);
    append(&log, [1]);
    assert_eq!(file_count(dir.path()), 1);
    AGING.store(3600, SeqCst);
    append(&log, [2]);
    assert_eq!((file_count(dir.path()), current(dir.path())), (2, vec![2]));
    log.close().unwrap();
    // The age is that of the first line, so a restart does not make the file young again.
    AGING.store(3600 * 3, SeqCst);
    let (log, _) = EventLog::<u64>::open(hourly, aging, stamp, |_, _| ()).unwrap();
    append(&log, [3]);
    let left: Vec<_> = files::list(dir.path()).unwrap().iter().map(|f| f.rotated).collect();
    assert_eq!((left, current(dir.path())), (vec![Some(samples::at(3600 * 3)), None], vec![3]));
}

#[test]
fn a_ticket_without_an_event_comes_back_too() {
    let dir = tempfile::tempdir().unwrap();
    let (durable, on_durable) = Durable::new();
    let (log, _) = EventLog::open(options(dir.path()), still, stamp, on_durable).unwrap();
    log.append_all(vec![numbered(1)], Some(6));
    log.flush().unwrap();
    log.append_all(Vec::new(), Some(7));
    log.close().unwrap();
    assert_eq!(durable.tickets(), [6, 7]);
    assert_eq!(current(dir.path()), [1]);
}

#[test]
fn no_position_falls_between_events_that_belong_together() {
    let dir = tempfile::tempdir().unwrap();
    let (durable, on_durable) = Durable::new();
    let eager = LogOptions { sync: Duration::ZERO, ..options(dir.path()) };
    let (log, _) = EventLog::open(eager, still, stamp, on_durable).unwrap();
    for group in 0..5 {
        log.append_all((0..700).map(numbered).collect(), Some(group));
    }
    log.close().unwrap();
    let text = fs::read(dir.path().join(CURRENT)).unwrap();
    let batches = durable.batches();
    for (_, position) in &batches {
        let lines = text[..position.offset as usize].iter().filter(|b| **b == b'\n').count();
        assert_eq!(lines % 700, 0, "a position behind {lines} lines");
    }
    assert_eq!(batches.into_iter().flat_map(|(tickets, _)| tickets).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn new_limits_hold_from_the_next_line_on_and_the_folder_stays() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 0..3);
    log.keep(LogOptions { rotate_size: 1, ..options(std::path::Path::new("/nowhere")) });
    append(&log, [3]);
    assert_eq!((file_count(dir.path()), current(dir.path())), (2, vec![3]));
}

#[test]
fn the_files_mode_is_as_ordered() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (_log, _) = EventLog::<u64>::open(LogOptions { mode: 0o600, ..options(dir.path()) }, still, stamp, |_, _| ()).unwrap();
    assert_eq!(fs::metadata(dir.path().join(CURRENT)).unwrap().permissions().mode() & 0o777, 0o600);
}

static STEPPED: AtomicI64 = AtomicI64::new(86_400);

fn stepping() -> Timestamp {
    samples::at(STEPPED.load(SeqCst))
}

#[test]
fn lines_become_durable_though_the_clock_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let (log, _) = EventLog::open(options(dir.path()), stepping, stamp, move |tickets, _| drop(tell.send(tickets))).unwrap();
    log.append(numbered(1), Some(1));
    while current(dir.path()) != [1] {
        std::thread::yield_now();
    }
    STEPPED.store(0, SeqCst);
    log.append(numbered(2), Some(2));
    assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(vec![1, 2]), "a sync an hour after the first line would be a day away");
}

/// Each look at it takes a second.
fn slow() -> Instant {
    static LOOKS: AtomicI64 = AtomicI64::new(0);
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    *BEGIN.get_or_init(real) + Duration::from_secs(LOOKS.fetch_add(1, SeqCst).unsigned_abs())
}

#[expect(clippy::disallowed_methods, reason = "any time will do to begin with")]
fn real() -> Instant {
    Instant::now()
}

#[test]
fn each_sync_of_lines_is_timed_also_after_a_change_of_options() {
    let dir = tempfile::tempdir().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let timer = SyncTimer { clock: slow, took: Arc::new(move |took| hears.lock().unwrap().push(took)) };
    let log = EventLog::open(LogOptions { timer: Some(timer), ..options(dir.path()) }, still, stamp, |_, _| ()).unwrap().0;
    append(&log, 0..3);
    log.keep(options(dir.path()));
    append(&log, [3]);
    assert_eq!(*heard.lock().unwrap(), [Duration::from_secs(1); 2]);
}
