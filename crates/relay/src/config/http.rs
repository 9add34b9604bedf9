//! `[http]`: the HTTP API.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use posthaste_mail::Name;

use super::{
    Place,
    listen::Listener,
    reader::{Item, Table, fault},
    value::{GIB, KIB, MIB, boolean, duration, number, one_or_more, size, socket_address},
};

/// The HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The addresses it listens on; empty: there is no API.
    pub addresses: Vec<SocketAddr>,
    /// Whether plain HTTP may be offered to other machines.
    pub plain: bool,
    /// Concurrent connections.
    pub max_connections: usize,
    /// Concurrent connections from one address.
    pub max_connections_per_ip: usize,
    /// Requests over one connection.
    pub requests_per_connection: u32,
    /// How long a client may take to send the head of a request, and between requests.
    pub header_timeout: Duration,
    /// How long a client may take to send the body of a request.
    pub body_timeout: Duration,
    /// The longest body, in bytes.
    pub body_size: u64,
    /// Memory for bodies and the messages made from them, in bytes.
    pub body_memory: u64,
    /// Messages in one batch.
    pub batch: usize,
    /// Idempotency keys that are remembered at once.
    pub idempotency_keys: usize,
}

impl Http {
    /// Memory that a body takes, in multiples of its length: the body itself, the parts decoded from it, and the message made from them.
    pub const BODY_COST: u64 = 3;

    pub(super) fn read(t: &Table<'_>, place: &Place<'_>, listeners: &BTreeMap<Name, Listener>) -> Self {
        let here = |item: Item<'_>| match socket_address(item)? {
            address if address.ip().is_unspecified() || place.host.has(address.ip()) => Ok(address),
            _ => fault(item, "this host has no such address; \"0.0.0.0:PORT\" and \"[::]:PORT\" listen on all its addresses"),
        };
        let http = Self {
            addresses: t.given("address", one_or_more(&here)).unwrap_or_default(),
            plain: t.get("plain", boolean),
            max_connections: t.get("max_connections", number(1..=100_000)),
            max_connections_per_ip: t.get("max_connections_per_ip", number(1..=100_000)),
            requests_per_connection: t.get("requests_per_connection", number(1..=1_000_000)),
            header_timeout: t.get("header_timeout", duration(Duration::from_secs(1)..=Duration::from_hours(1))),
            body_timeout: t.get("body_timeout", duration(Duration::from_secs(1)..=Duration::from_hours(1))),
            body_size: t.get("body_size", size(64 * KIB..=GIB)),
            body_memory: t.get("body_memory", size(MIB..=64 * GIB)),
            batch: t.get("batch", number(1..=10_000)),
            idempotency_keys: t.get("idempotency_keys", number(1..=100_000_000)),
        };
        http.hold_together(t, listeners);
        http
    }

    fn hold_together(&self, t: &Table<'_>, listeners: &BTreeMap<Name, Listener>) {
        if !self.plain && self.addresses.iter().any(|a| !a.ip().is_loopback()) {
            t.object(
                "address",
                "anybody on the network path could read tokens and mail; listen on loopback behind a proxy with TLS, or set `plain = true`",
            );
        }
        let taken = |address: &SocketAddr| listeners.iter().find(|(_, l)| address.port() != 0 && l.addresses.contains(address));
        if let Some((name, _)) = self.addresses.iter().find_map(taken) {
            t.object("address", format!("listen.{name} has this address already: use another one"));
        }
        if self.body_memory < self.body_size.saturating_mul(Self::BODY_COST) {
            let times = Self::BODY_COST;
            t.object_to(
                &["body_memory", "body_size"],
                format!("body_memory must be at least {times} times body_size: a body of that size takes as much"),
            );
        }
    }
}
