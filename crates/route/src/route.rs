//! A domain's route, or why it has none.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use posthaste_mail::{Failure, LocalCause, Name, Stage};

use crate::By;

/// Where the mail of a domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The provider that runs the mailboxes; see [`Providers`](crate::Providers).
    pub provider: Name,
    /// What identified the provider.
    pub by: By,
    /// The hosts in the order to try; at least one, each with at least one address.
    pub hosts: Vec<Host>,
    /// Whether the route is the operator's, not from DNS.
    pub static_route: bool,
    /// How long the answer may be kept.
    pub ttl: Duration,
    /// Equal for all domains with the same set of hosts and ports, whatever their order and whichever of them could be looked up: such
    /// domains may share connections.
    pub key: Arc<str>,
}

/// One host to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name in lower case without the final dot, or the address as text.
    pub name: Arc<str>,
    /// The MX preference; the lowest is tried first. For a static route, the position in its list.
    pub preference: u16,
    /// The addresses in the order to try, with the port; at least one.
    pub addresses: Vec<SocketAddr>,
}

/// Why a domain has no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failure}")]
pub struct RouteFailure {
    /// What went wrong, at [`Stage::Dns`]: `NoSuchDomain`, `NullMx`, `NoHosts`, `Loop` or `DnsUnavailable`.
    pub failure: Failure,
    /// Whether waiting cannot help, because DNS answered and there is no route. Only `DnsUnavailable` is not permanent.
    pub permanent: bool,
    /// How long this failure may be kept.
    pub ttl: Duration,
}

impl RouteFailure {
    pub(crate) fn new(cause: LocalCause, detail: String, ttl: Duration) -> Self {
        let permanent = cause != LocalCause::DnsUnavailable;
        Self { failure: Failure::Local { stage: Stage::Dns, cause, detail }, permanent, ttl }
    }
}

/// The identity of a set of hosts. It holds the names themselves, not a hash: a forged collision would misdeliver mail.
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
