//! `posthaste bounce`

mod read;
mod shape;
mod unknown;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::At;

/// Read returned mail, and list the replies that no rule knows.
#[derive(Args)]
pub(crate) struct Bounce {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Print what returned mail reports.
    Read(read::Read),
    /// Group the replies in the log whose meaning is uncertain, the most frequent first, each with a draft of a rule.
    Unknown(unknown::Unknown),
}

impl Bounce {
    /// Runs the subcommand.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            What::Read(read) => read.run(self.at.load()?),
            What::Unknown(unknown) => unknown.run(&self.at),
        }
    }
}
