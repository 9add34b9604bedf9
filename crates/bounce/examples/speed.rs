//! Replies and mails a second of one core's time: `cargo run --release -p posthaste-bounce --example speed -- CORPORA`.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{path::Path, time::Instant};

use posthaste_bounce::{Context, Quoted, Rules, read_mail};

fn main() -> std::io::Result<()> {
    let base = std::env::args().nth(1).unwrap_or_else(|| "../shared/corpora".to_owned());
    let rules = Rules::shipped();
    let rows = std::fs::read_to_string(Path::new(&base).join("replies.jsonl"))?;
    let replies: Vec<Quoted> = rows
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
        .filter_map(|r| r["reply"].as_str().map(Quoted::read))
        .collect();
    let mut mails = Vec::new();
    for entry in std::fs::read_dir(Path::new(&base).join("mails"))? {
        mails.push(std::fs::read(entry?.path())?);
    }
    let context = Context::default();
    rate("replies", replies.len(), || replies.iter().filter(|q| rules.classify_quoted(q, &context).permanent).count());
    rate("mails", mails.len(), || mails.iter().map(|m| read_mail(m, rules).len()).sum());
    Ok(())
}

/// Runs for about two seconds and prints how many a second of processor time, and how long one takes.
fn rate(what: &str, each: usize, mut round: impl FnMut() -> usize) {
    let (start, spent) = (Instant::now(), processor_seconds());
    let (mut rounds, mut kept) = (0, 0);
    while start.elapsed().as_secs_f64() < 2.0 {
        kept += std::hint::black_box(round());
        rounds += 1;
    }
    let seconds = processor_seconds() - spent;
    let done = (each * rounds) as f64;
    println!("{what}: {:.0} a second, {:.2} µs each ({rounds} rounds of {each}, {kept} counted)", done / seconds, seconds / done * 1e6);
}

/// The processor time of this thread: other programs on the machine do not count.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds: f64 = stat.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(f64::NAN);
    nanoseconds / 1e9
}
