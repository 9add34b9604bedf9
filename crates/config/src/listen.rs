//! `[listen.NAME]`: where mail is accepted, and from whom.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use posthaste_mail::Name;
use posthaste_smtp::server::{BareLineEnds, sasl::Mechanism};
use posthaste_submission::{AuthWhere, ListenTlsMode, Listener, Role};

use super::{
    environment::Environment,
    listen_tls,
    reader::{Item, Parsed, Table, fault},
    reference::{defined, named_streams},
    stream::Stream,
    value::{boolean, from_text, line, list, number, one_of, one_or_more, socket_address, string},
};

const ROLES: [(&str, Role); 2] = [("submission", Role::Submission), ("returns", Role::Returns)];

pub(super) fn read(t: &Table<'_>, environment: &Environment<'_>, streams: &BTreeMap<Name, Stream>) -> Listener {
    let here = |item: Item<'_>| match socket_address(item)? {
        address if address.ip().is_unspecified() || environment.host.has(address.ip()) => Ok(address),
        _ => fault(item, "this host has no such address; \"0.0.0.0:PORT\" and \"[::]:PORT\" listen on all its addresses"),
    };
    let role = t.get("role", one_of(&ROLES));
    let allow = match role {
        Role::Submission => t.get("allow", list(network)),
        Role::Returns => t.given("allow", list(network)).unwrap_or_else(|| vec![Ipv4Net::default().into(), Ipv6Net::default().into()]),
    };
    let mechanisms = Mechanism::ALL.map(|mechanism| (mechanism.name(), mechanism));
    let line_ends = one_of(&[("refuse", BareLineEnds::Refuse), ("fix", BareLineEnds::Fix)]);
    let bare_line_ends = match role {
        Role::Submission => t.get("bare_line_ends", line_ends),
        Role::Returns => t.given("bare_line_ends", line_ends).unwrap_or(BareLineEnds::Refuse),
    };
    let listener = Listener {
        role,
        addresses: t.get("address", one_or_more(&here)),
        allow,
        proxy_from: t.get("proxy_from", list(network)),
        tls: listen_tls::read(t, environment),
        auth: t.get("auth", one_of(&[("off", AuthWhere::Off), ("tls", AuthWhere::Tls), ("always", AuthWhere::Always)])),
        auth_mechanisms: t.get("auth_mechanisms", list(one_of(&mechanisms))),
        require_auth: t.get("require_auth", boolean),
        stream: t.get("stream", from_text::<Name>),
        streams: named_streams(t, streams),
        max_connections: t.get("max_connections", number(1..=100_000)),
        max_connections_per_ip: t.get("max_connections_per_ip", number(1..=100_000)),
        refuse_suppressed: t.get("refuse_suppressed", boolean),
        banner: t.get("banner", line(400)),
        arc: t.get("arc", boolean),
        bare_line_ends,
    };
    defined(t, "stream", &listener.stream, streams);
    let never = listener.auth == AuthWhere::Off || (listener.auth == AuthWhere::Tls && listener.tls.mode == ListenTlsMode::None);
    if listener.require_auth && never {
        t.object("require_auth", "no client could ever send here, since AUTH is not offered (auth = \"tls\" offers it under TLS only)");
    }
    if listener.auth_mechanisms.is_empty() {
        t.object("auth_mechanisms", "names none: list some, or say auth = \"off\"");
    }
    listener
}

/// Two listeners cannot share an address, except with port 0, which means a new port each time.
pub(super) fn refuse_twins(root: &Table<'_>, listeners: &BTreeMap<Name, Listener>) {
    let mut seen = BTreeMap::new();
    let own = listeners.iter().filter(|(name, _)| !root.is_spoilt_at(&["listen", name.as_str(), "address"]));
    for (name, address) in own.flat_map(|(name, l)| l.addresses.iter().map(move |a| (name, a))) {
        let Some(first) = seen.insert(*address, name).filter(|_| address.port() != 0) else { continue };
        let message = format!("listen.{first} has {address} already: use another one");
        root.object_at(&["listen", name.as_str(), "address"], message);
    }
}

pub(super) fn network(item: Item<'_>) -> Parsed<IpNet> {
    let text = string(item)?;
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match net {
        Ok(net) if net.trunc() != net => fault(item, format!("has bits beyond its prefix; the network is \"{}\"", net.trunc())),
        Ok(net) => Ok(net),
        Err(_) => fault(item, r#"expected a network or an address, such as "192.0.2.0/24", "2001:db8::/32" or "::1""#),
    }
}
