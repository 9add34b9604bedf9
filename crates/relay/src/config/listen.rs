//! `[listen.NAME]`: where mail is taken in, and from whom.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use posthaste_mail::Name;

use super::{
    Place, Stream,
    reader::{Item, Parsed, Table, fault},
    source::defined,
    value::{from_text, line, list, number, one_or_more, socket_address, string},
};

/// A place where clients hand in mail by SMTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Addresses and ports.
    pub addresses: Vec<SocketAddr>,
    /// Clients that may send.
    pub allow: Vec<IpNet>,
    /// The stream of mail that comes in here and names none.
    pub stream: Name,
    /// Clients at once.
    pub max_connections: usize,
    /// Clients at once from one address.
    pub max_connections_per_ip: usize,
    /// What the greeting says behind the host name.
    pub banner: String,
}

impl Listener {
    /// Whether a client at `ip` may send; an IPv4 address in IPv6 clothes (RFC 4291 §2.5.5.2) counts as what it is.
    pub fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.allow.iter().any(|net| net.contains(&ip))
    }

    pub(super) fn read(t: &Table<'_>, place: &Place<'_>, streams: &BTreeMap<Name, Stream>) -> Self {
        let here = |item: Item<'_>| match socket_address(item)? {
            address if address.ip().is_unspecified() || place.host.has(address.ip()) => Ok(address),
            _ => fault(item, "this host has no such address; \"0.0.0.0:PORT\" and \"[::]:PORT\" listen on all it has"),
        };
        let listener = Self {
            addresses: t.get("address", one_or_more(&here)),
            allow: t.get("allow", list(network)),
            stream: t.get("stream", from_text::<Name>),
            max_connections: t.get("max_connections", number(1..=100_000)),
            max_connections_per_ip: t.get("max_connections_per_ip", number(1..=100_000)),
            banner: t.get("banner", line(400)),
        };
        defined(t, "stream", &listener.stream, streams);
        listener
    }

    /// Two listeners cannot share an address (port 0 means a fresh port each time).
    pub(super) fn refuse_twins(root: &Table<'_>, listeners: &BTreeMap<Name, Self>) {
        let mut seen = BTreeMap::new();
        for (name, address) in listeners.iter().flat_map(|(name, l)| l.addresses.iter().map(move |a| (name, a))) {
            let Some(first) = seen.insert(*address, name).filter(|_| address.port() != 0) else { continue };
            let message = format!("listen.{first} has {address} already: one address, one listener");
            root.object_at(&["listen", name.as_str(), "address"], message);
        }
    }
}

fn network(item: Item<'_>) -> Parsed<IpNet> {
    let text = string(item)?;
    let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match net {
        Ok(net) if net.trunc() != net => fault(item, format!("has bits beyond its prefix; the network is \"{}\"", net.trunc())),
        Ok(net) => Ok(net),
        Err(_) => fault(item, r#"expected a network or an address, such as "192.0.2.0/24", "2001:db8::/32" or "::1""#),
    }
}
