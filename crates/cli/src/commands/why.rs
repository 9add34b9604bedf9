//! `posthaste why`

use std::{collections::BTreeSet, io::Write, net::IpAddr, process::ExitCode};

use clap::Args;
use posthaste_config::Config;
use posthaste_host::clock;
use posthaste_mail::Domain;
use posthaste_queue::MessageSelection;
use posthaste_relay::{
    admin::{self, AskError, List, Request},
    settings::{Settings, known_providers},
    why::{self, Subject},
};

use super::{At, message_named};
use crate::screen;

/// Explain where mail goes, which limits apply, and what is waiting, why and until when.
#[derive(Args)]
pub(crate) struct Why {
    #[command(flatten)]
    at: At,
    /// A recipient domain, a recipient's address, a provider as `queue` names it, or a message: its id, a part of it, or its Message-ID.
    subject: String,
    /// Print JSON instead of text: one object per domain.
    #[arg(long)]
    json: bool,
}

impl Why {
    /// Asks the running relay; without one, uses the configuration and DNS.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.look()?;
        let mut pages = match is_provider(&config, &self.subject)? {
            true => self.of_provider(&config)?,
            false => self.ask(&config, &subject(&config, &self.subject)?)?,
        };
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
    /// A page for each domain with mail that waits for a provider, as `queue` names it.
    fn of_provider(&self, config: &Config) -> anyhow::Result<Vec<why::Why>> {
        let name = &self.subject;
        let selection = MessageSelection { provider: Some(name.clone()), ..MessageSelection::default() };
        let list: List = self.at.ask(&Request::List { selection, limit: LISTED })?;
        let domains: BTreeSet<&str> = list.messages.iter().flat_map(|m| &m.row.rcpts).map(|rcpt| &*rcpt.domain).collect();
        if domains.is_empty() {
            anyhow::bail!(
                "{name:?} is a provider, and no mail waits for it; `posthaste why DOMAIN` explains the way to one of its domains"
            );
        }
        if domains.len() > PAGES_MAX {
            screen::say(format_args!("mail for {} domains waits for {name}; these are {PAGES_MAX} of them", domains.len()));
        }
        let mut pages = Vec::new();
        for domain in domains.into_iter().take(PAGES_MAX) {
            pages.extend(self.ask(config, &Subject::Domain(Domain::new(domain)?))?);
        }
        Ok(pages)
    }

    fn ask(&self, config: &Config, subject: &Subject) -> anyhow::Result<Vec<why::Why>> {
        match admin::ask(&config.admin.socket, &Request::Why { subject: subject.clone() }) {
            Ok(pages) => Ok(pages),
            Err(AskError::NotRunning(_)) => Ok(vec![without_relay(subject, &Settings::new(self.at.load_as_owner()?)?)?]),
            Err(error) => Err(error.into()),
        }
    }
}

/// Domains of a provider that are explained at once, at most.
const PAGES_MAX: usize = 3;
/// Messages that are asked for to find these.
const LISTED: usize = 100;

/// Whether this is the name of a provider and cannot be a domain: a word of the table, or the address of a host.
fn is_provider(config: &Config, text: &str) -> anyhow::Result<bool> {
    let is_word = !text.contains(['.', '@']);
    Ok(text.parse::<IpAddr>().is_ok() || (is_word && known_providers(config)?.iter().any(|name| name.eq_ignore_ascii_case(text))))
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
