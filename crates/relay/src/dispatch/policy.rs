//! What the configuration says to the dispatcher: how often to try, how long, over what, how many at once.

use std::{collections::HashMap, time::Duration};

use posthaste_mail::Name;

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
    /// The sources its mail may leave from, with their weights. Not empty.
    pub sources: Vec<(Name, u32)>,
}

/// Everything the dispatcher takes from the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Rules by stream; a stream that is not there follows `fallback`.
    pub streams: HashMap<Name, StreamPolicy>,
    /// Rules of the default stream.
    pub fallback: StreamPolicy,
    /// Open connections in all.
    pub connections: usize,
    /// Open connections of one lane.
    pub connections_per_lane: usize,
    /// Messages over one connection before it is closed.
    pub messages_per_connection: u32,
    /// Recipients in one transaction.
    pub recipients_per_transaction: usize,
    /// How long a connection waits for more mail.
    pub idle: Duration,
    /// How long hosts that could not be reached are left alone.
    pub host_down: Duration,
}

impl Policy {
    /// The rules of a stream.
    pub fn stream(&self, name: &Name) -> &StreamPolicy {
        self.streams.get(name).unwrap_or(&self.fallback)
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
