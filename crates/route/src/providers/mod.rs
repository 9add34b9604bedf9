//! Whose mailboxes a route leads to: a table of those that everybody writes to, the registrable domain of the MX for the rest.
//!
//! ```toml
//! [provider.example]
//! mx = ["mx.example.net"]           # ends of host names, on label borders; the longest that fits decides
//! addresses = ["192.0.2.0/24"]      # for hosts under other names
//! domains = ["mail.example"]        # recipients' domains that are this provider's wherever their MX leads
//! connections = 5
//! first_pause = "10m"
//! ```
//!
//! `config/providers.toml` is embedded, and says what each key means. An operator's entry of the same name replaces single keys.

mod file;
mod index;
#[cfg(test)]
mod tests;
mod text;

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use ipnet::IpNet;
use posthaste_mail::{Domain, Name};

pub use self::text::ProviderFileError;
use self::{file::Entry, index::Index};
use crate::route::Host;

/// The table that ships.
const SHIPPED: &str = include_str!("../../../../config/providers.toml");

/// What the embedded file is called in errors and in `why`.
const SHIPPED_NAME: &str = "config/providers.toml";

/// Providers by name, and the way from a host to its provider.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    named: BTreeMap<Name, Provider>,
    index: Index,
}

/// One that runs mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// What it is called in lanes, events and curves.
    pub name: Name,
    /// How it likes its mail.
    pub limits: Limits,
    /// Where its entry begins; the operator's where there are two.
    pub origin: Origin,
    /// Where each of its keys stands.
    keys: BTreeMap<&'static str, Origin>,
}

/// What one sending address may do at a provider. None: nothing is said, the relay's general limits hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: Option<u32>,
    /// Messages over one connection.
    pub messages_per_connection: Option<u32>,
    /// Recipients of one transaction.
    pub recipients_per_transaction: Option<u32>,
    /// Recipients in any second.
    pub per_second: Option<u32>,
    /// Recipients in any minute.
    pub per_minute: Option<u32>,
    /// Recipients in any hour.
    pub per_hour: Option<u32>,
    /// Recipients in any day.
    pub per_day: Option<u32>,
    /// How long nothing goes after the provider pushed back without a word about how long.
    pub first_pause: Option<Duration>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file as it was named to us.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: usize,
}

/// By what a provider was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The recipient's domain is listed.
    Domain(Box<str>),
    /// The best host's name ends like this.
    Mx(Box<str>),
    /// The best host's address lies in this range.
    Address(IpNet),
    /// The table does not know it: the best host's registrable domain, or its address.
    Registrable,
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
        let index = Index::of(&entries)?;
        let mut named = BTreeMap::new();
        for entry in entries.into_iter().flatten() {
            let Entry { name, origin, limits, keys, .. } = entry;
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

impl Provider {
    /// Where a key of its entry stands; None when nobody gave it.
    pub fn origin_of(&self, key: &str) -> Option<&Origin> {
        self.keys.get(key)
    }
}

impl Limits {
    /// Takes from `other` what is not said here.
    fn fill(&mut self, other: &Self) {
        self.connections = self.connections.or(other.connections);
        self.messages_per_connection = self.messages_per_connection.or(other.messages_per_connection);
        self.recipients_per_transaction = self.recipients_per_transaction.or(other.recipients_per_transaction);
        self.per_second = self.per_second.or(other.per_second);
        self.per_minute = self.per_minute.or(other.per_minute);
        self.per_hour = self.per_hour.or(other.per_hour);
        self.per_day = self.per_day.or(other.per_day);
        self.first_pause = self.first_pause.or(other.first_pause);
    }
}

impl By {
    /// The key of the table that knew it.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Domain(_) => Some("domains"),
            Self::Mx(_) => Some("mx"),
            Self::Address(_) => Some("addresses"),
            Self::Registrable => None,
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => write!(f, "the domain {domain}"),
            Self::Mx(suffix) => write!(f, "MX hosts under {suffix}"),
            Self::Address(net) => write!(f, "MX hosts in {net}"),
            Self::Registrable => f.write_str("the registrable domain of the MX"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
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
