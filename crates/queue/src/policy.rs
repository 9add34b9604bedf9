//! What the configuration says to the dispatcher: how often to try, how long, over what, how many at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use posthaste_governor::{Order, Plan, Priority, Shape, Stage};
use posthaste_mail::Name;

use crate::feedback::Feedback;

/// When a stream's mail is tried again, and when it is given up.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// The waits between attempts; the last one repeats. Not empty.
    pub schedule: Vec<Duration>,
    /// Each wait is made longer or shorter by up to this share (0.1 = a tenth).
    pub jitter: f64,
    /// Age at which a message is given up after one more attempt.
    pub expire: Duration,
}

/// One stream's rules.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamPolicy {
    /// When to try again.
    pub retry: Retry,
    /// Its share of a connection against other streams that wait for it.
    pub share: u32,
    /// The pool it is sent from.
    pub pool: Name,
    /// Which of the pool's sources comes first.
    pub order: Order,
    /// Whether it may use what the curves reserve for mail that somebody waits for.
    pub priority: Priority,
    /// What it may send in all.
    pub shape: Shape,
    /// Each recipient in a transaction of its own: it has its own reverse-path.
    pub one_by_one: bool,
}

/// One pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolPolicy {
    /// Its sources, with their weights. Not empty.
    pub sources: Vec<(Name, u32)>,
    /// Whether the others take the mail of a source that a provider has slowed or stopped.
    pub relieve: bool,
}

/// How a source warms up.
#[derive(Clone, Debug, PartialEq)]
pub struct Warmup {
    /// At providers that are not named.
    pub usual: Arc<Plan>,
    /// At these.
    pub providers: HashMap<Box<str>, Arc<Plan>>,
    /// Where lanes without a past begin.
    pub first: Stage,
}

/// What a lane may do beside its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once.
    pub connections: usize,
    /// Messages over one connection before it is closed.
    pub messages_per_connection: u32,
    /// Recipients in one transaction.
    pub recipients_per_transaction: usize,
    /// Recipients in time.
    pub shape: Shape,
}

/// Everything the dispatcher takes from the configuration.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Rules by stream; a stream that is not there follows `fallback`.
    pub streams: HashMap<Name, StreamPolicy>,
    /// Rules of the default stream.
    pub fallback: StreamPolicy,
    /// Pools by name. Every stream's is there.
    pub pools: HashMap<Name, PoolPolicy>,
    /// The sources that warm up.
    pub warmups: HashMap<Name, Warmup>,
    /// What a source without a curve goes by.
    pub warm: Arc<Plan>,
    /// Limits by provider; one that is not there has `limits`.
    pub providers: HashMap<Box<str>, Limits>,
    /// Limits of all other lanes.
    pub limits: Limits,
    /// What a lane does when its provider pushes back.
    pub feedback: Arc<Feedback>,
    /// Open connections in all.
    pub connections: usize,
    /// How long a connection waits for more mail.
    pub idle: Duration,
    /// How long hosts that could not be reached are left alone.
    pub host_down: Duration,
}

impl StreamPolicy {
    /// How many of its recipients go in one transaction of a lane with these limits.
    pub fn recipients_at_once(&self, limits: &Limits) -> usize {
        if self.one_by_one { 1 } else { limits.recipients_per_transaction }
    }
}

impl Policy {
    /// The rules of a stream.
    pub fn stream(&self, name: &Name) -> &StreamPolicy {
        self.streams.get(name).unwrap_or(&self.fallback)
    }

    /// The limits of a provider's lanes.
    pub fn limits(&self, provider: &str) -> &Limits {
        self.providers.get(provider).unwrap_or(&self.limits)
    }

    /// What a lane goes by, and where it begins without a past.
    pub fn plan(&self, source: &Name, provider: &str) -> (&Arc<Plan>, Stage) {
        let Some(warmup) = self.warmups.get(source) else { return (&self.warm, Stage::Past) };
        let plan = warmup.providers.get(provider).unwrap_or(&warmup.usual);
        let ended = matches!(warmup.first, Stage::On(number) if number > plan.curve.stages());
        (plan, if ended { Stage::Past } else { warmup.first })
    }
}

impl Retry {
    /// How long to wait after the `attempts`-th attempt (1 = the first). `salt` spreads what failed together.
    pub fn wait(&self, attempts: u32, salt: u64) -> Duration {
        let step = (attempts.max(1) as usize - 1).min(self.schedule.len() - 1);
        let base = self.schedule[step].as_secs_f64();
        // SplitMix64's finisher: evenly spread, and the same for the same input, so that a simulation repeats.
        let mut z = salt.wrapping_add(u64::from(attempts).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        Duration::from_secs_f64(base * (1.0 + self.jitter * (2.0 * unit - 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_wait_repeats_and_jitter_stays_in_its_bounds() {
        let retry =
            Retry { schedule: vec![Duration::from_secs(300), Duration::from_secs(600)], jitter: 0.1, expire: Duration::from_secs(432_000) };
        for salt in 0..1000 {
            let first = retry.wait(1, salt).as_secs_f64();
            assert!((270.0..=330.0).contains(&first), "{first}");
            let ninth = retry.wait(9, salt).as_secs_f64();
            assert!((540.0..=660.0).contains(&ninth), "{ninth}");
        }
        assert_ne!(retry.wait(1, 1), retry.wait(1, 2));
    }
}
