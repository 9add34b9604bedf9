//! `posthaste audit`

use std::{io::Write, process::ExitCode};

use clap::Args;
use posthaste_config::Config;
use posthaste_host::{InForce, clock};
use posthaste_monitor::audit;
use posthaste_queue::Dispatcher;
use posthaste_relay::{
    admin::{AskError, Audited, Request, ask},
    lock, open_spool,
    recover::{recover, spooled},
    settings::Settings,
    take_log_alarms,
};

use super::At;
use crate::{progress::Progress, screen};

/// Prove from log and spool that every accepted message has a final outcome or is still queued.
#[derive(Args)]
pub(crate) struct Audit {
    #[command(flatten)]
    at: At,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Audit {
    /// Asks the running relay. Without one, brings spool and log into agreement as a start would, and counts itself. Exit status 1 if they
    /// disagree, 2 if there is nothing to look at.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.look_as_owner()?;
        let progress = Progress::endless("comparing the delivery log with the spool");
        let audited = match ask::<Audited>(&config.admin.socket, &Request::Audit) {
            Ok(audited) => audited,
            Err(AskError::NotRunning(_)) => {
                self.at.must_have_data(&config)?;
                stopped(self.at.load()?)?
            }
            Err(error) => return Err(error.into()),
        };
        drop(progress);
        match self.json {
            true => writeln!(screen::out(), "{}", serde_json::to_string(&audited)?)?,
            false => writeln!(screen::out(), "{}", audited.text)?,
        }
        Ok(if audited.balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn stopped(config: Config) -> anyhow::Result<Audited> {
    let _lock = lock(&config.data_dir)?;
    let settings = Settings::new(config)?;
    let opened = open_spool(&settings.config)?;
    let mut queue = Dispatcher::new(settings.policy(&posthaste_delivery::ledger::FirstSeen::new()));
    let recovered = recover(&opened, &settings, InForce::fixed(settings.config.node.clone()), &mut queue, clock::now(), &|_| ())?;
    opened.alarms.raise(recovered.found.losses, clock::now());
    take_log_alarms(&recovered.journal, &opened.alarms);
    recovered.journal.close()?;
    let queued = spooled(&opened.spool)?;
    let audit = audit(&settings.config.log.dir, queued, None)?;
    opened.spool.close()?;
    Ok(Audited::of(&audit))
}
