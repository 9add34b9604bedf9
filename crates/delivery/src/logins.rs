//! Smart hosts that refuse the relay's login. That is a matter of the relay's own configuration: their mail waits, and an operator is told.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use posthaste_bounce::Verdict;
use posthaste_host::clock;
use posthaste_journal::{Finding, Journal, Part};
use posthaste_mail::{Action, Class, Failure, LocalCause, Reply, Scope, Stage};
use posthaste_queue::{AttemptResult, LOGIN_RULE, QueueHandle, Site};
use posthaste_smtp::client::Credentials;

use crate::settings::{Settings, StaticRoute};

/// What waited for a login that is refused only once a message is offered goes at once no more often than this: such a refusal may be about
/// some mail alone, and deliveries of other mail must not have it tried over and over.
const FREED_APART: Duration = Duration::from_mins(10);

/// What to do about a login that is refused.
const REMEDY: &str = "Correct user and password_file of its [route], then run `posthaste reload`: what waits goes at once";
/// What to do where the login is accepted and the host does not relay for it.
const DENIED_REMEDY: &str =
    "Have its operator allow that, or correct user and hosts of its [route], then run `posthaste reload`: what waits goes at once";

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
}

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
        Self { auth: site.auth.clone(), refused: None, takes: false, freed: None }
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
    /// What a failure to open a session at a smart host says of the login: a refusal is an alarm, once.
    pub(crate) fn note_failure(&self, journal: &Journal, site: &Site, host: &Arc<str>, failure: &Failure) {
        if is_refused(failure) {
            self.note_refusal(journal, site, host, failure, &verdict());
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
            let does = if verdict.class == Class::RelayingDenied { "does not relay for" } else { "refuses" };
            let what = format!("the smart host {host} {does} the relay's login ({failure}): its mail waits");
            let (key, part, remedy) = (host.to_string(), Some(Part::Delivery), remedy(verdict).into());
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

/// Whether a smart host refused the relay's login, or wants one (RFC 4954 §6; some say so only at MAIL, at RCPT or after the message).
pub fn is_refused(failure: &Failure) -> bool {
    match failure {
        // A host that closes may be busy; X.7 says that it is about the login (too many that failed, for example).
        Failure::Refused { stage: Stage::Auth, reply } => reply.code != 421 || reply.enhanced.is_some_and(|code| code.subject == 7),
        Failure::Refused { stage: Stage::Banner | Stage::Ehlo | Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot, reply } => {
            wants_login(reply)
        }
        Failure::Local { stage: Stage::Auth, cause: LocalCause::LocalError, .. } => true,
        _ => false,
    }
}

fn wants_login(reply: &Reply) -> bool {
    // RFC 4954 §6, RFC 5248 §2: X.7.8 credentials, X.7.9 mechanism, X.7.11 encryption; Exchange has X.7.57.
    let code = |code: posthaste_mail::EnhancedCode| code.class != 2 && code.subject == 7 && matches!(code.detail, 8 | 9 | 11 | 57);
    let text = reply.text.to_ascii_lowercase();
    let authentication =
        text.contains("authenticat") && !["spf", "dkim", "dmarc", "unauthenticated email"].iter().any(|w| text.contains(w));
    let wanted = ["required", "not authenticated", "must ", "first", "need", "please authenticate"].iter().any(|word| text.contains(word));
    match reply.code {
        530 | 534 | 535 | 538 => true,
        454 => authentication,
        _ => reply.enhanced.is_some_and(code) || (reply.code >= 500 && authentication && wanted),
    }
}

/// Whether a smart host took the login and does not relay for it.
pub(crate) fn is_denied(failure: &Failure, site: &Site, verdict: &Verdict) -> bool {
    let of_mail = matches!(failure, Failure::Refused { stage: Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot, .. });
    site.auth.is_some() && of_mail && verdict.class == Class::RelayingDenied
}

/// The verdict on that.
pub fn denied() -> Verdict {
    let why = "the smart host accepts the relay's login and does not relay for it: have its operator allow that, or correct user and hosts of \
               its [route], then reload";
    Verdict { class: Class::RelayingDenied, why: why.into(), ..verdict() }
}

/// The verdict on a refused login.
pub fn verdict() -> Verdict {
    Verdict {
        class: Class::PolicyAuth,
        scope: Scope::Local,
        action: Action::FixConfiguration,
        permanent: false,
        confidence: 1.0,
        rule: LOGIN_RULE.into(),
        why: "the smart host does not accept the relay's login: correct user and password_file of its [route], then reload".into(),
        link: None,
    }
}

/// What to do about what one of these verdicts says.
pub fn remedy(verdict: &Verdict) -> &'static str {
    if verdict.class == Class::RelayingDenied { DENIED_REMEDY } else { REMEDY }
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
    use super::*;

    fn refused(stage: Stage, code: u16, text: &str) -> bool {
        is_refused(&Failure::Refused { stage, reply: Reply::new(code, text) })
    }

    fn standing() -> Standing {
        Standing { auth: None, refused: None, takes: false, freed: None }
    }

    #[test]
    fn a_refusal_is_told_once_and_over_when_what_was_refused_works() {
        let now = clock::instant();
        let at = |stage| Failure::Refused { stage, reply: Reply::new(535, "5.7.8 no") };
        let mut login = standing();
        assert_eq!((login.refuses(&at(Stage::Auth), &verdict()), login.refuses(&at(Stage::Auth), &verdict())), (News::Refused, News::None));
        assert_eq!((login.accepts(false, now), login.accepts(false, now)), (News::Over(true), News::None));
        // Refused with the message: that the login is accepted is no news, and mail is freed now and then at most.
        assert_eq!((login.refuses(&at(Stage::Dot), &verdict()), login.accepts(false, now)), (News::Refused, News::None));
        let later = now + FREED_APART;
        assert_eq!(login.accepts(true, now), News::Over(false), "it was freed just now");
        login.refuses(&at(Stage::Dot), &verdict());
        assert_eq!(login.accepts(true, later), News::Over(true));
    }

    #[test]
    fn one_message_that_is_not_relayed_is_no_trouble_of_a_login_that_works() {
        let denial = Failure::Refused { stage: Stage::Rcpt, reply: Reply::new(554, "5.7.1 Relay access denied") };
        let mut login = standing();
        login.accepts(true, clock::instant());
        assert_eq!((login.refuses(&denial, &denied()), login.refuses(&denial, &denied())), (News::None, News::Refused));
        assert_eq!(standing().refuses(&denial, &denied()), News::Refused, "nothing was taken yet");
    }

    #[test]
    fn refusals_of_the_login_are_told_from_refusals_of_mail() {
        for (stage, code, text) in [
            (Stage::Auth, 535, "5.7.8 authentication failed"),
            (Stage::Auth, 454, "4.7.0 temporary authentication failure"),
            (Stage::Auth, 534, "5.7.9 please log in with your web browser"),
            (Stage::Auth, 538, "5.7.11 encryption required"),
            (Stage::Auth, 550, "account suspended"),
            (Stage::Mail, 530, "5.7.0 log in first"),
            (Stage::Mail, 530, "5.7.57 Client not authenticated to send mail"),
            (Stage::Mail, 454, "4.7.0 authentication is not possible now"),
            (Stage::Rcpt, 550, "5.7.1 Authentication required"),
            (Stage::Rcpt, 553, "sorry, you must authenticate first"),
            (Stage::Auth, 421, "4.7.0 too many failed logins"),
            (Stage::Banner, 535, "5.7.8 no"),
            (Stage::Dot, 535, "5.7.8 your password has expired"),
            (Stage::Dot, 530, "5.7.0 log in first"),
            (Stage::Data, 454, "4.7.0 authentication failed"),
        ] {
            assert!(refused(stage, code, text), "{code} {text}");
        }
        for (stage, code, text) in [
            (Stage::Rcpt, 550, "5.1.1 no such user"),
            (Stage::Dot, 550, "5.7.26 unauthenticated email from example.com is not accepted: SPF or DKIM is required"),
            (Stage::Rcpt, 550, "5.7.26 SPF authentication is required"),
            (Stage::Starttls, 454, "4.7.0 TLS not available"),
            (Stage::Auth, 421, "4.3.2 closing"),
            (Stage::Mail, 451, "4.3.0 authentication required"),
        ] {
            assert!(!refused(stage, code, text), "{code} {text}");
        }
        assert!(!verdict().permanent);
    }
}
