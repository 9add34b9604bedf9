//! Look-ups of domains' sites for the queue.

use std::{sync::Arc, time::Duration};

use posthaste_bounce::{Context, Verdict};
use posthaste_host::{InForce, clock, guarded};
use posthaste_mail::{Domain, Failure, LocalCause, Name, Stage};
use posthaste_queue::{DnsTime, DomainIx, QueueHandle, Site, Unroutable};

use crate::{
    settings::Settings,
    turns::{GaveWay, Turns},
};

/// The least time after which a route is asked for again, whatever TTL DNS gives.
const ROUTE_TTL_MIN: Duration = Duration::from_secs(5);
/// How long a domain whose look-up gave way to others is not asked for.
const GAVE_WAY_TTL: Duration = Duration::from_secs(30);

/// Looks up the sites of domains, each in a task of its own.
pub struct Lookups {
    settings: InForce<Settings>,
    queue: QueueHandle,
    turns: Turns,
}

impl Lookups {
    /// Look-ups by the settings in force, `most` at once besides those of slow servers, with answers to the queue.
    pub fn new(settings: InForce<Settings>, queue: QueueHandle, most: usize) -> Self {
        Self { settings, queue, turns: Turns::new(most) }
    }

    /// Begins a look-up for a stream. The queue always gets an answer, even if the look-up panics.
    pub fn begin(&self, ix: DomainIx, domain: Arc<Domain>, stream: Name) {
        let (settings, queue, turns) = (self.settings.clone(), self.queue.clone(), self.turns.clone());
        tokio::spawn(async move {
            let looked = guarded(async { look_up(&settings.get(), &domain).await });
            let looked = turns.take(&stream, looked).await.unwrap_or_else(|GaveWay| Ok(gave_way(&settings.get())));
            let (answer, ttl) = looked.unwrap_or_else(|panicked| {
                tracing::error!(%domain, "internal error in a look-up: {panicked}");
                let detail = format!("internal error in a look-up: {panicked}");
                let failure = Failure::Local { stage: Stage::Dns, cause: LocalCause::LocalError, detail };
                // Not by the rules in force: what panicked may have been the classifier.
                let verdict = Verdict::on_local(LocalCause::LocalError);
                (Err(Arc::new(Unroutable { failure, verdict })), ROUTE_TTL_MIN)
            });
            queue.resolved(ix, answer, ttl.max(ROUTE_TTL_MIN)).await;
        });
    }
}

type Answer = (Result<Arc<Site>, Arc<Unroutable>>, Duration);

async fn look_up(settings: &Settings, domain: &Domain) -> Answer {
    let asked = clock::instant();
    let answer = settings.resolver.route(domain).await;
    let ms = u32::try_from((clock::instant() - asked).as_millis()).unwrap_or(u32::MAX);
    match answer {
        Ok(route) => {
            let ttl = route.ttl;
            (Ok(Arc::new(site(settings, domain, route, ms))), ttl)
        }
        Err(why) => unroutable(settings, why.failure, why.ttl),
    }
}

/// Too many name servers do not answer: this one's had less time than `dns.timeout` gives.
fn gave_way(settings: &Settings) -> Answer {
    let detail = format!("its name servers did not answer within {:?}, and other look-ups needed the place", GaveWay::AFTER);
    let failure = Failure::Local { stage: Stage::Dns, cause: LocalCause::DnsUnavailable, detail };
    unroutable(settings, failure, GAVE_WAY_TTL)
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
