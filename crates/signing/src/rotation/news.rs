//! News of keys for the operator, the next key as a command shows it, and the look-up of a key in DNS.

use posthaste_dkim::{Algorithm, Key, Published};
use posthaste_journal::{Finding, Journal, Part, State};
use posthaste_mail::Domain;
use posthaste_route::Resolver;
use serde::{Deserialize, Serialize};

/// News for the operator, for the delivery log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNews {
    /// The domain.
    pub domain: Domain,
    /// The state in the log's event.
    pub state: State,
    /// In whole sentences.
    pub detail: String,
}

/// The next key of a domain and an algorithm, as `posthaste dkim rotate` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextKey {
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Its selector.
    pub selector: String,
    /// True if it signs from now on.
    pub signs: bool,
    /// The state of its record in DNS: matches, missing, mismatch or unknown.
    pub dns: String,
    /// Details of that state, if any.
    pub why: Option<String>,
    /// Its DNS record in zone file format.
    pub record: String,
}

impl KeyNews {
    /// Writes it to the delivery log.
    pub fn write(&self, journal: &Journal) {
        let (rule, key, part) = ("dkim_keys", self.domain.to_string(), Some(Part::Dkim));
        match self.state {
            State::Alarm => {
                let remedy = format!("`posthaste dkim dns {key}` prints the records that DNS must have");
                return journal.raise_again(Finding { rule, key, part, what: self.detail.clone(), remedy });
            }
            State::DkimKeySwitched => journal.mended_silently(rule, &key),
            _ => {}
        }
        journal.say(part, self.state, self.detail.clone());
    }
}

/// Looks up a key's public record in DNS and compares it with the key.
pub async fn published(resolver: &Resolver, key: &Key, selector: &str, domain: &Domain) -> Published {
    match resolver.txt(&format!("{selector}._domainkey.{domain}")).await {
        Ok(records) => Published::of(key, &records),
        Err(unavailable) => Published::Unknown(unavailable.to_string()),
    }
}
