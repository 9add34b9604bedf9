//! The answer to `Why`: configuration and DNS, the queue, the sessions, the suppression list and the delivery log, asked one after the other.

use std::sync::Arc;

use posthaste_delivery::read_record;
use posthaste_host::clock;
use posthaste_journal::Journal;
use posthaste_mail::{Address, Domain, Name};
use posthaste_monitor::LogError;
use posthaste_queue::{MessageSelection, Reasons, SourceNow};
use posthaste_suppression::List;

use super::{Desk, Undone};
use crate::{
    settings::Settings,
    why::{self, Subject, WaitingMail, Why},
};

impl Desk {
    /// One report per domain; none for a message that neither the queue nor the log knows.
    /// # Errors
    /// DNS cannot be asked at all, the log cannot be read, or the relay stops.
    pub async fn why(&self, subject: Subject) -> Result<Vec<Why>, Undone> {
        let settings = self.settings.load_full();
        let resolver = settings.new_resolver()?;
        let mut pages = Vec::new();
        for (domain, selection) in self.domains_of(&subject).await? {
            let mut why = Why::of(&settings, &domain, &resolver.route(&domain).await);
            let provider = why.provider.as_ref().map(|known| known.name.clone());
            let sources: Vec<Name> = why.lanes.iter().map(|lane| lane.source.clone()).collect();
            let Reasons { lanes, waiting, halted } = self.intake.queue.why(selection, why::READ_MAX, provider, sources).await?;
            for SourceNow { source, now } in lanes {
                why.lanes.iter_mut().filter(|lane| lane.source == source).for_each(|lane| lane.now = Some(now.clone()));
            }
            why.halted = halted;
            why.blocked = self.outbound.reach.blocked();
            let (spool, asked) = (self.intake.spool.clone(), subject.clone());
            let read = move || {
                WaitingMail::read(&asked, waiting.first, waiting.total, |seq| Some(read_record(&spool, seq).ok()?.envelope.recipients))
            };
            why.waiting = Some(tokio::task::spawn_blocking(read).await.map_err(Undone::of)?);
            self.say_under_way(&mut why);
            pages.push(self.add_what_is_known(why, &subject, settings.clone()).await?);
        }
        Ok(pages)
    }

    /// What sessions do with the recipients that they have in hand.
    fn say_under_way(&self, why: &mut Why) {
        let now = clock::instant();
        for (_, waits, _) in
            why.waiting.iter_mut().flat_map(|waiting| &mut waiting.first).filter(|(_, waits, _)| waits.standing.state == "in_flight")
        {
            if let Some(doing) = self.outbound.under_way.of(waits.seq, waits.rcpt, now) {
                waits.standing.held.why = doing;
            }
        }
    }

    /// Adds what the suppression list and the log say.
    async fn add_what_is_known(&self, mut why: Why, subject: &Subject, settings: Arc<Settings>) -> Result<Why, Undone> {
        let (journal, register, subject) = (self.intake.journal.clone(), self.intake.register.clone(), subject.clone());
        let read = move || {
            // Without the log it is half an answer, and better than none.
            if let Err(error) = add_from_log(&mut why, &journal, &settings, &subject) {
                tracing::warn!(%error, "the delivery log cannot be read for an operator's question");
            }
            let asked = match &subject {
                Subject::Address(address) => Some(address.clone()),
                _ => None,
            };
            let waiting = why.waiting.iter().flat_map(|waiting| &waiting.first);
            let mut addresses: Vec<Address> =
                asked.into_iter().chain(waiting.filter_map(|(address, ..)| Address::international(address).ok())).collect();
            addresses.sort();
            addresses.dedup();
            let list = List::new(&register, &settings.config.suppression);
            why.suppressed = addresses.iter().flat_map(|address| list.find(address, clock::now())).collect();
            why
        };
        tokio::task::spawn_blocking(read).await.map_err(Undone::of)
    }

    /// The domains to report on, each with the filter of what waits there.
    async fn domains_of(&self, subject: &Subject) -> Result<Vec<(Domain, MessageSelection)>, Undone> {
        let at =
            |domain: Domain, id| (domain.clone(), MessageSelection { id, domain: Some(domain.to_string()), ..MessageSelection::default() });
        let id = match subject {
            Subject::Domain(domain) => return Ok(vec![at(domain.clone(), None)]),
            Subject::Address(address) => return Ok(vec![at(address.to_domain(), None)]),
            Subject::Message(id) => *id,
        };
        let waits = self.intake.queue.why(MessageSelection::one(id), why::READ_MAX, None, Vec::new()).await?.waiting.first;
        let mut domains: Vec<Domain> = waits.iter().filter_map(|waits| Domain::new(&waits.domain).ok()).collect();
        if domains.is_empty() {
            let journal = self.intake.journal.clone();
            let read = move || why::domains_of(&journal.index().caught_up()?, id);
            let logged = tokio::task::spawn_blocking(read).await.map_err(Undone::of)?.map_err(Undone::of)?;
            domains = logged.iter().filter_map(|domain| Domain::new(domain).ok()).collect();
        }
        domains.sort();
        domains.dedup();
        domains.truncate(why::DOMAINS_MAX);
        Ok(domains.into_iter().map(|domain| at(domain, Some(id))).collect())
    }
}

/// Adds the last answers to what waits, and the latest endings. The log is not flushed before: while its disk is full, that would wait for room,
/// and the answer is wanted most.
fn add_from_log(why: &mut Why, journal: &Journal, settings: &Settings, subject: &Subject) -> Result<(), LogError> {
    let log = journal.index().caught_up()?;
    for (address, waits, told) in why.waiting.iter_mut().flat_map(|waiting| &mut waiting.first) {
        *told = why::last_answer(&log, &settings.rules, waits.id, address)?;
    }
    why.add_endings(settings, subject)
}
