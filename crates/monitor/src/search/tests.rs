//! The rows of all steps are those of a plain filter, in reverse order, whatever happens to the log meanwhile.

use std::{cell::Cell, collections::HashSet, fs, sync::Arc, time::Instant};

use posthaste_mail::{Class, Event, EventId, MessageFacts, MessageId, RecipientFacts, Reply, What};
use proptest::prelude::*;

use super::*;
use crate::{CURRENT, EventLog, FileId, Lines, LogOptions, LogRecord, encode, index::FOLDER, samples};

/// So small that a log of a few lines has many stretches and blocks.
const SMALL: Layout = Layout { stretch: 2_000, block: 500 };

/// A clock that stands: no step ends by it.
fn still() -> Instant {
    thread_local!(static STILL: Instant = any_instant());
    STILL.with(|still| *still)
}

#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
fn any_instant() -> Instant {
    Instant::now()
}

fn budget(rows: usize, bytes: u64) -> Budget {
    Budget { rows, bytes, time: Duration::MAX, clock: still }
}

/// What happens to a log.
#[derive(Clone, Debug)]
enum Happens {
    Lines(Vec<Line>),
    Rotation,
    /// So many bytes are read for the index.
    Work(u64),
    TableLost(usize),
    TableDamaged(usize),
    /// The index may have so many bytes.
    Room(u64),
}

#[derive(Clone, Debug)]
enum Line {
    Event { kind: u8, seconds: i64, message: u8, rcpt: u8, tag: u8 },
    Damaged { seconds: i64, cut: usize, whole: bool },
    Long(usize),
}

const RCPTS: [&str; 4] = ["anna@example.org", "Anna@example.org", "\"b \\\"c\"@example.com", "bert@sub.example.org"];

fn event(number: u64, line: &Line) -> Option<Event> {
    let Line::Event { kind, seconds, message, rcpt, tag } = line else { return None };
    let id = MessageId::new(samples::at(0), u128::from(*message));
    let rcpt = RCPTS[usize::from(*rcpt) % RCPTS.len()];
    let facts = MessageFacts {
        tags: Arc::from([Arc::from(format!("tag{tag}"))]),
        meta: Arc::from([Arc::from(format!("order={tag}"))]),
        message_id: Some(format!("<{message}@x.org>").into()),
        ..(*samples::about(id, rcpt, true).message).clone()
    };
    let about = RecipientFacts { message: Arc::new(facts), ..samples::about(id, rcpt, true) };
    let attempt = samples::attempt(1);
    let what = match kind {
        0 => What::Deferred { about, attempt, retry_at: samples::at(1) },
        1 => What::Delivered { about, attempt: posthaste_mail::Attempt { class: Some(Class::MailboxFull), ..attempt } },
        2 => What::Rejected {
            client_ip: "192.0.2.7".parse().unwrap(),
            client_ehlo: None,
            user: None,
            command: "rcpt".into(),
            from: None,
            rcpt: Some(rcpt.into()),
            reply: Reply::new(550, "no"),
            reason: "not_allowed".into(),
        },
        _ => match samples::accepted(id, rcpt, number) {
            What::Accepted { client_ip, client_ehlo, priority, spool_seq, recovered, .. } => {
                let notice_of = Some(MessageId::new(samples::at(0), u128::from(*tag)));
                What::Accepted { about, client_ip, client_ehlo, priority, spool_seq, notice_of, recovered }
            }
            other => other,
        },
    };
    Some(Event { id: EventId::new(samples::at(0), u128::from(number)), ..samples::event(*seconds, what) })
}

/// The bytes of a line. As in a real log, no two are the same.
fn bytes(number: u64, line: &Line) -> Vec<u8> {
    let mut bytes = Vec::new();
    match line {
        Line::Event { .. } => encode(&event(number, line).expect("an event"), &mut bytes),
        Line::Long(length) => bytes = format!("{{\"number\":{number},{}\n", "x".repeat(*length)).into_bytes(),
        Line::Damaged { seconds, cut, whole } => {
            let line = Line::Event { kind: 0, seconds: *seconds, message: 1, rcpt: 0, tag: 1 };
            encode(&event(number, &line).expect("an event"), &mut bytes);
            bytes.truncate(200 + cut % 300);
            // Without an end it is one line with what follows.
            bytes.extend(whole.then_some(b'\n'));
        }
    }
    bytes
}

