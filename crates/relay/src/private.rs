//! What is told of users and keys to whoever may ask the relay, but may not read its files: everything but their secrets.

use std::{path::Path, time::SystemTime};

use posthaste_access::users::{Right, User};
use posthaste_config::Config;
use posthaste_dkim::{Key, Stage};
use posthaste_mail::Domain;
use posthaste_signing::{
    SigningError,
    key_store::{KeyStore, key_file},
    keyring::{own_key, signing_domains},
    rotation::news::published,
};
use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRow {
    /// The name.
    pub name: String,
    /// By what it can log in: `password`, `scram`, `certificate`, `token`.
    pub proofs: Vec<String>,
    /// What its tokens may be used for.
    pub rights: Vec<String>,
    /// What it may do on the web page: `viewer`, `operator`.
    pub role: Option<String>,
    /// The senders that it may use.
    pub senders: Vec<String>,
    /// The stream of its messages that name none.
    pub stream: Option<String>,
    /// The most recipients per time.
    pub rate: Option<String>,
    /// The most recipients per day.
    pub daily_quota: Option<u64>,
}

/// A DKIM key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// The domain that it signs for.
    pub domain: Domain,
    /// Its name in DNS.
    pub selector: String,
    /// `active`, `next`, `retiring` or `retired`.
    pub stage: String,
    /// Its algorithm.
    pub algorithm: String,
    /// Its length.
    pub bits: usize,
    /// When its file was written, in seconds since 1970-01-01 UTC.
    pub made: i64,
    /// Its record for DNS.
    pub record: String,
    /// What DNS holds for it, as a word: `matches`, `missing`, `mismatch`, `unknown`; empty if that was not asked.
    pub dns: String,
    /// More about that.
    pub why: Option<String>,
}

impl UserRow {
    /// What may be told of a user.
    pub fn of(user: &User) -> Self {
        let proofs = [
            ("password", user.password.is_some()),
            ("scram", user.scram.is_some()),
            ("certificate", !user.certificates.is_empty()),
            ("token", !user.tokens.is_empty()),
        ];
        Self {
            name: user.name.to_string(),
            proofs: proofs.iter().filter(|(_, has)| *has).map(|(what, _)| (*what).to_owned()).collect(),
            rights: Right::ALL.iter().filter(|(_, right)| user.rights.contains(right)).map(|(word, _)| (*word).to_owned()).collect(),
            role: user.role.map(|role| role.word().to_owned()),
            senders: user.senders.iter().map(ToString::to_string).collect(),
            stream: user.stream.as_ref().map(ToString::to_string),
            rate: user.rate.map(|rate| rate.to_string()),
            daily_quota: user.daily_quota,
        }
    }
}

/// Every key of every domain; of each domain, the configured keys first. With what DNS holds for each, if `look_up` is set.
///
/// # Errors
/// A key of the relay's own, or the store of keys, cannot be read; no resolver can be made.
pub async fn keys(settings: &Settings, look_up: bool) -> Result<Vec<KeyRow>, KeysError> {
    let keys = all(&settings.config)?;
    let resolver = settings.new_resolver()?;
    let mut rows = Vec::new();
    for Known { domain, selector, key, stage, made } in keys {
        let said = match look_up {
            true => Some(published(&resolver, &key, &selector, &domain).await),
            false => None,
        };
        let dns = said.as_ref().map_or_else(String::new, |said| said.word().to_owned());
        let why = said.as_ref().and_then(|said| said.why()).map(str::to_owned);
        let (algorithm, bits, record) = (key.algorithm().to_string(), key.bits(), key.public_record());
        rows.push(KeyRow { domain, selector, stage: stage.to_owned(), algorithm, bits, made, record, dns, why });
    }
    Ok(rows)
}

/// Why keys cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The keys.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The store of keys.
    #[error("the store of DKIM keys cannot be read: {0}")]
    Store(String),
    /// The resolver.
    #[error(transparent)]
    Settings(#[from] crate::settings::SettingsError),
}

struct Known {
    domain: Domain,
    selector: String,
    key: Key,
    stage: &'static str,
    made: i64,
}

fn all(config: &Config) -> Result<Vec<Known>, KeysError> {
    let dir = KeyStore::dir(&config.data_dir);
    let store = KeyStore::read(&dir).map_err(|error| KeysError::Store(error.to_string()))?;
    let mut keys = Vec::new();
    for (domain, signing) in signing_domains(&config.dkim) {
        let heirs = || store.of(domain.as_str()).flat_map(|succession| &succession.keys);
        for key in &signing.keys {
            let selector = key.selector.to_string();
            let stage = heirs().find(|heir| heir.selector == selector).map_or("active", |heir| word(&heir.stage));
            keys.push(Known { domain: domain.clone(), selector, key: key.key.clone(), stage, made: changed(&key.file) });
        }
        for heir in heirs().filter(|heir| heir.ours) {
            let key = own_key(&dir, &heir.selector, &domain)?;
            let made = changed(&key_file(&dir, &heir.selector, domain.as_str()));
            keys.push(Known { domain: domain.clone(), selector: heir.selector.clone(), key, stage: word(&heir.stage), made });
        }
    }
    Ok(keys)
}

fn word(stage: &Stage) -> &'static str {
    match stage {
        Stage::Next { .. } => "next",
        Stage::Active { .. } => "active",
        Stage::Retiring { .. } => "retiring",
        Stage::Retired => "retired",
    }
}

/// When a file was last written, in seconds since 1970-01-01 UTC. A key's file is written only once.
fn changed(file: &Path) -> i64 {
    let time = std::fs::metadata(file).and_then(|meta| meta.modified()).ok();
    let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or_default()
}
