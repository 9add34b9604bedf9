//! `posthaste why`

use std::{io::Write, process::ExitCode};

use clap::Args;
use posthaste_host::clock;
use posthaste_relay::{
    admin::{self, AskError, Request},
    settings::Settings,
    why::{self, Subject},
};

use super::At;
use crate::screen;

/// Explain where mail goes, which limits apply, and what is waiting, why and until when.
#[derive(Args)]
pub(crate) struct Why {
    #[command(flatten)]
    at: At,
    /// A recipient domain, a recipient's address, or a message's id.
    subject: Subject,
    /// Print JSON instead of text: one object per domain.
    #[arg(long)]
    json: bool,
}

impl Why {
    /// Asks the running relay; without one, uses the configuration and DNS.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.load()?;
        let pages: Vec<why::Why> = match admin::ask(&config.admin.socket, &Request::Why { subject: self.subject.clone() }) {
            Ok(pages) => pages,
            Err(AskError::NotRunning(_)) => vec![self.without_relay(&Settings::new(config)?)?],
            Err(error) => return Err(error.into()),
        };
        if pages.is_empty() {
            anyhow::bail!("this message is not in the queue; posthaste trace shows its history");
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

    fn without_relay(&self, settings: &Settings) -> anyhow::Result<why::Why> {
        let domain = match &self.subject {
            Subject::Domain(domain) => domain.clone(),
            Subject::Address(address) => address.to_domain(),
            Subject::Message(_) => {
                anyhow::bail!(
                    "no relay is running, and only a running relay knows what is waiting; posthaste trace shows a message's history"
                )
            }
        };
        let resolver = settings.new_resolver()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let route = runtime.block_on(resolver.route(&domain));
        Ok(why::Why::of(settings, &domain, &route))
    }
}