struct Log {
    dir: tempfile::TempDir,
    index: SearchIndex,
    lines: u64,
    rotations: u64,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let index = SearchIndex::new_in(dir.path(), 1 << 20, SMALL);
        Self { dir, index, lines: 0, rotations: 0 }
    }

    fn tables(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.dir.path().join(FOLDER)) else { return Vec::new() };
        let mut tables: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        tables.sort_unstable();
        tables
    }

    fn happens(&mut self, what: &Happens) {
        let current = self.dir.path().join(CURRENT);
        match what {
            Happens::Lines(lines) => {
                let mut log = fs::read(&current).unwrap_or_default();
                for line in lines {
                    self.lines += 1;
                    log.extend(bytes(self.lines, line));
                }
                fs::write(&current, log).unwrap();
            }
            Happens::Rotation => {
                self.rotations += 1;
                let name = files::rotated_name(samples::at(self.rotations as i64), self.rotations);
                let _ = fs::rename(&current, self.dir.path().join(name));
            }
            Happens::Work(bytes) => drop(self.index.work(*bytes).unwrap()),
            Happens::TableLost(at) => {
                let tables = self.tables();
                tables.get(at % tables.len().max(1)).into_iter().for_each(|table| fs::remove_file(table).unwrap());
            }
            Happens::TableDamaged(at) => {
                let tables = self.tables();
                if let Some(table) = tables.get(at % tables.len().max(1)) {
                    let mut bytes = fs::read(table).unwrap();
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0x10;
                    fs::write(table, bytes).unwrap();
                }
            }
            Happens::Room(bytes) => self.index.keep(*bytes),
        }
    }

    /// What a plain filter over all lines finds, the newest first.
    fn plain(&self, criteria: &Criteria) -> Vec<String> {
        let (mut lines, mut found) = (Lines::all(self.dir.path()), Vec::new());
        while let Some(line) = lines.next_line().unwrap() {
            if LogRecord::parse(line.bytes).is_some_and(|record| criteria.matches(&record)) {
                found.push(String::from_utf8(line.bytes.to_vec()).unwrap());
            }
        }
        found.reverse();
        found
    }

    fn begin(&self, criteria: &Criteria) -> Search {
        Search::begin_in(self.dir.path(), criteria.clone(), SMALL).unwrap()
    }
}

fn line() -> impl Strategy<Value = Line> {
    prop_oneof![
        8 => (0..4_u8, -100..100_i64, 0..5_u8, 0..4_u8, 0..5_u8)
            .prop_map(|(kind, seconds, message, rcpt, tag)| Line::Event { kind, seconds, message, rcpt, tag }),
        1 => (-100..100_i64, any::<usize>(), any::<bool>()).prop_map(|(seconds, cut, whole)| Line::Damaged { seconds, cut, whole }),
        1 => (0..9_000_usize).prop_map(Line::Long),
    ]
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        5 => prop::collection::vec(line(), 1..9).prop_map(Happens::Lines),
        2 => Just(Happens::Rotation),
        4 => (1..20_000_u64).prop_map(Happens::Work),
        1 => any::<usize>().prop_map(Happens::TableLost),
        1 => any::<usize>().prop_map(Happens::TableDamaged),
        1 => (0..9_000_u64).prop_map(Happens::Room),
    ]
}

/// The second message.
const MESSAGE: &str = "01M0SKCV800000000000000002";

/// One criterion, or two.
fn criteria() -> impl Strategy<Value = Criteria> {
    let one = prop::sample::select(vec![
        ("rcpt", "ANNA@example.org"),
        ("rcpt", "@example.org"),
        ("rcpt", "\"b \\\"C\"@example.com"),
        ("rcpt", "*\\\"c"),
        ("rcpt", "NNA@exam*"),
        ("rcpt", "bert"),
        ("sender", "ounc"),
        ("rcpt", "nobody@example.net"),
        ("sender", "@x.org"),
        ("sender_domain", "X.org"),
        ("message", MESSAGE),
        ("message", "0003"),
        ("message_id", "<3@x.org>"),
        ("tag", "Tag2"),
        ("tag", "tag9"),
        ("meta", "order=4"),
        ("meta", "order"),
        ("class", "mailbox_full"),
        ("class", "rate_limited"),
        ("provider", "google"),
        ("event", "rejected"),
        ("event", "deferred"),
        ("domain", "example.com"),
        ("since", "2026-08-24T10:00:50Z"),
        ("until", "2026-08-24T09:59:30Z"),
        ("stream", ""),
    ]);
    prop::collection::vec(one, 1..3).prop_filter_map("a time between", |fields| Criteria::read(fields, samples::at(0)).ok())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rows_of_all_steps_are_those_of_a_plain_filter(
        before in prop::collection::vec(happens(), 1..16),
        meanwhile in prop::collection::vec(happens(), 0..12),
        criteria in criteria(),
        rows in 1..7_usize,
        bytes in 0..5_000_u64,
        resumes in any::<bool>(),
    ) {
        let mut log = Log::new();
        before.iter().for_each(|what| log.happens(what));
        let expected = log.plain(&criteria);
        let (mut search, mut found, mut places, mut passed) = (log.begin(&criteria), Vec::new(), HashSet::new(), 0);
        let mut meanwhile = meanwhile.iter();
        loop {
            let step = search.step(&budget(rows, bytes)).unwrap();
            prop_assert!(step.rows.len() <= rows);
            prop_assert!(step.rows.iter().all(|row| places.insert(row.at)));
            prop_assert!(passed <= step.passed || resumes, "{passed} {step:?}");
            prop_assert!(step.passed <= step.of);
            passed = step.passed;
            found.extend(step.rows.into_iter().map(|row| String::from_utf8(row.line).unwrap()));
            let Some(cursor) = step.cursor else {
                prop_assert_eq!(step.passed, step.of);
                break;
            };
            meanwhile.next().into_iter().for_each(|what| log.happens(what));
            if resumes {
                let cursor: Cursor = cursor.to_string().parse().unwrap();
                search = Search::begin_in(log.dir.path(), criteria.clone(), SMALL).unwrap().go_to(cursor).unwrap();
            }
        }
        prop_assert_eq!(found, expected);
    }
}

