//! `posthaste dkim status` and `posthaste dkim dns`: the configured keys and their successors, with what DNS holds for them.

use std::{io::Write, path::Path, process::ExitCode, time::SystemTime};

use posthaste_config::Config;
use posthaste_dkim::{Key, Published, Stage, zone_lines};
use posthaste_host::clock;
use posthaste_mail::{Domain, Foreign};
use posthaste_relay::settings::Settings;
use posthaste_signing::{
    key_store::{KeyStore, key_file},
    keyring::{own_key, signing_domains},
    rotation::news::published,
};
use serde::Serialize;

use crate::commands::At;
use crate::screen;

const DAY: i64 = 24 * 3600;

/// A key with its domain, selector and stage.
struct Known {
    domain: Domain,
    selector: String,
    key: Key,
    stage: &'static str,
    /// In seconds since 1970-01-01 UTC.
    made: i64,
}

#[derive(Serialize)]
struct Row<'a> {
    domain: &'a Domain,
    selector: &'a str,
    stage: &'a str,
    algorithm: String,
    bits: usize,
    age_days: i64,
    dns: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

/// Prints all keys, one per line.
pub(super) fn status(at: &At, json: bool) -> anyhow::Result<ExitCode> {
    let config = at.load()?;
    let keys = keys(&config)?;
    let settings = Settings::new(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let said: Vec<Published> = runtime.block_on(async {
        let resolver = settings.new_resolver()?;
        let mut said = Vec::new();
        for known in &keys {
            said.push(published(&resolver, &known.key, &known.selector, &known.domain).await);
        }
        Ok::<_, anyhow::Error>(said)
    })?;
    let now = clock::now().as_second();
    let mut out = screen::out();
    if !json {
        writeln!(out, "{:<24} {:<14} {:<9} {:<14} {:>5} {:>6}  DNS", "DOMAIN", "SELECTOR", "STAGE", "ALGORITHM", "BITS", "AGE")?;
    }
    for (known, said) in keys.iter().zip(&said) {
        let age_days = (now - known.made).max(0) / DAY;
        let (algorithm, bits) = (known.key.algorithm().to_string(), known.key.bits());
        let Known { domain, selector, stage, .. } = known;
        if json {
            let row = Row { domain, selector, stage, algorithm, bits, age_days, dns: said.word(), why: said.why() };
            writeln!(out, "{}", serde_json::to_string(&row)?)?;
        } else {
            let why = said.why().map_or_else(String::new, |why| format!(": {}", Foreign::new(why)));
            let (domain, age) = (domain.as_str(), format!("{age_days}d"));
            writeln!(out, "{domain:<24} {selector:<14} {stage:<9} {algorithm:<14} {bits:>5} {age:>6}  {}{why}", said.word())?;
        }
    }
    let lost = keys.iter().zip(&said).any(|(known, said)| known.stage == "active" && !said.is_there());
    Ok(if lost { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints the records that must be in DNS.
pub(super) fn dns(at: &At, domain: &Domain, json: bool) -> anyhow::Result<ExitCode> {
    let keys = keys(&at.load()?)?;
    let mut out = screen::out();
    let needed: Vec<&Known> = keys.iter().filter(|known| known.domain == *domain && known.stage != "retired").collect();
    anyhow::ensure!(!needed.is_empty(), "{domain} has no keys: the configuration needs [dkim.domain.\"{domain}\"]");
    for known in needed {
        if json {
            let record = key_record(known, domain);
            writeln!(out, "{record}")?;
            continue;
        }
        writeln!(out, "; {}, {}, {} bits", known.stage, known.key.algorithm(), known.key.bits())?;
        write!(out, "{}", zone_lines(&known.selector, domain.as_str(), &known.key.public_record()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A key's record, for programs.
fn key_record(known: &Known, domain: &Domain) -> serde_json::Value {
    serde_json::json!({
        "domain": domain,
        "selector": known.selector,
        "stage": known.stage,
        "name": format!("{}._domainkey.{domain}", known.selector),
        "txt": known.key.public_record(),
    })
}

/// Every key of every domain; of each domain, the configured keys first.
fn keys(config: &Config) -> anyhow::Result<Vec<Known>> {
    let dir = KeyStore::dir(&config.data_dir);
    let store = KeyStore::read(&dir)?;
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
