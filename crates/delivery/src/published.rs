//! What DNS publishes about the senders of mail that goes out: SPF for its source and reverse-path, DMARC for its From field.
//!
//! No delivery waits for it. Who asks gets what is known, and what is not known is asked meanwhile for those that come later: one question
//! for all mail of a source and a domain, again every few minutes (the resolver keeps answers for their TTL), a few at once.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use posthaste_host::{clock, guarded};
use posthaste_route::{Dmarc, Resolver, Spf};

/// How long an answer holds before it is asked again. If DNS does not answer then, the old one holds on.
const FRESH: Duration = Duration::from_mins(5);
/// How long an answer holds at most.
const KEPT: Duration = Duration::from_hours(1);
/// How long a question waits that DNS did not answer.
const AGAIN: Duration = Duration::from_mins(1);
/// Questions that are asked at once.
const ASKED_AT_ONCE: usize = 8;
/// Answers that are kept, of some hundred bytes each. Beyond them nothing is asked until old ones are gone.
const ANSWERS_MAX: usize = 10_000;
/// How often old answers are looked for when there is no place.
const SWEPT_EVERY: Duration = Duration::from_mins(1);

/// What is known. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Published(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// SPF by the source's address and the domain, DMARC by no address and the domain.
    answers: HashMap<Option<IpAddr>, HashMap<Box<str>, Answer>>,
    /// How many answers there are.
    count: usize,
    /// How many questions are being asked.
    asking: usize,
    /// When old answers were looked for last.
    swept: Option<Instant>,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    /// Its word, and when it came; None: none came yet.
    word: Option<(&'static str, Instant)>,
    /// When to ask next; None: it is being asked.
    next: Option<Instant>,
}

/// The sender of a message, as its receiver sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender<'a> {
    /// The address that it comes from; None: another host passes it on to the receiver.
    pub(crate) ip: Option<IpAddr>,
    /// The domain of the reverse-path, that of EHLO if the path is empty.
    pub(crate) path: &'a str,
    /// The name in EHLO.
    pub(crate) ehlo: &'a str,
    /// The domain of the From field.
    pub(crate) from: Option<&'a str>,
}

/// What is known of a sender, in the words of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) spf: Option<&'static str>,
    pub(crate) dmarc: Option<&'static str>,
}

impl Standing {
    /// Whether nothing is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.spf.is_some() && self.dmarc.is_some()
    }
}

impl Published {
    /// What is known of a sender. What is not, or not freshly, is asked in the background.
    pub(crate) fn of(&self, sender: Sender<'_>, resolver: &Resolver, now: Instant) -> Standing {
        let ip = sender.ip.filter(|ip| resolver.is_seen(*ip));
        Standing {
            spf: ip.and_then(|ip| self.word(Some(ip), sender.path, sender.ehlo, resolver, now)),
            dmarc: sender.from.and_then(|from| self.word(None, from, sender.ehlo, resolver, now)),
        }
    }

    fn word(&self, ip: Option<IpAddr>, domain: &str, ehlo: &str, resolver: &Resolver, now: Instant) -> Option<&'static str> {
        let (word, ask) = self.lock().look_up(ip, domain, now);
        if ask {
            let (shared, resolver, domain, ehlo) = (self.clone(), resolver.clone(), Box::<str>::from(domain), Box::<str>::from(ehlo));
            tokio::spawn(async move {
                let asked = async {
                    match ip {
                        Some(ip) => resolver.spf(ip, &domain, &ehlo).await.map(Spf::as_str),
                        None => resolver.dmarc(&domain).await.map(Dmarc::as_str),
                    }
                };
                let said = match guarded(asked).await {
                    Ok(Ok(word)) => Some(word),
                    Ok(Err(why)) => {
                        tracing::debug!(%why, %domain, "what DNS publishes about a sender is not known");
                        None
                    }
                    Err(panicked) => {
                        tracing::error!(%panicked, %domain, "what DNS publishes about a sender cannot be read");
                        None
                    }
                };
                shared.lock().learn(ip, &domain, said, clock::instant());
            });
        }
        word
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The word that is known, and whether the caller is to ask.
    fn look_up(&mut self, ip: Option<IpAddr>, domain: &str, now: Instant) -> (Option<&'static str>, bool) {
        let may_ask = self.asking < ASKED_AT_ONCE;
        let Some(answer) = self.answer(ip, domain, now) else { return (None, false) };
        let word = answer.word.filter(|(_, came)| now.saturating_duration_since(*came) < KEPT).map(|(word, _)| word);
        let ask = may_ask && answer.next.is_some_and(|next| next <= now);
        if ask {
            answer.next = None;
            self.asking += 1;
        }
        (word, ask)
    }