/// Lines about recipients of whom each has three in a row, in files of 40 lines.
fn filed(files: u64) -> Log {
    let mut log = Log::new();
    for file in 0..files {
        let current = log.dir.path().join(CURRENT);
        let lines = (0..40).flat_map(|n| {
            let mut bytes = Vec::new();
            let number = file * 40 + n;
            let what = samples::accepted(MessageId::new(samples::at(0), u128::from(number / 3)), &format!("r{}@x.org", number / 3), number);
            let id = EventId::new(samples::at(0), u128::from(number));
            encode(&Event { id, ..samples::event(number as i64, what) }, &mut bytes);
            bytes
        });
        fs::write(current, lines.collect::<Vec<u8>>()).unwrap();
        if file + 1 < files {
            log.happens(&Happens::Rotation);
        }
    }
    log
}

fn read(log: &Log, fields: &[(&str, &str)]) -> (usize, u64) {
    let criteria = Criteria::read(fields.iter().copied(), samples::at(0)).unwrap();
    let step = log.begin(&criteria).step(&budget(usize::MAX, u64::MAX)).unwrap();
    assert!(step.cursor.is_none());
    (step.rows.len(), step.read)
}

#[test]
fn what_has_a_table_is_read_only_where_it_may_match() {
    let mut log = filed(6);
    let (all, (rows, bytes)) = (log.begin(&Criteria::default()).of, read(&log, &[("rcpt", "r7@x.org")]));
    assert!(rows == 3 && bytes >= all && bytes < all + all / 8, "{bytes} of {all}: without tables everything is read, ends of lines twice");
    while log.index.work(u64::MAX).unwrap() {}
    for (field, rows) in [
        (("rcpt", "r7@x.org"), 3),
        (("rcpt", "r700@x.org"), 0),
        (("rcpt", "*R70@x"), 3),
        (("rcpt", "*70@y"), 0),
        (("message", &MessageId::new(samples::at(0), 7).to_string()), 3),
        (("class", "rate_limited"), 0),
        (("until", "2026-08-24T10:00:03Z"), 3),
        (("since", "2026-08-24T10:03:57Z"), 3),
    ] {
        let (found, read) = read(&log, &[field]);
        assert!(found == rows && read < all / 3, "{field:?}: {found} rows, {read} of {all} bytes read");
    }
}

#[test]
fn a_step_ends_by_its_time_and_says_how_far_it_came() {
    thread_local!(static LOOKS: Cell<u32> = const { Cell::new(0) });
    fn ticking() -> Instant {
        LOOKS.set(LOOKS.get() + 1);
        still() + Duration::from_secs(u64::from(LOOKS.get()))
    }
    let log = filed(3);
    let mut search = log.begin(&Criteria::default());
    let quick = Budget { time: Duration::from_secs(3), clock: ticking, ..budget(usize::MAX, u64::MAX) };
    let (mut steps, mut rows, mut reached) = (0, 0, samples::at(1_000));
    loop {
        let step = search.step(&quick).unwrap();
        (steps, rows) = (steps + 1, rows + step.rows.len());
        assert!(step.reached.unwrap() < reached, "{step:?}");
        reached = step.reached.unwrap();
        if step.cursor.is_none() {
            break;
        }
        assert!(step.passed < step.of);
    }
    assert!(rows == 120 && steps > 10, "{steps} steps, {rows} rows");
    assert_eq!(reached, samples::at(0));
}

