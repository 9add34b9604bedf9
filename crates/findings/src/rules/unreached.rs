//! Nobody answers at a provider, so that its mail waits for one attempt after the other: it is due for a moment only, and stands all the same.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use posthaste_mail::{Class, masked_in};
use posthaste_tallies::{Dimension, OTHER, TalliesError};

use crate::{
    About, Key, Measure, ProblemOf, Rule,
    facts::{Facts, Trouble},
    look::{Draft, Look},
    text::{clock, lasts, log, said, sentence, since},
};

pub(super) const HOUR: Duration = Duration::from_hours(1);
pub(super) const DAY: Duration = Duration::from_hours(24);
/// A provider that has taken nothing in a day is found only if so many recipients wait for it: a mistyped domain has a few.
pub(super) const MANY: u64 = 10;

/// What waits for a provider.
#[derive(Default)]
pub(super) struct Waits {
    pub(super) recipients: u64,
    /// When the oldest of what nobody holds was accepted.
    pub(super) oldest: Option<Timestamp>,
}

impl Waits {
    pub(super) fn add(&mut self, recipients: u64, oldest: Option<Timestamp>) {
        self.recipients += recipients;
        self.oldest = [self.oldest, oldest].into_iter().flatten().min();
    }

    /// `1 recipient waits`, `2 recipients wait`.
    pub(super) fn said(&self) -> String {
        match self.recipients {
            1 => "1 recipient waits".into(),
            n => format!("{n} recipients wait"),
        }
    }
}

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.mail_stands;
    if !settings.common.enabled {
        look.memory.unreached.clear();
        return Ok(Vec::new());
    }
    let providers = waits(look);
    let (hour, lately) = (look.recent(Dimension::Provider, HOUR), look.recent(Dimension::Provider, settings.due));
    let day = look.hours(Dimension::Provider, DAY)?;
    let before = std::mem::take(&mut look.memory.unreached);
    let mut drafts = Vec::new();
    for (provider, waits) in providers {
        let counts = hour.get(&*provider).copied().unwrap_or_default();
        // What DNS says nothing about has a rule of its own.
        let is_dns = look.view.facts.troubles.get(&provider).is_some_and(|trouble| trouble.class == Class::DnsFailure);
        let answers = is_dns || counts.replies > 0 || lately.get(&*provider).is_some_and(|counts| counts.delivered > 0);
        // Between two attempts that are more than an hour apart nothing has changed.
        if answers || (counts.unreached == 0 && !before.contains(&*provider)) {
            continue;
        }
        let took = day.get(&*provider).is_some_and(|counts| counts.delivered > 0);
        let begin = waits.oldest.filter(|begin| since(*begin, look.now) >= settings.due);
        let known = before.contains(&*provider) || took || waits.recipients >= MANY;
        if let Some(begin) = begin.filter(|_| known) {
            drafts.push(draft(look, &provider, &waits, begin));
            look.memory.unreached.insert(provider);
        }
    }
    Ok(drafts)
}

/// What waits for each provider, without what waits for a login only.
pub(super) fn waits(look: &Look<'_>) -> BTreeMap<String, Waits> {
    let mut providers: BTreeMap<String, Waits> = BTreeMap::new();
    for waiting in look.view.facts.waiting.iter().filter(|waiting| waiting.provider != OTHER) {
        providers.entry(waiting.provider.clone()).or_default().add(waiting.recipients, waiting.oldest);
    }
    providers.retain(|provider, waits| login_waits(look.view.facts, provider) < waits.recipients);
    providers
}

/// Recipients at a provider that wait because a smart host refuses the relay's login.
pub(super) fn login_waits(facts: &Facts, provider: &str) -> u64 {
    facts.troubles.get(provider).map_or(0, |trouble| trouble.login)
}

/// The last error, as a sentence behind another one. Whose mailbox it is about stays in the log.
pub(super) fn last_error(trouble: Option<&Trouble>) -> String {
    trouble.map_or_else(String::new, |trouble| format!(" {}", sentence(&format!("Last error: {}", masked_in(&trouble.said)))))
}

fn draft(look: &Look<'_>, provider: &str, waits: &Waits, begin: Timestamp) -> Draft {
    let settings = &look.settings.mail_stands;
    let name = said(provider);
    let trouble = look.view.facts.troubles.get(provider);
    let is_tls = trouble.is_some_and(|trouble| trouble.class == Class::TlsFailure);
    Draft {
        rule: Rule::MailStands,
        key: Key::new(About::Provider, provider),
        severity: settings.common.severity,
        measure: Measure {
            n: since(begin, look.now).as_secs(),
            of: None,
            what: if is_tls {
                "seconds that the oldest has waited while no TLS came about"
            } else {
                "seconds that the oldest has waited while no host of the provider answered"
            }
            .into(),
            limit: lasts(settings.due),
            limit_from: settings.from("due"),
        },
        summary: format!(
            "Mail for {name} stands: {}, and {} since {}.{}",
            if is_tls { "the TLS that is required there does not come about" } else { "no host of it answers" },
            waits.said(),
            clock(begin, look.now),
            last_error(trouble)
        ),
        problem_of: ProblemOf::Receiver,
        done: "The mail is kept and tried again on its schedule; other providers are not held up.".into(),
        next_step: if is_tls {
            format!(
                "`posthaste log --provider {name} --event deferred -n 3` says what TLS fails of: tell them, or, if their mail may go without, \
                 give each of these domains another policy under [tls.domain]."
            )
        } else {
            format!(
                "`posthaste log --provider {name} --event deferred -n 3` says what connecting fails of: if others are reached, wait or ask \
                 there; if nobody is, look at this host's network, firewall and DNS."
            )
        },
        query: log(&[("provider", provider), ("event", "deferred")]),
        since: Some(settings.due),
    }
}
