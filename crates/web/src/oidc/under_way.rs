//! Logins that have begun and whose browsers are at the provider: in memory, each for one answer.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use posthaste_access::oidc::{OidcSettings, Proof};
use posthaste_journal::network;

/// Logins at once. Past that the oldest ends of the network that has begun most of them.
const LOGINS_MAX: usize = 1_000;
/// How long somebody may take at the provider.
pub(super) const LASTS: Duration = Duration::from_secs(600);

/// The shortest time between two lines of the diagnostics about a provider in trouble: strangers can ask for them.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// A login that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    /// The hash of the cookie of the browser that it began in.
    pub(super) browser: [u8; 32],
    /// Where it came from.
    pub(super) from: IpAddr,
    /// Where it leads afterwards.
    pub(super) then: String,
    /// What proves that an answer is about it.
    pub(super) proof: Proof,
    /// The settings that it began under.
    pub(super) by: Arc<OidcSettings>,
    /// When it began.
    pub(super) begun: Instant,
}

/// All of them, for all connections.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<Logins>);

impl UnderWay {
    pub(super) fn lock(&self) -> MutexGuard<'_, Logins> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Logins {
    /// By the hash of what the provider hands back, so that a look-up's timing tells nothing of it.
    all: HashMap<[u8; 32], Begun>,
    warned: Option<Instant>,
}

impl Logins {
    pub(super) fn begin(&mut self, state: [u8; 32], login: Begun) {
        if self.all.len() >= LOGINS_MAX {
            self.all.retain(|_, other| other.lasts(login.begun));
        }
        if self.all.len() >= LOGINS_MAX {
            self.end_one();
        }
        self.all.insert(state, login);
    }

    /// Takes a login out: an answer is good once, whatever becomes of it.
    pub(super) fn take(&mut self, state: &[u8; 32], now: Instant) -> Option<Begun> {
        self.all.remove(state).filter(|login| login.lasts(now))
    }

    /// Whether there is to be a line about a provider in trouble now.
    pub(super) fn warns(&mut self, now: Instant) -> bool {
        let is_due = self.warned.is_none_or(|warned| now.saturating_duration_since(warned) >= WARN_EVERY);
        if is_due {
            self.warned = Some(now);
        }
        is_due
    }

    fn end_one(&mut self) {
        let mut counts = HashMap::<IpAddr, usize>::new();
        self.all.values().for_each(|login| *counts.entry(network(login.from)).or_default() += 1);
        let Some((most, _)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return };
        let oldest = self.all.iter().filter(|(_, login)| network(login.from) == most).min_by_key(|(_, login)| login.begun);
        oldest.map(|(state, _)| *state).map(|state| self.all.remove(&state));
    }
}

impl Begun {
    fn lasts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun) < LASTS
    }
}

#[cfg(test)]
mod tests {
    use posthaste_access::oidc::ClaimRules;
    use posthaste_host::{Roots, clock};

    use super::*;
    use crate::sessions::hash;

    fn login(from: &str, begun: Instant) -> Begun {
        let rules = ClaimRules { role: "groups".into(), operators: Vec::new(), viewers: Vec::new(), names: Vec::new() };
        let by = OidcSettings {
            issuer: "https://login.example.com".into(),
            client: "posthaste".into(),
            secret: None,
            base_url: "https://mail.example.com".into(),
            label: "SSO".into(),
            scopes: Vec::new(),
            rules,
            roots: Roots::System,
            timeout: Duration::from_secs(1),
        };
        Begun { browser: [0; 32], from: from.parse().unwrap(), then: "/".into(), proof: Proof::default(), by: by.into(), begun }
    }

    #[test]
    fn a_login_is_good_once_and_for_ten_minutes() {
        let (mut logins, now) = (Logins::default(), clock::instant());
        for state in ["a", "b", "c"] {
            logins.begin(hash(state), login("192.0.2.1", now));
        }
        assert!(logins.take(&hash("a"), now + LASTS - Duration::from_millis(1)).is_some());
        assert!(logins.take(&hash("a"), now).is_none(), "it was used");
        assert!(logins.take(&hash("b"), now + LASTS).is_none() && logins.take(&hash("b"), now).is_none(), "it is over");
        assert!(logins.take(&hash("d"), now).is_none() && logins.take(&hash("c"), now).is_some());
    }

    #[test]
    fn a_provider_in_trouble_fills_no_disk() {
        let (mut logins, now) = (Logins::default(), clock::instant());
        let lines = (0..100).filter(|second| logins.warns(now + Duration::from_secs(*second))).count();
        assert_eq!(lines, 10);
    }

    #[test]
    fn a_network_that_begins_very_many_pushes_out_its_own() {
        let (mut logins, now) = (Logins::default(), clock::instant());
        let at = |n: usize| now + Duration::from_millis(n as u64);
        logins.begin(hash("hers"), login("198.51.100.7", now));
        for n in 1..=LOGINS_MAX + 10 {
            logins.begin(hash(&n.to_string()), login(&format!("192.0.2.{}", n % 256), at(n)));
        }
        assert_eq!(logins.all.len(), LOGINS_MAX);
        assert!(logins.take(&hash("hers"), at(2000)).is_some() && logins.take(&hash("11"), at(2000)).is_none());
        assert!(logins.take(&hash("12"), at(2000)).is_some());
        logins.begin(hash("late"), login("192.0.2.1", now + LASTS * 2));
        assert_eq!(logins.all.len(), LOGINS_MAX - 1, "there was room");
        (0..3).for_each(|n| logins.begin(hash(&format!("later {n}")), login("192.0.2.1", now + LASTS * 2)));
        assert_eq!(logins.all.len(), 3 + 1, "what is over goes first");
    }
}
