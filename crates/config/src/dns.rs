//! `[dns]`: the resolver.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    reader::{Item, Parsed, Table, fault},
    value::{boolean, duration, list, number, string},
};

/// Which servers to ask, and how long to keep their answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Servers to ask; empty: those of /etc/resolv.conf.
    pub nameservers: Vec<SocketAddr>,
    /// How long to wait for one answer.
    pub timeout: Duration,
    /// How many times to ask.
    pub attempts: usize,
    /// Domains looked up at once, not counting those whose servers are slow.
    pub lookups: usize,
    /// Whether receivers are reached over IPv4.
    pub ipv4: bool,
    /// Whether receivers are reached over IPv6.
    pub ipv6: bool,
    /// Whether loopback, private and other special addresses found in DNS or in address literals are used.
    pub private_addresses: bool,
    /// How many of a domain's hosts are looked up, best first.
    pub max_hosts: usize,
    /// How many addresses of one host are kept.
    pub max_addresses: usize,
    /// Answers kept in memory; 0 keeps none.
    pub cache_size: usize,
    /// An answer is kept at least this long, whatever its TTL.
    pub min_ttl: Duration,
    /// An answer is kept at most this long.
    pub max_ttl: Duration,
    /// A negative answer is kept at most this long.
    pub max_negative_ttl: Duration,
    /// How long a domain is not tried again after its DNS lookup failed.
    pub unavailable_ttl: Duration,
}

impl Dns {
    pub(super) fn read(t: &Table<'_>) -> Self {
        let ttl = |key| t.get(key, duration(Duration::ZERO..=Duration::from_hours(7 * 24)));
        let dns = Self {
            nameservers: t.get("nameservers", list(nameserver)),
            timeout: t.get("timeout", duration(Duration::from_millis(100)..=Duration::from_secs(60))),
            attempts: t.get("attempts", number(1..=10)),
            lookups: t.get("lookups", number(1..=10_000)),
            ipv4: t.get("ipv4", boolean),
            ipv6: t.get("ipv6", boolean),
            private_addresses: t.get("private_addresses", boolean),
            max_hosts: t.get("max_hosts", number(1..=100)),
            max_addresses: t.get("max_addresses", number(1..=100)),
            cache_size: t.get("cache_size", number(0..=10_000_000)),
            min_ttl: ttl("min_ttl"),
            max_ttl: ttl("max_ttl"),
            max_negative_ttl: ttl("max_negative_ttl"),
            unavailable_ttl: ttl("unavailable_ttl"),
        };
        if dns.min_ttl > dns.max_ttl {
            t.object_to(&["min_ttl", "max_ttl"], "min_ttl must not be longer than max_ttl");
        }
        if !dns.ipv4 && !dns.ipv6 {
            t.object_to(&["ipv6", "ipv4"], "with IPv4 and IPv6 both off, no receiver can be reached: leave one on");
        }
        dns
    }
}

/// RFC 1035 §4.2.1.
const DNS_PORT: u16 = 53;

fn nameserver(item: Item<'_>) -> Parsed<SocketAddr> {
    let text = string(item)?;
    let plain = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
    plain
        .or_else(|_| text.parse())
        .or_else(|_| fault(item, r#"expected an IP address, with or without a port, such as "192.0.2.53" or "127.0.0.1:5353""#))
}
