//! How to ask, how long to wait, how much of the answer to keep.

use std::{net::SocketAddr, time::Duration};

/// Where the system names its DNS servers.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How to ask DNS, and how much of what it answers to use. `Options::default()` suits a relay on the Internet.
#[derive(Clone, Debug)]
pub struct Options {
    /// The recursive name servers, asked over UDP and, for what does not fit, TCP. None: those of /etc/resolv.conf.
    pub nameservers: Vec<SocketAddr>,
    /// How long one try of one question may take.
    pub timeout: Duration,
    /// How often a question is tried before DNS counts as unavailable; at least one.
    pub attempts: usize,
    /// How many answers are remembered. 0 remembers none.
    pub cache_size: usize,
    /// Use A records.
    pub ipv4: bool,
    /// Use AAAA records. A host's IPv4 addresses come first: receivers judge them less harshly.
    pub ipv6: bool,
    /// How many of a domain's hosts are looked up, best first.
    pub max_hosts: usize,
    /// How many addresses of a host are kept.
    pub max_addresses: usize,
    /// An answer is kept at least this long, whatever its TTL.
    pub min_ttl: Duration,
    /// An answer is kept at most this long.
    pub max_ttl: Duration,
    /// "There is none" is kept at most this long.
    pub max_negative_ttl: Duration,
    /// How long to leave a domain alone after DNS failed for it.
    pub unavailable_ttl: Duration,
    /// Where hosts from DNS listen. 25, but for tests.
    pub port: u16,
    /// Take loopback and private addresses from DNS (static routes may always lead there).
    pub private_addresses: bool,
    /// Fixes the order of equal preferences, for tests. None: random.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            timeout: Duration::from_secs(5),
            attempts: 2,
            cache_size: 10_000,
            ipv4: true,
            ipv6: true,
            max_hosts: 10,
            max_addresses: 8,
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(3600),
            max_negative_ttl: Duration::from_secs(300),
            unavailable_ttl: Duration::from_secs(30),
            port: 25,
            private_addresses: true,
            seed: None,
        }
    }
}
