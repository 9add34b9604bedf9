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
