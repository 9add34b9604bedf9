//! Measures searches: `cargo run --release -p posthaste-monitor --example search_speed FOLDER [EVENTS]`.
//!
//! Writes a log of so many events (default: 10,000,000) unless the folder has one, and prints how soon searches answer, without an index and with
//! one, how long the index takes to make, and how large it is; then how long an event takes to the disk, alone and while somebody searches.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "measures the clock, for a reader")]

use std::{
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use posthaste_mail::{Attempt, Class, Event, EventId, MessageFacts, MessageId, Name, RecipientFacts, Reply, SCHEMA_VERSION, Stage, What};
use posthaste_monitor::{AddressText, Budget, Criteria, EventLog, LogError, LogOptions, Pace, Search, SearchIndex, encode};

/// Recipients with six events, spread over the log.
const RARE: u64 = 5;
const FILE: u64 = 256 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args_os().nth(1).ok_or("a folder, please")?;
    let events: u64 = std::env::args().nth(2).map_or(Ok(10_000_000), |text| text.parse())?;
    let dir = Path::new(&dir);
    if !dir.join("delivery.log").exists() {
        fs::create_dir_all(dir)?;
        write(dir, events)?;
    }
    let bytes: u64 = fs::read_dir(dir)?.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum();
    println!("{events} events, {} MiB", bytes >> 20);
    let _ = fs::remove_dir_all(dir.join("index"));
    println!("without an index:");
    searches(dir)?;
    let (mut index, begun, mut longest) = (SearchIndex::new(dir, 1 << 30), Instant::now(), Duration::ZERO);
    loop {
        let step = Instant::now();
        if !index.work(4 << 20)? {
            break;
        }
        longest = longest.max(step.elapsed());
    }
    let size: u64 = fs::read_dir(dir.join("index"))?.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum();
    println!(
        "index: made in {:?}, longest step of 4 MiB {longest:?}; {} KiB, {:.2} % of the log",
        begun.elapsed(),
        size >> 10,
        size as f64 * 100.0 / bytes as f64
    );
    println!("with the index:");
    searches(dir)?;
    to_disk("alone", dir)?;
    let stop = Arc::new(AtomicBool::new(false));
    let searcher = thread::spawn({
        let (dir, stop) = (dir.to_owned(), stop.clone());
        move || search_until(&dir, &stop)
    });
    to_disk("while a search reads everything", dir)?;
    stop.store(true, Relaxed);
    println!("the search read {} MiB meanwhile", searcher.join().expect("it does not panic").map_err(|error| error.to_string())? >> 20);
    Ok(())
}

/// Searches for a part that is nowhere, with rests, again and again.
fn search_until(dir: &Path, stop: &AtomicBool) -> Result<u64, LogError> {
    let criteria = Criteria { rcpt: Some(AddressText::Part("zzyzx".into())), ..Criteria::default() };
    let (mut search, mut pace, mut read) = (Search::begin(dir, criteria.clone())?, Pace::default(), 0);
    while !stop.load(Relaxed) {
        let begun = Instant::now();
        let step = search.step(&Budget { rows: 50, bytes: 64 << 20, time: Duration::from_millis(50), clock: Instant::now })?;
        read += step.read;
        if step.cursor.is_none() {
            search = Search::begin(dir, criteria.clone())?;
        }
        thread::sleep(pace.rest(begun.elapsed()));
    }
    Ok(read)
}

/// How long it takes until an event is durable, in a log of its own on the same disk.
fn to_disk(when: &str, dir: &Path) -> Result<(), Box<dyn Error>> {
    let own = dir.join("writer");
    let options = LogOptions { gather: Duration::ZERO, sync: Duration::ZERO, ..LogOptions::new(&own) };
    let (log, _) = EventLog::<()>::open(options, start, |_, _| unreachable!("nothing is missing"), |_, _| ())?;
    let mut times: Vec<Duration> = Vec::new();
    for n in 0..3_000 {
        let begun = Instant::now();
        for k in 0..20 {
            log.append(event(n * 20 + k, 10_000_000, start()), None);
        }
        log.flush()?;
        times.push(begun.elapsed());
    }
    log.close()?;
    fs::remove_dir_all(&own)?;
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 1000];
    println!("20 events to the disk, {when}: p50 {:.2?}, p95 {:.2?}, p99 {:.2?}", at(500), at(950), at(990));
    Ok(())
}

fn searches(dir: &Path) -> Result<(), Box<dyn Error>> {
    let sent = start().checked_add(SignedDuration::from_secs(3_600))?.to_string();
    for (what, fields) in [
        ("everything", &[][..]),
        ("a frequent domain", &[("domain", "gmail.com")]),
        ("a frequent part", &[("rcpt", "body9")]),
        ("a rare recipient", &[("rcpt", "Rare3@example.net")]),
        ("its provider and class", &[("rcpt", "rare3@example.net"), ("class", "mailbox_full")]),
        ("a rare tag", &[("tag", "rare")]),
        ("a rare part", &[("rcpt", "*rare4@")]),
        ("a Message-ID", &[("message_id", "<1000001.app@example.org>")]),
        ("a class that is nowhere", &[("class", "spam_content")]),
        ("a recipient who is nowhere", &[("rcpt", "nobody@example.net")]),
        ("a part that is nowhere", &[("rcpt", "zzyzx")]),
        ("the first hour", &[("until", &*sent)]),
    ] {
        search(dir, what, Criteria::read(fields.iter().copied(), Timestamp::now())?)?;
    }
    Ok(())
}

