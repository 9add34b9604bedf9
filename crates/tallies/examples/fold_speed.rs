//! How fast a log is counted: `cargo run --release -p posthaste-tallies --example fold_speed -- [EVENTS [LOG]]`.
//!
//! Makes a log of deliveries, deferrals and bounces to 200 providers from 50 streams and 50 sources, counts it, and says what it took.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "measures the clock, for a reader")]

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use posthaste_monitor::CURRENT;
use posthaste_tallies::{Limits, LogReader, Tallies};

fn main() {
    let mut given = std::env::args().skip(1);
    let events: u64 = given.next().map_or(1_000_000, |number| number.parse().expect("a number of events"));
    let kept = given.next().map(PathBuf::from);
    let dir = tempfile::tempdir().expect("a folder");
    let log = kept.unwrap_or_else(|| {
        let text = lines(events);
        fs::write(dir.path().join(CURRENT), text).expect("the log");
        dir.path().into()
    });
    let began = Instant::now();
    let path = dir.path().join("tallies.db");
    let mut tallies = Tallies::open(&path, TimeZone::UTC, Limits::default()).expect("a database");
    let (mut reader, mut read) = (LogReader::new(&log), 0);
    loop {
        let progress = reader.catch_up(&mut tallies, 100_000).expect("a readable log");
        read += progress.lines;
        if progress.at_end {
            break;
        }
    }
    let took = began.elapsed();
    let size = fs::metadata(&path).expect("it is there").len();
    println!("{read} lines in {:.2} s: {:.2} µs a line; the database has {} KiB", took.as_secs_f64(), per_line(took, read), size >> 10);
}

fn per_line(took: Duration, lines: u64) -> f64 {
    took.as_secs_f64() * 1e6 / lines as f64
}

/// A day and a half of mail.
fn lines(events: u64) -> String {
    let (mut text, begin) = (String::new(), 1_795_910_400_000_i64);
    for n in 0..events {
        let time = Timestamp::from_millisecond(begin + (n * 130_000_000 / events) as i64).expect("a time");
        let (stream, provider, source, user) = (n % 50, n * 7 % 200, n * 3 % 50, n % 20);
        let about = format!(
            r#"{{"time":"{time:.3}","v":1,"id":"01M0SPER2000000000{n:08}","node":"mx1","event":"EVENT","message":"01M0SPER2000000001{n:08}","message_id":"<{n}@app.example.org>","stream":"stream{stream}","user":"user{user}","tags":["may"],"from":"bounce@example.org","size":10480,"rcpt":"somebody{n}@example{provider}.net","domain":"example{provider}.net","age_ms":1234"#
        );
        let attempt = format!(
            r#","provider":"provider{provider}","source":"ip{source}","source_ip":"192.0.2.1","mx_host":"mx.example{provider}.net","mx_ip":"192.0.2.26","attempt":1,"smtp_code":250,"smtp_enhanced":"2.0.0","smtp_text":"2.0.0 OK  1795430000 d2e1a72fcca58-7c3f00000si123456b3a.77","smtp_stage":"dot","tls_version":"TLSv1.3","tls_cipher":"TLS13_AES_256_GCM_SHA384","tls_policy":"opportunistic","tls_verified":false,"dns_ms":1,"connect_ms":20,"tls_ms":30,"envelope_ms":40,"body_ms":60,"session":"4f"}}"#
        );
        let line = match n % 20 {
            0..10 => about.replace("EVENT", "accepted") + r#","client_ip":"127.0.0.1","client_ehlo":"app.example.org","spool_seq":1}"#,
            19 => {
                about.replace("EVENT", "deferred")
                    + &attempt.replace(r#""smtp_stage""#, r#""class":"rate_limited","rule":"google-421","smtp_stage""#)
            }
            _ => about.replace("EVENT", "delivered") + &attempt,
        };
        writeln!(text, "{line}").expect("memory");
    }
    text
}
