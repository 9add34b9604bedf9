//! `posthaste dkim status` and `posthaste dkim dns`: the configured keys and their successors, with what DNS holds for them.

use std::{io::Write, process::ExitCode};

use posthaste_dkim::zone_lines;
use posthaste_host::clock;
use posthaste_mail::{Domain, Foreign};
use posthaste_relay::{
    admin::{Request, ask},
    private::{KeyRow, keys},
    settings::Settings,
};
use serde::Serialize;

use crate::{
    commands::{At, table::fitted},
    screen,
};

const DAY: i64 = 24 * 3600;

#[derive(Serialize)]
struct Row<'a> {
    domain: &'a Domain,
    selector: &'a str,
    stage: &'a str,
    algorithm: &'a str,
    bits: usize,
    age_days: i64,
    dns: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

/// Prints all keys, one per line.
pub(super) fn status(at: &At, json: bool) -> anyhow::Result<ExitCode> {
    let keys = known(at, true)?;
    let now = clock::now().as_second();
    let age_days = |key: &KeyRow| (now - key.made).max(0) / DAY;
    let mut out = screen::out();
    if json {
        for key in &keys {
            let KeyRow { domain, selector, stage, algorithm, bits, dns, why, .. } = key;
            let row = Row { domain, selector, stage, algorithm, bits: *bits, age_days: age_days(key), dns, why: why.as_deref() };
            writeln!(out, "{}", serde_json::to_string(&row)?)?;
        }
    } else if keys.is_empty() {
        writeln!(out, "no keys; `posthaste dkim new DOMAIN SELECTOR` makes one")?;
    } else {
        let cells = |key: &KeyRow| {
            let KeyRow { domain, selector, stage, algorithm, bits, dns, .. } = key;
            let (bits, age) = (bits.to_string(), format!("{}d", age_days(key)));
            let cells = vec![domain.to_string(), selector.clone(), stage.clone(), algorithm.clone(), bits, age, dns.clone()];
            (cells, key.why.iter().map(|why| Foreign::new(why).to_string()).collect())
        };
        let rows: Vec<_> = keys.iter().map(cells).collect();
        let head = ["DOMAIN", "SELECTOR", "STAGE", "ALGORITHM", "BITS", "AGE", "DNS"];
        write!(out, "{}", fitted(&head, &rows, screen::width()))?;
    }
    let lost = keys.iter().any(|key| key.stage == "active" && key.dns != "matches");
    Ok(if lost { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints the records that must be in DNS.
pub(super) fn dns(at: &At, domain: &Domain, json: bool) -> anyhow::Result<ExitCode> {
    let keys = known(at, false)?;
    let mut out = screen::raw();
    let needed: Vec<&KeyRow> = keys.iter().filter(|key| key.domain == *domain && key.stage != "retired").collect();
    anyhow::ensure!(!needed.is_empty(), "{domain} has no keys: the configuration needs [dkim.domain.\"{domain}\"]");
    for key in needed {
        if json {
            writeln!(out, "{}", key_record(key))?;
            continue;
        }
        writeln!(out, "; {}, {}, {} bits", key.stage, key.algorithm, key.bits)?;
        write!(out, "{}", zone_lines(&key.selector, domain.as_str(), &key.record))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses a selector that a key of the domain has already: DNS holds one key by a name. Where the keys cannot be known, nothing is refused: a key
/// may be made before there is a configuration that can be read.
pub(super) fn must_be_new(at: &At, domain: &Domain, selector: &Domain) -> anyhow::Result<()> {
    let keys = known(at, false).unwrap_or_default();
    let has = keys.iter().find(|key| key.domain == *domain && key.selector.eq_ignore_ascii_case(selector.as_str()));
    let Some(KeyRow { stage, .. }) = has else { return Ok(()) };
    anyhow::bail!(
        "{domain} has a key with the selector {selector} already ({stage}), and DNS holds one key by that name: choose another selector, or let \
         `posthaste dkim rotate {domain}` make the next key"
    )
}

/// A key's record, for programs.
fn key_record(key: &KeyRow) -> serde_json::Value {
    serde_json::json!({
        "domain": key.domain,
        "selector": key.selector,
        "stage": key.stage,
        "name": format!("{}._domainkey.{}", key.selector, key.domain),
        "txt": key.record,
    })
}

/// The keys in the files; for whoever may not read these, those that the running relay knows.
fn known(at: &At, look_up: bool) -> anyhow::Result<Vec<KeyRow>> {
    let unread = match own(at, look_up) {
        Ok(keys) => return Ok(keys),
        Err(error) => error,
    };
    ask(&at.look()?.admin.socket, &Request::DkimKeys { look_up }).map_err(|_| unread)
}

fn own(at: &At, look_up: bool) -> anyhow::Result<Vec<KeyRow>> {
    let settings = Settings::new(at.load()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(keys(&settings, look_up))?)
}
