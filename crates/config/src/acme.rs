//! `[acme]`: the authority that issues listeners' certificates (RFC 8555), and how it verifies the names.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use axum::http::{Uri, uri::Scheme};
use posthaste_certificates::{Acme, Challenge};
use posthaste_http::Http;
use posthaste_mail::Name;
use posthaste_submission::Listener;

use super::{
    environment::Environment,
    reader::{Item, Parsed, Table, fault},
    tls::roots,
    value::{boolean, duration, list, mail_address, one_of, one_or_more, socket_address, string},
};

pub(super) fn read(
    t: &Table<'_>,
    root: &Table<'_>,
    environment: &Environment<'_>,
    listeners: &BTreeMap<Name, Listener>,
    http: &Http,
) -> Acme {
    let here = |item: Item<'_>| match socket_address(item)? {
        address if address.ip().is_unspecified() || environment.host.has(address.ip()) => Ok(address),
        _ => fault(item, "this host has no such address; \"0.0.0.0:PORT\" and \"[::]:PORT\" listen on all its addresses"),
    };
    let challenge = t.get("challenge", one_of(&[("http-01", Challenge::Http01), ("tls-alpn-01", Challenge::TlsAlpn01)]));
    let acme = Acme {
        directory: t.get("directory", directory),
        agree_terms: t.given("agree_terms", boolean).unwrap_or(false),
        contact: t.get("contact", list(mail_address)),
        challenge,
        addresses: t.given("address", one_or_more(&here)).unwrap_or_else(|| everywhere(challenge.port(), environment)),
        renew_before: t.get("renew_before", duration(Duration::from_hours(1)..=Duration::from_hours(365 * 24))),
        roots: t.get("roots", |item| roots(item, environment)),
    };
    let taken = |address: &SocketAddr| {
        let own = |name: &Name| !root.is_spoilt_at(&["listen", name.as_str(), "address"]);
        let meets = |addresses: &[SocketAddr]| addresses.iter().any(|other| meet(address, other));
        let smtp = listeners.iter().find(|(name, l)| meets(&l.addresses) && own(name));
        let smtp = smtp.map(|(name, _)| format!("listen.{name}"));
        smtp.or_else(|| meets(http.own_addresses()).then(|| "http".to_owned()))
    };
    let ordered = !http.tls.acme.is_empty() || listeners.values().any(|listener| !listener.tls.acme.is_empty());
    if let Some(other) = acme.addresses.iter().find_map(taken).filter(|_| ordered) {
        t.object("address", format!("{other} has this address already: use another one, or the other challenge"));
    }
    acme
}

/// Whether only one socket can have both addresses.
fn meet(one: &SocketAddr, other: &SocketAddr) -> bool {
    let overlap = one.is_ipv4() == other.is_ipv4() && (one.ip().is_unspecified() || other.ip().is_unspecified());
    one.port() == other.port() && one.port() != 0 && (one.ip() == other.ip() || overlap)
}

/// Checks that listeners may order certificates.
pub(super) fn suits(acme: &Acme, root: &Table<'_>, listeners: &BTreeMap<Name, Listener>, http: &Http) {
    if acme.agree_terms {
        return;
    }
    let message = "no certificate is ordered until you agree to the authority's terms of service: set acme.agree_terms = true";
    for (name, _) in listeners.iter().filter(|(_, listener)| !listener.tls.acme.is_empty()) {
        root.object_at(&["listen", name.as_str(), "acme"], message.into());
    }
    if !http.tls.acme.is_empty() {
        root.object_at(&["http", "acme"], message.into());
    }
}

fn directory(item: Item<'_>) -> Parsed<String> {
    let text = string(item)?;
    let secure = |uri: &Uri| uri.scheme() == Some(&Scheme::HTTPS) && uri.host().is_some_and(|host| !host.is_empty());
    match text.parse::<Uri>() {
        Ok(uri) if secure(&uri) => Ok(text.to_owned()),
        _ => fault(item, "expected the URL of an ACME directory, such as \"https://acme-v02.api.letsencrypt.org/directory\""),
    }
}

/// All addresses of this host.
fn everywhere(port: u16, environment: &Environment<'_>) -> Vec<SocketAddr> {
    let ipv6 = environment.host.has(Ipv6Addr::UNSPECIFIED.into()).then_some(Ipv6Addr::UNSPECIFIED.into());
    [Some(Ipv4Addr::UNSPECIFIED.into()), ipv6].into_iter().flatten().map(|ip| SocketAddr::new(ip, port)).collect()
}
