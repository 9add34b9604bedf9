//! `[source.NAME]` and `[pool.NAME]`: the addresses that mail is sent from, and groups of them.

use std::{collections::BTreeMap, net::IpAddr};

use posthaste_governor::{Curves, Overflow};
use posthaste_mail::{Domain, Name};

use super::{
    environment::Environment,
    reader::{Item, Parsed, Table, fault},
    value::{boolean, from_text, number, some, string, unicast},
    warmup::ReadCurves,
    warmup::Warmup,
};
use super::{
    error::ConfigError,
    reference::{host_name, joined, no_such},
};

/// An address to send from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The address that sockets are bound to; None: the kernel chooses.
    pub address: Option<IpAddr>,
    /// The name given in EHLO (RFC 5321 §4.1.1.1): it should resolve to the address.
    pub ehlo: Domain,
    /// How it warms up; None: it counts as warm.
    pub warmup: Option<Warmup>,
}

/// A group of sources that share the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The sources, in the order given, each with its share of the work. At least one.
    pub sources: Vec<(Name, u32)>,
    /// Whether the others take over the mail of a source that a provider has slowed or stopped.
    pub relieve: bool,
}

impl Source {
    pub(super) fn read(t: &Table<'_>, name: &Name, environment: &Environment<'_>, hostname: &Domain, curves: &ReadCurves) -> Self {
        let address = |item: Item<'_>| match string(item)? {
            "any" => Ok(None),
            _ => match unicast(item)? {
                ip if ip.is_unspecified() => fault(item, "to let the kernel choose, write \"any\""),
                ip if environment.host.has(ip) => Ok(Some(ip)),
                _ => fault(item, "this host has no such address; `ip address` lists its addresses"),
            },
        };
        let ehlo = t.given("ehlo", host_name).unwrap_or_else(|| hostname.clone());
        // Two sources without an address would be the same: only `default` may leave it out.
        let address = if name.as_str() == "default" { t.get("address", address) } else { t.need("address", address).flatten() };
        Self { address, ehlo, warmup: Warmup::read(t, curves) }
    }
}

impl Pool {
    pub(super) fn read(t: &Table<'_>, sources: &BTreeMap<Name, Source>) -> Self {
        let member = |item: Item<'_>| -> Parsed<Vec<Name>> {
            if string(item)? == "*" {
                return Ok(sources.keys().cloned().collect());
            }
            match from_text::<Name>(item)? {
                name if sources.contains_key(&name) => Ok(vec![name]),
                _ => fault(item, no_such("source", sources.keys().map(Name::as_str))),
            }
        };
        let mut members: Vec<Name> = Vec::new();
        for name in t.get("sources", some(&member)).into_iter().flatten() {
            if !members.contains(&name) {
                members.push(name);
            }
        }
        let weights = Self::weights(t, &members);
        let weighed = members.into_iter().map(|name| {
            let weight = weights.get(&name).copied().unwrap_or(1);
            (name, weight)
        });
        Self { sources: weighed.collect(), relieve: t.get("relieve", boolean) }
    }

    fn weights(t: &Table<'_>, members: &[Name]) -> BTreeMap<Name, u32> {
        let member = |word: &str| match Name::new(word) {
            Ok(name) if members.contains(&name) => Ok(name),
            _ => Err(format!("not in this pool; its sources are: {}", joined(members.iter().map(Name::as_str)))),
        };
        t.table("weights", |t| t.entries(member, |t, word| t.given(word, number(1..=1000)))).into_iter().collect()
    }
}

/// Checks that the pools to which curves divert mail beyond the budget are defined.
pub(super) fn refuse_strange_pools(t: &Table<'_>, curves: &Curves, sources: &BTreeMap<Name, Source>, pools: &BTreeMap<Name, Pool>) {
    for warmup in sources.values().filter_map(|source| source.warmup.as_ref()) {
        // No provider has an empty name, so this is the curve without its exceptions for providers.
        for provider in curves.providers(&warmup.curve).chain([""]) {
            let Some(plan) = curves.plan(&warmup.curve, provider) else { continue };
            let Overflow::Pool(pool) = &plan.overflow else { continue };
            if pools.keys().any(|name| name.as_str() == &**pool) {
                continue;
            }
            let (file, line) = curves.origin(&warmup.curve, provider, "overflow").expect("a plan has an origin");
            let error = ConfigError {
                file: file.into(),
                line: Some(line),
                column: None,
                key: format!("curve.{}.overflow", plan.name),
                value: Some(format!("\"pool:{pool}\"")),
                message: no_such("pool", pools.keys().map(Name::as_str)),
                unread: false,
            };
            t.report(error);
        }
    }
}