    /// Takes what was asked. None: DNS did not answer.
    fn learn(&mut self, ip: Option<IpAddr>, domain: &str, word: Option<&'static str>, now: Instant) {
        self.asking -= 1;
        let Some(answer) = self.answer(ip, domain, now) else { return };
        match word {
            Some(word) => *answer = Answer { word: Some((word, now)), next: Some(now + FRESH) },
            None => answer.next = Some(now + AGAIN),
        }
    }

    /// The answer of a domain, a new one if there is none; None: there is no place for it.
    fn answer(&mut self, ip: Option<IpAddr>, domain: &str, now: Instant) -> Option<&mut Answer> {
        let is_known = self.answers.get(&ip).is_some_and(|domains| domains.contains_key(domain));
        if !is_known {
            if self.count >= ANSWERS_MAX && !self.sweep(now) {
                return None;
            }
            self.count += 1;
            self.answers.entry(ip).or_default().insert(domain.into(), Answer { word: None, next: Some(now) });
        }
        self.answers.get_mut(&ip)?.get_mut(domain)
    }

    /// Forgets what is old. Whether there is a place now.
    fn sweep(&mut self, now: Instant) -> bool {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEPT_EVERY) {
            return false;
        }
        self.swept = Some(now);
        for domains in self.answers.values_mut() {
            domains.retain(|_, answer| match answer {
                Answer { next: None, .. } => true,
                Answer { word, .. } => word.is_some_and(|(_, came)| now.saturating_duration_since(came) < KEPT),
            });
        }
        self.answers.retain(|_, domains| !domains.is_empty());
        self.count = self.answers.values().map(HashMap::len).sum();
        self.count < ANSWERS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[test]
    fn an_answer_is_asked_once_and_again_when_it_is_no_longer_fresh() {
        let (mut known, begin) = (Known::default(), clock::instant());
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        assert_eq!([0, 1].map(|second| known.look_up(IP, "x.org", at(second))), [(None, true), (None, false)]);
        assert_eq!(known.look_up(None, "x.org", at(1)), (None, true), "DMARC is another question");
        known.learn(IP, "x.org", Some("pass"), at(2));
        assert_eq!([3, 301].map(|second| known.look_up(IP, "x.org", at(second))), [(Some("pass"), false); 2]);
        assert_eq!([303, 304].map(|second| known.look_up(IP, "x.org", at(second))), [(Some("pass"), true), (Some("pass"), false)]);
        known.learn(IP, "x.org", None, at(310));
        assert_eq!([369, 370].map(|second| known.look_up(IP, "x.org", at(second))), [(Some("pass"), false), (Some("pass"), true)]);
        known.learn(IP, "x.org", None, at(371));
        assert_eq!(known.look_up(IP, "x.org", at(3602)).0, None, "an answer of an hour ago says nothing about now");
    }

    #[test]
    fn few_questions_are_asked_at_once_and_so_many_answers_are_kept() {
        let (mut known, begin) = (Known::default(), clock::instant());
        let domain = |n: usize| format!("d{n}.test");
        let asked = (0..20).filter(|n| known.look_up(IP, &domain(*n), begin).1).count();
        assert_eq!(asked, ASKED_AT_ONCE);
        (0..ASKED_AT_ONCE).for_each(|n| known.learn(IP, &domain(n), Some("pass"), begin));
        for n in 0..ANSWERS_MAX + 10 {
            if known.look_up(None, &domain(n), begin).1 {
                known.learn(None, &domain(n), Some("none"), begin);
            }
        }
        assert_eq!(known.count, ANSWERS_MAX, "those that were never asked made room");
        assert!(!known.answers[&None].contains_key(&*domain(ANSWERS_MAX + 9)), "there is no place for the last ones");
        assert_eq!(known.look_up(None, "new.test", begin), (None, false));
        assert_eq!(known.look_up(None, "new.test", begin + KEPT), (None, true), "old answers make room");
        assert_eq!(known.count, 1);
    }
}
