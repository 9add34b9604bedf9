//! `posthaste why`: reports where a domain's mail goes, which limits apply and which lines of the configuration set them, which messages
//! wait, why, and until when.
//!
//! Configuration and DNS are evaluated here, by the relay or, if none runs, by the command itself. Only a running relay knows what waits.

mod limits;
mod text;
mod told;

use std::{net::IpAddr, str::FromStr};

use posthaste_host::{Host as _, ThisHost};
use posthaste_mail::{Address, Domain, MessageId, Name};
use posthaste_monitor::{LineFilter, LogError};
use posthaste_queue::{LaneNow, Seq, WaitingRecipient};
use posthaste_route::{By, Route, RouteFailure};
use posthaste_suppression::SuppressionEntry;
use serde::{Deserialize, Serialize};

use self::limits::{general, of_lane};
pub(crate) use self::told::{domains_of, last_answer};
pub use self::{
    limits::Limit,
    text::{Page, held, stands},
    told::{Told, advice},
};
use crate::settings::Settings;

/// The most waiting recipients of a domain that are searched for an address: more would keep the spool reading for seconds.
pub(crate) const READ_MAX: usize = 2_000;
/// The most domains of one message that are reported.
pub(crate) const DOMAINS_MAX: usize = 20;
/// The most waiting recipients that are reported.
const SHOWN_MAX: usize = 20;

/// The subject of the question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A message in the queue.
    Message(MessageId),
    /// A recipient's address.
    Address(Address),
    /// A recipients' domain.
    Domain(Domain),
}

/// The report on one domain's mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// The domain.
    pub domain: Domain,
    /// The provider that runs its mailboxes; None: none was found.
    pub provider: Option<Known>,
    /// Its hosts, in the order in which they are tried.
    pub hosts: Vec<HostSeen>,
    /// The configuration line of the static route used in place of DNS.
    pub route: Option<String>,
    /// Why there are no hosts.
    pub trouble: Option<String>,
    /// Limits that apply to all lanes together and to streams.
    pub general: Vec<Limit>,
    /// The sources that may send there.
    pub lanes: Vec<Lane>,
    /// Why deliveries are halted; None: they are not, or no relay was asked.
    #[serde(default)]
    pub halted: Option<String>,
    /// Why nothing can be reached, if that is so.
    #[serde(default)]
    pub blocked: Option<String>,
    /// Waiting recipients, the oldest first; None: no relay was asked.
    pub waiting: Option<WaitingMail>,
    /// The entries of the suppression list for the addresses that are asked about or wait.
    #[serde(default)]
    pub suppressed: Vec<SuppressionEntry>,
    /// The latest endings at the address or domain, and what came back after them; the latest first.
    #[serde(default)]
    pub ended: Vec<Told>,
}

/// A provider and how it was recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its name.
    pub name: Name,
    /// The domain or host name by which it was recognised.
    pub by: String,
    /// The line of the provider table; None: the table does not contain it.
    pub from: Option<String>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSeen {
    /// Its MX preference; the lowest is tried first.
    pub preference: u16,
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A source and its limits at the provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// The source.
    pub source: Name,
    /// Its address; None: the kernel chooses.
    pub address: Option<IpAddr>,
    /// Whether this host has that address.
    pub here: bool,
    /// The configuration line of the source.
    pub from: String,
    /// The limits in force.
    pub limits: Vec<Limit>,
    /// The lane's state; None: it has not sent there, or no relay was asked.
    pub now: Option<LaneNow>,
}

/// Waiting recipients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitingMail {
    /// Their number.
    pub total: usize,
    /// The first of them, with their addresses and the last answer to each.
    pub first: Vec<(String, WaitingRecipient, Option<Told>)>,
}

/// How a provider was recognised. A static route without one in the table is its own.
fn known_by(route: &Route) -> String {
    match route.by {
        By::Registrable if route.static_route => "the first host of its route".into(),
        _ => route.by.to_string(),
    }
}

