use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use jiff::SignedDuration;
use posthaste_host::InForce;
use posthaste_journal::{Ticket, stamp};
use posthaste_mail::Name;
use posthaste_monitor::{EventLog, LogOptions};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A log of its own, and a thread that counts it, of which the first `bad` steps fail.
fn counted(dir: &Path, bad: usize, fails: fn() -> Result<Progress, TalliesError>) -> (Journal, Counting) {
    let node = InForce::fixed(Name::new("mx1").unwrap());
    let log = dir.join("log");
    let (events, _) = EventLog::<Ticket>::open(LogOptions::new(&log), clock::now, stamp(node.clone()), |_, _| ()).unwrap();
    let journal = Journal::new(events, node);
    let steps = AtomicUsize::new(0);
    let step: Step = Box::new(move |reader, tallies| match steps.fetch_add(1, SeqCst) {
        n if n < bad => fails(),
        _ => reader.catch_up(tallies, LINES_AT_ONCE),
    });
    let settings = Settings { path: dir.join("tallies.db"), log, zone: TimeZone::UTC, limits: Limits::default() };
    (journal.clone(), Counting::start_with(settings, journal, step, Duration::from_millis(20)).unwrap())
}

/// The states and details in the log.
fn said(dir: &Path, journal: &Journal) -> Vec<(String, String)> {
    journal.flush().unwrap();
    let text = std::fs::read_to_string(dir.join("log/delivery.log")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    events.map(|event| (event["state"].as_str().unwrap().to_owned(), event["detail"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn a_panic_of_the_thread_is_an_alarm_and_the_log_is_counted_again_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, counting) = counted(dir.path(), 3, || panic!("a line of poison"));
    let mut failures = 0;
    // Each question is answered while it fails, until a step succeeds.
    while let Err(error) = counting.catch_up(PATIENCE) {
        assert!(error.to_string().contains("a fault of posthaste: a line of poison"), "{error}");
        failures += 1;
    }
    assert!(failures > 0 || said(dir.path(), &journal).iter().any(|(state, _)| state == "alarm"));
    let said = said(dir.path(), &journal);
    let states: Vec<&str> = said.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(states, ["alarm", "alarm_over"], "said once however often it fails: {said:?}");
    assert!(said[0].1.contains("a line of poison") && said[0].1.contains("Mail goes on"), "{said:?}");
    assert!(journal.alarms().now().alarms.is_empty(), "it ends by itself");
    counting.catch_up(PATIENCE).unwrap();
    counting.stop();
}

#[test]
fn how_far_it_is_behind_counts_from_the_last_time_that_all_was_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (_journal, counting) = counted(dir.path(), usize::MAX, || Err(TalliesError::File(io::Error::other("no space"))));
    assert!(counting.catch_up(PATIENCE).is_err());
    let later = clock::now().checked_add(SignedDuration::from_mins(16)).unwrap();
    assert!(counting.behind(later) >= Duration::from_secs(16 * 60));
    counting.stop();
    let other = tempfile::tempdir().unwrap();
    let (_journal, counting) = counted(other.path(), 0, || unreachable!("no step fails"));
    let before = clock::now();
    counting.catch_up(PATIENCE).unwrap();
    assert!(counting.behind(clock::now()) <= Duration::try_from(clock::now().duration_since(before)).unwrap() + Duration::from_secs(3));
    counting.stop();
}

#[test]
fn a_line_that_is_skipped_is_an_alarm_with_its_place_that_stands() {
    let dir = tempfile::tempdir().unwrap();
    let skipped = || {
        let (file, line) = ("/var/log/posthaste/delivery.log".into(), "2026-11-29T00:00:10.000Z delivered m1".into());
        let skipped = posthaste_tallies::Skipped { file, offset: 4711, line, why: "index out of bounds".into(), count: 1 };
        Ok(Progress { lines: 1, skipped: Some(skipped), ..Progress::default() })
    };
    let (journal, counting) = counted(dir.path(), 1, skipped);
    counting.catch_up(PATIENCE).unwrap();
    assert_eq!(counting.trouble(), None, "all other lines are counted");
    let standing = journal.alarms().now().alarms;
    let [alarm] = &standing[..] else { panic!("{standing:?}") };
    let place = "byte 4711 of /var/log/posthaste/delivery.log (2026-11-29T00:00:10.000Z delivered m1): index out of bounds";
    assert!(alarm.what.contains(place), "{alarm:?}");
    counting.stop();
}

#[test]
fn what_to_do_follows_from_why_the_log_is_not_counted() {
    let remedy = |error: Failure| alarms::uncounted("it is not".into(), &error, Path::new("/data/tallies.db")).remedy;
    assert!(remedy(Failure::Tallies(TalliesError::File(io::ErrorKind::StorageFull.into()))).contains("Make room on the disk"));
    for other in [
        Failure::Tallies(TalliesError::File(io::ErrorKind::PermissionDenied.into())),
        Failure::Tallies(TalliesError::Version("9".into())),
        Failure::Panicked(guarded_here::<()>(|| panic!("index out of bounds")).unwrap_err()),
    ] {
        let text = remedy(other);
        assert!(!text.contains("Make room") && text.contains("/data/tallies.db") && text.contains("Mail goes on"), "{text}");
    }
}

#[test]
fn tallies_that_are_deleted_or_replaced_under_the_thread_are_made_again() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal, counting) = counted(dir.path(), 0, || unreachable!("no step fails"));
    let path = dir.path().join("tallies.db");
    let lines = || {
        journal.flush().unwrap();
        // The first question is answered by a look that began before the file went.
        (0..2).for_each(|_| counting.catch_up(PATIENCE).unwrap());
        Tallies::look(&path).unwrap().position().unwrap()
    };
    journal.say(Part::Tallies, State::Recovered, "a line to count");
    let before = lines();
    assert!(before.is_some());
    std::fs::remove_file(&path).unwrap();
    let deleted = lines();
    assert!(deleted.is_some(), "{before:?} {deleted:?}");
    drop(Tallies::open(&other.path().join("new.db"), TimeZone::UTC, Limits::default()).unwrap());
    std::fs::rename(other.path().join("new.db"), &path).unwrap();
    assert!(lines().is_some(), "a file that knows nothing is counted into from the log's beginning");
    let said = said(dir.path(), &journal);
    assert_eq!(said.iter().filter(|(state, detail)| state == "alarm" && detail.contains("deleted or replaced")).count(), 2, "{said:?}");
    counting.stop();
}
