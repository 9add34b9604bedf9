//! Who is logged in: sessions in memory. A restart of the relay ends them all.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use posthaste_access::{
    oidc::{Identity, OidcSettings},
    users::Login,
};

/// Sessions at once; past that the one that was idle for longest ends.
const SESSIONS_MAX: usize = 1_000;
/// Sessions of one user at once, likewise.
const SESSIONS_PER_USER: usize = 20;

/// How long sessions last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lasting {
    /// Without a request.
    pub(crate) idle: Duration,
    /// At most.
    pub(crate) most: Duration,
}

/// Who logged in.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    /// A user of the configuration.
    User(Login),
    /// Somebody whom the OpenID provider knows, under the settings of then.
    Known(Identity, Arc<OidcSettings>),
    /// Whoever had the link that a relay without users prints.
    Link,
}

impl Who {
    /// The name for the log and the page.
    pub(crate) fn name(&self) -> Arc<str> {
        match self {
            Self::User(login) => login.name().clone(),
            Self::Known(identity, _) => identity.name.as_str().into(),
            Self::Link => "operator".into(),
        }
    }

    /// Whether it is the same one. A provider may know somebody by the name of a user, or two people by one name.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::User(one), Self::User(other)) => one.name() == other.name(),
            (Self::Known(one, by), Self::Known(other, its)) => (&one.subject, &by.issuer) == (&other.subject, &its.issuer),
            (Self::Link, Self::Link) => true,
            _ => false,
        }
    }
}

/// A session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Whose it is.
    pub(crate) who: Who,
    /// What its forms carry: another site's do not know it.
    pub(crate) form_token: Arc<str>,
    begun: Instant,
    seen: Instant,
}

/// The sessions that last.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// By the hash of the cookie's value, so that a look-up's timing tells nothing of it.
    live: HashMap<[u8; 32], Session>,
}

/// A secret that nobody guesses: 256 random bits as text.
pub(crate) fn secret() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// The hash under which a secret is kept.
pub(crate) fn hash(secret: &str) -> [u8; 32] {
    digest(&SHA256, secret.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl Sessions {
    /// Begins a session. Returns the cookie's value.
    pub(crate) fn begin(&mut self, who: Who, now: Instant, lasting: Lasting) -> String {
        self.live.retain(|_, session| session.lasts(now, lasting));
        if self.live.values().filter(|session| session.who.is(&who)).count() >= SESSIONS_PER_USER {
            self.end_idlest(|session| session.who.is(&who));
        }
        if self.live.len() >= SESSIONS_MAX {
            self.end_idlest(|_| true);
        }
        let cookie = secret();
        self.live.insert(hash(&cookie), Session { who, form_token: secret().into(), begun: now, seen: now });
        cookie
    }

    /// The session of this cookie, if it lasts. `asks`: a person asks, and it is not idle; else the page itself looks for news.
    pub(crate) fn find(&mut self, cookie: &str, asks: bool, now: Instant, lasting: Lasting) -> Option<Session> {
        let key = hash(cookie);
        let session = self.live.get_mut(&key)?;
        if !session.lasts(now, lasting) {
            self.live.remove(&key);
            return None;
        }
        if asks {
            session.seen = now;
        }
        Some(session.clone())
    }

    /// Ends the session of this cookie.
    pub(crate) fn end(&mut self, cookie: &str) {
        self.live.remove(&hash(cookie));
    }

    fn end_idlest(&mut self, of: impl Fn(&Session) -> bool) {
        let idlest = self.live.iter().filter(|(_, session)| of(session)).min_by_key(|(_, session)| session.seen).map(|(key, _)| *key);
        idlest.map(|key| self.live.remove(&key));
    }
}

impl Session {
    fn lasts(&self, now: Instant, lasting: Lasting) -> bool {
        now.saturating_duration_since(self.seen) < lasting.idle && now.saturating_duration_since(self.begun) < lasting.most
    }
}

#[cfg(test)]
mod tests {
    use posthaste_host::clock;

    use super::*;

    const LASTING: Lasting = Lasting { idle: Duration::from_secs(60), most: Duration::from_secs(600) };

    #[test]
    fn a_session_ends_when_nobody_asks_and_at_its_end() {
        let (mut sessions, begin) = (Sessions::default(), clock::instant());
        let cookie = sessions.begin(Who::Link, begin, LASTING);
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(sessions.find(&cookie, true, at(59), LASTING).is_some());
        assert!(sessions.find(&cookie, false, at(118), LASTING).is_some());
        assert!(sessions.find(&cookie, true, at(119), LASTING).is_none(), "the page's own looks keep no session alive");
        let cookie = sessions.begin(Who::Link, begin, LASTING);
        for seconds in (0..600).step_by(50) {
            assert!(sessions.find(&cookie, true, at(seconds), LASTING).is_some());
        }
        assert!(sessions.find(&cookie, true, at(600), LASTING).is_none());
        assert!(sessions.find("else", true, at(0), LASTING).is_none());
    }

    #[test]
    fn past_so_many_sessions_of_one_user_the_idlest_ends() {
        let (mut sessions, begin) = (Sessions::default(), clock::instant());
        let at = |n: usize| begin + Duration::from_millis(n as u64);
        let cookies: Vec<String> = (0..=SESSIONS_PER_USER).map(|n| sessions.begin(Who::Link, at(n), LASTING)).collect();
        assert!(sessions.find(&cookies[0], true, at(50), LASTING).is_none());
        assert!(cookies[1..].iter().all(|cookie| sessions.find(cookie, true, at(50), LASTING).is_some()));
    }

    #[test]
    fn who_logs_out_is_out() {
        let (mut sessions, now) = (Sessions::default(), clock::instant());
        let [one, other] = [(); 2].map(|()| sessions.begin(Who::Link, now, LASTING));
        sessions.end(&one);
        assert!(sessions.find(&one, true, now, LASTING).is_none() && sessions.find(&other, true, now, LASTING).is_some());
    }
}
