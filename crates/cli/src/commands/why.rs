//! `posthaste why`

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use clap::Args;
use posthaste_host::clock;
use posthaste_relay::{
    admin::{self, AskError, Request},
    settings::Settings,
    why::{self, Subject},
};

use super::At;

/// Say where mail goes, under which limits, what of it waits, why, and until when.
#[derive(Args)]
pub struct Why {
    #[command(flatten)]
    at: At,
    /// A recipients' domain, a recipient's address, or a message's id.
    subject: Subject,
    /// JSON instead of text: one object for each domain.
    #[arg(long)]
    json: bool,
}

impl Why {
    /// Asks the relay; where none runs, configuration and DNS.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.load()?;
        let pages: Vec<why::Why> = match admin::ask(&config.admin.socket, &Request::Why { subject: self.subject.clone() }) {
            Ok(pages) => pages,
            Err(AskError::NotRunning(_)) => vec![self.without_relay(&Settings::new(config).map_err(anyhow::Error::msg)?)?],
            Err(error) => return Err(error.into()),
        };
        if pages.is_empty() {
            anyhow::bail!("nothing of this message waits; posthaste trace tells its story");
        }
        let now = clock::now();
        let mut out = stdout().lock();
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
                anyhow::bail!("no relay answers, and only a relay knows what waits; posthaste trace tells a message's story")
            }
        };
        let resolver = settings.new_resolver().map_err(anyhow::Error::msg)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let route = runtime.block_on(resolver.route(&domain));
        Ok(why::Why::of(settings, &domain, &route))
    }
}
