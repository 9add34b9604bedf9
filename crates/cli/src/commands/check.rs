//! `posthaste check`

use std::{io::Write, process::ExitCode};

use clap::Args;
use posthaste_host::clock;
use posthaste_relay::settings::{Settings, exposed};

use super::At;
use crate::screen;

/// Check a configuration and report every error with its line.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    at: At,
}

impl Check {
    /// Reads the configuration and builds everything from it that does not need the network.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.load()?;
        let what = format!("{} listeners, {} sources, {} streams", config.listeners.len(), config.sources.len(), config.streams.len());
        let settings = Settings::new(config)?;
        settings.new_resolver()?;
        let broken = settings.rules.check_examples();
        if let Some(first) = broken.first() {
            let (n, rule, example, other) = (broken.len(), &first.rule, &first.example, &first.decided_by);
            anyhow::bail!(
                "{n} examples of bounce rules are decided by another rule than their own; the first is {rule}'s example {example:?}, decided by {other}"
            );
        }
        let broken = settings.feedback.check_examples(&settings.rules);
        if let Some(first) = broken.first() {
            let (n, rule, example, origin) = (broken.len(), &first.rule, &first.example, &first.origin);
            let other = first.decided_by.as_ref().map_or("no rule".to_owned(), |other| format!("{other:?}"));
            anyhow::bail!(
                "{n} examples of feedback rules are decided by another rule than their own; the first, {origin}: {rule}'s example {example:?}, decided by {other}"
            );
        }
        let mut cautions = settings.cautions(clock::now());
        cautions.extend(exposed(&settings.config));
        cautions.iter().try_for_each(|caution| writeln!(screen::out(), "caution: {caution}"))?;
        writeln!(screen::out(), "the configuration is valid: {what}")?;
        Ok(ExitCode::SUCCESS)
    }
}
