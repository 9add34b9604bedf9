//! Clients that guess passwords or tokens, at any listener, are slowed down and then shut out of all listeners for a time.

use std::{
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use posthaste_host::{InForce, clock};
use posthaste_journal::{Journal, Part, State};
use posthaste_smtp::server::Answer;
use tokio::sync::Notify;

use crate::bans::{BanPolicy, Banned, Bans, Cost, Turn};

/// A client that is shut out.
#[derive(Debug)]
pub struct ShutOut {
    /// The answer to give it.
    pub answer: Answer,
    /// Whether to log this refusal.
    pub tell: bool,
}

/// The consequence of a wrong password or token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// How long to delay the answer.
    pub wait: Duration,
    /// Whether the client is shut out from now on.
    pub shut_out: bool,
}

/// Shuts out clients that guess passwords or tokens. One for all listeners.
pub struct Lockout {
    bans: Mutex<Bans>,
    policy: InForce<BanPolicy>,
    journal: Journal,
    /// Wakes those who wait for a turn.
    turns: Notify,
}

/// A guess that is being checked. If it is dropped without an outcome, it counts as none.
pub struct Guess {
    of: Arc<Lockout>,
    ip: IpAddr,
}

impl Lockout {
    /// A lockout with no client shut out.
    pub fn new(policy: InForce<BanPolicy>, journal: Journal) -> Self {
        Self { bans: Mutex::default(), policy, journal, turns: Notify::new() }
    }

    /// The answer to the client at `ip` if it is shut out.
    pub fn shut_out(&self, ip: IpAddr) -> Option<ShutOut> {
        self.bans().check(ip, clock::instant()).map(|banned| ShutOut::new(ip, &banned))
    }

    /// A turn to check a password or token from `ip`, or the answer if it is shut out. Waits while so many guesses from there are being
    /// checked that no more may be wrong.
    pub async fn guess(self: &Arc<Self>, ip: IpAddr) -> Result<Guess, ShutOut> {
        loop {
            let mut woken = pin!(self.turns.notified());
            woken.as_mut().enable();
            let policy = self.policy.get();
            let turn = self.bans().begin(ip, policy.exempts(ip), &policy.rules, clock::instant());
            match turn {
                Turn::Granted => return Ok(Guess { of: self.clone(), ip }),
                Turn::Banned(banned) => return Err(ShutOut::new(ip, &banned)),
                Turn::Wait => {}
            }
            drop(policy);
            woken.await;
        }
    }

    /// Counts a wrong password or token.
    fn failed(&self, ip: IpAddr) -> Price {
        let policy = self.policy.get();
        let cost = self.bans().failed(ip, policy.exempts(ip), &policy.rules, clock::instant());
        let first = match cost {
            Cost::Wait(wait) => return Price { wait, shut_out: false },
            Cost::Banned { first } => first,
        };
        if first {
            let (n, lasts, within) = (policy.rules.failures, policy.rules.lasts, policy.rules.within);
            let detail = format!("{ip} is shut out for {lasts:?}: {n} wrong passwords or tokens within {within:?}");
            self.journal.say_of_stranger(ip, "banned", Part::Auth, State::Banned, detail);
        }
        Price { wait: policy.rules.delay, shut_out: true }
    }

    fn bans(&self) -> MutexGuard<'_, Bans> {
        self.bans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShutOut {
    fn new(ip: IpAddr, banned: &Banned) -> Self {
        let text = format!("too many wrong passwords or tokens from {ip}, try again in {} minutes", banned.left.as_secs() / 60 + 1);
        Self { answer: Answer::new(421, 7, 0, text), tell: banned.tell }
    }
}

impl Guess {
    /// The password or token was wrong.
    pub fn wrong(self) -> Price {
        self.of.failed(self.ip)
    }
}

impl Drop for Guess {
    fn drop(&mut self) {
        self.of.bans().ended(self.ip);
        self.of.turns.notify_waiters();
    }
}
