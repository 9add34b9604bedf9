//! `posthaste reload`

use std::{io::Write, process::ExitCode};

use clap::Args;
use posthaste_relay::{Reloaded, admin::Request};

use super::At;
use crate::screen;

/// Make the running relay read its configuration again.
#[derive(Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    at: At,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Reload {
    /// Asks the relay to reload and prints the result. The relay reads the file that it was started with.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Reloaded { detail, changed, needs_restart } = self.at.ask(&Request::Reload)?;
        match self.json {
            true => {
                let done = serde_json::json!({ "in_force": true, "detail": detail, "changed": changed, "needs_restart": needs_restart });
                writeln!(screen::out(), "{done}")?;
            }
            false => writeln!(screen::out(), "{detail}")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
