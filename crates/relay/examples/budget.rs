//! The governor's cost for each message: the dispatcher over a thousand lanes, alternately with a curve that never binds and without one:
//! `cargo run --release -p posthaste-relay --example budget -- [MESSAGES=200000]`. Receivers accept everything at once, and nothing is
//! sent.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use posthaste_config::Config;
use posthaste_feedback::Feedback;
use posthaste_host::ThisHost;
use posthaste_mail::{Attempt, Domain, MessageId, Name, Reply};
use posthaste_queue::{Action, Arrival, AttemptResult, Dispatcher, DnsTime, Input, JobOutcome, Site};
use posthaste_relay::settings as live;
use posthaste_route::{Host, Providers};
use posthaste_smtp::client::TlsPolicy;

const LANES: u64 = 1_000;
const ROUNDS: usize = 5;
/// Time between two messages: four thousand messages a second.
const APART: SignedDuration = SignedDuration::from_micros(250);

const FREE: &str = "[source.ip1]\naddress = \"127.0.0.1\"\n";
const CURVE: &str =
    "[source.ip1]\naddress = \"127.0.0.1\"\nwarmup = \"wide\"\n[curve.wide]\ncaps = [100000000]\nburst = 100000\nafter = \"last\"\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(200_000), |n| n.parse())?;
    let mut more = Vec::new();
    for round in 1..=ROUNDS {
        let (free, _) = played(FREE, count)?;
        let (curve, entries) = played(CURVE, count)?;
        more.push(curve - free);
        println!(
            "round {round}: {free:.2} µs a recipient without a curve, {curve:.2} with one ({entries:.4} entries of the ledger a recipient): {:+.2} µs",
            curve - free
        );
    }
    more.sort_by(f64::total_cmp);
    println!("the governor's part over {LANES} lanes: {:.2} µs a recipient (middle of {ROUNDS})", more[ROUNDS / 2]);
    Ok(())
}

/// Microseconds and ledger entries for each message.
fn played(config: &str, count: u64) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let config = Config::parse(config, "posthaste.toml", &ThisHost).map_err(|errors| errors.to_string())?;
    let feedback = Arc::new(Feedback::with(&[], Providers::shipped()).map_err(|_| "the shipped rules are whole")?);
    let mut now: Timestamp = "2026-11-23T12:00:00Z".parse()?;
    let seen = config.sources.keys().map(|name| (name.clone(), "2026-11-23".parse().expect("a date"))).collect();
    let mut dispatcher = Dispatcher::new(live::policy(&config, &Providers::shipped(), feedback, &seen));
    let domains: Vec<Domain> = (0..LANES).map(|n| Domain::new(&format!("d{n}.example"))).collect::<Result<_, _>>()?;
    let (stream, facts) = (Name::new("default")?, Arc::new(Attempt::default()));
    let reply = Reply::new(250, "2.0.0 taken");
    let (mut taken, mut entries, mut inputs) = (0u64, 0usize, VecDeque::new());
    let mut began = Instant::now();
    // The first round opens each lane and resolves each domain; it is not counted.
    for seq in 1..=count + LANES {
        if seq == LANES + 1 {
            (began, entries) = (Instant::now(), 0);
        }
        now = now.saturating_add(APART)?;
        let arrival = Arrival {
            seq,
            id: MessageId::new(now, u128::from(seq)),
            arrived: now,
            put_off: None,
            stream: stream.clone(),
            user: None,
            priority: posthaste_mail::TransferPriority::default(),
            deliver_by: None,
            size: 10_000,
            domains: vec![domains[(seq % LANES) as usize].clone()],
            progress: None,
            guarded: None,
            warm: None,
        };
        inputs.push_back(Input::Arrived(Box::new(arrival)));
        if dispatcher.next_wake().is_some_and(|at| at <= now) {
            inputs.push_back(Input::Wake);
        }
        while let Some(input) = inputs.pop_front() {
            for action in dispatcher.handle(input, now) {
                let (session, job) = match action {
                    Action::Resolve(domain, name, _) => {
                        inputs.push_back(Input::Resolved(domain, Ok(Arc::new(site(name.as_str())?)), Duration::from_secs(86_400)));
                        continue;
                    }
                    Action::Open { session, job, .. } => {
                        inputs.push_back(Input::Opened(session));
                        (session, job)
                    }
                    Action::Deliver(session, job) => (session, job),
                    Action::Ledger(batch) => {
                        entries += batch.entries.len();
                        continue;
                    }
                    Action::Record(record) => {
                        inputs.push_back(Input::Logged(record.unoffered, record.results));
                        continue;
                    }
                    Action::Close(_) | Action::Lane { .. } | Action::Clock(_) => continue,
                };
                taken += job.rcpts.len() as u64;
                let outcome =
                    JobOutcome::Answered { said: vec![AttemptResult::Delivered(reply.clone()); job.rcpts.len()], facts: facts.clone() };
                inputs.push_back(Input::Finished { session, job, outcome, usable: true });
            }
        }
    }
    let each = began.elapsed().as_secs_f64() * 1e6 / count as f64;
    if taken < count {
        return Err(format!("{taken} of {count} went: the curve is meant to hold nothing back").into());
    }
    Ok((each, entries as f64 / count as f64))
}

/// The site of a domain that is a provider of its own.
fn site(domain: &str) -> Result<Site, Box<dyn std::error::Error>> {
    Ok(Site {
        provider: Name::new(domain)?,
        hosts: vec![Host { name: domain.into(), preference: 0, addresses: vec!["127.0.0.1:25".parse()?] }],
        tls: TlsPolicy::Opportunistic,
        fallback: true,
        auth: None,
        fixed: false,
        key: domain.into(),
        generation: 0,
        dns: DnsTime::new(1),
    })
}
