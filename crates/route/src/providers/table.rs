//! The table of providers: the shipped one with an operator's files before it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use posthaste_mail::{Domain, Name};

use super::{
    By, Limits, Provider, ProviderFileError,
    file::{self, ProviderEntry},
    index::ProviderIndex,
};
use crate::route::Host;

/// The table that ships.
const SHIPPED: &str = include_str!("../../../../config/providers.toml");

/// What the embedded file is called in errors and in `why`.
pub(super) const SHIPPED_NAME: &str = "config/providers.toml";

/// Providers by name, and the way from a host to its provider.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    named: BTreeMap<Name, Provider>,
    index: ProviderIndex,
}

impl Providers {
    /// An operator's files (name, text), the first asked first, and the shipped table behind them; or all that is wrong with the files.
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
            let new = || Provider { name: name.clone(), limits: Limits::default(), origin, keys: BTreeMap::new() };
            let provider: &mut Provider = named.entry(name.clone()).or_insert_with(new);
            provider.limits.fill(&limits);
            for (key, origin) in keys {
                provider.keys.entry(key).or_insert(origin);
            }
        }
        Ok(Self { named, index })
    }

    /// The table that ships with the program.
    pub fn shipped() -> Arc<Self> {
        static SHIPPED: OnceLock<Arc<Providers>> = OnceLock::new();
        Arc::clone(SHIPPED.get_or_init(|| Arc::new(Self::with(&[]).expect("a test reads the shipped table"))))
    }

    /// The provider of this name, if it stands in the table.
    pub fn get(&self, name: &str) -> Option<&Provider> {
        self.named.get(name)
    }

    /// All that stand in the table, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.named.values()
    }

    /// Who takes a domain's mail at these hosts, which are sorted by preference.
    pub fn provider_of(&self, domain: &Domain, hosts: &[Host]) -> Name {
        self.find(Some(domain), hosts).0
    }

    /// The same, and by what that is known. Without a domain (a static route leads to whoever runs its hosts) the hosts alone decide;
    /// without hosts too, nobody is known.
    ///
    /// Of equally preferred hosts the first by name speaks, so that shuffling them does not change the provider.
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

/// The public suffix list's word on a host: `gmail-smtp-in.l.google.com` is `google.com`'s. An address speaks for itself.
fn registrable(host: &str) -> Name {
    if host.parse::<IpAddr>().is_ok() {
        return fitted(host);
    }
    fitted(psl::domain_str(host).unwrap_or(host))
}

/// A name is shorter than a domain may be: keep the end, which says whose it is.
fn fitted(text: &str) -> Name {
    let start = text.len().saturating_sub(Name::MAX);
    Name::new(&text[start..]).expect("hosts are ASCII letters, digits, hyphens, underscores, dots and colons")
}
