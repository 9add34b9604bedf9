//! A provider, its limits, and what identifies it.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use ipnet::IpNet;
use posthaste_mail::Name;

/// An organisation that runs mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name in lanes, events and curves.
    pub name: Name,
    /// How much it accepts.
    pub limits: ProviderLimits,
    /// Where its entry begins; the operator's entry if there are two.
    pub origin: Origin,
    /// Where each of its keys is set.
    pub(super) keys: BTreeMap<&'static str, Origin>,
}

/// What one sending address may do at a provider. None: not set, so the relay's general limits apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderLimits {
    /// Concurrent connections.
    pub connections: Option<u32>,
    /// Messages per connection.
    pub messages_per_connection: Option<u32>,
    /// Recipients per transaction.
    pub recipients_per_transaction: Option<u32>,
    /// Recipients in any second.
    pub per_second: Option<u32>,
    /// Recipients in any minute.
    pub per_minute: Option<u32>,
    /// Recipients in any hour.
    pub per_hour: Option<u32>,
    /// Recipients in any day.
    pub per_day: Option<u32>,
    /// How long to pause after the provider pushed back without naming a time.
    pub first_pause: Option<Duration>,
}

/// A line in a file of providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The name under which the file was given.
    pub file: Arc<str>,
    /// The line number, from 1.
    pub line: usize,
}

/// What identified a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The recipient's domain is listed.
    Domain(Box<str>),
    /// The best host's name has this suffix.
    Mx(Box<str>),
    /// The best host's address is in this range.
    Address(IpNet),
    /// No entry of the table: the best host's registrable domain, or its address.
    Registrable,
}

impl Provider {
    /// Where a key of its entry is set; None if it is not.
    pub fn origin_of(&self, key: &str) -> Option<&Origin> {
        self.keys.get(key)
    }
}

impl ProviderLimits {
    /// Takes from `other` the limits that are not set here.
    pub(super) fn fill(&mut self, other: &Self) {
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
    /// The key of the table that identified it.
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
            Self::Registrable => f.write_str("the domain of its MX hosts"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
