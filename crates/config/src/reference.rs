//! Checks of names that are defined elsewhere in the configuration, and readers that several nouns share.

use std::{collections::BTreeMap, net::IpAddr};

use posthaste_access::users::NamedStreams;
use posthaste_certificates::AcmeNames;
use posthaste_mail::{Domain, Name};
use posthaste_verp::{Verp, VerpSecret};

use super::{
    reader::{Item, Parsed, Table, fault},
    value::{domain, list, some, string},
};

/// The most names in one certificate: Let's Encrypt's limit.
const NAMES_MAX: usize = 100;

/// Checks that `name`, the value of `key`, is among those defined.
pub(super) fn defined<T>(t: &Table<'_>, key: &str, name: &Name, among: &BTreeMap<Name, T>) {
    if !among.contains_key(name) {
        let default = if t.has(key) { String::new() } else { format!("not given, and its default is {:?}: ", name.as_str()) };
        t.object(key, format!("{default}{}", no_such(key, among.keys().map(Name::as_str))));
    }
}

/// The value of `streams`: names of streams, or "*" for all.
pub(super) fn named_streams<T>(t: &Table<'_>, among: &BTreeMap<Name, T>) -> Option<NamedStreams> {
    let stream = |item: Item<'_>| match string(item)? {
        "*" => Ok(None),
        text => match Name::new(text).ok().filter(|name| among.contains_key(name)) {
            Some(name) => Ok(Some(name)),
            None => fault(item, no_such("stream", among.keys().map(Name::as_str))),
        },
    };
    let listed: Option<Vec<Name>> = t.given("streams", list(stream))?.into_iter().collect();
    Some(listed.map_or(NamedStreams::All, NamedStreams::These))
}

pub(super) fn no_such<'n>(kind: &str, names: impl Iterator<Item = &'n str>) -> String {
    format!("no such {kind}; {kind}s are: {}", joined(names))
}

pub(super) fn joined<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// The names of a certificate.
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

/// The name of a host, or its address in brackets (RFC 5321 §4.1.3).
pub(super) fn host_name(item: Item<'_>) -> Parsed<Domain> {
    let text = string(item)?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        let literal = if ip.is_ipv4() { format!("[{ip}]") } else { format!("[IPv6:{ip}]") };
        return fault(
            item,
            format!(
                "this is an address and no name: write {literal:?} (RFC 5321 §4.1.3), or better a name that resolves to it, which most receivers demand"
            ),
        );
    }
    domain(item)
}

/// A domain that is short enough for reverse-paths.
pub(super) fn bounce_domain(item: Item<'_>) -> Parsed<Domain> {
    let domain = domain(item)?;
    Verp::new(&[SOME], domain.clone(), "b").map(|_| domain).or_else(|why| fault(item, why.to_string()))
}

/// A placeholder for the secret, for checks of the format alone.
const SOME: VerpSecret = VerpSecret::new([0; 32]);
