//! `posthaste trace`

use std::{io::Write, path::Path, process::ExitCode};

use clap::Args;
use posthaste_host::clock;
use posthaste_mail::Foreign;
use posthaste_monitor::{Format, Trace as Found, search};
use posthaste_queue::MessageSelection;
use posthaste_relay::{
    admin::{List, Request, Traced, ask},
    why::stands,
};

use super::{
    At,
    words::{ambiguous, as_logged},
};
use crate::screen;

/// Show the whole history of a message, or of all mail to an address.
#[derive(Args)]
pub(crate) struct Trace {
    #[command(flatten)]
    at: At,
    /// A message's id, as given to the client, or a part of it; its Message-ID; or a recipient's address.
    #[arg(value_parser = named)]
    what: String,
    /// Print the lines as they are in the log.
    #[arg(long)]
    json: bool,
}

/// What to look for; a Message-ID may hold any text.
fn named(text: &str) -> Result<String, String> {
    if text.contains('<') { Ok(text.to_owned()) } else { as_logged(text) }
}

impl Trace {
    /// Prints what was found. Exit status 1 if nothing was.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.look_as_owner()?;
        self.at.must_have_log(&config)?;
        let mut found = match search(&config.log.dir, &self.what) {
            Err(error) if error.is_denied() => {
                let traced: Traced = ask(&config.admin.socket, &Request::Trace { what: self.what.clone() })?;
                Found::of_lines(traced.lines.iter().map(String::as_bytes), traced.candidates)
            }
            found => found?,
        };
        if !found.candidates.is_empty() {
            screen::say(ambiguous(&Foreign::new(&self.what).to_string(), &found.candidates));
            return Ok(ExitCode::FAILURE);
        }
        if found.is_empty() {
            screen::say(format_args!("the log contains nothing about {}", Foreign::new(&self.what)));
            return Ok(ExitCode::FAILURE);
        }
        if !self.json {
            say_what_it_waits_for(&mut found, &config.admin.socket);
        }
        let colour = screen::has_colours();
        let mut out = screen::out_in(colour && !self.json);
        if self.json {
            for line in found.lines() {
                out.write_all(line)?;
                out.write_all(b"\n")?;
            }
        } else {
            out.write_all(found.render(Format { colour, width: None }).as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The most messages that the relay is asked about.
const ASKED_MAX: usize = 50;

/// Adds what recipients without an ending wait for, in the same words as `posthaste why`. Without a running relay that is not known.
fn say_what_it_waits_for(found: &mut Found, socket: &Path) {
    let open = found.messages.iter_mut().filter(|history| history.recipients.iter().any(|recipient| !recipient.has_ended()));
    for history in open.take(ASKED_MAX) {
        let selection = MessageSelection::one(history.message);
        let Ok(List { messages, .. }) = ask(socket, &Request::List { selection, limit: 1 }) else { return };
        let Some(listed) = messages.first() else { continue };
        for (address, standing) in listed.addresses.iter().zip(&listed.row.standing) {
            let waits = stands(standing, clock::now());
            history.recipients.iter_mut().filter(|r| r.rcpt == *address).for_each(|recipient| recipient.now = Some(waits.clone()));
        }
    }
}
