//! Smart hosts that refuse the relay's login. That is a matter of the relay's own configuration: their mail waits, and an operator is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use posthaste_bounce::Verdict;
use posthaste_host::clock;
use posthaste_journal::{Finding, Journal, Part};
use posthaste_mail::{Class, Failure, Stage};
use posthaste_queue::{AttemptResult, LOGIN_RULE, QueueHandle, Site};
use posthaste_smtp::client::Credentials;

pub use crate::login_refusals::{is_refused, remedy, verdict};
use crate::{
    login_refusals,
    settings::{Settings, StaticRoute},
};

/// What waited for a login that is refused only once a message is offered goes at once no more often than this: such a refusal may be about
/// some mail alone, and deliveries of other mail must not have it tried over and over.
const FREED_APART: Duration = Duration::from_mins(10);

/// How smart hosts take the relay's logins: each host of a site by itself.
#[derive(Default)]
pub struct Logins(Mutex<HashMap<HostOfSite, Standing>>);

/// The key of a site, and the name of one of its hosts.
type HostOfSite = (Arc<str>, Arc<str>);

/// How a smart host takes a login.
struct Standing {
    auth: Option<Credentials>,
    /// Where it was refused, if it was at the last attempt. An operator has been told.
    refused: Option<Stage>,
    /// Whether the last answer about a message was that it is taken.
    takes: bool,
    /// When mail that waited for it was last sent on its way at once.
    freed: Option<Instant>,
    /// Held by the session that tries a login that is refused.
    trial: Arc<tokio::sync::Mutex<()>>,
    /// How many such trials have failed, and how the last one did.
    failed: (u64, Option<Failure>),
}

/// A session's turn to try a login.
pub(crate) type Trial = Option<tokio::sync::OwnedMutexGuard<()>>;

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
enum News {
    None,
    /// An operator is to be told.
    Refused,
    /// That is over. True: what waited for it goes at once.
    Over(bool),
}

impl Standing {
    fn new(site: &Site) -> Self {
        Self { auth: site.auth.clone(), refused: None, takes: false, freed: None, trial: Arc::default(), failed: (0, None) }
    }

    fn refuses(&mut self, failure: &Failure, verdict: &Verdict) -> News {
        // A host that takes other mail of this login may deny a single message; if it denies the next one too, it is about the login.
        let told = self.refused.is_some() || (std::mem::take(&mut self.takes) && verdict.class == Class::RelayingDenied);
        if told {
            return News::None;
        }
        self.refused = Some(failure.stage());
        News::Refused
    }

    /// It accepts the login, or takes a message. A login that is accepted says nothing about what is refused later.
    fn accepts(&mut self, message: bool, now: Instant) -> News {
        self.takes |= message;
        let late = matches!(self.refused, Some(Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot));
        if self.refused.is_none() || (late && !message) {
            return News::None;
        }
        self.refused = None;
        let frees = !late || self.freed.is_none_or(|freed| now.saturating_duration_since(freed) >= FREED_APART);
        if frees {
            self.freed = Some(now);
        }
        News::Over(frees)
    }
}

impl Logins {
    /// Waits for the turn to log in at a smart host. One that refuses the login hears it from one session at a time, because hosts lock out who
    /// tries a wrong password often: those that waited for another's trial share its failure.
    pub(crate) async fn turn(&self, site: &Site, host: &Arc<str>) -> Result<Trial, Failure> {
        let key = (site.key.clone(), host.clone());
        let refused = |standing: &&mut Standing| standing.refused == Some(Stage::Auth);
        let known = self.lock().get_mut(&key).filter(refused).map(|standing| (standing.trial.clone(), standing.failed.0));
        let Some((trial, before)) = known else { return Ok(None) };
        let mine = trial.lock_owned().await;
        let mut all = self.lock();
        match all.get_mut(&key).filter(refused).map(|standing| &standing.failed) {
            Some((failed, Some(failure))) if *failed != before => Err(failure.clone()),
            _ => Ok(Some(mine)),
        }
    }

    /// A session's trial of a login failed.
    pub(crate) fn tried(&self, site: &Site, host: &Arc<str>, failure: &Failure) {
        if let Some(standing) = self.lock().get_mut(&(site.key.clone(), host.clone())) {
            standing.failed = (standing.failed.0 + 1, Some(failure.clone()));
        }
    }

