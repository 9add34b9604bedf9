//! Clients that guess passwords are slowed down and then banned for a time. Pure: time is an argument, and memory is bounded.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use ipnet::IpNet;

/// Clients remembered at once. Each takes some 60 bytes.
const REMEMBERED_MAX: usize = 65_536;
/// How long a table that is full of banned clients is not searched for room again.
const TIDY_EVERY: Duration = Duration::from_secs(1);
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

/// Whether a client may guess now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It may; the guess counts as under way until [`Bans::ended`].
    Granted,
    /// As many guesses are under way as it has left: it has to wait until one of them has ended.
    Wait,
    /// It is banned.
    Banned(Banned),
}

/// Clients with recent failures, and guesses that are being checked.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    offenders: Offenders,
    /// The same by the network around a client, for those that no longer fit into `offenders` because it is full of banned ones.
    around: Offenders,
    /// Guesses under way. Their number is bounded by that of connections.
    under_way: HashMap<IpAddr, u32>,
}

/// A table of bounded size.
#[derive(Debug, Default)]
struct Offenders {
    clients: HashMap<IpAddr, Offender>,
    /// When room was last made.
    tidied: Option<Instant>,
}

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
        let of = |table: &mut Offenders, key: IpAddr| {
            let entry = table.clients.get_mut(&key).filter(|e| e.is_banned && e.until > now)?;
            entry.refused = entry.refused.saturating_add(1);
            Some(Banned { left: entry.until - now, tell: entry.refused.is_power_of_two() })
        };
        of(&mut self.offenders, subject(ip)).or_else(|| of(&mut self.around, network_around(ip)))
    }

    /// Asks for a turn to guess. No more guesses are under way than may still be wrong, so that connections that were opened beforehand get
    /// no more of them than one connection does.
    pub(crate) fn begin(&mut self, ip: IpAddr, spared: bool, rules: &BanRules, now: Instant) -> Turn {
        if let Some(banned) = self.check(ip, now) {
            return Turn::Banned(banned);
        }
        let counts = |entry: &&Offender| entry.until > now && now.saturating_duration_since(entry.since) < rules.within;
        let failed = self.offenders.clients.get(&subject(ip)).filter(counts).map_or(0, |entry| entry.failures);
        let under_way = self.under_way.entry(subject(ip)).or_default();
        if spared || *under_way == 0 || failed.saturating_add(*under_way) < rules.failures {
            *under_way += 1;
            return Turn::Granted;
        }
        Turn::Wait
    }

    /// A guess has ended, whichever way.
    pub(crate) fn ended(&mut self, ip: IpAddr) {
        if let Some(under_way) = self.under_way.get_mut(&subject(ip)) {
            *under_way -= 1;
            if *under_way == 0 {
                self.under_way.remove(&subject(ip));
            }
        }
    }

    /// Counts a wrong password from `ip`. `spared`: the client is only slowed down, never banned.
    pub(crate) fn failed(&mut self, ip: IpAddr, spared: bool, rules: &BanRules, now: Instant) -> Cost {
        let fresh = Offender { failures: 0, since: now, until: now + rules.within, is_banned: false, refused: 0 };
        let entry = if self.offenders.has_room(subject(ip), now) {
            self.offenders.clients.entry(subject(ip)).or_insert(fresh)
        } else if self.around.has_room(network_around(ip), now) {
            self.around.clients.entry(network_around(ip)).or_insert(fresh)
        } else {
            // Nobody is freed to remember this one. It loses its connection with each wrong guess.
            return if spared { Cost::Wait(rules.delay * 2_u32.pow(DOUBLINGS_MAX)) } else { Cost::Banned { first: false } };
        };
        if entry.until <= now || (!entry.is_banned && now.saturating_duration_since(entry.since) >= rules.within) {
            *entry = fresh;
        }
        entry.failures = entry.failures.saturating_add(1);
        if entry.is_banned || (entry.failures >= rules.failures && !spared) {
            let first = !entry.is_banned;
            if first {
                (entry.is_banned, entry.until) = (true, now + rules.lasts);
            }
            return Cost::Banned { first };
        }
        Cost::Wait(rules.delay * 2_u32.pow((entry.failures - 1).min(DOUBLINGS_MAX)))
    }
}

impl Offenders {
    /// Whether it has or can take this client. Forgets expired clients for it; if that is not enough, those without a ban; never one that is
    /// banned.
    fn has_room(&mut self, client: IpAddr, now: Instant) -> bool {
        let is_full = self.clients.len() >= REMEMBERED_MAX && !self.clients.contains_key(&client);
        if !is_full || self.tidied.is_some_and(|then| now.saturating_duration_since(then) < TIDY_EVERY) {
            return !is_full;
        }
        self.clients.retain(|_, entry| entry.until > now);
        if self.clients.len() >= REMEMBERED_MAX {
            self.clients.retain(|_, entry| entry.is_banned);
            // It is full of banned clients, and the whole table need not be read for each further guess.
            self.tidied = (self.clients.len() >= REMEMBERED_MAX).then_some(now);
        }
        self.clients.len() < REMEMBERED_MAX
    }
}

/// The network around a client: 65,536 clients of IPv4 (/16) or of IPv6 (/48).
fn network_around(ip: IpAddr) -> IpAddr {
    match subject(ip) {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() >> 16 << 16).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80).into(),
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
        assert!(bans.offenders.clients.len() <= REMEMBERED_MAX && bans.check(evil, now).is_some());
    }

    #[test]
    fn who_is_banned_stays_banned_when_more_are_than_can_be_remembered() {
        let (mut bans, now) = (Bans::default(), clock::instant());
        let nth = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let most = REMEMBERED_MAX as u32;
        for n in 0..most + 1000 {
            for _ in 0..3 {
                bans.failed(nth(n), false, &RULES, now);
            }
        }
        assert_eq!((0..most).filter(|n| bans.check(nth(*n), now).is_none()).count(), 0);
        assert!(bans.check(nth(most + 999), now).is_some(), "those beyond it are banned with their network");
        assert!(bans.check(ip("192.0.2.1"), now).is_none());
        assert!(bans.offenders.clients.len() + bans.around.clients.len() <= 2 * REMEMBERED_MAX);
    }

    #[test]
    fn no_more_guesses_are_under_way_than_may_still_be_wrong() {
        let (mut bans, now, evil) = (Bans::default(), clock::instant(), ip("192.0.2.1"));
        let begin = |bans: &mut Bans| bans.begin(evil, false, &RULES, now);
        assert_eq!([(); 4].map(|()| begin(&mut bans)), [Turn::Granted, Turn::Granted, Turn::Granted, Turn::Wait]);
        assert_eq!(bans.begin(ip("192.0.2.2"), false, &RULES, now), Turn::Granted, "others do not wait for it");
        bans.ended(evil);
        assert_eq!(begin(&mut bans), Turn::Granted, "a right one gives its turn back");
        bans.failed(evil, false, &RULES, now);
        bans.ended(evil);
        assert_eq!(begin(&mut bans), Turn::Wait, "a wrong one does not");
        for _ in 0..2 {
            bans.failed(evil, false, &RULES, now);
            bans.ended(evil);
        }
        assert!(matches!(begin(&mut bans), Turn::Banned(_)), "the right guess comes too late");
        assert_eq!([(); 9].map(|()| bans.begin(ip("127.0.0.1"), true, &RULES, now)), [Turn::Granted; 9]);
        assert_eq!(bans.under_way.len(), 2);
    }
}
