use std::{fs, path::Path};

use posthaste_mail::{Event, EventId, GapFacts, MessageId, What};
use proptest::prelude::*;

use crate::{
    Audit, CURRENT, Checkpoint, CheckpointError, FileId, Horizon, Lines, LogError, Position, Watermark, audit, encode, gap_at_start,
    refuse_newer, samples::*, tail_since, take_back,
};

/// Ids ten minutes into the log: far from its beginning.
fn id(n: u128) -> MessageId {
    MessageId::new(at(600), n)
}

fn rcpt(n: u8) -> String {
    format!("r{n}@x.org")
}

fn write(dir: &Path, name: &str, whats: impl IntoIterator<Item = What>) {
    let mut lines = Vec::new();
    for (n, what) in whats.into_iter().enumerate() {
        let event = Event { id: EventId::new(at(600), n as u128), ..event(600, what) };
        encode(&event, &mut lines);
    }
    fs::write(dir.join(name), lines).unwrap();
}

/// A log that began long before the messages.
fn log(dir: &Path, whats: impl IntoIterator<Item = What>) {
    let mut first = Vec::new();
    encode(&event(0, What::Relay { state: "started".into(), part: None, alarm: None, detail: String::new() }), &mut first);
    fs::write(dir.join("delivery-20260824T100500Z-1.log"), first).unwrap();
    write(dir, CURRENT, whats);
}

fn cancelled(message: MessageId, rcpt: &str) -> What {
    What::Cancelled { about: about(message, rcpt, false), by: "uid 0".into(), reason: "test".into() }
}

fn names(listed: &[crate::Recipient]) -> Vec<(MessageId, &str)> {
    listed.iter().map(|r| (r.message, r.rcpt.as_str())).collect()
}

fn run(dir: &Path, queued: &[(MessageId, &str)]) -> Audit {
    audit(dir, queued.iter().map(|(m, r)| (*m, (*r).to_owned())), None).unwrap()
}

#[test]
fn ended_and_queued_recipients_balance() {
    let dir = tempfile::tempdir().unwrap();
    log(
        dir.path(),
        [
            accepted(id(1), "a@x.org", 1),
            accepted(id(1), "b@x.org", 1),
            accepted(id(2), "a@x.org", 2),
            deferred(id(1), "a@x.org"),
            delivered(id(1), "a@x.org"),
            cancelled(id(2), "a@x.org"),
        ],
    );
    let found = run(dir.path(), &[(id(1), "b@x.org"), (id(2), "a@x.org")]);
    assert!(found.balanced(), "{found}");
    assert_eq!((found.accepted, found.queued, found.ended_and_queued, found.lines), (3, 2, 1, 7));
    assert_eq!(found.ended.iter().map(|(k, n)| (k.as_str(), *n)).collect::<Vec<_>>(), [("cancelled", 1), ("delivered", 1)]);
    assert_eq!(found.possible_duplicates, 1, "the deferral was ambiguous");
    assert!(found.to_string().ends_with("balanced: accepted = ended + queued"));
}

#[test]
fn each_fault_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    log(
        dir.path(),
        [
            accepted(id(1), "lost@x.org", 1),
            accepted(id(2), "twice@x.org", 2),
            delivered(id(2), "twice@x.org"),
            cancelled(id(2), "twice@x.org"),
            delivered(id(3), "never@x.org"),
            accepted(id(4), "again@x.org", 4),
            accepted(id(4), "again@x.org", 4),
        ],
    );
    let found = run(dir.path(), &[(id(4), "again@x.org"), (id(5), "silent@x.org")]);
    assert!(!found.balanced());
    assert_eq!(names(&found.missing.listed), [(id(1), "lost@x.org")]);
    assert_eq!(names(&found.doubly_ended.listed), [(id(2), "twice@x.org")]);
    assert_eq!(names(&found.ended_without_accept.listed), [(id(3), "never@x.org")]);
    assert_eq!(names(&found.doubly_accepted.listed), [(id(4), "again@x.org")]);
    assert_eq!(names(&found.queued_without_accept.listed), [(id(5), "silent@x.org")]);
    let text = found.to_string();
    assert!(text.contains("lost@x.org") && text.ends_with("NOT BALANCED"), "{text}");
}

#[test]
fn a_message_older_than_the_log_cannot_be_judged() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), CURRENT, [delivered(message_id(1), "a@x.org"), accepted(id(2), "b@x.org", 2)]);
    let found = run(dir.path(), &[(message_id(3), "c@x.org"), (id(2), "b@x.org")]);
    assert!(found.balanced(), "{found}");
    assert_eq!((found.before_the_log, found.accepted), (2, 1));
}

