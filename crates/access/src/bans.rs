//! Clients that guess passwords are slowed down and then banned for a time. Pure: time is an argument, and memory is bounded.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use ipnet::IpNet;

/// Clients remembered at once. Each takes some 60 bytes.
const REMEMBERED_MAX: usize = 65_536;
/// How often the delay doubles at most.
const DOUBLINGS_MAX: u32 = 4;

/// When a client is banned, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BanRules {
    /// Failures `within` the time that cause a ban.
    pub failures: u32,
    /// The time in which they count.
    pub within: Duration,
    /// How long the ban lasts.
    pub lasts: Duration,
    /// The delay of the answer to the first failure; each further failure doubles it, up to sixteen times.
    pub delay: Duration,
}

/// The rules of bans, and clients that are never banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanPolicy {
    /// When clients are banned, and for how long.
    pub rules: BanRules,
    /// Clients that are only slowed down.
    pub exempt: Vec<IpNet>,
}

impl BanPolicy {
    /// Whether a client at `ip` is never banned.
    pub(crate) fn exempts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.exempt.iter().any(|net| net.contains(&ip))
    }
}

/// The consequence of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    /// The answer is delayed by this time.
    Wait(Duration),
    /// The client is banned.
    Banned {
        /// Whether this failure caused the ban.
        first: bool,
    },
}

/// A ban in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Banned {
    /// Time until it ends.
    pub(crate) left: Duration,
    /// Whether to log this refusal: the first, second, fourth and so on are logged, so that a client that returns in a loop does not fill
    /// the disk.
    pub(crate) tell: bool,
}

/// Clients with recent failures.
#[derive(Debug, Default)]
pub(crate) struct Bans(HashMap<IpAddr, Offender>);

#[derive(Debug, Clone, Copy)]
struct Offender {
    failures: u32,
    /// The time of the first failure.
    since: Instant,
    /// When the failures expire, or the ban ends.
    until: Instant,
    is_banned: bool,
    refused: u32,
}

impl Bans {
    /// The ban of the client at `ip`, if any; counts a refusal.
    pub(crate) fn check(&mut self, ip: IpAddr, now: Instant) -> Option<Banned> {
        let entry = self.0.get_mut(&subject(ip)).filter(|e| e.is_banned && e.until > now)?;
        entry.refused = entry.refused.saturating_add(1);
        Some(Banned { left: entry.until - now, tell: entry.refused.is_power_of_two() })
    }

    /// Counts a wrong password from `ip`. `spared`: the client is only slowed down, never banned.
    pub(crate) fn failed(&mut self, ip: IpAddr, spared: bool, rules: &BanRules, now: Instant) -> Cost {
        if self.0.len() >= REMEMBERED_MAX && !self.0.contains_key(&subject(ip)) {
            self.make_room(now);
        }
        let fresh = Offender { failures: 0, since: now, until: now + rules.within, is_banned: false, refused: 0 };
        let entry = self.0.entry(subject(ip)).or_insert(fresh);
        if entry.until <= now || (!entry.is_banned && now.saturating_duration_since(entry.since) >= rules.within) {
            *entry = fresh;
        }
        entry.failures = entry.failures.saturating_add(1);
        // Connections that were open when the ban began are no way around it.
        if entry.is_banned || (entry.failures >= rules.failures && !spared) {
            let first = !entry.is_banned;
            if first {
                (entry.is_banned, entry.until) = (true, now + rules.lasts);
            }
            return Cost::Banned { first };
        }
        Cost::Wait(rules.delay * 2_u32.pow((entry.failures - 1).min(DOUBLINGS_MAX)))
    }

    /// Forgets expired clients; if that is not enough, those without a ban; then all.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, entry| entry.until > now);
        if self.0.len() >= REMEMBERED_MAX {
            self.0.retain(|_, entry| entry.is_banned);
        }
        if self.0.len() >= REMEMBERED_MAX {
            self.0.clear();
        }
    }
}

