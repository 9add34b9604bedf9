//! The table of providers: the operator's files and the shipped table.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use posthaste_mail::{Domain, Name};

use super::{
    By, Provider, ProviderFileError, ProviderLimits,
    file::{self, ProviderEntry},
    index::ProviderIndex,
};
use crate::route::Host;

/// The shipped table.
const SHIPPED: &str = include_str!("../../../../config/providers.toml");

/// The name of the embedded file in errors and in `why`.
pub(super) const SHIPPED_NAME: &str = "config/providers.toml";

/// The providers by name, and the index from hosts to providers.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    named: BTreeMap<Name, Provider>,
    index: ProviderIndex,
}

impl Providers {
    /// The operator's files (name, text), earlier ones first in precedence, then the shipped table. Err lists everything that is wrong with
    /// the files.
    pub fn with(own: &[(&str, &str)]) -> Result<Self, Vec<ProviderFileError>> {
        let (mut entries, mut errors) = (Vec::new(), Vec::new());
        for (file, text) in own.iter().copied().chain([(SHIPPED_NAME, SHIPPED)]) {
            match file::read(text, file) {
                Ok(read) => entries.push(read),
                Err(more) => errors.extend(more),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let index = ProviderIndex::of(&entries)?;
        let mut named = BTreeMap::new();
        for entry in entries.into_iter().flatten() {
            let ProviderEntry { name, origin, limits, keys, .. } = entry;
            let new = || Provider { name: name.clone(), limits: ProviderLimits::default(), origin, keys: BTreeMap::new() };
            let provider: &mut Provider = named.entry(name.clone()).or_insert_with(new);
            provider.limits.fill(&limits);
            for (key, origin) in keys {
                provider.keys.entry(key).or_insert(origin);
            }
        }
        Ok(Self { named, index })
    }

    /// The shipped table alone.
    pub fn shipped() -> Arc<Self> {
        static SHIPPED: OnceLock<Arc<Providers>> = OnceLock::new();
        Arc::clone(SHIPPED.get_or_init(|| Arc::new(Self::with(&[]).expect("a test reads the shipped table"))))
    }

    /// The provider of this name, if it is in the table.
    pub fn get(&self, name: &str) -> Option<&Provider> {
        self.named.get(name)
    }

    /// The provider in the table whose own reports come from hosts with such a name (the key `reports`).
    pub fn of_reports(&self, host: &str) -> Option<&Name> {
        self.index.of_reports(&host.to_ascii_lowercase())
    }

    /// All providers in the table, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.named.values()
    }

    /// The provider of a domain with these hosts, which are sorted by preference, and what identified it. Without a domain (for a static route) the hosts alone decide; without hosts too, the provider
    /// is `unknown`.
    ///
    /// Of equally preferred hosts the first by name decides, so that shuffling them does not change the provider.
    pub fn find(&self, domain: Option<&Domain>, hosts: &[Host]) -> (Name, By) {
        let domain = domain.filter(|domain| domain.literal().is_none()).map(Domain::as_str);
        if let Some(name) = domain.and_then(|domain| self.index.domains.get(domain)) {
            return (name.clone(), By::Domain(domain.unwrap_or_default().into()));
        }
        let best = hosts.first().map(|host| host.preference);
        let equals = hosts.iter().take_while(|host| Some(host.preference) == best);
        let Some(speaker) = equals.min_by(|a, b| a.name.cmp(&b.name)) else {
            return (registrable(domain.unwrap_or("unknown")), By::Registrable);
        };
        if let Some((suffix, name)) = self.index.of_host(&speaker.name) {
            return (name.clone(), By::Mx(suffix.into()));
        }
        if let Some((net, name)) = speaker.addresses.iter().filter_map(|address| self.index.of_address(address.ip())).min() {
            return (name.clone(), By::Address(net));
        }
        (registrable(&speaker.name), By::Registrable)
    }
}

/// The registrable domain of a host by the public suffix list, in lower case; None for an address, and for a host that has none (a public
/// suffix, a name of one label).
pub fn registrable_domain(host: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    psl::domain_str(&host).map(str::to_owned)
}

/// The registrable domain of a host by the public suffix list: `google.com` for `gmail-smtp-in.l.google.com`. An address is its own name.
fn registrable(host: &str) -> Name {
    if host.parse::<IpAddr>().is_ok() {
        return fitted(host);
    }
    fitted(psl::domain_str(host).unwrap_or(host))
}

/// A name may be shorter than a domain: keep the end, which identifies the owner.
fn fitted(text: &str) -> Name {
    let start = text.len().saturating_sub(Name::MAX);
    Name::new(&text[start..]).expect("hosts are ASCII letters, digits, hyphens, underscores, dots and colons")
}