#[test]
fn what_came_after_the_look_at_the_spool_is_too_young() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), []);
    let horizon = |seconds| Horizon::of(dir.path(), at(seconds)).unwrap();
    let before = horizon(600);
    write(dir.path(), CURRENT, [accepted(id(1), "a@x.org", 1)]);
    let queued = || [(id(2), "b@x.org".to_owned())];
    let found = audit(dir.path(), queued(), Some(before)).unwrap();
    assert!(found.balanced() && found.too_young == 2, "{found}");
    let found = audit(dir.path(), queued(), Some(horizon(700))).unwrap();
    assert_eq!((found.missing.count, found.queued_without_accept.count, found.too_young), (1, 1, 0));
    let found = audit(dir.path(), [], Some(horizon(-86_400))).unwrap();
    assert_eq!((found.missing.count, found.too_young), (1, 0), "the clock was set back since");
}

#[test]
fn damaged_lines_are_counted_and_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), [accepted(id(1), "a@x.org", 1), delivered(id(1), "a@x.org")]);
    let path = dir.path().join(CURRENT);
    let good = fs::read(&path).unwrap();
    fs::write(&path, [&b"\xff\xfe\n{\"event\":\"deferred\",\n"[..], &good, b"{}\n"].concat()).unwrap();
    let found = run(dir.path(), &[]);
    assert!(found.balanced());
    assert_eq!((found.damaged_lines, found.accepted), (3, 1));
    assert_eq!(tail_since(dir.path(), None).unwrap().damaged, 3);
}

#[test]
fn the_tail_knows_what_a_crash_left_undone() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), [accepted(id(1), "a@x.org", 1), delivered(id(1), "a@x.org")]);
    let mut lines = Lines::all(dir.path());
    while lines.next_line().unwrap().is_some() {}
    let mut mark = Watermark::default();
    mark.see(1);
    mark.see(3);
    let checkpoint = Checkpoint::new(lines.position(), &mark);
    let kept = Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
    assert_eq!((&kept, kept.mark()), (&checkpoint, mark));
    // Two of three recipients' lines were written before the crash, and one ending.
    fs::rename(dir.path().join(CURRENT), dir.path().join("delivery-20260824T101112Z-2.log")).unwrap();
    write(
        dir.path(),
        CURRENT,
        [accepted(id(2), "a@x.org", 2), accepted(id(2), "b@x.org", 2), deferred(id(2), "a@x.org"), delivered(id(2), "b@x.org")],
    );
    let tail = tail_since(dir.path(), kept.position.as_ref()).unwrap();
    assert!(tail.was_accepted(2, "a@x.org") && tail.was_accepted(2, "b@x.org") && !tail.was_accepted(2, "c@x.org"));
    assert!(tail.has_ended(id(2), "b@x.org") && !tail.has_ended(id(2), "a@x.org") && !tail.has_ended(id(1), "a@x.org"));
    assert_eq!((tail.lines, tail.gone, tail.damaged), (4, false, 0));
    assert!(tail.seqs.contains(&2) && tail.end != kept.position);
}

#[test]
fn what_is_left_of_the_log_is_known_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), [accepted(id(1), "a@x.org", 1), delivered(id(1), "a@x.org")]);
    let lengths = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    let (mut lines, all) = (Lines::all(dir.path()), lengths.sum::<u64>());
    assert_eq!(lines.left().unwrap(), all);
    let (mut read, mut position) = (0, None);
    while let Some(line) = lines.next_line().unwrap() {
        read += line.bytes.len() as u64 + 1;
        position.get_or_insert(line.end);
        assert_eq!(lines.left().unwrap(), all - read);
    }
    assert_eq!(read, all);
    let behind = Lines::from(dir.path(), position.unwrap()).unwrap().left().unwrap();
    assert!(0 < behind && behind < all, "{behind} of {all}");
}

#[test]
fn a_tail_without_its_file_is_everything() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), [accepted(id(1), "a@x.org", 1), delivered(id(1), "a@x.org")]);
    let elsewhere = Position { file: FileId::of(b"other\n").unwrap(), offset: 6 };
    let tail = tail_since(dir.path(), Some(&elsewhere)).unwrap();
    assert!(tail.gone && tail.has_ended(id(1), "a@x.org"));
    assert_eq!((tail.lines, tail.end.is_some()), (3, true));
}

