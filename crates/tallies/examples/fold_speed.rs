//! How fast a log is counted: `cargo run --release -p posthaste-tallies --example fold_speed -- [EVENTS [LOG]]`.
//!
//! Makes a log of a day and a half, counts it, and says what it took: 200 providers, 50 streams and 50 sources; users, tags, sending domains,
//! rules and many thousand recipient domains of which few get most of the mail, so that every dimension has more than it keeps or is full.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "measures the clock, for a reader")]

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
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
        write_log(&dir.path().join(CURRENT), events).expect("the log");
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
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map_or("unknown", str::trim);
    println!(
        "{read} lines in {:.2} s: {:.2} µs a line; the database has {} KiB; peak memory {peak}",
        took.as_secs_f64(),
        per_line(took, read),
        size >> 10
    );
}

fn per_line(took: Duration, lines: u64) -> f64 {
    took.as_secs_f64() * 1e6 / lines as f64
}

/// A day and a half of mail.
fn write_log(path: &Path, events: u64) -> io::Result<()> {
    let (mut file, begin, mut dice) = (BufWriter::new(File::create(path)?), 1_795_910_400_000_i64, Dice(1));
    for n in 0..events {
        let time = Timestamp::from_millisecond(begin + (n * 130_000_000 / events) as i64).expect("a time");
        // One of ten messages goes to a domain that gets little; the rest of the mail to providers of very different size.
        let provider = dice.skewed(200);
        let domain = if dice.below(10) == 0 { format!("d{}.example", dice.below(30_000)) } else { format!("p{provider}.example") };
        let (stream, user) = (dice.skewed(50), dice.skewed(300));
        let (source, tag, sender) = (dice.below(50), dice.skewed(800), dice.skewed(500));
        let about = format!(
            r#"{{"time":"{time:.3}","v":1,"id":"01M0SPER2000000000{n:08}","node":"mx1","event":"EVENT","message":"01M0SPER2000000001{n:08}","message_id":"<{n}@app.example.org>","stream":"stream{stream}","user":"user{user}","from_domain":"s{sender}.example","tags":["t{tag}"],"from":"bounce@example.org","size":10480,"rcpt":"somebody{n}@{domain}","domain":"{domain}","age_ms":{}"#,
            1000 + dice.below(60_000)
        );
        let attempt = format!(
            r#","provider":"provider{provider}","source":"ip{source}","source_ip":"192.0.2.1","mx_host":"mx.{domain}","mx_ip":"192.0.2.26","attempt":1,"smtp_code":250,"smtp_enhanced":"2.0.0","smtp_text":"2.0.0 OK  1795430000 d2e1a72fcca58-7c3f00000si123456b3a.77","smtp_stage":"dot","tls_version":"TLSv1.3","tls_cipher":"TLS13_AES_256_GCM_SHA384","tls_policy":"opportunistic","tls_verified":false,"dns_ms":1,"connect_ms":{},"tls_ms":30,"envelope_ms":40,"body_ms":{},"dkim":"aligned","spf":"pass","session":"4f"}}"#,
            10 + dice.below(90),
            20 + dice.below(400)
        );
        let class = ["rate_limited", "greylisted", "mailbox_full", "unknown_user", "ip_reputation", "policy"][dice.below(6) as usize];
        let failed = format!(r#""class":"{class}","rule":"rule{}","smtp_stage""#, dice.below(40));
        let line = match n % 20 {
            0..10 => about.replace("EVENT", "accepted") + r#","client_ip":"127.0.0.1","client_ehlo":"app.example.org","spool_seq":1}"#,
            18 => about.replace("EVENT", "bounced") + &attempt.replace(r#""smtp_stage""#, &failed),
            19 => about.replace("EVENT", "deferred") + &attempt.replace(r#""smtp_stage""#, &failed),
            _ => about.replace("EVENT", "delivered") + &attempt,
        };
        writeln!(file, "{line}")?;
    }
    file.flush()
}

/// The same numbers in each run.
struct Dice(u64);

impl Dice {
    /// A number below `most`.
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    /// The same, small ones far more often.
    fn skewed(&mut self, most: u64) -> u64 {
        let (a, b) = (self.below(most), self.below(most));
        a * b / most
    }
}
