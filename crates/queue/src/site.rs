//! A site: the hosts that take a domain's mail, with the TLS and AUTH settings for them.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use posthaste_mail::Name;
use posthaste_route::Host;
use posthaste_smtp::client::{Credentials, TlsPolicy};

/// The hosts that mail for some domains goes to, and how. Domains whose sites have the same `key` share connections.
#[derive(Debug)]
pub struct Site {
    /// The provider of the mailboxes.
    pub provider: Name,
    /// The hosts, in the order in which they are tried.
    pub hosts: Vec<Host>,
    /// The TLS that is demanded.
    pub tls: TlsPolicy,
    /// Whether mail goes in plain text after a failed handshake, where TLS is not demanded.
    pub fallback: bool,
    /// The credentials for a smart host.
    pub auth: Option<Credentials>,
    /// Whether the hosts are configured, so that their order is kept; hosts of equal preference from DNS take turns (RFC 5321 §5.1).
    pub fixed: bool,
    /// Identifies the hosts, ports, TLS demand, user and what its password needs.
    pub key: Arc<str>,
    /// The number of the settings that it was looked up under.
    pub generation: u64,
    /// How long the look-up took.
    pub dns: DnsTime,
}

/// The milliseconds that a look-up took. The first connection to use it reports it in its events.
#[derive(Debug)]
pub struct DnsTime(AtomicU32);

impl Site {
    /// A site of which only the provider is known, for simulations, which open no connections.
    pub fn at(provider: Name) -> Self {
        let key = provider.as_str().into();
        let tls = TlsPolicy::Opportunistic;
        Self { provider, hosts: Vec::new(), tls, fallback: true, auth: None, fixed: false, key, generation: 0, dns: DnsTime::new(0) }
    }
}

impl DnsTime {
    /// A time that is not reported yet.
    pub fn new(ms: u32) -> Self {
        Self(AtomicU32::new(ms.min(u32::MAX - 1)))
    }

    /// The time, the first time it is asked for.
    pub fn take(&self) -> Option<u32> {
        Some(self.0.swap(u32::MAX, Ordering::Relaxed)).filter(|ms| *ms != u32::MAX)
    }
}
