//! A campaign of random faults at every layer, under load, with a model of what was acknowledged beside it.
//!
//! A life is one relay's: rounds in which system calls of the spool, the index and the log fail, tear or are slow, the power goes, the
//! process is killed, stopped or restarted, the clock is set, receivers and name servers fail, others meddle with the log, while mail is
//! submitted by SMTP and HTTP, bounces come back, addresses are suppressed, a source warms up, segments are compacted and the log rotates.
//! At its end everything that was acknowledged has ended once and rightly, arrived no oftener than what was in flight at the kills allows,
//! no cap was exceeded, and the audit agrees.
//!
//! `POSTHASTE_FAULT_ROUNDS` and `POSTHASTE_FAULT_MINUTES` bound it; `POSTHASTE_FAULT_SEED` is the first life's seed. `tests/faults/run` is
//! the long form.

#[path = "faults/account.rs"]
mod account;
#[path = "faults/life.rs"]
mod life;
#[path = "faults/load.rs"]
mod load;
#[path = "faults/plan.rs"]
mod plan;
#[path = "faults/receiver.rs"]
mod receiver;
#[path = "faults/stories.rs"]
mod stories;

use std::{str::FromStr, time::Duration};

use support::wait;

/// Rounds in a life.
const LIFE: usize = 20;

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {value}")))
}

#[test]
fn random_faults_lose_nothing_double_no_more_than_was_in_flight_and_end_each_recipient_once() {
    let minutes: Option<u64> = variable("POSTHASTE_FAULT_MINUTES");
    let rounds: usize = variable("POSTHASTE_FAULT_ROUNDS").unwrap_or(if minutes.is_some() { usize::MAX } else { 3 * LIFE });
    let seed: u64 = variable("POSTHASTE_FAULT_SEED").unwrap_or(1);
    let end = minutes.map(|m| wait::instant() + Duration::from_secs(60 * m));
    let mut all = life::Figures::default();
    for life in 0.. {
        let left = rounds - all.rounds;
        if left == 0 || end.is_some_and(|end| wait::instant() >= end) {
            break;
        }
        eprintln!("--- POSTHASTE_FAULT_SEED={} begins with this life", seed + life);
        all += life::live(seed + life, left.min(LIFE));
        eprintln!("so far: {all:?}");
    }
    assert!(all.acknowledged > 0, "nothing was sent: {all:?}");
}
