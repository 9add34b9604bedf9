//! `posthaste audit`

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use clap::Args;
use posthaste_monitor::audit;

use super::At;
use crate::{
    admin::{AskError, Audited, Request, ask},
    clock,
    config::Config,
    dispatch::Dispatcher,
    live::{self, Live},
    recover::{recover, spooled},
    run::{lock, open_spool},
};

/// Prove from log and spool that every accepted message has a final outcome or is still queued.
#[derive(Args)]
pub struct Audit {
    #[command(flatten)]
    at: At,
}

impl Audit {
    /// Asks the running relay. Without one, brings spool and log into agreement as a start would, and counts itself. Exit status 1 if they disagree.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.load()?;
        let audited = match ask::<Audited>(&config.admin.socket, &Request::Audit) {
            Ok(audited) => audited,
            Err(AskError::NotRunning(_)) => stopped(config)?,
            Err(error) => return Err(error.into()),
        };
        writeln!(stdout(), "{}", audited.text)?;
        Ok(if audited.balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn stopped(config: Config) -> anyhow::Result<Audited> {
    let _lock = lock(&config.data_dir)?;
    let live = Live::new(config).map_err(anyhow::Error::msg)?;
    let (spool, _) = open_spool(&live.config)?;
    let mut queue = Dispatcher::new(live.policy(&live::FirstSeen::new()));
    let recovered = recover(&spool, &live, &mut queue, clock::now()).map_err(anyhow::Error::msg)?;
    recovered.log.close()?;
    let queued = spooled(&spool).map_err(anyhow::Error::msg)?;
    let audit = audit(&live.config.log.dir, queued, None)?;
    spool.close()?;
    Ok(Audited { balanced: audit.balanced(), text: audit.to_string() })
}
