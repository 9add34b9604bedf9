//! Refusals of strangers: so many lines a minute, and sums of the rest, a line for each network.
//!
//! The log keeps so many bytes, and lines about accepted mail make room for new ones. What strangers can write into it is therefore bounded,
//! whatever they send.

use std::{collections::HashMap, fmt::Write, net::IpAddr};

use jiff::Timestamp;

/// Networks that are counted apart in a minute; the rest is counted together.
const NETWORKS_MAX: usize = 1024;
/// Networks that get a line of their own at the end of the minute: those with the most refusals.
const NETWORKS_SAID: usize = 10;
/// One network gets this part of a minute's lines at most.
const SHARE: u32 = 4;

/// What was refused in the current minute.
#[derive(Debug)]
pub(crate) struct Refusals {
    /// Lines in a minute.
    pub(crate) most: u32,
    minute: i64,
    written: u32,
    networks: HashMap<IpAddr, Count>,
    others: u64,
}

#[derive(Debug, Default)]
struct Count {
    written: u32,
    summed: u64,
    /// The reason of the last one.
    reason: String,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { most: 120, minute: 0, written: 0, networks: HashMap::new(), others: 0 }
    }
}

impl Refusals {
    /// Whether this refusal gets a line of its own. If not, it is counted.
    pub(crate) fn gets_a_line(&mut self, ip: IpAddr, reason: &str) -> bool {
        let (network, full) = (network(ip), self.networks.len() >= NETWORKS_MAX);
        if full && !self.networks.contains_key(&network) {
            self.others += 1;
            return false;
        }
        let count = self.networks.entry(network).or_default();
        if self.written < self.most && count.written < self.most.div_ceil(SHARE) {
            count.written += 1;
            self.written += 1;
            return true;
        }
        count.summed += 1;
        reason.clone_into(&mut count.reason);
        false
    }

    /// The sums, in words, if another minute has begun since the last refusal; the new minute begins at none.
    pub(crate) fn sums(&mut self, now: Timestamp) -> Vec<String> {
        let minute = now.as_second().div_euclid(60);
        if minute == self.minute {
            return Vec::new();
        }
        self.minute = minute;
        self.written = 0;
        let mut summed: Vec<_> = self.networks.drain().filter(|(_, count)| count.summed > 0).collect();
        summed.sort_by_key(|(_, count)| std::cmp::Reverse(count.summed));
        let rest: u64 = summed.iter().skip(NETWORKS_SAID).map(|(_, count)| count.summed).sum::<u64>() + std::mem::take(&mut self.others);
        let networks = summed.len().saturating_sub(NETWORKS_SAID);
        let mut lines: Vec<_> = summed.iter().take(NETWORKS_SAID).map(|(network, count)| line(*network, count)).collect();
        if rest > 0 {
            let mut line = format!("{rest} more refusals in a minute, of");
            let _ = match networks {
                0 => write!(line, " clients of more networks than are counted"),
                more => write!(line, " {more} more networks"),
            };
            lines.push(line);
        }
        lines
    }
}

fn line(network: IpAddr, count: &Count) -> String {
    let bits = if network.is_ipv4() { 24 } else { 48 };
    let Count { written, summed, reason } = count;
    format!("{network}/{bits}: {summed} refusals in a minute beside the {written} that have lines of their own; the last one: {reason}")
}

/// The network that a client is counted in (/24 of IPv4, /48 of IPv6): one customer of a provider has as much.
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & !0xff).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 80 << 80).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn what_strangers_write_in_a_minute_is_bounded_and_the_rest_is_summed() {
        let mut refusals = Refusals { most: 8, ..Refusals::default() };
        assert!(refusals.sums(at(0)).is_empty());
        let mut lines = |net: u8, times: usize| {
            let from = |n| IpAddr::from([198, 51, net, (n % 256) as u8]);
            (0..times).filter(|n| refusals.gets_a_line(from(*n), "forged_return")).count()
        };
        assert_eq!((lines(1, 1000), lines(2, 1)), (2, 1), "one network leaves lines for others");
        assert_eq!((3..=100).map(|net| lines(net, 10)).sum::<usize>(), 5, "all together get no more than a minute's lines");
        assert!(refusals.sums(at(59)).is_empty(), "the minute is not over");
        let sums = refusals.sums(at(60));
        assert_eq!(sums.len(), NETWORKS_SAID + 1);
        assert_eq!(
            sums[0],
            "198.51.1.0/24: 998 refusals in a minute beside the 2 that have lines of their own; the last one: forged_return"
        );
        assert_eq!(sums[NETWORKS_SAID], format!("{} more refusals in a minute, of 89 more networks", 980 - 5 - 90));
        assert!(refusals.gets_a_line("198.51.1.1".parse().unwrap(), "x"), "a new minute");
        assert!(refusals.sums(at(-600)).is_empty(), "a clock that was set back begins a minute too");
    }

    #[test]
    fn the_table_of_networks_is_bounded() {
        let mut refusals = Refusals { most: 0, ..Refusals::default() };
        for n in 0..100_000_u32 {
            assert!(!refusals.gets_a_line(IpAddr::V4((n << 8).into()), "x"));
            assert!(refusals.networks.len() <= NETWORKS_MAX);
        }
        // One customer's IPv6 addresses are one network.
        assert_eq!(network("2001:db8:1:2::3".parse().unwrap()), network("2001:db8:1:9::4".parse().unwrap()));
        assert_eq!(refusals.sums(at(0)).len(), NETWORKS_SAID + 1);
    }
}