/// As a page does it: steps of 50 ms, with rests, until 50 rows are there or the log is through.
fn search(dir: &Path, what: &str, criteria: Criteria) -> Result<(), Box<dyn Error>> {
    let (begun, mut pace, mut first, mut rows, mut read, mut worked, mut longest) =
        (Instant::now(), Pace::default(), None, 0, 0, Duration::ZERO, Duration::ZERO);
    let mut search = Search::begin(dir, criteria)?;
    loop {
        let step_begun = Instant::now();
        let step = search.step(&Budget { rows: 50, bytes: 64 << 20, time: Duration::from_millis(50), clock: Instant::now })?;
        let took = step_begun.elapsed();
        (rows, read, worked, longest) = (rows + step.rows.len(), read + step.read, worked + took, longest.max(took));
        if !step.rows.is_empty() {
            first.get_or_insert(begun.elapsed());
        }
        if step.cursor.is_none() || rows >= 50 {
            break;
        }
        thread::sleep(pace.rest(took));
    }
    println!(
        "  {what:27} {rows:3} rows, first {:>9}, through {:>9.1?}, worked {worked:>9.1?}, longest step {longest:>8.1?}, read {} MiB",
        first.map_or_else(|| "-".into(), |first| format!("{first:.1?}")),
        begun.elapsed(),
        read >> 20
    );
    Ok(())
}

fn start() -> Timestamp {
    Timestamp::from_second(1_787_565_600).expect("a time")
}

/// Writes the log: `accepted`, then `deferred` for some, then `delivered` or `bounced`, among those of other messages.
fn write(dir: &Path, events: u64) -> Result<(), Box<dyn Error>> {
    let (mut line, mut length, mut number) = (Vec::new(), 0, 1);
    let current = dir.join("delivery.log");
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&current)?);
    for n in 0..events {
        let time = start().checked_add(SignedDuration::from_millis(i64::try_from(n)? * 8))?;
        line.clear();
        encode(&event(n, events, time), &mut line);
        out.write_all(&line)?;
        length += line.len() as u64;
        if length >= FILE {
            out.flush()?;
            fs::rename(&current, dir.join(format!("delivery-{}-{number}.log", time.strftime("%Y%m%dT%H%M%SZ"))))?;
            out = BufWriter::with_capacity(1 << 20, File::create(&current)?);
            (length, number) = (0, number + 1);
        }
    }
    out.flush()?;
    Ok(())
}

/// Every event but each fifth is one of a message with two of them, 3,000 lines apart.
fn event(n: u64, events: u64, time: Timestamp) -> Event {
    let message = if n % 5 < 2 { n / 5 * 2 + n % 5 } else { (n.saturating_sub(3_000)) / 5 * 2 + n % 5 % 2 };
    let rare = (n % (events / 6).max(1)).checked_sub(1_000).filter(|k| *k < RARE);
    let domain = ["gmail.com", "outlook.com", "yahoo.com", "gmx.de", "web.de", "icloud.com"][(message % 6) as usize];
    let (rcpt, domain) = match rare {
        Some(k) => (format!("rare{k}@example.net"), "example.net"),
        None => (format!("somebody{}@{domain}", message * 7_919 % 4_000_000), domain),
    };
    let facts = MessageFacts {
        message: MessageId::new(start(), message.into()),
        message_id: Some(format!("<{message}.app@example.org>").into()),
        stream: name("receipts"),
        user: Some("app".into()),
        from_domain: Some("example.org".into()),
        dkim: Some("aligned"),
        one_click: false,
        hold_ms: None,
        tags: Arc::from([Arc::from(if rare == Some(1) { "rare" } else { "november" })]),
        meta: [].into(),
        from: "bounce@example.org".into(),
        size: 10_480,
    };
    let about = RecipientFacts { message: Arc::new(facts), rcpt: rcpt.into(), domain: domain.into(), age_ms: n % 3_000 };
    let attempt = |code, text: &str, class| Attempt {
        provider: Some(name(domain.split('.').next().unwrap_or_default())),
        source: Some(name("ip1")),
        mx_host: Some(format!("mx.{domain}").into()),
        mx_ip: Some([192, 0, 2, 26].into()),
        attempt: 1,
        reply: Some(Reply::new(code, text)),
        smtp_stage: Some(Stage::Dot),
        class,
        connect_ms: Some(21),
        envelope_ms: Some(40),
        body_ms: Some(95),
        ..Attempt::default()
    };
    let what = match n % 5 {
        0 | 1 => What::Accepted {
            about,
            client_ip: Some([127, 0, 0, 1].into()),
            client_ehlo: Some("app.example.org".into()),
            priority: posthaste_mail::TransferPriority::default(),
            spool_seq: n,
            notice_of: None,
            recovered: false,
        },
        2 if n.is_multiple_of(3) => {
            let full = attempt(452, "4.2.2 The mailbox is full, try again later", Some(Class::MailboxFull));
            What::Deferred { about, attempt: full, retry_at: time }
        }
        _ => What::Delivered { about, attempt: attempt(250, "2.0.0 OK 1795430000 d2e1a72fcca58 - gsmtp", None) },
    };
    Event { time, v: SCHEMA_VERSION, id: EventId::new(time, n.into()), node: name("mx1"), what }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}
