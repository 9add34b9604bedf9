//! A provider, its limits, and how it was known.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use ipnet::IpNet;
use posthaste_mail::Name;

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
    pub(super) keys: BTreeMap<&'static str, Origin>,
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

impl Provider {
    /// Where a key of its entry stands; None when nobody gave it.
    pub fn origin_of(&self, key: &str) -> Option<&Origin> {
        self.keys.get(key)
    }
}

impl Limits {
    /// Takes from `other` what is not said here.
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
