//! Look-ups of domains' sites for the queue.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use posthaste_bounce::{Context, Verdict};
use posthaste_host::{InForce, clock, guarded};
use posthaste_mail::{Domain, Failure, LocalCause, Stage};
use posthaste_queue::{DnsTime, DomainIx, Party, QueueHandle, Site, Unroutable};
use posthaste_route::{Asker, Turns};

use crate::settings::Settings;

/// The least time after which a route is asked for again, whatever TTL DNS gives.
const ROUTE_TTL_MIN: Duration = Duration::from_secs(5);

/// Looks up the sites of domains, each in a task of its own.
pub struct Lookups {
    settings: InForce<Settings>,
    queue: QueueHandle,
    turns: Turns,
    silent: Silent,
}

/// Domains for which DNS gave no answer the last time: others are asked for first.
#[derive(Clone, Default)]
struct Silent(Arc<Mutex<HashSet<Arc<Domain>>>>);

/// How many of them are remembered. With more, all are forgotten and found out again.
const SILENT_MAX: usize = 65_536;

impl Lookups {
    /// Look-ups by the settings in force, with `most` questions at once besides those to slow servers, and with answers to the queue.
    pub fn new(settings: InForce<Settings>, queue: QueueHandle, most: usize) -> Self {
        Self { settings, queue, turns: Turns::new(most), silent: Silent::default() }
    }

    /// Begins a look-up for mail of this stream and user. The queue always gets an answer, even if the look-up panics.
    pub fn begin(&self, ix: DomainIx, domain: Arc<Domain>, party: Party) {
        let (settings, queue, silent) = (self.settings.clone(), self.queue.clone(), self.silent.clone());
        let asker = self.turns.asker(party.number(), silent.contains(&domain));
        tokio::spawn(async move {
            let looked = guarded(async { look_up(&settings.get(), &asker, &domain).await }).await;
            let (answer, ttl) = looked.unwrap_or_else(|panicked| {
                tracing::error!(%domain, "internal error in a look-up: {panicked}");
                let detail = format!("internal error in a look-up: {panicked}");
                let failure = Failure::Local { stage: Stage::Dns, cause: LocalCause::LocalError, detail };
                // Not by the rules in force: what panicked may have been the classifier.
                let verdict = Verdict::on_local(LocalCause::LocalError);
                (Err(Arc::new(Unroutable { failure, verdict })), ROUTE_TTL_MIN)
            });
            silent.note(domain, &answer);
            queue.resolved(ix, answer, ttl.max(ROUTE_TTL_MIN)).await;
        });
    }
}

impl Silent {
    fn contains(&self, domain: &Domain) -> bool {
        self.lock().contains(domain)
    }

    fn note(&self, domain: Arc<Domain>, answer: &Result<Arc<Site>, Arc<Unroutable>>) {
        let is_silent = |why: &Unroutable| matches!(why.failure, Failure::Local { cause: LocalCause::DnsUnavailable, .. });
        let mut silent = self.lock();
        if !answer.as_ref().is_err_and(|why| is_silent(why)) {
            silent.remove(&domain);
            return;
        }
        if silent.len() >= SILENT_MAX {
            *silent = HashSet::new();
        }
        silent.insert(domain);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Arc<Domain>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Answer = (Result<Arc<Site>, Arc<Unroutable>>, Duration);

async fn look_up(settings: &Settings, asker: &Asker, domain: &Domain) -> Answer {
    let asked = clock::instant();
    let answer = settings.resolver.route_for(asker, domain).await;
    let ms = u32::try_from((clock::instant() - asked).as_millis()).unwrap_or(u32::MAX);
    match answer {
        Ok(route) => {
            let ttl = route.ttl;
            (Ok(Arc::new(site(settings, domain, route, ms))), ttl)
        }
        Err(why) => unroutable(settings, why.failure, why.ttl),
    }
}

fn unroutable(settings: &Settings, failure: Failure, ttl: Duration) -> Answer {
    let verdict = settings.rules.classify(&failure, &Context::default());
    (Err(Arc::new(Unroutable { failure, verdict })), ttl)
}

/// The site of a route, with the configured TLS and AUTH.
fn site(settings: &Settings, domain: &Domain, route: posthaste_route::Route, dns_ms: u32) -> Site {
    let rule = settings.tls_rule(domain);
    let (tls, fallback) = (rule.policy, rule.fallback);
    let auth = settings.credentials(domain).filter(|_| route.static_route);
    let (user, needs) = auth.as_ref().map_or(("", ""), |a| (a.user.as_str(), a.needs.as_str()));
    let key = format!("{}|{}|{fallback}|{needs}|{user}", route.key, tls.as_str()).into();
    let dns = DnsTime::new(dns_ms);
    Site {
        provider: route.provider,
        hosts: route.hosts,
        tls,
        fallback,
        auth,
        fixed: route.static_route,
        key,
        generation: settings.generation,
        dns,
    }
}
