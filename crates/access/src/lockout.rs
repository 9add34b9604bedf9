//! Clients that guess passwords or tokens, at any listener, are slowed down and then shut out of all listeners for a time.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use posthaste_host::{InForce, clock};
use posthaste_journal::{Journal, Part, State};
use posthaste_smtp::server::Answer;

use crate::bans::{BanPolicy, Bans, Cost};

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
}

impl Lockout {
    /// A lockout with no client shut out.
    pub fn new(policy: InForce<BanPolicy>, journal: Journal) -> Self {
        Self { bans: Mutex::default(), policy, journal }
    }

    /// The answer to the client at `ip` if it is shut out.
    pub fn shut_out(&self, ip: IpAddr) -> Option<ShutOut> {
        let banned = self.bans.lock().unwrap_or_else(PoisonError::into_inner).check(ip, clock::instant())?;
        let text = format!("too many wrong passwords or tokens from {ip}, try again in {} minutes", banned.left.as_secs() / 60 + 1);
        Some(ShutOut { answer: Answer::new(421, 7, 0, text), tell: banned.tell })
    }

    /// Counts a wrong password or token.
    pub fn failed(&self, ip: IpAddr) -> Price {
        let policy = self.policy.get();
        let cost = {
            let mut bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
            bans.failed(ip, policy.exempts(ip), &policy.rules, clock::instant())
        };
        let first = match cost {
            Cost::Wait(wait) => return Price { wait, shut_out: false },
            Cost::Banned { first } => first,
        };
        if first {
            let (n, lasts, within) = (policy.rules.failures, policy.rules.lasts, policy.rules.within);
            let detail = format!("{ip} is shut out for {lasts:?}: {n} wrong passwords or tokens within {within:?}");
            self.journal.say(Part::Auth, State::Banned, detail);
        }
        Price { wait: policy.rules.delay, shut_out: true }
    }
}
