//! `posthaste dkim rotate`: asks the running relay, or does the work itself if none is running.

use std::{io::Write, process::ExitCode};

use posthaste_config::Config;
use posthaste_host::{InForce, clock};
use posthaste_mail::{Domain, Foreign};
use posthaste_relay::{
    admin::{self, AskError, Request},
    lock,
    settings::Settings,
};
use posthaste_signing::{
    key_store::KeyStore,
    rotation::{Rotation, news::NextKey},
};

use crate::commands::At;
use crate::screen;

/// Makes the next keys, or puts existing ones in force.
pub(super) fn rotate(at: &At, domain: &Domain, json: bool) -> anyhow::Result<ExitCode> {
    let config = at.load_as_owner()?;
    let keys: Vec<NextKey> = match admin::ask(&config.admin.socket, &Request::RotateKeys { domain: domain.clone() }) {
        Ok(keys) => keys,
        Err(AskError::NotRunning(_)) => alone(config, domain)?,
        Err(error) => anyhow::bail!("{error}"),
    };
    let mut out = screen::raw();
    if json {
        writeln!(out, "{}", serde_json::to_string(&keys)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for key in keys {
        let (selector, algorithm) = (&key.selector, key.algorithm);
        if key.signs {
            writeln!(out, "; {domain} now signs with {selector} ({algorithm})")?;
            continue;
        }
        let why = key.why.map_or_else(String::new, |why| format!(": {}", Foreign::new(&why)));
        writeln!(
            out,
            "; {selector} ({algorithm}) is waiting for DNS ({}{why}); publish this record, and a running relay will sign with the key",
            key.dns
        )?;
        write!(out, "{}", key.record)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn alone(config: Config, domain: &Domain) -> anyhow::Result<Vec<NextKey>> {
    let _lock = lock(&config.data_dir)?;
    let dir = KeyStore::dir(&config.data_dir);
    let settings = Settings::new(config)?;
    let rotation = Rotation::new(dir, InForce::new(move || settings.signing.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (keys, _) = runtime.block_on(rotation.rotate(domain, clock::now().as_second()))?;
    Ok(keys)
}
