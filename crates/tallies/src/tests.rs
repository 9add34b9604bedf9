use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use posthaste_mail::Class;
use posthaste_monitor::CURRENT;
use proptest::prelude::*;

use crate::{
    Block, ByClass, Counter, Delta, Dimension, Grain, Histogram, Limits, LogReader, OTHER, Seen, Span, Tallies, TalliesError, Time,
    cells::Encoded, pair,
};

mod any_line;
mod largest;

/// A line about a recipient of a message that was accepted `age` seconds before.
fn line(second: i64, event: &str, age: i64, more: &str) -> String {
    let time = Timestamp::from_second(second).unwrap();
    format!(
        r#"{{"time":"{time:.3}","v":1,"id":"{second}","node":"mx1","event":"{event}","message":"m","stream":"news","from":"a@x.org","size":1000,"rcpt":"b@y.org","domain":"y.org","age_ms":{}{more}}}"#,
        age * 1000
    )
}

fn delta(lines: &[String], zone: &TimeZone) -> Delta {
    let mut delta = Delta::new(zone.clone());
    lines.iter().for_each(|line| delta.take(&Seen::parse(line.as_bytes()).unwrap()));
    delta
}

/// What each minute comes to, by dimension.
fn minutes(delta: &Delta) -> BTreeMap<i64, BTreeMap<Dimension, Block>> {
    let read = |encoded: Encoded| (encoded.dimension, Block::from_bytes(&encoded.bytes).unwrap());
    delta.minutes().map(|(minute, blocks)| (minute, blocks.into_iter().map(read).collect())).collect()
}

fn merge(block: &mut Block, other: &Block) {
    other.iter().for_each(|(key, cell)| block.cell(key).merge(cell));
}

fn tallies(dir: &Path, zone: &TimeZone, limits: Limits) -> Tallies {
    Tallies::open(&dir.join("tallies.db"), zone.clone(), limits).unwrap()
}

fn span(from: i64, to: i64) -> Span {
    Span { from: Timestamp::from_second(from).unwrap(), to: Timestamp::from_second(to).unwrap() }
}

fn count(tallies: &Tallies, span: Span, counter: Counter) -> u64 {
    tallies.sum(Dimension::All, span).unwrap().get("all").map_or(0, |cell| cell.get(counter))
}

/// 2026-11-29T00:00:00Z.
const DAY: i64 = 1_795_910_400;

#[test]
fn a_line_counts_for_all_that_it_is_about() {
    let more = r#","user":"shop","tags":["may","may","sale"],"provider":"google","source":"ip1","attempt":1,"tls_version":"TLSv1.3","tls_verified":true,"dns_ms":1,"connect_ms":20,"tls_ms":30,"envelope_ms":40,"body_ms":60,"from_domain":"x.org","dkim":"aligned","spf":"fail","dmarc":"reject""#;
    let delta = delta(&[line(DAY + 61, "delivered", 2, more)], &TimeZone::UTC);
    let blocks = &minutes(&delta)[&(DAY / 60 + 1)];
    let keys =
        |dimension: Dimension| blocks.get(&dimension).into_iter().flat_map(Block::iter).map(|(key, _)| key.to_owned()).collect::<Vec<_>>();
    assert_eq!(keys(Dimension::Tag), ["may", "sale"]);
    assert_eq!(keys(Dimension::User), ["shop"]);
    assert_eq!(keys(Dimension::StreamProvider), [pair("news", "google")]);
    assert_eq!(keys(Dimension::SourceProvider), [pair("ip1", "google")]);
    assert!(keys(Dimension::Class).is_empty());
    let cell = blocks[&Dimension::Provider].get("google").unwrap();
    let is = |counter: Counter| cell.get(counter);
    assert_eq!((is(Counter::Delivered), is(Counter::FirstAttempts), is(Counter::Attempts), is(Counter::BytesDelivered)), (1, 1, 1, 1000));
    assert_eq!((is(Counter::DkimAligned), is(Counter::SpfKnown), is(Counter::SpfPassed), is(Counter::DmarcPublished)), (1, 1, 0, 1));
    let time = |time: Time| cell.times().unwrap().quantile(time, 0.5).unwrap().round();
    assert!((1960.0..2040.0).contains(&time(Time::Delivery)) && (1800.0..1900.0).contains(&time(Time::Wait)), "{cell:?}");
    assert!((98.0..=102.0).contains(&time(Time::Dialogue)), "{cell:?}");
}

