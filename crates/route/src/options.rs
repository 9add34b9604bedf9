//! The options of the resolver.

use std::{net::SocketAddr, time::Duration};

use crate::Ourselves;

/// The file that lists the system's name servers.
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How to query DNS, and how much of the answers to use. `Options::default()` suits a relay on the Internet.
#[derive(Clone, Debug)]
pub struct ResolverOptions {
    /// The recursive name servers, queried over UDP, and over TCP for long answers. Empty: those of /etc/resolv.conf.
    pub nameservers: Vec<SocketAddr>,
    /// How long one try of a query may take.
    pub timeout: Duration,
    /// How many times a query is tried before DNS counts as unavailable; at least one.
    pub attempts: usize,
    /// How many answers of up to a KiB are cached; longer ones count as several. 0: none.
    pub cache_size: usize,
    /// Use A records.
    pub ipv4: bool,
    /// Use AAAA records. A host's IPv4 addresses come first, because receivers treat IPv6 senders more strictly.
    pub ipv6: bool,
    /// How many hosts of a domain are looked up, best first.
    pub max_hosts: usize,
    /// How many addresses of a host are used.
    pub max_addresses: usize,
    /// How long an answer is kept at least, whatever its TTL.
    pub min_ttl: Duration,
    /// How long an answer is kept at most.
    pub max_ttl: Duration,
    /// How long a negative answer (no such name, no record) is kept at most.
    pub max_negative_ttl: Duration,
    /// How long to wait before the next query for a domain after DNS failed for it.
    pub unavailable_ttl: Duration,
    /// The port of hosts found in DNS: 25, except in tests.
    pub port: u16,
    /// Accept loopback, private and other special addresses from DNS and in address literals. Static routes may always use them.
    pub private_addresses: bool,
    /// This relay, which is never a host to send to.
    pub ourselves: Ourselves,
    /// A fixed seed for the order of equally preferred hosts, for tests. None: random.
    pub seed: Option<u64>,
}

impl Default for ResolverOptions {
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
            private_addresses: false,
            ourselves: Ourselves::default(),
            seed: None,
        }
    }
}