#[test]
fn a_gap_fails_the_audit_and_what_may_be_in_it_is_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let gap = What::LogGap(Box::new(GapFacts { since: Some(at(300)), until: None, ..gap(true) }));
    let late = MessageId::new(at(900), 9);
    let lines = [
        accepted(id(1), "a@x.org", 1),
        gap.clone(),
        gap,
        delivered(id(2), "b@x.org"),
        accepted(late, "c@x.org", 9),
        delivered(MessageId::new(at(200), 3), "d@x.org"),
    ];
    log(dir.path(), lines);
    let found = run(dir.path(), &[(id(4), "e@x.org")]);
    // Late came after the gap, and d's acceptance long before the oldest missing line.
    assert_eq!((found.gaps.len(), found.unproven, found.missing.count, found.ended_without_accept.count), (2, 3, 1, 1), "{found}");
    let text = found.to_string();
    assert!(!found.balanced() && text.contains("GAP found at 2026-08-24T10:10:00Z: delivery.log was deleted"), "{text}");
    assert!(text.contains("accepted from 2026-08-24T10:05:00Z on") && text.ends_with("NOT BALANCED"), "{text}");
}

#[test]
fn a_gap_is_closed_once_its_file_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let lost = dir.path().join("lost");
    let mut bytes = Vec::new();
    encode(&event(300, accepted(id(1), "a@x.org", 1)), &mut bytes);
    fs::write(&lost, &bytes).unwrap();
    let file = FileId::of(&bytes).map(|file| file.to_string().into());
    let gap = GapFacts { file, bytes: bytes.len() as u64, crc32: Some(crc32fast::hash(&bytes)), ..gap(true) };
    log(dir.path(), [What::LogGap(Box::new(gap)), delivered(id(1), "a@x.org")]);
    let found = run(dir.path(), &[]);
    assert_eq!((found.gaps.len(), found.unproven), (1, 1), "{found}");
    assert!(found.to_string().ends_with("NOT PROVEN: lines of the log are missing; the others balance"), "{found}");
    fs::rename(&lost, dir.path().join("delivery-20260824T100500Z-2.log")).unwrap();
    let found = run(dir.path(), &[]);
    assert!(found.balanced() && found.accepted == 1, "{found}");
}

/// A backup with half of the file was put back, the relay told of the gap, and went on in the same file, which is longer than it was now.
#[test]
fn a_file_that_was_cut_and_has_grown_since_is_not_back() {
    let dir = tempfile::tempdir().unwrap();
    let ends = |n: u128| [accepted(id(n), "a@x.org", n as u64), delivered(id(n), "a@x.org")];
    let bytes = |seconds, whats: Vec<What>| {
        let mut lines = Vec::new();
        for (n, what) in (0..).zip(whats) {
            encode(&Event { id: EventId::new(at(seconds), n), ..event(seconds, what) }, &mut lines);
        }
        lines
    };
    let whole = bytes(600, (0..40).flat_map(ends).collect());
    let (old, new) = (dir.path().join("delivery-20260824T100500Z-2.log"), dir.path().join(CURRENT));
    for cut in [whole.len() / 2, whole[..whole.len() / 2].iter().rposition(|b| *b == b'\n').unwrap() + 1] {
        log(dir.path(), []);
        fs::write(&new, &whole[..cut]).unwrap();
        let mut all = Lines::all(dir.path());
        while all.next_line().unwrap().is_some() {}
        let position = Position { offset: whole.len() as u64, ..all.position().unwrap() };
        let gap = gap_at_start(dir.path(), &position).unwrap().unwrap();
        assert_eq!((gap.from_byte, gap.bytes, gap.crc32), (cut as u64, (whole.len() - cut) as u64, None));
        let kept = whole[..cut].iter().rposition(|b| *b == b'\n').unwrap() + 1;
        let gap = bytes(700, vec![What::LogGap(Box::new(gap))]);
        let since = bytes(800, (100..200).flat_map(ends).collect());
        let went_on = [&whole[..kept], &gap, &since].concat();
        assert!(went_on.len() > whole.len());
        fs::write(&new, &went_on).unwrap();
        let found = run(dir.path(), &[]);
        assert!(!found.balanced() && found.gaps.len() == 1, "{found}");
        // The gap is told in another file, too, and the clock has been set back meanwhile.
        fs::write(&old, &gap).unwrap();
        fs::write(&new, [&whole[..kept], &gap, &bytes(650, (100..200).flat_map(ends).collect())].concat()).unwrap();
        assert_eq!(run(dir.path(), &[]).gaps.len(), 1);
        // Everything is back.
        fs::write(&new, [&whole[..], &since].concat()).unwrap();
        let found = run(dir.path(), &[]);
        assert!(found.balanced() && found.accepted == 140, "{found}");
        fs::remove_file(&old).unwrap();
    }
}

