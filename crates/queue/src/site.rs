//! The way to a domain: its route, with what the configuration says of TLS and AUTH on it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use posthaste_mail::Name;
use posthaste_route::Host;
use posthaste_smtp::client::{Credentials, TlsPolicy};

/// Where mail for some domains goes, and how. Domains with the same `key` share connections.
#[derive(Debug)]
pub struct Way {
    /// Whose mailboxes.
    pub provider: Name,
    /// The hosts in the order to try.
    pub hosts: Vec<Host>,
    /// What TLS is demanded.
    pub tls: TlsPolicy,
    /// Whether plain text will do after a handshake that failed, where TLS is not demanded.
    pub fallback: bool,
    /// Who we are to a smart host.
    pub auth: Option<Credentials>,
    /// The operator's word, whose order stays; hosts from DNS that are equally preferred take turns (RFC 5321 §5.1).
    pub fixed: bool,
    /// The same for the same hosts, ports and demands.
    pub key: Arc<str>,
    /// How long DNS took.
    pub dns: DnsTime,
}

/// Milliseconds that a look-up took, for the events of the first connection that it led to.
#[derive(Debug)]
pub struct DnsTime(AtomicU32);

impl DnsTime {
    /// Not told yet.
    pub fn new(ms: u32) -> Self {
        Self(AtomicU32::new(ms.min(u32::MAX - 1)))
    }

    /// The time, once.
    pub fn take(&self) -> Option<u32> {
        Some(self.0.swap(u32::MAX, Ordering::Relaxed)).filter(|ms| *ms != u32::MAX)
    }
}
