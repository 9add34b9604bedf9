//! What is said of keys: news for the operator, the next key, what DNS has of one.

use posthaste_dkim::{Algorithm, Key, Published};
use posthaste_journal::{Journal, Part, State};
use posthaste_mail::Domain;
use posthaste_route::Resolver;
use serde::{Deserialize, Serialize};

/// Something that the operator must know, for the delivery log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNews {
    /// The word for it.
    pub state: State,
    /// In whole sentences.
    pub detail: String,
}

/// The next key of a domain and an algorithm, as `posthaste dkim rotate` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextKey {
    /// How it signs.
    pub algorithm: Algorithm,
    /// Its name in DNS.
    pub selector: String,
    /// True if it signs from now on.
    pub signs: bool,
    /// What DNS has at its name: matches, missing, mismatch or unknown.
    pub dns: String,
    /// Why, where there is more to say.
    pub why: Option<String>,
    /// The record as a zone file has it.
    pub record: String,
}

impl KeyNews {
    /// Writes it down.
    pub fn write(&self, journal: &Journal) {
        journal.say(Part::Dkim, self.state, self.detail.clone());
    }
}

/// The public record of a key, asked of DNS and held against the key.
pub async fn published(resolver: &Resolver, key: &Key, selector: &str, domain: &Domain) -> Published {
    match resolver.txt(&format!("{selector}._domainkey.{domain}")).await {
        Ok(records) => Published::of(key, &records),
        Err(why) => Published::Unknown(why),
    }
}