#[test]
fn a_checkpoint_of_a_later_version_is_told_from_a_damaged_one() {
    let bytes = |text: &str| Checkpoint::from_bytes(text.as_bytes());
    for v in ["2", "0", "-1", "1.5", "\"1\"", "[]"] {
        let text = format!(r#"{{"v":{v},"position":null,"accepted_through":7,"accepted_beyond":[]}}"#);
        assert_eq!(bytes(&text), Err(CheckpointError::Unknown(v.to_owned())));
    }
    assert_eq!(bytes("{"), Err(CheckpointError::Unreadable));
    // The first ones had no version.
    assert_eq!(bytes(r#"{"position":null,"accepted_through":7,"accepted_beyond":[]}"#).map(|kept| kept.accepted_through), Ok(7));
}

#[test]
fn a_file_that_was_renamed_while_nobody_wrote_is_taken_back_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    log(dir.path(), [accepted(id(1), "a@x.org", 1), delivered(id(1), "a@x.org")]);
    let mut lines = Lines::all(dir.path());
    while lines.next_line().unwrap().is_some() {}
    let end = lines.position().unwrap();
    assert_eq!(take_back(dir.path(), &end, at(0)).unwrap(), None, "it is where it belongs");
    let (current, old) = (dir.path().join(CURRENT), dir.path().join("delivery.log.1"));
    fs::rename(&current, &old).unwrap();
    fs::write(&current, "").unwrap();
    assert!(tail_since(dir.path(), Some(&end)).unwrap().gone);
    let lost = gap_at_start(dir.path(), &end).unwrap().unwrap();
    assert_eq!((lost.cause, lost.from_byte, lost.bytes), ("not_found", 0, end.offset));
    let (was, _) = take_back(dir.path(), &end, at(0)).unwrap().expect("it is beside it");
    assert_eq!(was, old);
    let tail = tail_since(dir.path(), Some(&end)).unwrap();
    assert!(!tail.gone && tail.lines == 0);
    assert!(run(dir.path(), &[]).balanced());
}

#[test]
fn a_log_whose_newest_lines_are_of_a_later_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(refuse_newer(&dir.path().join("nothing")).is_ok() && refuse_newer(dir.path()).is_ok());
    log(dir.path(), [accepted(id(1), "a@x.org", 1)]);
    assert!(refuse_newer(dir.path()).is_ok());
    let current = fs::read_to_string(dir.path().join(CURRENT)).unwrap();
    fs::write(dir.path().join(CURRENT), current.replace("\"v\":1", "\"v\":2")).unwrap();
    let refused = refuse_newer(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("schema version 2, and this posthaste knows 1"), "{refused}");
    // An empty current file does not hide the one before.
    fs::rename(dir.path().join(CURRENT), dir.path().join("delivery-20260824T101112Z-2.log")).unwrap();
    fs::write(dir.path().join(CURRENT), "").unwrap();
    assert!(matches!(refuse_newer(dir.path()), Err(LogError::Newer { .. })));
}

/// How often a recipient was accepted, ended, and is queued.
type Past = (u8, u8, bool);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn an_audit_finds_just_the_faults_that_a_history_has(
        pasts in prop::collection::vec((0u8..3, 0u8..3, any::<bool>()), 1..30),
        order in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut whats, mut queued) = (Vec::new(), Vec::new());
        for (n, (accepts, ends, waits)) in (0u8..).zip(&pasts) {
            // Three recipients a message, so that the recipients of one message differ.
            let (message, to) = (id(u128::from(n / 3)), rcpt(n));
            whats.extend((0..*accepts).map(|_| accepted(message, &to, n.into())));
            whats.extend((0..*ends).map(|_| delivered(message, &to)));
            queued.extend(waits.then_some((message, to)));
        }
        // The histories overlap.
        let turn = order.index(whats.len().max(1)).min(whats.len());
        whats.rotate_left(turn);
        log(dir.path(), whats);
        let found = audit(dir.path(), queued, None).unwrap();
        let count = |is: fn(&Past) -> bool| pasts.iter().filter(|p| is(p)).count() as u64;
        prop_assert_eq!(found.accepted, count(|p| p.0 > 0));
        prop_assert_eq!(found.missing.count, count(|p| p.0 > 0 && p.1 == 0 && !p.2));
        prop_assert_eq!(found.doubly_accepted.count, count(|p| p.0 > 1));
        prop_assert_eq!(found.doubly_ended.count, count(|p| p.1 > 1));
        prop_assert_eq!(found.ended_without_accept.count, count(|p| p.0 == 0 && p.1 > 0));
        prop_assert_eq!(found.queued_without_accept.count, count(|p| p.0 == 0 && p.1 == 0 && p.2));
        prop_assert_eq!(found.ended_and_queued, count(|p| p.1 > 0 && p.2));
        prop_assert_eq!(found.missing.listed.len() as u64, found.missing.count);
        let sound = |p: &Past| p.0 == 1 && (p.1 == 1 || p.1 == 0 && p.2) || *p == (0, 0, false);
        prop_assert_eq!(found.balanced(), pasts.iter().all(sound));
    }
}
