//! `posthaste bounce`

mod read;
mod shape;
mod unknown;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::At;

/// Read mails that came back, and learn from replies that no rule knows.
#[derive(Args)]
pub struct Bounce {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Say what a mail that came back reports.
    Read(read::Read),
    /// Group the log's replies that are only guessed at, the most frequent first, with the beginning of a rule for each.
    Unknown(unknown::Unknown),
}

impl Bounce {
    /// Does what was asked.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.load()?;
        match self.command {
            What::Read(read) => read.run(config),
            What::Unknown(unknown) => unknown.run(config),
        }
    }
}