    /// What a failure to open a session at a smart host says of the login: a refusal is an alarm, once.
    pub(crate) fn note_failure(&self, journal: &Journal, site: &Site, host: &Arc<str>, failure: &Failure) {
        if is_refused(failure) {
            self.note_refusal(journal, site, host, failure, &verdict(failure, false));
        }
    }

    /// A smart host accepts the login: its alarm is over, if there is one, and what waited for that goes at once.
    pub(crate) async fn note_login(&self, journal: &Journal, queue: &QueueHandle, site: &Site, host: &Arc<str>) {
        let key = (site.key.clone(), host.clone());
        let news = self.lock().get_mut(&key).map_or(News::None, |standing| standing.accepts(false, clock::instant()));
        if news != News::None {
            self.over(journal, queue, site, host, &news).await;
        }
    }

    /// What the results of an open session say of the login.
    pub(crate) async fn note_results(
        &self,
        journal: &Journal,
        queue: &QueueHandle,
        site: &Site,
        host: &Arc<str>,
        results: impl Iterator<Item = &AttemptResult>,
    ) {
        for said in results {
            match said {
                AttemptResult::Delivered(_) => {
                    let news = self.entry(site, host, |standing| standing.accepts(true, clock::instant()));
                    // The alarm may be one from before the start.
                    self.over(journal, queue, site, host, &news).await;
                }
                AttemptResult::Failed(failure, verdict) if *verdict.rule == *LOGIN_RULE => {
                    self.note_refusal(journal, site, host, failure, verdict);
                }
                AttemptResult::Failed(..) | AttemptResult::Suppressed(_) | AttemptResult::Unknown(..) => {}
            }
        }
    }

    /// Whether a smart host is known to refuse mail of this login for the login's sake.
    pub(crate) fn is_refused(&self, site: &Site, host: &Arc<str>) -> bool {
        self.lock().get(&(site.key.clone(), host.clone())).is_some_and(|standing| standing.refused.is_some())
    }

    /// A reload came: what waits for a login goes at once, and a login that is not in use any more is no trouble.
    pub async fn follow(&self, settings: &Settings, journal: &Journal, queue: &QueueHandle) {
        let (mut waiting, mut over) = (Vec::new(), Vec::new());
        self.lock().retain(|(site, host), standing| {
            let stays = settings.routes.iter().any(|(_, route)| standing.is_of(host, route));
            if standing.refused.is_some() {
                waiting.push(site.clone());
                over.extend((!stays).then(|| host.clone()));
            }
            stays
        });
        for host in over.iter().filter(|host| !self.is_refused_at(host)) {
            end_unused(journal, host);
        }
        end_gone(settings, journal);
        if !waiting.is_empty() {
            queue.logins_changed(waiting).await;
        }
    }

    fn note_refusal(&self, journal: &Journal, site: &Site, host: &Arc<str>, failure: &Failure, verdict: &Verdict) {
        if self.entry(site, host, |standing| standing.refuses(failure, verdict)) == News::Refused {
            let does = match (&site.auth, verdict.class) {
                _ if login_refusals::is_of_account(failure, verdict) => "does not let the relay's account send",
                (Some(_), Class::RelayingDenied) => "does not relay for the relay's login",
                (Some(_), _) => "refuses the relay's login",
                (None, Class::RelayingDenied) => "does not relay for this relay, which has no login there",
                (None, _) => "takes no mail without a login or encryption",
            };
            let what = format!("the smart host {host} {does} ({failure}): its mail waits");
            let remedy = remedy(failure, verdict.class == Class::RelayingDenied).into();
            let (key, part) = (host.to_string(), Some(Part::Delivery));
            journal.raise(Finding { rule: LOGIN_RULE, key, part, what, remedy });
        }
    }

    /// A smart host takes mail, or the login: its alarm is over if there is one, unless it refuses the login of another route; and what waited for
    /// that goes.
    async fn over(&self, journal: &Journal, queue: &QueueHandle, site: &Site, host: &Arc<str>, news: &News) {
        if !self.is_refused_at(host) {
            journal.mended(Part::Delivery, LOGIN_RULE, host, || format!("the smart host {host} takes the relay's mail again"));
        }
        if *news == News::Over(true) {
            queue.logins_changed(vec![site.key.clone()]).await;
        }
    }

    fn is_refused_at(&self, host: &Arc<str>) -> bool {
        self.lock().iter().any(|((_, of), standing)| standing.refused.is_some() && of == host)
    }