#[test]
fn a_search_goes_on_behind_a_file_that_was_deleted() {
    let log = filed(3);
    let mut search = log.begin(&Criteria::default());
    let step = search.step(&budget(50, u64::MAX)).unwrap();
    let files = files::list(log.dir.path()).unwrap();
    fs::remove_file(&files[1].path).unwrap();
    let mut resumed = Search::begin_in(log.dir.path(), Criteria::default(), SMALL).unwrap().go_to(step.cursor.unwrap()).unwrap();
    let older = resumed.step(&budget(usize::MAX, u64::MAX)).unwrap();
    assert_eq!((older.rows.len(), older.passed), (40, older.of), "only the oldest file is left");
    // Whoever has the file open reads it to its end.
    assert_eq!(search.step(&budget(usize::MAX, u64::MAX)).unwrap().rows.len(), 70);
}

#[test]
fn a_file_that_somebody_cuts_ends_a_search_in_it_sooner() {
    let log = filed(1);
    let mut search = log.begin(&Criteria::default());
    assert_eq!(search.step(&budget(10, u64::MAX)).unwrap().rows.len(), 10);
    let current = log.dir.path().join(CURRENT);
    let lines = fs::read(&current).unwrap();
    let fifth = memchr::memchr_iter(b'\n', &lines).nth(4).unwrap();
    fs::write(&current, &lines[..=fifth + 7]).unwrap();
    let step = search.step(&budget(usize::MAX, u64::MAX)).unwrap();
    assert!(step.rows.len() == 5 && step.cursor.is_none(), "{step:?}");
}

#[test]
fn the_index_takes_its_room_and_no_more_and_the_newest_parts_have_it() {
    let mut log = filed(6);
    while log.index.work(1_000).unwrap() {}
    let all = log.tables();
    let size = |tables: &[PathBuf]| tables.iter().map(|table| fs::metadata(table).unwrap().len()).sum::<u64>();
    let most = size(&all) / 2 + SMALL.table_max();
    log.index.keep(most);
    for _ in 0..3 {
        while log.index.work(u64::MAX).unwrap() {}
        let (tables, now) = (log.tables(), size(&log.tables()));
        assert!(now <= most && now > most / 2 && tables.len() < all.len(), "{now} of {most} bytes");
        let current = files::list(log.dir.path()).unwrap();
        let newest = FileId::read(&std::fs::File::open(&current[5].path).unwrap()).unwrap().unwrap();
        let oldest = FileId::read(&std::fs::File::open(&current[0].path).unwrap()).unwrap().unwrap();
        assert!(tables.iter().any(|table| table::parse_name(table).unwrap().0 == newest));
        assert!(tables.iter().all(|table| table::parse_name(table).unwrap().0 != oldest));
        log.happens(&Happens::TableDamaged(0));
    }
    // The table of a deleted file goes with it, and without room there is none.
    fs::remove_file(&files::list(log.dir.path()).unwrap()[4].path).unwrap();
    let before = log.tables().len();
    log.index.work(u64::MAX).unwrap();
    assert!(log.tables().len() < before);
    log.index.keep(0);
    assert!(!log.index.work(u64::MAX).unwrap());
    assert_eq!(log.tables(), [] as [PathBuf; 0]);
}

#[test]
fn the_writer_goes_on_while_a_search_and_the_index_read() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { rotate_size: 64 << 10, gather: Duration::ZERO, sync: Duration::ZERO, ..LogOptions::new(dir.path()) };
    let stamp = |at, what| Event { time: at, ..samples::event(0, what) };
    let (log, _) = EventLog::<()>::open(options, || samples::at(0), stamp, |_, _| ()).unwrap();
    let write = |from: u64| {
        for number in from..from + 200 {
            let line = Line::Event { kind: 3, seconds: 0, message: (number % 250) as u8, rcpt: 0, tag: 1 };
            log.append(event(number, &line).unwrap(), None);
        }
        log.flush().unwrap();
    };
    write(0);
    let mut search = Search::begin_in(dir.path(), Criteria::default(), SMALL).unwrap();
    let mut index = SearchIndex::new_in(dir.path(), 1 << 20, SMALL);
    let mut rows = 0;
    // A search that stands between two steps, and a table that is half made, hold nothing that the writer waits for: a flush comes back only
    // once everything appended before it is on disk.
    for round in 1..6 {
        rows += search.step(&budget(30, u64::MAX)).unwrap().rows.len();
        index.work(700).unwrap();
        write(round * 200);
    }
    rows += search.step(&budget(usize::MAX, u64::MAX)).unwrap().rows.len();
    assert_eq!(rows, 200, "what was appended since it began is not found");
    assert!(files::list(dir.path()).unwrap().len() > 3, "the log was rotated meanwhile");
    log.close().unwrap();
}

#[test]
fn the_second_message_is_the_one_that_the_property_asks_for() {
    assert_eq!(MessageId::new(samples::at(0), 2).to_string(), MESSAGE);
}
