//! The dispatcher's settings: retries, expiry, sources, connections and rates.

use std::{collections::HashMap, sync::Arc, time::Duration};

use posthaste_feedback::Feedback;
use posthaste_governor::{Order, Plan, Priority, Shape, Stage};
use posthaste_mail::Name;

/// When a stream's mail is retried, and when it expires.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// The waits between attempts; the last one repeats. Not empty.
    pub schedule: Vec<Duration>,
    /// Each wait is lengthened or shortened at random by up to this fraction (0.1 is a tenth).
    pub jitter: f64,
    /// The age at which a message expires, after one more attempt.
    pub expire: Duration,
}

/// The settings of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamPolicy {
    /// When to try again.
    pub retry: Retry,
    /// Its share of a connection when several streams wait for it.
    pub share: u32,
    /// The pool it is sent from.
    pub pool: Name,
    /// Which of the pool's sources is used first.
    pub order: Order,
    /// Whether it may use the part of each cap that curves reserve for urgent mail.
    pub priority: Priority,
    /// Its own rate limit, over all sources.
    pub shape: Shape,
    /// Whether each recipient gets a transaction of its own, because it has a reverse-path of its own.
    pub one_by_one: bool,
}

/// The settings of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolPolicy {
    /// Its sources, with their weights. Not empty.
    pub sources: Vec<(Name, u32)>,
    /// Whether the other sources take over mail of a source that a provider has slowed or stopped.
    pub relieve: bool,
}

/// The warm-up of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceWarmup {
    /// The plan at providers without a plan of their own.
    pub usual: Arc<Plan>,
    /// Plans by provider.
    pub providers: HashMap<Box<str>, Arc<Plan>>,
    /// The stage on which lanes without a history start.
    pub first: Stage,
}

/// A lane's limits beside its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    /// Open connections, at most.
    pub connections: usize,
    /// Messages over one connection, after which it is closed.
    pub messages_per_connection: u32,
    /// Recipients in one transaction, at most.
    pub recipients_per_transaction: usize,
    /// Recipients by minute, hour and day.
    pub shape: Shape,
}

/// Everything that the dispatcher takes from the configuration.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Settings by stream; a stream that is missing here uses `fallback`.
    pub streams: HashMap<Name, StreamPolicy>,
    /// Settings of the default stream.
    pub fallback: StreamPolicy,
    /// Pools by name; the pool of every stream is among them.
    pub pools: HashMap<Name, PoolPolicy>,
    /// The sources that warm up.
    pub warmups: HashMap<Name, SourceWarmup>,
    /// The plan of sources without a curve.
    pub warm: Arc<Plan>,
    /// Limits by provider; a provider that is missing here has `limits`.
    pub providers: HashMap<Box<str>, LaneLimits>,
    /// Limits of all other lanes.
    pub limits: LaneLimits,
    /// The rules for lanes whose provider pushes back.
    pub feedback: Arc<Feedback>,
    /// Open connections in all, at most.
    pub connections: usize,
    /// How long a receiver may take to let a session in while other mail waits for a connection.
    pub patience: Duration,
    /// How long an idle connection stays open for more mail.
    pub idle: Duration,
    /// Results of attempts that may be handed out to be recorded and not be durable yet; with more, deliveries are halted.
    pub unlogged_max: usize,
    /// How long hosts that could not be reached are not tried again. Doubles with each failure in a row.
    pub host_down: Duration,
}

impl StreamPolicy {
    /// The recipients of a message in one transaction of a lane with these limits, at most.
    pub(crate) fn recipients_at_once(&self, limits: &LaneLimits) -> usize {
        if self.one_by_one { 1 } else { limits.recipients_per_transaction }
    }
}

impl Policy {
    /// The settings of a stream.
    pub fn stream(&self, name: &Name) -> &StreamPolicy {
        self.streams.get(name).unwrap_or(&self.fallback)
    }

    /// The limits of a provider's lanes.
    pub fn limits(&self, provider: &str) -> &LaneLimits {
        self.providers.get(provider).unwrap_or(&self.limits)
    }

    /// The plan of a lane, and the stage on which it starts without a history.
    pub fn plan(&self, source: &Name, provider: &str) -> (&Arc<Plan>, Stage) {
        let Some(warmup) = self.warmups.get(source) else { return (&self.warm, Stage::Past) };
        let plan = warmup.providers.get(provider).unwrap_or(&warmup.usual);
        let ended = matches!(warmup.first, Stage::On(number) if number > plan.curve.stages());
        (plan, if ended { Stage::Past } else { warmup.first })
    }
}

impl Retry {
    /// The wait after attempt number `attempts`, from 1. `salt` spreads mail that failed together.
    pub fn wait(&self, attempts: u32, salt: u64) -> Duration {
        let base = self.base(attempts).as_secs_f64();
        // SplitMix64's finisher: evenly spread, and the same for the same input, so that a simulation repeats.
        let mut z = salt.wrapping_add(u64::from(attempts).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        Duration::from_secs_f64(base * (1.0 + self.jitter * (2.0 * unit - 1.0)))
    }

    /// The least that the wait after attempt number `attempts`, from 1, can be.
    pub(crate) fn least_wait(&self, attempts: u32) -> Duration {
        self.base(attempts).mul_f64((1.0 - self.jitter).max(0.0))
    }

    /// The most that any wait can be.
    pub(crate) fn most_wait(&self) -> Duration {
        self.schedule.iter().max().copied().unwrap_or_default().mul_f64(1.0 + self.jitter)
    }

    fn base(&self, attempts: u32) -> Duration {
        self.schedule[(attempts.max(1) as usize - 1).min(self.schedule.len() - 1)]
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
