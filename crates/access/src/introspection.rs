//! Bearer tokens that are no user's own: an OAuth 2.0 server is asked whose they are (RFC 7662).
//!
//! `judge` decides what an answer means, `memory` keeps what was right for a while, `health` knows when the operator must hear of trouble, and
//! `client` asks. A token that cannot be checked is never a wrong one: it costs its owner no ban.

mod client;
mod endpoint;
mod health;
mod judge;
mod memory;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustls::ClientConfig;
use tokio::{sync::Semaphore, time::timeout};

use self::{
    client::Client,
    health::Health,
    judge::{Judgement, Junk, judge},
    memory::{Key, Memory},
};
pub use self::{
    endpoint::Endpoint,
    health::News,
    judge::{Rules, UserField},
};

/// Questions that may wait for a turn, for each that has one; past that a client is told to come again.
const WAITING_PER_TURN: usize = 8;
/// The longest token, in bytes. They come from strangers; a line of AUTH holds no longer one, as base64.
const TOKEN_MAX: usize = 8192;

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Of somebody of this name, whom the relay may know or not.
    Named(Arc<str>),
    /// Nobody's: it is wrong.
    Nobody,
    /// That cannot be told at present.
    Trouble,
}

/// Asks whose tokens are. A reload makes a new one, which has everything to learn.
pub struct Introspection {
    client: Client,
    rules: Rules,
    timeout: Duration,
    remember: Duration,
    turns: Semaphore,
    waiting: Semaphore,
    memory: Mutex<Memory>,
    health: Mutex<Health>,
}

impl Introspection {
    /// Asks the endpoint of this configuration, which must show a certificate that `tls` trusts.
    pub fn new(asked: &Endpoint, tls: &ClientConfig) -> Self {
        Self {
            client: Client::new(asked, tls),
            rules: asked.rules.clone(),
            timeout: asked.timeout,
            remember: asked.remember.unwrap_or_default(),
            turns: Semaphore::new(asked.questions),
            waiting: Semaphore::new(asked.questions * (1 + WAITING_PER_TURN)),
            memory: Mutex::new(Memory::new(rand::random())),
            health: Mutex::default(),
        }
    }

    /// Whose this token is, and what the operator is to hear besides. `clock` is asked again once the answer is there.
    pub async fn whose(&self, token: &str, clock: impl Fn() -> (Instant, Timestamp)) -> (Whose, Option<News>) {
        if token.len() > TOKEN_MAX {
            return (Whose::Nobody, None);
        }
        let key = self.memory().key(token);
        if let Some(user) = self.known(&key, clock().0) {
            return (Whose::Named(user), None);
        }
        // What is too much for us says nothing about the endpoint.
        let Ok(_place) = self.waiting.try_acquire() else { return (Whose::Trouble, None) };
        let Ok(turn) = timeout(self.timeout, self.turns.acquire()).await else { return (Whose::Trouble, None) };
        let _turn = turn.expect("the semaphore is never closed");
        // While this one waited, another may have asked the same.
        if let Some(user) = self.known(&key, clock().0) {
            return (Whose::Named(user), None);
        }
        let answer = timeout(self.timeout, self.client.ask(token)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.timeout)));
        self.understand(key, answer, clock())
    }

    fn understand(&self, key: Key, answer: Result<Vec<u8>, String>, (now, time): (Instant, Timestamp)) -> (Whose, Option<News>) {
        let judged = answer.and_then(|answer| judge(&answer, &self.rules, time).map_err(|Junk(why)| format!("of its answer: {why}")));
        let news = self.health.lock().unwrap_or_else(PoisonError::into_inner).heard(judged.as_ref().err().map(String::as_str), now);
        let whose = match judged {
            Ok(Judgement::Right { user, until }) => {
                let user: Arc<str> = user.into();
                let left = until.map(|until| Duration::try_from(until.duration_since(time)).unwrap_or_default());
                let lasts = left.map_or(self.remember, |left| left.min(self.remember));
                self.memory().keep(key, user.clone(), lasts, now);
                Whose::Named(user)
            }
            Ok(Judgement::Wrong(why)) => {
                tracing::debug!("a token is refused: {why}");
                Whose::Nobody
            }
            Err(_) => Whose::Trouble,
        };
        (whose, news)
    }

    fn known(&self, key: &Key, now: Instant) -> Option<Arc<str>> {
        self.memory().whose(key, now)
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
