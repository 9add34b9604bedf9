//! Look-ups of domains' sites for the queue.

use std::{sync::Arc, time::Duration};

use posthaste_bounce::{Context, Verdict};
use posthaste_host::{InForce, clock, guarded};
use posthaste_mail::{Domain, Failure, LocalCause, Stage};
use posthaste_queue::{DnsTime, DomainIx, QueueHandle, Site, Unroutable};
use tokio::sync::Semaphore;

use crate::settings::Settings;

/// DNS look-ups under way at once.
const LOOKUPS_MAX: usize = 256;
/// The least time after which a route is asked for again, whatever TTL DNS gives.
const ROUTE_TTL_MIN: Duration = Duration::from_secs(5);

/// Looks up the sites of domains, each in a task of its own.
pub struct Lookups {
    settings: InForce<Settings>,
    queue: QueueHandle,
    turns: Arc<Semaphore>,
}

impl Lookups {
    /// Look-ups by the settings in force, with answers to the queue.
    pub fn new(settings: InForce<Settings>, queue: QueueHandle) -> Self {
        Self { settings, queue, turns: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }

    /// Begins a look-up. The queue always gets an answer, even if the look-up panics.
    pub fn begin(&self, ix: DomainIx, domain: Arc<Domain>) {
        let (settings, queue, turns) = (self.settings.clone(), self.queue.clone(), self.turns.clone());
        tokio::spawn(async move {
            let _turn = turns.acquire_owned().await.expect("the semaphore is never closed");
            let looked = guarded(async { look_up(&settings.get(), &domain).await }).await;
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

fn unroutable(settings: &Settings, failure: Failure, ttl: Duration) -> Answer {
    let verdict = settings.rules.classify(&failure, &Context::default());
    (Err(Arc::new(Unroutable { failure, verdict })), ttl)
}

/// The site of a route, with the configured TLS and AUTH.
fn site(settings: &Settings, domain: &Domain, route: posthaste_route::Route, dns_ms: u32) -> Site {
    let rule = settings.tls_rule(domain);
    let (tls, fallback) = (rule.policy, rule.fallback);
    let auth = settings.credentials(domain).filter(|_| route.static_route);
    let user = auth.as_ref().map_or("", |a| a.user.as_str());
    let key = format!("{}|{}|{fallback}|{user}", route.key, tls.as_str()).into();
    let dns = DnsTime::new(dns_ms);
    Site { provider: route.provider, hosts: route.hosts, tls, fallback, auth, fixed: route.static_route, key, dns }
}