    fn entry<T>(&self, site: &Site, host: &Arc<str>, act: impl FnOnce(&mut Standing) -> T) -> T {
        act(self.lock().entry((site.key.clone(), host.clone())).or_insert_with(|| Standing::new(site)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostOfSite, Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// Whether a route leads to this host with this login.
    fn is_of(&self, host: &str, route: &StaticRoute) -> bool {
        let login = route.auth.as_ref().map(|login| (login.user.as_str(), login.password.reveal()));
        let own = self.auth.as_ref().map(|auth| (auth.user.as_str(), auth.password.as_str()));
        login == own && leads_to(route, host)
    }
}

fn leads_to(route: &StaticRoute, host: &str) -> bool {
    let is_it = |hop: &str| hop.trim_matches(['[', ']']).trim_start_matches("IPv6:").eq_ignore_ascii_case(host);
    route.hosts.iter().any(|hop| is_it(hop.host.as_str()))
}

/// Ends the alarms about hosts to which no route leads any more, also those from before the start.
pub fn end_gone(settings: &Settings, journal: &Journal) {
    let alarms = journal.alarms().now().alarms.into_iter().filter(|alarm| alarm.rule == LOGIN_RULE);
    let is_gone = |host: &String| !settings.routes.iter().any(|(_, route)| leads_to(route, host));
    alarms.map(|alarm| alarm.key).filter(is_gone).for_each(|host| end_unused(journal, &host));
}

fn end_unused(journal: &Journal, host: &str) {
    let detail = || format!("the login that the smart host {host} refused is no longer in use; its mail goes the way that holds now");
    journal.mended(Part::Delivery, LOGIN_RULE, host, detail);
}

/// The failure, if a smart host refused all recipients of a job for its login.
pub(crate) fn all_refused<'r>(mut results: impl Iterator<Item = &'r AttemptResult>) -> Option<(Failure, Verdict)> {
    let refused = |said: &AttemptResult| match said {
        AttemptResult::Failed(failure, verdict) if *verdict.rule == *LOGIN_RULE => Some((failure.clone(), verdict.clone())),
        _ => None,
    };
    let first = refused(results.next()?)?;
    results.all(|said| refused(said).is_some()).then_some(first)
}

#[cfg(test)]
mod tests {
    use posthaste_bounce::Verdict;
    use posthaste_mail::Reply;

    use super::*;

    fn refusal() -> Verdict {
        verdict(&Failure::Refused { stage: Stage::Auth, reply: Reply::new(535, "5.7.8 no") }, false)
    }

    fn denial_verdict() -> Verdict {
        verdict(&Failure::Refused { stage: Stage::Rcpt, reply: Reply::new(554, "5.7.1 Relay access denied") }, true)
    }

    fn standing() -> Standing {
        Standing { auth: None, refused: None, takes: false, freed: None, trial: Arc::default(), failed: (0, None) }
    }

    #[test]
    fn a_refusal_is_told_once_and_over_when_what_was_refused_works() {
        let now = clock::instant();
        let at = |stage| Failure::Refused { stage, reply: Reply::new(535, "5.7.8 no") };
        let mut login = standing();
        assert_eq!((login.refuses(&at(Stage::Auth), &refusal()), login.refuses(&at(Stage::Auth), &refusal())), (News::Refused, News::None));
        assert_eq!((login.accepts(false, now), login.accepts(false, now)), (News::Over(true), News::None));
        // Refused with the message: that the login is accepted is no news, and mail is freed now and then at most.
        assert_eq!((login.refuses(&at(Stage::Dot), &refusal()), login.accepts(false, now)), (News::Refused, News::None));
        let later = now + FREED_APART;
        assert_eq!(login.accepts(true, now), News::Over(false), "it was freed just now");
        login.refuses(&at(Stage::Dot), &refusal());
        assert_eq!(login.accepts(true, later), News::Over(true));
    }

    #[test]
    fn one_message_that_is_not_relayed_is_no_trouble_of_a_login_that_works() {
        let denial = Failure::Refused { stage: Stage::Rcpt, reply: Reply::new(554, "5.7.1 Relay access denied") };
        let mut login = standing();
        login.accepts(true, clock::instant());
        assert_eq!((login.refuses(&denial, &denial_verdict()), login.refuses(&denial, &denial_verdict())), (News::None, News::Refused));
        assert_eq!(standing().refuses(&denial, &denial_verdict()), News::Refused, "nothing was taken yet");
    }
}
