//! What a tick of the rules costs, on tallies of 90 days with 200 providers and 50 streams: `cargo run --release -p posthaste-findings
//! --example tick_cost [DAYS]`.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "measures the clock, for a reader")]

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use posthaste_findings::{Facts, Lookout, RuleSettings, StreamFact, View, Waiting};
use posthaste_tallies::{Delta, Limits, Seen, Tallies};

const PROVIDERS: usize = 200;
const STREAMS: usize = 50;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let days: i64 = std::env::args().nth(1).map_or(Ok(90), |days| days.parse())?;
    let dir = tempfile::tempdir()?;
    let end: Timestamp = "2026-11-29T14:30:00Z".parse()?;
    let mut tallies = Tallies::open(&dir.path().join("tallies.db"), TimeZone::UTC, Limits::default())?;
    // Each hour every provider and every stream; each minute of the last three hours too.
    for hour in 0..days * 24 {
        fill(&mut tallies, end.checked_sub(SignedDuration::from_hours(days * 24 - hour))?, 1)?;
    }
    fill(&mut tallies, end.checked_sub(SignedDuration::from_hours(3))?, 180)?;
    let facts = facts(end);
    let (mut lookout, settings) = (Lookout::default(), RuleSettings::default());
    let mut ticks = Vec::new();
    for tick in 0..2 * 360 {
        let now = end.checked_add(SignedDuration::from_secs(10 * tick))?;
        if tick % 6 == 0 {
            fill(&mut tallies, now, 1)?;
        }
        let begin = Instant::now();
        lookout.tick(View { tallies: Some(&tallies), counted: now, facts: &facts }, &settings, now)?;
        ticks.push(begin.elapsed());
    }
    let first = ticks.remove(0);
    let sum: Duration = ticks.iter().sum();
    let most = ticks.iter().max().copied().unwrap_or_default();
    let figures = format!("first tick {first:?}, then {:?} on average and {most:?} at most", sum / u32::try_from(ticks.len())?);
    println!("{days} days, {PROVIDERS} providers, {STREAMS} streams: {figures}");
    Ok(())
}

/// A round of mail in each of so many minutes from this time on.
fn fill(tallies: &mut Tallies, from: Timestamp, minutes: i64) -> Result<(), Box<dyn std::error::Error>> {
    let mut delta = Delta::new(TimeZone::UTC);
    for minute in 0..minutes {
        let time = from.checked_add(SignedDuration::from_mins(minute))?;
        for n in 0..PROVIDERS {
            let event = ["delivered", "delivered", "accepted", "bounced"][n % 4];
            let line = format!(
                r#"{{"time":"{time:.3}","event":"{event}","stream":"s{}","user":"u{n}","provider":"p{n}","source":"ip{}","from_domain":"d{n}.org","domain":"r{n}.org","size":1000,"age_ms":{},"attempt":1,"class":"mailbox_full","connect_ms":20,"tls_ms":30,"envelope_ms":40,"body_ms":50}}"#,
                n % STREAMS,
                n % 50,
                200 + n * 37 % 5000,
            );
            delta.take(&Seen::parse(line.as_bytes()).ok_or("a line of the log")?);
        }
    }
    tallies.add(&delta, None)?;
    Ok(())
}

fn facts(now: Timestamp) -> Facts {
    let names = |letter: char, n: usize| (0..n).map(move |n| format!("{letter}{n}"));
    let waiting = names('p', PROVIDERS).flat_map(|provider| {
        names('s', STREAMS).map(move |stream| Waiting {
            provider: provider.clone(),
            stream,
            recipients: 1,
            oldest: Some(now),
            due: 1,
            due_since: Some(now),
        })
    });
    let aim = Duration::from_hours(4);
    Facts {
        waiting: waiting.collect(),
        streams: names('s', STREAMS).map(|name| StreamFact { name, aim, aim_configured: false }).collect(),
        ..Facts::default()
    }
}
