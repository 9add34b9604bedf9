//! Look-ups of domains' sites for the queue.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use posthaste_bounce::{Context, Verdict};
use posthaste_host::{InForce, clock, guarded};
use posthaste_journal::{Finding, Journal, Part};
use posthaste_mail::{Domain, Failure, LocalCause, Stage};
use posthaste_queue::{DnsTime, DomainIx, Party, QueueHandle, Site, Unroutable};
use posthaste_route::{Asker, Turns};

use crate::{own_name, settings::Settings};

/// The least time after which a route is asked for again, whatever TTL DNS gives.
const ROUTE_TTL_MIN: Duration = Duration::from_secs(5);

/// Looks up the sites of domains, each in a task of its own.
pub struct Lookups {
    settings: InForce<Settings>,
    queue: QueueHandle,
    turns: Turns,
    silent: Silent,
    journal: Journal,
}

/// Domains for which DNS gave no answer the last time: others are asked for first.
#[derive(Clone, Default)]
struct Silent(Arc<Mutex<SilentDomains>>);

#[derive(Default)]
struct SilentDomains {
    all: HashSet<Arc<Domain>>,
    /// Those for which DNS was asked since it gave an answer for any.
    in_a_row: HashSet<Arc<Domain>>,
}

/// What DNS as a whole does.
#[derive(Debug, PartialEq, Eq)]
enum DnsNews {
    /// It gives no answers: what is wrong.
    Silent(String),
    /// It gives one.
    Answers,
}

/// How many domains in a row have to go without an answer before DNS itself is blamed: two may have dead name servers at the same time.
const SILENT_IN_A_ROW: usize = 3;
/// The alarm about it.
const SILENT_ALARM: &str = "dns_silent";

/// How many of them are remembered. With more, all are forgotten and found out again.
const SILENT_MAX: usize = 65_536;

impl Lookups {
    /// Look-ups by the settings in force, with `most` questions at once besides those to slow servers, and with answers to the queue.
    pub fn new(settings: InForce<Settings>, queue: QueueHandle, journal: Journal, most: usize) -> Self {
        Self { settings, queue, turns: Turns::new(most), silent: Silent::default(), journal }
    }

    /// Begins a look-up for mail of this stream and user. The queue always gets an answer, even if the look-up panics.
    pub fn begin(&self, ix: DomainIx, domain: Arc<Domain>, party: Party) {
        let (settings, queue, silent, journal) = (self.settings.clone(), self.queue.clone(), self.silent.clone(), self.journal.clone());
        let asker = self.turns.asker(party.number(), silent.contains(&domain));
        tokio::spawn(async move {
            let looked = guarded(async {
                let settings = settings.get();
                let (answer, ttl) = look_up(&settings, &asker, &domain).await;
                own_name::say(&journal, &settings.hostname, &domain, &answer);
                (answer, ttl)
            });
            let looked = looked.await;
            let (answer, ttl) = looked.unwrap_or_else(|panicked| {
                tracing::error!(%domain, "internal error in a look-up: {panicked}");
                let detail = format!("internal error in a look-up: {panicked}");
                let failure = Failure::Local { stage: Stage::Dns, cause: LocalCause::LocalError, detail };
                // Not by the rules in force: what panicked may have been the classifier.
                let verdict = Verdict::on_local(LocalCause::LocalError);
                (Err(Arc::new(Unroutable { failure, verdict })), ROUTE_TTL_MIN)
            });
            say(&journal, silent.note(&domain, &answer));
            queue.resolved(ix, answer, ttl.max(ROUTE_TTL_MIN)).await;
        });
    }
}

/// Raises the alarm about DNS as a whole, or ends it.
fn say(journal: &Journal, news: Option<DnsNews>) {
    match news {
        None => {}
        Some(DnsNews::Answers) => journal.mended(Part::Delivery, SILENT_ALARM, "", || "DNS gives answers again".into()),
        Some(DnsNews::Silent(what)) => {
            let remedy = "Check the name servers (dns.nameservers, or /etc/resolv.conf) and the network".into();
            journal.raise(Finding { rule: SILENT_ALARM, key: String::new(), part: Some(Part::Delivery), what, remedy });
        }
    }
}

impl Silent {
    fn contains(&self, domain: &Domain) -> bool {
        self.lock().all.contains(domain)
    }

    /// Takes the outcome of a look-up. A static route says nothing of DNS.
    fn note(&self, domain: &Arc<Domain>, answer: &Result<Arc<Site>, Arc<Unroutable>>) -> Option<DnsNews> {
        let mut silent = self.lock();
        let why = match answer {
            Err(why) => match &why.failure {
                Failure::Local { cause: LocalCause::DnsUnavailable, detail, .. } => Some(detail),
                _ => None,
            },
            Ok(_) => None,
        };
        let Some(why) = why else {
            silent.all.remove(domain);
            let is_of_dns = answer.as_ref().map_or_else(|why| why.failure.stage() == Stage::Dns, |site| !site.fixed);
            if is_of_dns {
                silent.in_a_row.clear();
            }
            return is_of_dns.then_some(DnsNews::Answers);
        };
        if silent.all.len() >= SILENT_MAX {
            silent.all = HashSet::new();
        }
        silent.all.insert(domain.clone());
        let is_new = silent.in_a_row.len() < SILENT_IN_A_ROW && silent.in_a_row.insert(domain.clone());
        (is_new && silent.in_a_row.len() == SILENT_IN_A_ROW).then(|| {
            DnsNews::Silent(format!(
                "DNS gave no usable answer for {SILENT_IN_A_ROW} domains in a row, the last of them {domain} ({why}): mail without a [route] waits"
            ))
        })
    }

    fn lock(&self) -> MutexGuard<'_, SilentDomains> {
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
        Err(why) => unroutable(settings, domain, why.failure, why.ttl),
    }
}

fn unroutable(settings: &Settings, domain: &Domain, failure: Failure, ttl: Duration) -> Answer {
    let verdict = settings.rules.classify(&failure, &Context::default());
    let verdict = own_name::verdict(verdict, &failure, domain == &settings.hostname);
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

#[cfg(test)]
mod tests {
    use posthaste_mail::Name;

    use super::*;

    #[test]
    fn dns_is_blamed_after_three_domains_in_a_row_and_an_answer_clears_it() {
        let silent = Silent::default();
        let domain = |name: &str| Arc::new(Domain::new(name).unwrap());
        let failed = |cause| {
            let failure = Failure::Local { stage: Stage::Dns, cause, detail: "no name server answered in time".into() };
            Err(Arc::new(Unroutable { failure, verdict: Verdict::on_local(cause) }))
        };
        let mut fixed = Site::at(Name::new("smart").unwrap());
        fixed.fixed = true;
        let note = |name: &str, answer| silent.note(&domain(name), &answer);
        let dead = || failed(LocalCause::DnsUnavailable);
        assert_eq!([note("a.test", dead()), note("a.test", dead()), note("b.test", dead())], [None, None, None]);
        assert_eq!(note("c.test", Ok(Arc::new(fixed))), None, "a static route needs no DNS");
        assert!(matches!(note("d.test", dead()), Some(DnsNews::Silent(said)) if said.contains("d.test")));
        assert_eq!(note("e.test", dead()), None, "once");
        assert_eq!(note("f.test", failed(LocalCause::NoSuchDomain)), Some(DnsNews::Answers));
        assert_eq!([note("a.test", dead()), note("b.test", dead())], [None, None]);
    }
}
