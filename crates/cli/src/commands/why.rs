//! `posthaste why`

use std::{io::Write, process::ExitCode};

use clap::Args;
use posthaste_host::clock;
use posthaste_relay::{
    admin::{self, AskError, Request},
    settings::Settings,
    why::{self, Subject},
};

use super::{At, id_like};
use crate::screen;

/// Explain where mail goes, which limits apply, and what is waiting, why and until when.
#[derive(Args)]
pub(crate) struct Why {
    #[command(flatten)]
    at: At,
    /// A recipient domain, a recipient's address, or a message's id or a part of it.
    subject: String,
    /// Print JSON instead of text: one object per domain.
    #[arg(long)]
    json: bool,
}

impl Why {
    /// Asks the running relay; without one, uses the configuration and DNS.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.look()?;
        let subject = match self.subject.parse() {
            // A word without a dot is more likely a part of an id than a domain.
            Ok(Subject::Domain(domain)) if !domain.as_str().contains('.') => {
                id_like(&config, &self.subject).map_or(Subject::Domain(domain), Subject::Message)
            }
            Ok(subject) => subject,
            Err(why) => Subject::Message(id_like(&config, &self.subject).map_err(|error| anyhow::anyhow!("{why}; {error}"))?),
        };
        let pages: Vec<why::Why> = match admin::ask(&config.admin.socket, &Request::Why { subject: subject.clone() }) {
            Ok(pages) => pages,
            Err(AskError::NotRunning(_)) => vec![without_relay(&subject, &Settings::new(self.at.load_as_owner()?)?)?],
            Err(error) => return Err(error.into()),
        };
        if pages.is_empty() {
            anyhow::bail!("neither the queue nor the log knows this message");
        }
        let now = clock::now();
        let mut out = screen::out();
        for (number, page) in pages.iter().enumerate() {
            match self.json {
                true => writeln!(out, "{}", serde_json::to_string(page)?)?,
                false => write!(out, "{}{}", if number == 0 { "" } else { "\n" }, page.page(now))?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn without_relay(subject: &Subject, settings: &Settings) -> anyhow::Result<why::Why> {
    let domain = match subject {
        Subject::Domain(domain) => domain.clone(),
        Subject::Address(address) => address.to_domain(),
        Subject::Message(_) => {
            anyhow::bail!("no relay is running, and only a running relay knows what is waiting; posthaste trace shows a message's history")
        }
    };
    let resolver = settings.new_resolver()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let route = runtime.block_on(resolver.route(&domain));
    let mut page = why::Why::of(settings, &domain, &route);
    if settings.config.log.dir.exists() {
        page.add_endings(settings, subject)?;
    }
    Ok(page)
}
