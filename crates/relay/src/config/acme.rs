//! `[acme]`: the authority that issues listeners' certificates (RFC 8555), and how it verifies the names.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use axum::http::{Uri, uri::Scheme};
use posthaste_mail::{Address, Domain, Name};

use super::{
    Http, Listener, Place, Roots,
    reader::{Item, Parsed, Table, fault},
    tls::roots,
    value::{boolean, duration, from_text, list, one_of, one_or_more, socket_address, some, string},
};

/// The names that one certificate is for.
pub type AcmeNames = BTreeSet<Domain>;

/// The most names in one certificate: Let's Encrypt's limit.
const NAMES_MAX: usize = 100;

/// The authority that certificates are ordered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The authority's directory: an https URL.
    pub directory: String,
    /// Whether the operator agrees to its terms of service.
    pub agree_terms: bool,
    /// Addresses at which it may contact the operator.
    pub contact: Vec<Address>,
    /// How the authority verifies the names.
    pub challenge: Challenge,
    /// The addresses that answer the authority; not empty.
    pub addresses: Vec<SocketAddr>,
    /// How long before its expiry a certificate is renewed, if it is valid for at least twice as long.
    pub renew_before: Duration,
    /// What the authority's own certificate is verified against.
    pub roots: Roots,
}

/// A proof that a name leads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// The authority fetches a file by HTTP (RFC 8555 §8.3).
    Http01,
    /// The authority checks a TLS certificate that is made for the challenge (RFC 8737).
    TlsAlpn01,
}

impl Challenge {
    /// The port that authorities connect to. No other port works.
    fn port(self) -> u16 {
        match self {
            Self::Http01 => 80,
            Self::TlsAlpn01 => 443,
        }
    }
}

impl Acme {
    pub(super) fn read(t: &Table<'_>, place: &Place<'_>, listeners: &BTreeMap<Name, Listener>, http: &Http) -> Self {
        let here = |item: Item<'_>| match socket_address(item)? {
            address if address.ip().is_unspecified() || place.host.has(address.ip()) => Ok(address),
            _ => fault(item, "this host has no such address; \"0.0.0.0:PORT\" and \"[::]:PORT\" listen on all its addresses"),
        };
        let challenge = t.get("challenge", one_of(&[("http-01", Challenge::Http01), ("tls-alpn-01", Challenge::TlsAlpn01)]));
        let acme = Self {
            directory: t.get("directory", directory),
            agree_terms: t.given("agree_terms", boolean).unwrap_or(false),
            contact: t.get("contact", list(from_text::<Address>)),
            challenge,
            addresses: t.given("address", one_or_more(&here)).unwrap_or_else(|| everywhere(challenge.port(), place)),
            renew_before: t.get("renew_before", duration(Duration::from_hours(1)..=Duration::from_hours(365 * 24))),
            roots: t.get("roots", |item| roots(item, place)),
        };
        let taken = |address: &SocketAddr| {
            let smtp = listeners.iter().find(|(_, l)| l.addresses.contains(address)).map(|(name, _)| format!("listen.{name}"));
            smtp.or_else(|| http.addresses.contains(address).then(|| "http".to_owned()))
        };
        let ordered = listeners.values().any(|listener| !listener.tls.acme.is_empty());
        if let Some(other) = acme.addresses.iter().find_map(taken).filter(|_| ordered) {
            t.object("address", format!("{other} has this address already: use another one"));
        }
        acme
    }

    /// Checks that listeners may order certificates.
    pub(super) fn suits(&self, root: &Table<'_>, listeners: &BTreeMap<Name, Listener>) {
        for (name, _) in listeners.iter().filter(|(_, listener)| !listener.tls.acme.is_empty() && !self.agree_terms) {
            let message = "no certificate is ordered until you agree to the authority's terms of service: set acme.agree_terms = true";
            root.object_at(&["listen", name.as_str(), "acme"], message.into());
        }
    }
}

/// The names that a certificate is for.
pub(super) fn names(item: Item<'_>) -> Parsed<AcmeNames> {
    let names: AcmeNames = some(name)(item)?.into_iter().collect();
    if names.len() > NAMES_MAX { fault(item, format!("too many: at most {NAMES_MAX} names in one certificate")) } else { Ok(names) }
}

fn name(item: Item<'_>) -> Parsed<Domain> {
    let text = string(item)?;
    if text.contains('*') {
        return fault(item, "a wildcard needs the challenge dns-01, which is not supported: name each host");
    }
    match Domain::international(text) {
        Ok(domain) if domain.literal().is_some() => fault(item, "expected a host name, found an address"),
        Ok(domain) => Ok(domain),
        Err(error) => fault(item, error.to_string()),
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
fn everywhere(port: u16, place: &Place<'_>) -> Vec<SocketAddr> {
    let ipv6 = place.host.has(Ipv6Addr::UNSPECIFIED.into()).then_some(Ipv6Addr::UNSPECIFIED.into());
    [Some(Ipv4Addr::UNSPECIFIED.into()), ipv6].into_iter().flatten().map(|ip| SocketAddr::new(ip, port)).collect()
}
