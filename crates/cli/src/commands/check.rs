//! `posthaste check`

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use posthaste_config::{Config, DEFAULTS};
use posthaste_host::{ThisHost, clock};
use posthaste_relay::settings::{Settings, as_root, doubts, exposed, own_mail, unpublished};
use serde::Serialize;

use super::{At, Elsewhere, count, sendmail::Names};
use crate::screen;

/// Check a configuration and report every error with its line.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    at: At,
    /// Check a file that is meant for another host: its addresses need not be here, nor its keys and other files. DNS is not asked.
    #[arg(long)]
    offline: bool,
    /// Print the configuration file of the defaults instead: every key, its value and what it means.
    #[arg(long, conflicts_with_all = ["offline", "json", "config"])]
    defaults: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// What a check found.
#[derive(Serialize)]
struct Checked {
    valid: bool,
    /// None: there is no file, and the defaults apply.
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has: Option<String>,
    errors: Vec<String>,
    cautions: Vec<String>,
    /// What could not be checked here.
    unchecked: Vec<String>,
}

impl Check {
    /// Reads the configuration, builds everything from it, and asks DNS for the keys that sign. Exit status 1 if it is invalid.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self.defaults {
            write!(screen::raw(), "{DEFAULTS}")?;
            return Ok(ExitCode::SUCCESS);
        }
        self.at.says_which();
        let file = self.at.file()?;
        let mut checked = Checked { valid: true, file, has: None, errors: Vec::new(), cautions: Vec::new(), unchecked: Vec::new() };
        if let Err(error) = self.examine(&mut checked) {
            (checked.valid, checked.errors) = (false, error.to_string().lines().map(str::to_owned).collect());
        }
        let mut out = screen::out();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&checked)?)?;
        } else {
            checked.unchecked.iter().try_for_each(|what| writeln!(out, "not checked: {what}"))?;
            checked.cautions.iter().try_for_each(|caution| writeln!(out, "caution: {caution}"))?;
            match &checked.has {
                Some(has) => writeln!(out, "the configuration is valid: {has} ({})", self.subject())?,
                None => screen::say(format_args!("the configuration is invalid:\n{}", checked.errors.join("\n"))),
            }
        }
        Ok(if checked.valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn examine(&self, checked: &mut Checked) -> anyhow::Result<()> {
        let config = if self.offline {
            let (config, unread) = Config::load_for_elsewhere(checked.file.as_deref(), &Elsewhere)?;
            checked.unchecked = unread.iter().map(ToString::to_string).collect();
            config
        } else {
            Config::load(checked.file.as_deref(), &ThisHost)?
        };
        let has = [(config.listeners.len(), "listener"), (config.sources.len(), "source"), (config.streams.len(), "stream")];
        let has = has.map(|(n, noun)| count(n, noun)).join(", ");
        let settings = Settings::new(config)?;
        let resolver = settings.new_resolver()?;
        check_examples(&settings)?;
        let is_elsewhere = checked.file.as_deref().is_some_and(Path::is_absolute);
        let relative = Some(&settings.config.data_dir).filter(|dir| dir.is_relative() && is_elsewhere).map(|dir| {
            format!(
                "data_dir is {:?}, in whatever folder a command is started: give its whole path, so that all commands find the same data",
                dir.display().to_string()
            )
        });
        if self.offline {
            checked.cautions = doubts(&settings.config, false);
        } else {
            checked.cautions = settings.cautions(clock::now());
            checked.cautions.extend(exposed(&settings.config));
            checked.cautions.extend(as_root(&settings.config));
            checked.cautions.extend(Names::astray(&settings.config));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            checked.cautions.extend(runtime.block_on(unpublished(&settings.signing, &resolver)));
            checked.cautions.extend(runtime.block_on(own_mail(&settings.config, &resolver)));
        }
        checked.cautions.extend(relative);
        checked.has = Some(has);
        Ok(())
    }

    fn subject(&self) -> String {
        match self.at.file().ok().flatten() {
            Some(path) => path.display().to_string(),
            None => "there is no configuration file: the defaults apply".to_owned(),
        }
    }
}

/// Checks that rules decide their own examples.
fn check_examples(settings: &Settings) -> anyhow::Result<()> {
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
    Ok(())
}
