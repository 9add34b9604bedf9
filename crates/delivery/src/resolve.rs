//! Look-ups of domains' sites for the queue.

use std::{sync::Arc, time::Duration};

use posthaste_bounce::{Context, Verdict};
use posthaste_host::{InForce, clock, guarded};
use posthaste_mail::{Domain, Failure, LocalCause, Stage};
use posthaste_queue::{DnsTime, DomainIx, QueueHandle, Site, Unroutable};
use tokio::sync::Semaphore;

use crate::settings::Settings;

/// How long a look-up keeps its turn. Servers that live answer sooner; who waits for others is not to hold up those that ask living ones.
const PATIENCE: Duration = Duration::from_millis(200);
/// How many look-ups may wait for slow servers, for each that has a turn.
const SLOW: usize = 3;
/// The least time after which a route is asked for again, whatever TTL DNS gives.
const ROUTE_TTL_MIN: Duration = Duration::from_secs(5);

/// Looks up the sites of domains, each in a task of its own.
pub struct Lookups {
    settings: InForce<Settings>,
    queue: QueueHandle,
    turns: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

impl Lookups {
    /// Look-ups by the settings in force, `most` at once besides those of slow servers, with answers to the queue.
    pub fn new(settings: InForce<Settings>, queue: QueueHandle, most: usize) -> Self {
        Self { settings, queue, turns: Arc::new(Semaphore::new(most)), slow: Arc::new(Semaphore::new(most * SLOW)) }
    }

    /// Begins a look-up. The queue always gets an answer, even if the look-up panics.
    pub fn begin(&self, ix: DomainIx, domain: Arc<Domain>) {
        let (settings, queue) = (self.settings.clone(), self.queue.clone());
        let (turns, slow) = (self.turns.clone(), self.slow.clone());
        tokio::spawn(async move {
            let looked = guarded(async { look_up(&settings.get(), &domain).await });
            let looked = in_turn(&turns, &slow, looked).await;
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

/// Runs a look-up when its turn has come. One that takes long leaves its turn to the next, as far as slow ones have places.
async fn in_turn<T>(turns: &Semaphore, slow: &Semaphore, looked: impl Future<Output = T>) -> T {
    let turn = turns.acquire().await.expect("the semaphore is never closed");
    let mut looked = std::pin::pin!(looked);
    if let Ok(answer) = tokio::time::timeout(PATIENCE, &mut looked).await {
        return answer;
    }
    match slow.try_acquire() {
        Ok(_place) => {
            drop(turn);
            looked.await
        }
        Err(_) => looked.await,
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn look_ups_of_dead_servers_leave_their_turns_to_living_ones() {
        let (turns, slow) = (Arc::new(Semaphore::new(2)), Arc::new(Semaphore::new(6)));
        let begin = |dead: bool| {
            let (turns, slow) = (turns.clone(), slow.clone());
            tokio::spawn(async move {
                let looked = async {
                    if dead {
                        pending::<()>().await;
                    }
                };
                in_turn(&turns, &slow, looked).await;
            })
        };
        let dead: Vec<_> = (0..6).map(|_| begin(true)).collect();
        tokio::task::yield_now().await;
        // Six dead ones at two at a time have left their turns after three times a fifth of a second.
        timeout(4 * PATIENCE, begin(false)).await.expect("a living one gets its turn").unwrap();
        // With as many slow ones as may be, the dead keep their turns.
        let more: Vec<_> = (0..2).map(|_| begin(true)).collect();
        tokio::task::yield_now().await;
        assert!(timeout(100 * PATIENCE, begin(false)).await.is_err());
        dead.iter().chain(&more).for_each(tokio::task::JoinHandle::abort);
    }
}
