//! Measures the cost of an event: `cargo run --release -p posthaste-monitor --example log_speed [FOLDER]`.
//!
//! Prints nanoseconds per event for encoding alone, for appending as the dispatcher sees it, and for the whole way to the disk; then the
//! speed of the folds over what was written.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "measures the clock, for a reader")]

use std::{error::Error, sync::Arc, time::Instant};

use jiff::Timestamp;
use posthaste_mail::{
    Attempt, Event, EventId, MessageFacts, MessageId, Name, RecipientFacts, Reply, SCHEMA_VERSION, Stage, TlsFacts, What,
};
use posthaste_monitor::{EventLog, LogOptions, Query, audit, encode, tail_since, trace};

const EVENTS: u32 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = std::env::temp_dir().join(format!("log-speed-{}", std::process::id()));
    let dir = std::env::args_os().nth(1).map_or(scratch, Into::into);
    let now = Timestamp::now();
    let events = [accepted(now, 7), delivered(now, 7)];

    let (mut line, begun) = (Vec::new(), start());
    for i in 0..EVENTS {
        line.clear();
        encode(&events[i as usize % 2], &mut line);
    }
    report("encode", &begun, EVENTS.into());
    println!("a delivered line has {} bytes", line.len());

    let (log, _) = EventLog::<u32>::open(LogOptions::new(&dir), Timestamp::now, stamp, |_, _| ())?;
    let made: Vec<_> = (0..EVENTS / 2).flat_map(|n| [accepted(now, n), delivered(now, n)]).collect();
    let begun = start();
    for (i, event) in (0..).zip(made) {
        log.append(event, Some(i));
    }
    report("append", &begun, EVENTS.into());
    log.close()?;
    report("append to durable", &begun, EVENTS.into());

    let begun = start();
    let found = audit(&dir, [], None)?;
    report("audit", &begun, found.lines);
    let begun = start();
    report("recovery", &begun, tail_since(&dir, None)?.lines);
    let begun = start();
    trace(&dir, &Query::Address("Nobody@example.org".into()))?;
    report("trace", &begun, EVENTS.into());
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// A start by wall clock and by processor time.
struct Start(Instant, u64);

fn start() -> Start {
    Start(Instant::now(), cpu_ns())
}

/// The processor time of all threads: fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(") ").next().unwrap_or_default();
    behind_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10_000_000
}

fn report(what: &str, start: &Start, count: u64) {
    let (wall, cpu) = (start.0.elapsed().as_nanos() as u64, cpu_ns() - start.1);
    println!("{what:18} {:>6} ns an event, {:>6} ns of processor", wall / count.max(1), cpu / count.max(1));
}

fn about(now: Timestamp, n: u32) -> RecipientFacts {
    let facts = MessageFacts {
        message: MessageId::new(now, n.into()),
        message_id: Some("<20261123101112.4711.9@app.example.org>".into()),
        stream: name("receipts"),
        user: Some("app".into()),
        from_domain: Some("example.org".into()),
        dkim: Some("aligned"),
        one_click: false,
        hold_ms: None,
        tags: Arc::from([Arc::from("november")]),
        meta: [].into(),
        from: "bounce@example.org".into(),
        size: 10_480,
    };
    let rcpt = format!("somebody{n}@gmail.com").into();
    RecipientFacts { message: Arc::new(facts), rcpt, domain: "gmail.com".into(), age_ms: 1234 }
}

fn accepted(now: Timestamp, n: u32) -> Event {
    let what = What::Accepted {
        about: about(now, n),
        client_ip: Some([127, 0, 0, 1].into()),
        client_ehlo: Some("app.example.org".into()),
        priority: posthaste_mail::TransferPriority::default(),
        spool_seq: n.into(),
        notice_of: None,
        recovered: false,
    };
    event(now, n, what)
}

fn delivered(now: Timestamp, n: u32) -> Event {
    let attempt = Attempt {
        provider: Some(name("google")),
        source: Some(name("ip1")),
        source_ip: Some([192, 0, 2, 1].into()),
        mx_host: Some("gmail-smtp-in.l.google.com".into()),
        mx_ip: Some([192, 0, 2, 26].into()),
        attempt: 1,
        reply: Some(Reply::new(250, "2.0.0 OK  1795430000 d2e1a72fcca58-7c3f00000si123456b3a.77 - gsmtp")),
        smtp_stage: Some(Stage::Dot),
        spf: Some("pass"),
        dmarc: Some("reject"),
        tls: TlsFacts {
            tls_version: Some("TLSv1.3"),
            tls_cipher: Some("TLS13_AES_256_GCM_SHA384"),
            tls_policy: Some("opportunistic"),
            tls_verified: Some(true),
            tls_fallback: None,
        },
        dns_ms: Some(3),
        envelope_ms: Some(40),
        body_ms: Some(95),
        session: Some("01KAQZJ5SESSION".into()),
        ..Attempt::default()
    };
    event(now, n, What::Delivered { about: about(now, n), attempt })
}

fn event(time: Timestamp, n: u32, what: What) -> Event {
    Event { time, v: SCHEMA_VERSION, id: EventId::new(time, n.into()), node: name("mx1"), what }
}

/// Nothing is missing in this log, so no event of its own gets into it.
fn stamp(time: Timestamp, what: What) -> Event {
    Event { time, v: SCHEMA_VERSION, id: EventId::new(time, 0), node: name("mx1"), what }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}
