//! `posthaste reload`

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use clap::Args;
use posthaste_relay::admin::Request;

use super::At;

/// Let the running relay read its configuration again.
#[derive(Args)]
pub struct Reload {
    #[command(flatten)]
    at: At,
}

impl Reload {
    /// Asks, and says what came of it. The relay reads the file that it was started with.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let done: String = self.at.ask(&Request::Reload)?;
        writeln!(stdout(), "{done}")?;
        Ok(ExitCode::SUCCESS)
    }
}