/// The key of a client: its IPv4 address, or its IPv6 /64 network, from which one client can choose any address (RFC 4291 §2.5.4).
pub fn subject(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_host::clock;

    const RULES: BanRules =
        BanRules { failures: 3, within: Duration::from_secs(600), lasts: Duration::from_secs(3600), delay: Duration::from_secs(1) };

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_third_failure_in_the_window_shuts_out_for_the_time_and_no_longer() {
        let (mut bans, start, evil) = (Bans::default(), clock::instant(), ip("192.0.2.1"));
        assert_eq!(bans.failed(evil, false, &RULES, start), Cost::Wait(seconds(1)));
        assert_eq!(bans.failed(evil, false, &RULES, start + seconds(1)), Cost::Wait(seconds(2)));
        assert_eq!(bans.check(evil, start + seconds(2)), None);
        assert_eq!(bans.failed(evil, false, &RULES, start + seconds(599)), Cost::Banned { first: true });
        assert_eq!(bans.failed(evil, false, &RULES, start + seconds(599)), Cost::Banned { first: false });
        assert_eq!(bans.check(evil, start + seconds(600)), Some(Banned { left: seconds(3599), tell: true }));
        assert_eq!(bans.check(ip("192.0.2.2"), start + seconds(600)), None);
        assert_eq!(bans.check(evil, start + seconds(599 + 3600)), None);
        assert_eq!(bans.failed(evil, false, &RULES, start + seconds(599 + 3600)), Cost::Wait(seconds(1)), "it begins anew");
    }

    #[test]
    fn failures_far_apart_do_not_add_up() {
        let (mut bans, start, slow) = (Bans::default(), clock::instant(), ip("192.0.2.1"));
        for n in 0..100 {
            let cost = bans.failed(slow, false, &RULES, start + seconds(n * 301));
            assert!(matches!(cost, Cost::Wait(_)), "{n}: {cost:?}");
        }
    }

    #[test]
    fn a_client_of_ipv6_is_its_network() {
        let (mut bans, now) = (Bans::default(), clock::instant());
        for last in ["1", "2", "ffff:1"] {
            bans.failed(ip(&format!("2001:db8:0:1::{last}")), false, &RULES, now);
        }
        assert!(bans.check(ip("2001:db8:0:1:abcd::9"), now).is_some());
        assert!(bans.check(ip("2001:db8:0:2::1"), now).is_none());
        assert_eq!(subject(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[test]
    fn who_is_spared_is_slowed_and_never_shut_out() {
        let (mut bans, now, balancer) = (Bans::default(), clock::instant(), ip("127.0.0.1"));
        let waits: Vec<_> = (0..7).map(|_| bans.failed(balancer, true, &RULES, now)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 16, 16].map(|n| Cost::Wait(seconds(n))));
        assert_eq!(bans.check(balancer, now), None);
    }

    #[test]
    fn refusals_are_told_ever_more_rarely() {
        let (mut bans, now, evil) = (Bans::default(), clock::instant(), ip("192.0.2.1"));
        for _ in 0..3 {
            bans.failed(evil, false, &RULES, now);
        }
        let told: Vec<usize> = (1..=100).filter(|_| bans.check(evil, now).unwrap().tell).collect();
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64]);
    }

    #[test]
    fn an_attack_from_everywhere_takes_no_more_memory_and_frees_nobody_who_is_shut_out() {
        let (mut bans, now) = (Bans::default(), clock::instant());
        let evil = ip("192.0.2.1");
        for _ in 0..3 {
            bans.failed(evil, false, &RULES, now);
        }
        for n in 0..(3 * REMEMBERED_MAX as u32) {
            bans.failed(IpAddr::from(0x0a00_0000_u32.wrapping_add(n).to_be_bytes()), false, &RULES, now);
        }
        assert!(bans.0.len() <= REMEMBERED_MAX && bans.check(evil, now).is_some());
    }
}
