//! Parses a file of providers.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use jiff::SignedDuration;
use posthaste_mail::{Domain, Name};
use toml::de::{DeTable, DeValue};

use super::{
    Origin, ProviderFileError, ProviderLimits,
    text::{Keys, SourceText, texts},
};

/// A provider's entry in one file.
#[derive(Debug)]
pub(super) struct ProviderEntry {
    pub(super) name: Name,
    pub(super) origin: Origin,
    pub(super) limits: ProviderLimits,
    pub(super) keys: Keys,
    pub(super) mx: Option<Vec<Box<str>>>,
    pub(super) reports: Option<Vec<Box<str>>>,
    pub(super) domains: Option<Vec<Box<str>>>,
    pub(super) addresses: Option<Vec<IpNet>>,
}

/// The keys of an entry.
const KEYS: [&str; 12] = [
    "mx",
    "reports",
    "domains",
    "addresses",
    "connections",
    "messages_per_connection",
    "recipients_per_transaction",
    "per_second",
    "per_minute",
    "per_hour",
    "per_day",
    "first_pause",
];

/// The longest first pause; a longer one would amount to a stop.
const PAUSE_MAX: SignedDuration = SignedDuration::from_hours(48);

/// The entries of a file, or everything that is wrong with it.
pub(super) fn read(text: &str, file: &str) -> Result<Vec<ProviderEntry>, Vec<ProviderFileError>> {
    let mut text = SourceText::new(text, file);
    let mut entries = Vec::new();
    for (key, item) in text.tree().iter().flatten() {
        match item.get_ref() {
            DeValue::Table(table) if key.get_ref() == "provider" => read_all(table, &mut entries, &mut text),
            _ => text.complain(key.get_ref(), &key.span(), "unknown; providers are tables: [provider.NAME]"),
        }
    }
    text.finish(entries)
}

fn read_all(table: &DeTable<'_>, entries: &mut Vec<ProviderEntry>, text: &mut SourceText<'_>) {
    for (key, item) in table {
        let path = format!("provider.{}", key.get_ref());
        match (Name::new(key.get_ref()), item.get_ref()) {
            (Ok(name), DeValue::Table(table)) => {
                let origin = text.origin(&key.span());
                let mut entry = ProviderEntry {
                    name,
                    origin,
                    limits: ProviderLimits::default(),
                    keys: Keys::new(),
                    mx: None,
                    reports: None,
                    domains: None,
                    addresses: None,
                };
                entry.read(table, &path, text);
                entries.push(entry);
            }
            (Err(error), _) => text.complain(&path, &key.span(), error.to_string()),
            (_, _) => text.complain(&path, &key.span(), format!("a provider is a table: [{path}]")),
        }
    }
}

impl ProviderEntry {
    fn read(&mut self, table: &DeTable<'_>, path: &str, text: &mut SourceText<'_>) {
        for (key, item) in table {
            let path = format!("{path}.{}", key.get_ref());
            let Some(known) = KEYS.iter().find(|known| **known == key.get_ref()) else {
                text.complain(&path, &key.span(), format!("unknown; keys are: {}", KEYS.join(", ")));
                continue;
            };
            match self.set(known, item.get_ref()) {
                Ok(()) => drop(self.keys.insert(known, text.origin(&key.span()))),
                Err(message) => text.complain(&path, &item.span(), message),
            }
        }
    }

    fn set(&mut self, key: &str, value: &DeValue<'_>) -> Result<(), String> {
        let limits = &mut self.limits;
        let field = match key {
            "mx" => return all(value, domain).map(|mx| self.mx = Some(mx)),
            "reports" => return all(value, domain).map(|reports| self.reports = Some(reports)),
            "domains" => return all(value, domain).map(|domains| self.domains = Some(domains)),
            "addresses" => return all(value, network).map(|nets| self.addresses = Some(nets)),
            "first_pause" => return pause(value).map(|pause| limits.first_pause = Some(pause)),
            "connections" => &mut limits.connections,
            "messages_per_connection" => &mut limits.messages_per_connection,
            "recipients_per_transaction" => &mut limits.recipients_per_transaction,
            "per_second" => &mut limits.per_second,
            "per_minute" => &mut limits.per_minute,
            "per_hour" => &mut limits.per_hour,
            _ => &mut limits.per_day,
        };
        *field = Some(count(value)?);
        Ok(())
    }
}

fn all<T>(value: &DeValue<'_>, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    texts(value)?.into_iter().map(read).collect()
}

fn domain(text: &str) -> Result<Box<str>, String> {
    match Domain::new(text) {
        Ok(domain) if domain.literal().is_none() => Ok(domain.as_str().into()),
        _ => Err(format!("{text:?} is no domain; write it without a leading dot: \"mx.example.net\"")),
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let single = text.parse::<IpAddr>().map(IpNet::from);
    let net = text.parse::<IpNet>().or(single).map_err(|_| format!("{text:?} is no address range such as \"192.0.2.0/24\""))?;
    if net == net.trunc() { Ok(net) } else { Err(format!("{text:?} has address bits behind its length: write \"{}\"", net.trunc())) }
}

fn count(value: &DeValue<'_>) -> Result<u32, String> {
    let number = value.as_integer().and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
    number.filter(|n| *n > 0).ok_or_else(|| format!("expected a whole number from 1 to {}", u32::MAX))
}

fn pause(value: &DeValue<'_>) -> Result<Duration, String> {
    let form = || "expected a time from \"1s\" to \"48h\", such as \"10m\"".to_owned();
    let time: SignedDuration = value.as_str().and_then(|text| text.parse().ok()).ok_or_else(form)?;
    let fits = (SignedDuration::from_secs(1)..=PAUSE_MAX).contains(&time);
    Duration::try_from(time).ok().filter(|_| fits).ok_or_else(form)
}
