//! How long the queue's table takes to be made, and what waits in it: `cargo run --release -p posthaste-relay --example table -- [RECIPIENTS=300000]`.
//! Recipients wait for the hosts of a few domains or of many. The time is that of the processor, so that a busy machine does not count.
#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::{fs, io, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use posthaste_config::Config;
use posthaste_feedback::Feedback;
use posthaste_host::ThisHost;
use posthaste_mail::{Domain, MessageId, Name, TransferPriority};
use posthaste_queue::{Answer, Arrival, Dispatcher, Input, Question};
use posthaste_relay::settings as live;
use posthaste_route::Providers;

const ROUNDS: u32 = 9;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(300_000), |n| n.parse())?;
    for domains in [10, 5_000, 100_000] {
        let (mut took, rows) = made(count, domains)?;
        took.sort_unstable();
        let middle = took[took.len() / 2];
        println!(
            "{count} recipients at {domains} domains: {middle:?} for the table (middle of {ROUNDS}; {rows} rows of what waits), {} ns a recipient",
            middle.as_nanos() / u128::from(count)
        );
    }
    Ok(())
}

/// How long each table took, and how many rows it has of what waits.
fn made(count: u64, domains: u64) -> Result<(Vec<Duration>, usize), Box<dyn std::error::Error>> {
    let config = Config::parse("", "posthaste.toml", &ThisHost).map_err(|errors| errors.to_string())?;
    let feedback = Arc::new(Feedback::with(&[], Providers::shipped()).map_err(|_| "the shipped rules are whole")?);
    let mut now: Timestamp = "2026-11-23T12:00:00Z".parse()?;
    let mut dispatcher = Dispatcher::new(live::policy(&config, &Providers::shipped(), feedback, &Default::default()));
    let names: Vec<Domain> = (0..domains).map(|n| Domain::new(&format!("d{n}.example"))).collect::<Result<_, _>>()?;
    let stream = Name::new("default")?;
    for seq in 1..=count {
        let arrival = Arrival {
            seq,
            id: MessageId::new(now, u128::from(seq)),
            arrived: now,
            put_off: None,
            stream: stream.clone(),
            user: None,
            priority: TransferPriority::default(),
            deliver_by: None,
            size: 10_000,
            domains: vec![names[(seq % domains) as usize].clone()],
            progress: None,
            warm: None,
            guarded: None,
        };
        dispatcher.handle(Input::Arrived(Box::new(arrival)), now);
    }
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        // So late that the last table lasts no longer.
        now = now.saturating_add(SignedDuration::from_hours(1))?;
        let began = on_processor()?;
        let (Answer::Table(table), _) = dispatcher.answer(Question::Table, now) else { return Err("a table was asked for".into()) };
        took.push(on_processor()? - began);
        if table.counts.recipients != count as usize {
            return Err(format!("{} of {count} recipients", table.counts.recipients).into());
        }
        if took.len() == ROUNDS as usize {
            return Ok((took, table.waiting.len()));
        }
    }
    Err("no round".into())
}

/// For how long this thread has been on a processor (proc(5), schedstat).
fn on_processor() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split(' ').next().and_then(|first| first.parse().ok());
    first.map(Duration::from_nanos).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
