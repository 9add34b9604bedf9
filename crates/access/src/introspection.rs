//! Bearer tokens issued by an OAuth 2.0 server, which is asked about them (RFC 7662).
//!
//! `client` asks, `judge` decides what an answer means, `memory` remembers valid tokens for a while, and `health` decides when to alarm the
//! operator. A token that cannot be checked at present never counts as a wrong one: it does not get its owner banned.

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
    client::{Client, NoAnswer},
    health::Health,
    judge::{Judgement, judge},
    memory::{Key, Memory},
};
pub use self::{
    endpoint::Endpoint,
    health::EndpointNews,
    judge::{TokenRules, UserField},
};

/// Requests that may wait, for each concurrent one. Beyond that, clients are told to try again later.
const WAITING_PER_TURN: usize = 8;
/// The longest token, in bytes. Tokens come from strangers; a line of AUTH holds no longer one in base64.
const TOKEN_MAX: usize = 8192;

/// The owner of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenOwner {
    /// The token is valid and names this user, whom the relay may not know.
    Named(Arc<str>),
    /// The token is wrong.
    Nobody,
    /// The token cannot be checked at present.
    Trouble,
}

/// Checks tokens with the endpoint. A reload makes a new one, with an empty memory.
pub struct Introspection {
    client: Client,
    rules: TokenRules,
    timeout: Duration,
    remember: Duration,
    turns: Semaphore,
    waiting: Semaphore,
    memory: Mutex<Memory>,
    health: Mutex<Health>,
}

impl Introspection {
    /// For this endpoint, which must show a certificate that `tls` trusts.
    pub fn new(endpoint: &Endpoint, tls: &ClientConfig) -> Self {
        Self {
            client: Client::new(endpoint, tls),
            rules: endpoint.rules.clone(),
            timeout: endpoint.timeout,
            remember: endpoint.remember.unwrap_or_default(),
            turns: Semaphore::new(endpoint.questions),
            waiting: Semaphore::new(endpoint.questions * (1 + WAITING_PER_TURN)),
            memory: Mutex::new(Memory::new(rand::random())),
            health: Mutex::default(),
        }
    }

    /// The owner of this token, and news of the endpoint for the operator. `clock` is read again after the answer has arrived.
    pub async fn owner(&self, token: &str, clock: impl Fn() -> (Instant, Timestamp)) -> (TokenOwner, Option<EndpointNews>) {
        if token.len() > TOKEN_MAX {
            return (TokenOwner::Nobody, None);
        }
        let key = self.memory().key(token);
        if let Some(user) = self.known(&key, clock().0) {
            return (TokenOwner::Named(user), None);
        }
        // A full queue here says nothing about the endpoint's health.
        let Ok(_slot) = self.waiting.try_acquire() else { return (TokenOwner::Trouble, None) };
        let Ok(turn) = timeout(self.timeout, self.turns.acquire()).await else { return (TokenOwner::Trouble, None) };
        let _turn = turn.expect("the semaphore is never closed");
        // While this request waited, another may have asked about the same token.
        if let Some(user) = self.known(&key, clock().0) {
            return (TokenOwner::Named(user), None);
        }
        let answer = timeout(self.timeout, self.client.ask(token)).await;
        let answer = answer.unwrap_or(Err(NoAnswer::Late(self.timeout)));
        self.understand(key, answer, clock())
    }

    fn understand(
        &self,
        key: Key,
        answer: Result<Vec<u8>, NoAnswer>,
        (now, time): (Instant, Timestamp),
    ) -> (TokenOwner, Option<EndpointNews>) {
        let judged = answer.and_then(|answer| judge(&answer, &self.rules, time).map_err(NoAnswer::from));
        let trouble = judged.as_ref().err().map(ToString::to_string);
        let news = self.health.lock().unwrap_or_else(PoisonError::into_inner).heard(trouble.as_deref(), now);
        let owner = match judged {
            Ok(Judgement::Right { user, until }) => {
                let user: Arc<str> = user.into();
                let left = until.map(|until| Duration::try_from(until.duration_since(time)).unwrap_or_default());
                let lasts = left.map_or(self.remember, |left| left.min(self.remember));
                self.memory().keep(key, user.clone(), lasts, now);
                TokenOwner::Named(user)
            }
            Ok(Judgement::Wrong(why)) => {
                tracing::debug!("a token was refused: {why}");
                TokenOwner::Nobody
            }
            Err(_) => TokenOwner::Trouble,
        };
        (owner, news)
    }

    fn known(&self, key: &Key, now: Instant) -> Option<Arc<str>> {
        self.memory().owner(key, now)
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