#[test]
fn times_and_sizes_are_sorted_into_buckets() {
    let dir = tempfile::tempdir().unwrap();
    let mut tallies = tallies(dir.path(), &TimeZone::UTC, Limits::default());
    let lines: Vec<String> = [0, 1, 2, 500_000].map(|age| line(DAY, "delivered", age, r#","provider":"google""#)).into();
    tallies.add(&delta(&lines, &TimeZone::UTC), None).unwrap();
    let ever = tallies.ever(Dimension::Provider).unwrap();
    let (cell, histogram) = (ever.get("google").unwrap(), Histogram::Of(Time::Delivery));
    let buckets: Vec<u64> = (0..=histogram.bounds().len()).map(|place| cell.get(histogram.bucket(place))).collect();
    assert_eq!(buckets, [1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(cell.get(histogram.sum()), 500_003_000);
    assert_eq!((cell.get(Histogram::Size.bucket(0)), cell.get(Histogram::Size.sum())), (4, 4000));
}

#[test]
fn what_was_not_tried_is_no_attempt() {
    let of = |more: &str| {
        let delta = delta(&[line(DAY, "deferred", 0, more)], &TimeZone::UTC);
        let cell = minutes(&delta)[&(DAY / 60)][&Dimension::All].get("all").unwrap().clone();
        (cell.get(Counter::Deferred), cell.get(Counter::Attempts), cell.get((ByClass::FirstDeferred, Class::RateLimited)))
    };
    let class = r#","class":"rate_limited","provider":"google""#;
    assert_eq!(of(&format!(r#"{class},"attempt":1"#)), (1, 1, 1));
    assert_eq!(of(&format!(r#"{class},"attempt":2"#)), (1, 1, 0));
    assert_eq!(of(&format!(r#"{class},"attempt":1,"not_tried":true"#)), (1, 0, 0));
    assert_eq!(of(r#","class":"rate_limited","attempt":3"#), (1, 0, 0), "a recipient that waited in the queue");
}

#[test]
fn a_late_bounce_belongs_to_the_day_on_which_its_message_was_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut tallies = tallies(dir.path(), &TimeZone::UTC, Limits::default());
    // A hint that became proof is told twice and counted once.
    let late = |more: &str| line(DAY + 90_000, "late_bounced", 90_000, &format!(r#","class":"invalid_recipient"{more}"#));
    // What had ended otherwise is not counted either: it has its end.
    let lines = [line(DAY + 10, "delivered", 1, ""), late(""), late(r#","again":true"#), late(r#","why":"ended""#)];
    tallies.add(&delta(&lines, &TimeZone::UTC), None).unwrap();
    let date = jiff::civil::date(2026, 11, 29);
    let days = tallies.cohorts(Dimension::All, date, date.tomorrow().unwrap()).unwrap();
    assert_eq!(days.len(), 1);
    let cell = days[0].1.get("all").unwrap();
    assert_eq!((cell.get(Counter::Delivered), cell.get(Counter::LateBounced), cell.finished()), (1, 1, 1));
    // It takes the place of its delivery.
    let settled = cell.settled();
    assert_eq!([Counter::Delivered, Counter::Bounced, Counter::LateBounced].map(|counter| settled.get(counter)), [0, 1, 1]);
    assert_eq!((settled.get((ByClass::Bounced, Class::InvalidRecipient)), settled.finished()), (1, 1));
    assert_eq!(count(&tallies, span(DAY, DAY + 86_400), Counter::LateBounced), 0);
    assert_eq!(count(&tallies, span(DAY + 86_400, DAY + 2 * 86_400), Counter::LateBounced), 1);
}

#[test]
fn whom_there_is_no_place_for_counts_as_other() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { keys: 3, ..Limits::default() };
    let mut tallies = tallies(dir.path(), &TimeZone::UTC, limits);
    let mut lines = Vec::new();
    for minute in 0..60 {
        for tag in ["a", "b", "c", "d", "e"] {
            lines.push(line(DAY + minute * 60, "accepted", 0, &format!(r#","tags":["{tag}"]"#)));
        }
    }
    lines.push(line(DAY + 7200, "accepted", 0, ""));
    tallies.add(&delta(&lines, &TimeZone::UTC), None).unwrap();
    let hour = tallies.sum(Dimension::Tag, span(DAY, DAY + 3600)).unwrap();
    assert!(hour.len() <= 3 && hour.get(OTHER).is_some(), "{hour:?}");
    assert_eq!(hour.iter().map(|(_, cell)| cell.get(Counter::Accepted)).sum::<u64>(), 300);
}

#[test]
fn a_block_reads_back_and_damage_is_seen() {
    let more = r#","provider":"google","source":"ip1","attempt":1,"connect_ms":20,"envelope_ms":40,"body_ms":60"#;
    let lines: Vec<String> = (0..100).map(|n| line(DAY, "delivered", n, more)).collect();
    let delta = delta(&lines, &TimeZone::UTC);
    let block = &minutes(&delta)[&(DAY / 60)][&Dimension::Provider];
    let bytes = block.to_bytes();
    let back = Block::from_bytes(&bytes).unwrap();
    assert_eq!(&back, block);
    let p95 = |block: &Block| block.get("google").unwrap().times().unwrap().quantile(Time::Delivery, 0.95);
    assert_eq!(p95(&back), p95(block));
    (0..bytes.len()).for_each(|cut| assert!(Block::from_bytes(&bytes[..cut]).is_err(), "{cut} bytes"));
}

#[test]
fn tallies_of_another_version_are_left_alone_and_another_zone_counts_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tallies.db");
    let mut first = tallies(dir.path(), &TimeZone::UTC, Limits::default());
    first.add(&delta(&[line(DAY, "accepted", 0, "")], &TimeZone::UTC), None).unwrap();
    assert!(first.newest().unwrap().is_some());
    drop(first);
    let second = tallies(dir.path(), &TimeZone::get("Asia/Kolkata").unwrap(), Limits::default());
    assert_eq!((second.newest().unwrap(), second.position().unwrap()), (None, None));
    drop(second);
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("UPDATE known SET value = '99' WHERE name = 'version'", []).unwrap();
    drop(db);
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    let before = files();
    assert!(matches!(Tallies::refuse_unknown(&path), Err(TalliesError::Version(v)) if v == "99"));
    assert!(Tallies::refuse_unknown(&dir.path().join("none.db")).is_ok());
    assert_eq!(files(), before, "nothing is made");
    assert!(matches!(Tallies::open(&path, TimeZone::UTC, Limits::default()), Err(TalliesError::Version(v)) if v == "99"));
    assert!(matches!(Tallies::look(&path), Err(TalliesError::Version(_))));
}

#[test]
fn a_log_is_read_on_from_where_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    std::fs::create_dir(&log).unwrap();
    let mut text = String::new();
    for n in 0..10 {
        writeln!(text, "{}", line(DAY + n, "accepted", 0, "")).unwrap();
    }
    std::fs::write(log.join(CURRENT), &text).unwrap();
    let mut counted = tallies(dir.path(), &TimeZone::UTC, Limits::default());
    let progress = LogReader::new(&log).catch_up(&mut counted, 4).unwrap();
    assert_eq!((progress.lines, progress.at_end), (4, false));
    drop(counted);
    let mut counted = tallies(dir.path(), &TimeZone::UTC, Limits::default());
    assert_eq!(LogReader::new(&log).catch_up(&mut counted, 100).unwrap().lines, 6);
    writeln!(text, "{}\nnot a line", line(DAY + 11, "accepted", 0, "")).unwrap();
    std::fs::write(log.join(CURRENT), &text).unwrap();
    let progress = LogReader::new(&log).catch_up(&mut counted, 100).unwrap();
    assert_eq!((progress.lines, progress.damaged, progress.gap), (2, 1, false));
    assert_eq!(count(&counted, span(DAY, DAY + 60), Counter::Accepted), 11);
    // All files are gone, and there are new ones: what was counted stays, and what is new is added.
    std::fs::write(log.join(CURRENT), format!("{}\n", line(DAY + 20, "accepted", 0, ""))).unwrap();
    let progress = LogReader::new(&log).catch_up(&mut counted, 100).unwrap();
    assert_eq!((progress.lines, progress.gap), (1, true));
    assert_eq!(count(&counted, span(DAY, DAY + 60), Counter::Accepted), 12);
}

/// Counts lines, and panics at those of one user.
fn poisoned(delta: &mut Delta, line: &Seen<'_>) {
    delta.take(line);
    assert!(line.user.as_deref() != Some("poison"), "a line of poison");
}

#[test]
fn a_line_on_which_counting_fails_is_skipped_and_named_and_all_others_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    std::fs::create_dir(&log).unwrap();
    let bad = [0, 37, 38, 99];
    let lines: Vec<String> =
        (0..100).map(|n| line(DAY + n, "accepted", 0, if bad.contains(&n) { r#","user":"poison""# } else { "" }) + "\n").collect();
    std::fs::write(log.join(CURRENT), lines.concat()).unwrap();
    let mut counted = tallies(dir.path(), &TimeZone::UTC, Limits::default());
    let mut reader = LogReader::counting_by(&log, poisoned);
    let (mut skipped, mut at_end) = (Vec::new(), false);
    while !at_end {
        let progress = reader.catch_up(&mut counted, 20_000).unwrap();
        skipped.extend(progress.skipped);
        at_end = progress.at_end;
    }
    assert_eq!(count(&counted, span(DAY, DAY + 3600), Counter::Accepted), 96);
    let places: Vec<u64> = skipped.iter().map(|line| line.offset).collect();
    let begins = |n: i64| lines[..usize::try_from(n).unwrap()].concat().len() as u64;
    assert_eq!(places, bad.map(begins));
    let last = skipped.last().unwrap();
    assert_eq!((&*last.line, &*last.why, last.count), ("2026-11-29T00:01:39.000Z accepted m", "a line of poison", 4));
    assert_eq!((last.file.clone(), counted.skipped().unwrap()), (log.join(CURRENT), 4));
    // A restart skips none again.
    drop(counted);
    let mut counted = tallies(dir.path(), &TimeZone::UTC, Limits::default());
    let progress = LogReader::counting_by(&log, poisoned).catch_up(&mut counted, 20_000).unwrap();
    assert_eq!((progress.lines, progress.skipped, counted.skipped().unwrap()), (0, None, 4));
}

#[test]
fn lines_of_a_clock_that_was_years_behind_are_counted_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut counted = tallies(dir.path(), &TimeZone::get("Asia/Kolkata").unwrap(), Limits::default());
    let year_one = -62_135_596_800;
    let lines = [line(year_one, "accepted", 0, ""), line(DAY - 7200, "accepted", 0, ""), line(DAY + 86_400, "accepted", 0, "")];
    let zone = counted.zone().clone();
    counted.add(&delta(&lines, &zone), None).unwrap();
    assert_eq!(count(&counted, span(DAY - 86_400, DAY + 2 * 86_400), Counter::Accepted), 2);
}

/// Lines of five days: mostly in order, some late by up to a day and a half.
fn lines() -> impl Strategy<Value = Vec<(i64, u8, u8, bool)>> {
    proptest::collection::vec((0..5 * 86_400_i64, 0..6_u8, 0..4_u8, prop::bool::weighted(0.05)), 1..120).prop_map(|mut lines| {
        lines.sort_by_key(|(second, ..)| *second);
        for late in &mut lines {
            if late.3 {
                late.0 = (late.0 - 130_000).max(0);
            }
        }
        lines
    })
}

fn written((second, event, key, _): &(i64, u8, u8, bool)) -> String {
    let event = ["accepted", "delivered", "deferred", "bounced", "held", "late_bounced"][usize::from(*event)];
    line(
        DAY + second,
        event,
        i64::from(*key) * 30_000,
        &format!(r#","user":"u{key}","provider":"p{key}","attempt":1,"class":"rate_limited""#),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any span of whole hours comes to what its lines come to, whenever they were saved, in zones whose days begin within an hour too.
    #[test]
    fn any_span_comes_to_its_lines(lines in lines(), pieces in 1..9_usize, zone in 0..3_usize, from in 0..120_i64, length in 1..60_i64) {
        let zone = TimeZone::get(["UTC", "Europe/Berlin", "Asia/Kolkata"][zone]).unwrap();
        let (dir, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let text: Vec<String> = lines.iter().map(written).collect();
        let limits = || Limits { minutes: SignedDuration::from_hours(24 * 9), ..Limits::default() };
        let (mut whole, mut pieced) = (tallies(dir.path(), &zone, limits()), tallies(again.path(), &zone, limits()));
        whole.add(&delta(&text, &zone), None).unwrap();
        for piece in text.chunks(text.len().div_ceil(pieces)) {
            pieced.add(&delta(piece, &zone), None).unwrap();
        }
        let asked = span(DAY + from * 3600, DAY + (from + length) * 3600);
        let inside = |second: i64| (from * 3600..(from + length) * 3600).contains(&second);
        let expected = text.iter().zip(&lines).filter(|(_, line)| inside(line.0)).map(|(text, _)| text.clone()).collect::<Vec<_>>();
        let mut brute = BTreeMap::new();
        for blocks in minutes(&delta(&expected, &zone)).values() {
            for (dimension, block) in blocks {
                merge(brute.entry(*dimension).or_default(), block);
            }
        }
        for dimension in Dimension::ALL {
            let sum = whole.sum(*dimension, asked).unwrap();
            prop_assert_eq!(&sum, brute.entry(*dimension).or_default());
            prop_assert_eq!(&sum, &pieced.sum(*dimension, asked).unwrap());
            let mut series = Block::default();
            for (_, block) in pieced.series(*dimension, asked, Grain::Hour).unwrap() {
                merge(&mut series, &block);
            }
            prop_assert_eq!(&sum, &series);
        }
        for dimension in [Dimension::All, Dimension::Provider, Dimension::Class] {
            let ever = whole.ever(dimension).unwrap();
            prop_assert_eq!(&ever, &pieced.ever(dimension).unwrap());
            let all = whole.sum(dimension, span(DAY - 86_400, DAY + 20 * 86_400)).unwrap();
            for (key, cell) in all.iter() {
                Counter::ALL.iter().for_each(|counter| assert_eq!(ever.get(key).unwrap().get(*counter), cell.get(*counter)));
            }
        }
        let (first, last) = (jiff::civil::date(2026, 11, 25), jiff::civil::date(2026, 12, 5));
        prop_assert_eq!(whole.cohorts(Dimension::User, first, last).unwrap(), pieced.cohorts(Dimension::User, first, last).unwrap());
    }
}