impl Why {
    /// Reports what configuration and DNS say.
    pub fn of(settings: &Settings, domain: &Domain, route: &Result<Route, RouteFailure>) -> Self {
        let config = &settings.config;
        let provider = route.as_ref().ok().map(|route| {
            let entry = settings.providers.get(route.provider.as_str());
            let from = route.by.key().and_then(|key| entry?.origin_of(key)).map(ToString::to_string);
            Known { name: route.provider.clone(), by: known_by(route), from }
        });
        let seen = |host: &posthaste_route::Host| HostSeen {
            preference: host.preference,
            name: host.name.to_string(),
            addresses: host.addresses.iter().map(std::net::SocketAddr::ip).collect(),
        };
        let fixed = route.as_ref().is_ok_and(|route| route.static_route);
        let found = config.routes.find(domain).filter(|_| fixed);
        let pattern = found.and_then(|found| config.routes.iter().find(|(_, route)| std::ptr::eq(*route, found)));
        let line = |pattern: String| {
            let key = format!("route.{pattern:?}");
            let origin = config.origin(&key).or_else(|| config.origin(&format!("{key}.hosts")));
            origin.map_or(key, ToString::to_string)
        };
        Self {
            domain: domain.clone(),
            hosts: route.as_ref().map(|route| route.hosts.iter().map(seen).collect()).unwrap_or_default(),
            route: pattern.map(|(pattern, _)| line(pattern.to_string())),
            trouble: route.as_ref().err().map(|failure| failure.failure.to_string()),
            general: general(config),
            lanes: provider.as_ref().map(|known| lanes(settings, &known.name)).unwrap_or_default(),
            provider,
            halted: None,
            blocked: None,
            waiting: None,
            suppressed: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Adds the latest endings in the log. Blocks.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn add_endings(&mut self, settings: &Settings, subject: &Subject) -> Result<(), LogError> {
        let domain = Some(self.domain.to_string());
        let filter = match subject {
            Subject::Message(id) => LineFilter { message: Some(id.to_string()), domain, ..LineFilter::default() },
            Subject::Address(address) => LineFilter { rcpt: Some(address.to_string()), ..LineFilter::default() },
            Subject::Domain(_) => LineFilter { domain, ..LineFilter::default() },
        };
        self.ended = told::endings(&settings.config.log.dir, &settings.rules, filter)?;
        Ok(())
    }
}

impl WaitingMail {
    /// Selects the waiting recipients (`total` in all) that the subject is about, with addresses from the envelopes.
    pub fn read(subject: &Subject, waits: Vec<WaitingRecipient>, total: usize, envelope: impl Fn(Seq) -> Option<Vec<Address>>) -> Self {
        let read = |waits: WaitingRecipient| {
            // The message may have ended after the queue was asked.
            let address = envelope(waits.seq)?.into_iter().nth(usize::from(waits.rcpt))?;
            Some((address, waits))
        };
        let wanted = |(address, _): &(Address, WaitingRecipient)| match subject {
            Subject::Address(asked) => asked == address,
            _ => true,
        };
        let read = waits.into_iter().filter_map(read).filter(wanted).map(|(address, waits)| (address.to_string(), waits, None));
        match subject {
            Subject::Address(_) => {
                let mut first: Vec<_> = read.collect();
                let total = first.len();
                first.truncate(SHOWN_MAX);
                Self { total, first }
            }
            _ => Self { total, first: read.take(SHOWN_MAX).collect() },
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Message(id));
        }
        if text.contains('@') {
            return Address::international(text).map(Self::Address).map_err(|error| format!("{text:?} is not an address: {error}"));
        }
        Domain::international(text).map(Self::Domain).map_err(|_| format!("{text:?} is not a domain, an address or a message id"))
    }
}

/// Every source that is in a stream's pool, with its limits at this provider.
fn lanes(settings: &Settings, provider: &Name) -> Vec<Lane> {
    let config = &settings.config;
    let used = |name: &Name| config.streams.values().any(|stream| config.sources_of(stream).iter().any(|(source, _)| source == name));
    let lane = |(name, source): (&Name, &posthaste_config::Source)| Lane {
        source: name.clone(),
        address: source.address,
        here: source.address.is_none_or(|ip| ThisHost.has(ip)),
        from: config.origin(&format!("source.{name}.address")).map_or_else(String::new, ToString::to_string),
        limits: of_lane(settings, name, provider),
        now: None,
    };
    config.sources.iter().filter(|(name, _)| used(name)).map(lane).collect()
}

#[cfg(test)]
mod tests;
