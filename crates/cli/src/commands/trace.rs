//! `posthaste trace`

use std::{io::Write, process::ExitCode};

use clap::Args;
use posthaste_mail::Foreign;
use posthaste_monitor::{Format, Query, trace};

use super::At;
use crate::screen;

/// Show the whole history of a message, or of all mail to an address.
#[derive(Args)]
pub(crate) struct Trace {
    #[command(flatten)]
    at: At,
    /// A message's id, as given to the client, or a recipient's address.
    what: String,
    /// Print the lines as they are in the log.
    #[arg(long)]
    json: bool,
}

impl Trace {
    /// Prints what was found. Exit status 1 if nothing was.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let query = match self.what.parse() {
            Ok(id) => Query::Message(id),
            Err(_) if self.what.contains('@') => Query::Address(self.what.clone()),
            Err(error) => anyhow::bail!("{error}; give a message's id or a recipient's address"),
        };
        let found = trace(&self.at.load_as_owner()?.log.dir, &query)?;
        if found.is_empty() {
            screen::say(format_args!("the log contains nothing about {}", Foreign::new(&self.what)));
            return Ok(ExitCode::FAILURE);
        }
        let colour = screen::has_colours();
        let mut out = screen::out_in(colour && !self.json);
        if self.json {
            for line in found.lines() {
                out.write_all(line)?;
                out.write_all(b"\n")?;
            }
        } else {
            out.write_all(found.render(Format { colour }).as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
