//! Where a domain's mail goes, or why it goes nowhere.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use posthaste_mail::{Failure, LocalCause, Name, Stage};
use rand::Rng;

use crate::{By, order::shuffle_equals};

/// Where a domain's mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Whose mailboxes these are: see [`Providers`](crate::Providers).
    pub provider: Name,
    /// By what the provider is known.
    pub by: By,
    /// The hosts in the order to try; at least one, each with at least one address.
    pub hosts: Vec<Host>,
    /// The operator's word, not DNS's.
    pub static_route: bool,
    /// How long the answer may be kept.
    pub ttl: Duration,
    /// The same for all domains with the same set of hosts and ports, whatever their order and whichever of them
    /// could be looked up: such domains may share connections.
    pub key: Arc<str>,
}

impl Route {
    /// Draws the order of equally preferred hosts anew (RFC 5321 §5.1 wants load spread over them), so that a route kept
    /// for an hour does not lean on one of them. The operator's order of a static route stays.
    pub fn reshuffle(&mut self, rng: &mut impl Rng) {
        shuffle_equals(&mut self.hosts, |host| host.preference, rng);
    }
}

/// One host to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name in lower case without a final dot, or the address as text.
    pub name: Arc<str>,
    /// The MX preference: less is better. For a static route the place in its list.
    pub preference: u16,
    /// The addresses in the order to try, with the port; at least one.
    pub addresses: Vec<SocketAddr>,
}

/// Why a domain has no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failure}")]
pub struct RouteFailure {
    /// What went wrong, at [`Stage::Dns`]: `NoSuchDomain`, `NullMx`, `NoHosts` or `DnsUnavailable`.
    pub failure: Failure,
    /// Waiting does not help: everyone was asked, and the answer was no. Only `DnsUnavailable` is not permanent.
    pub permanent: bool,
    /// How long this answer may be kept.
    pub ttl: Duration,
}

impl RouteFailure {
    pub(crate) fn new(cause: LocalCause, detail: String, ttl: Duration) -> Self {
        let permanent = cause != LocalCause::DnsUnavailable;
        Self { failure: Failure::Local { stage: Stage::Dns, cause, detail }, permanent, ttl }
    }
}

/// The identity of a set of hosts. The names themselves, not a hash of them: a forged collision would misdeliver mail.
pub(crate) fn key_of(mut hosts: Vec<String>) -> Arc<str> {
    hosts.sort_unstable();
    hosts.dedup();
    hosts.join(",").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_hosts_does_not_change_the_key() {
        let key = |hosts: &[&str]| key_of(hosts.iter().map(|h| (*h).to_owned()).collect());
        assert_eq!(key(&["b:25", "a:25", "b:25"]), key(&["a:25", "b:25"]));
        assert_ne!(key(&["a:25"]), key(&["a:26"]));
    }
}
