//! `posthaste why`

use std::{io::Write, process::ExitCode};

use clap::Args;
use posthaste_config::Config;
use posthaste_host::clock;
use posthaste_relay::{
    admin::{self, AskError, Request},
    settings::Settings,
    why::{self, Subject},
};

use super::{At, message_named};
use crate::screen;

/// Explain where mail goes, which limits apply, and what is waiting, why and until when.
#[derive(Args)]
pub(crate) struct Why {
    #[command(flatten)]
    at: At,
    /// A recipient domain, a recipient's address, or a message: its id, a part of it, or its Message-ID.
    subject: String,
    /// Print JSON instead of text: one object per domain.
    #[arg(long)]
    json: bool,
}

impl Why {
    /// Asks the running relay; without one, uses the configuration and DNS.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.look()?;
        let mut pages = self.ask(&config, &subject(&config, &self.subject)?)?;
        let is_known = |page: &why::Why| page.waiting.as_ref().is_some_and(|waiting| waiting.total > 0) || !page.ended.is_empty();
        // What looks like an address may be a Message-ID without its brackets.
        if self.subject.contains('@')
            && !pages.iter().any(is_known)
            && let Some(id) = message_named(&config, &self.subject)?
        {
            pages = self.ask(&config, &Subject::Message(id))?;
        }
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

impl Why {
    fn ask(&self, config: &Config, subject: &Subject) -> anyhow::Result<Vec<why::Why>> {
        match admin::ask(&config.admin.socket, &Request::Why { subject: subject.clone() }) {
            Ok(pages) => Ok(pages),
            Err(AskError::NotRunning(_)) => Ok(vec![without_relay(subject, &Settings::new(self.at.load_as_owner()?)?)?]),
            Err(error) => Err(error.into()),
        }
    }
}

/// What the text means: a message by its id, a part of it or its Message-ID; an address; a domain.
fn subject(config: &Config, text: &str) -> anyhow::Result<Subject> {
    match text.parse() {
        // A word without a dot is more likely a part of an id than a domain.
        Ok(Subject::Domain(domain)) if !domain.as_str().contains('.') => {
            Ok(message_named(config, text)?.map_or(Subject::Domain(domain), Subject::Message))
        }
        Ok(subject) => Ok(subject),
        Err(why) => match message_named(config, text)? {
            Some(id) => Ok(Subject::Message(id)),
            // An address as a header has it.
            None => match text.trim().strip_prefix('<').and_then(|text| text.strip_suffix('>')).map(str::parse) {
                Some(Ok(subject)) => Ok(subject),
                _ => anyhow::bail!("{why}, nor is it a part of an id or a Message-ID in the delivery log"),
            },
        },
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
