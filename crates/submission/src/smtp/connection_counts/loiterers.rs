//! Networks whose strangers held places without a login and without a message.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// How often a network's strangers stayed for nothing lately.
#[derive(Default)]
pub(super) struct Loiterers {
    /// Since when it is counted in `now`.
    since: Option<Instant>,
    now: HashMap<IpAddr, u8>,
    before: HashMap<IpAddr, u8>,
}

impl Loiterers {
    /// Whether the network's strangers are known to stay for nothing.
    pub(super) fn has(&self, network: &IpAddr) -> bool {
        self.times(network) >= ENOUGH
    }

    /// A stranger of this network left, or was told to, and had neither logged in nor handed over a message. `long`: others could have had its
    /// place for a while.
    pub(super) fn count(&mut self, network: IpAddr, long: bool) {
        let times = self.times(&network).saturating_add(if long { ENOUGH } else { 1 });
        self.now.insert(network, times);
        if self.now.len() >= NETWORKS_MAX {
            self.turn();
        }
    }

    /// A user has logged in from this network.
    pub(super) fn forget(&mut self, network: &IpAddr) {
        self.now.remove(network);
        self.before.remove(network);
    }

    /// Forgets what was counted long ago.
    pub(super) fn pass(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= REMEMBERED {
            self.turn();
            self.since = Some(now);
        }
    }

    fn times(&self, network: &IpAddr) -> u8 {
        self.now.get(network).or_else(|| self.before.get(network)).copied().unwrap_or_default()
    }

    fn turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }
}

/// So many stays for nothing make a loiterer: one may have been a line that broke.
const ENOUGH: u8 = 2;
/// How long a stay is remembered; it may be twice as long.
const REMEMBERED: Duration = Duration::from_mins(10);
/// The networks in each of the two maps: 2 MiB at most.
const NETWORKS_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use posthaste_host::clock;

    use super::*;

    #[test]
    fn two_short_stays_or_a_long_one_are_remembered_for_a_while_and_a_login_is_forgiven() {
        let (mut loiterers, begun) = (Loiterers::default(), clock::instant());
        let ip = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(n << 8));
        loiterers.pass(begun);
        loiterers.count(ip(1), false);
        assert!(!loiterers.has(&ip(1)));
        loiterers.count(ip(1), false);
        loiterers.count(ip(2), true);
        assert!(loiterers.has(&ip(1)) && loiterers.has(&ip(2)) && !loiterers.has(&ip(3)));
        loiterers.pass(begun + REMEMBERED);
        loiterers.forget(&ip(1));
        assert!(!loiterers.has(&ip(1)) && loiterers.has(&ip(2)));
        loiterers.pass(begun + 2 * REMEMBERED);
        assert!(!loiterers.has(&ip(2)));
        for n in 0..100_000 {
            loiterers.count(ip(n), true);
        }
        assert!(loiterers.has(&ip(99_999)) && loiterers.now.len() + loiterers.before.len() <= 2 * NETWORKS_MAX);
    }
}
