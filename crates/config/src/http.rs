//! `[http]`: the HTTP API.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use posthaste_access::{oidc::OidcSettings, users::Privacy};
use posthaste_api::Requests;
use posthaste_http::{Http, Tls};
use posthaste_mail::Name;
use posthaste_submission::Listener;

use super::{
    environment::Environment,
    listen::network,
    listen_tls, oidc,
    reader::{Item, Table, fault},
    value::{GIB, KIB, MIB, boolean, duration, list, number, one_of, one_or_list, size, socket_address},
};

/// The web page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// From whom people's addresses are hidden.
    pub privacy: Privacy,
    /// How long a session lasts without a request.
    pub session_idle: Duration,
    /// How long a session lasts at most.
    pub session_max: Duration,
    /// Whether users log in by their passwords.
    pub password_login: bool,
    /// The provider that people may log in by.
    pub oidc: Option<OidcSettings>,
}

pub(super) fn read(
    t: &Table<'_>,
    root: &Table<'_>,
    environment: &Environment<'_>,
    listeners: &BTreeMap<Name, Listener>,
) -> (Http, Requests, Page) {
    let here = |item: Item<'_>| match socket_address(item)? {
        address if address.ip().is_unspecified() || environment.host.has(address.ip()) => Ok(address),
        _ => fault(item, "this host has no such address; \"0.0.0.0:PORT\" and \"[::]:PORT\" listen on all its addresses"),
    };
    // The default may be what this host does not have, as long as nobody asked for it.
    let addresses = if t.has("address") { t.get("address", one_or_list(&here)) } else { t.get("address", one_or_list(&socket_address)) };
    let on = t.get("tls", boolean);
    let (certificates, acme) = listen_tls::shown(t, environment);
    let http = Http {
        addresses,
        configured: t.has("address"),
        plain: t.get("plain", boolean),
        tls: Tls { on, certificates, acme },
        max_connections: t.get("max_connections", number(1..=100_000)),
        max_connections_per_ip: t.get("max_connections_per_ip", number(1..=100_000)),
        max_live: t.get("max_live", number(0..=100_000)),
        requests_per_connection: t.get("requests_per_connection", number(1..=1_000_000)),
        header_timeout: t.get("header_timeout", duration(Duration::from_secs(1)..=Duration::from_hours(1))),
        body_timeout: t.get("body_timeout", duration(Duration::from_secs(1)..=Duration::from_hours(1))),
    };
    let requests = Requests {
        body_size: t.get("body_size", size(64 * KIB..=GIB)),
        body_memory: t.get("body_memory", size(MIB..=64 * GIB)),
        batch: t.get("batch", number(1..=10_000)),
        idempotency_keys: t.get("idempotency_keys", number(1..=100_000_000)),
        metrics_allow: t.get("metrics_allow", list(network)),
    };
    hold_together(&http, t, root, listeners);
    if requests.body_memory < requests.body_size.saturating_mul(Requests::BODY_COST) {
        let times = Requests::BODY_COST;
        t.object_to(
            &["body_memory", "body_size"],
            format!("body_memory must be at least {times} times body_size: a body of that size takes as much"),
        );
    }
    let oidc = t.table("oidc", |t| oidc::read(t, environment));
    let password_login = t.get("password_login", boolean);
    if !password_login && oidc.is_none() && !t.is_spoilt("oidc") {
        t.object("password_login", "nobody could log in to the page: leave this true, or name a provider in [http.oidc]");
    }
    (
        http,
        requests,
        Page {
            password_login,
            oidc,
            privacy: t.get("privacy", one_of(&Privacy::ALL)),
            session_idle: t.get("session_idle", duration(Duration::from_secs(60)..=Duration::from_hours(30 * 24))),
            session_max: t.get("session_max", duration(Duration::from_secs(60)..=Duration::from_hours(365 * 24))),
        },
    )
}

fn hold_together(http: &Http, t: &Table<'_>, root: &Table<'_>, listeners: &BTreeMap<Name, Listener>) {
    if !http.plain && !http.tls.on && http.addresses.iter().any(|a| !a.ip().is_loopback()) {
        t.object(
            "address",
            "anybody on the network path could read tokens and mail; set `tls = true`, listen on loopback behind a proxy with TLS, or set `plain = true`",
        );
    }
    let own = |name: &Name| !root.is_spoilt_at(&["listen", name.as_str(), "address"]);
    let taken = |address: &SocketAddr| listeners.iter().find(|(name, l)| address.port() != 0 && l.addresses.contains(address) && own(name));
    if let Some((name, _)) = http.own_addresses().iter().find_map(taken) {
        t.object("address", format!("listen.{name} has this address already: use another one"));
    }
}
