//! Who guesses passwords and tokens, at whatever door: slowed, then shut out of all of them for a time.

use std::{net::IpAddr, sync::PoisonError, time::Duration};

use posthaste_access::bans::Cost;
use posthaste_host::clock;
use posthaste_mail::What;
use posthaste_smtp::server::Answer;

use super::Intake;
use crate::scribe::event;

/// A client that is shut out.
#[derive(Debug)]
pub struct ShutOut {
    /// What it is told.
    pub answer: Answer,
    /// Whether the log should say so this time.
    pub tell: bool,
}

/// What a wrong password or token costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// How long the answer waits.
    pub wait: Duration,
    /// The client is shut out from now on.
    pub shut_out: bool,
}

impl Intake {
    /// Whether the client at `ip` is shut out.
    pub fn shut_out(&self, ip: IpAddr) -> Option<ShutOut> {
        let banned = self.bans.lock().unwrap_or_else(PoisonError::into_inner).check(ip, clock::instant())?;
        let text = format!("too many wrong passwords or tokens from {ip}, try again in {} minutes", banned.left.as_secs() / 60 + 1);
        Some(ShutOut { answer: Answer::new(421, 7, 0, text), tell: banned.tell })
    }

    /// Counts a wrong password or token.
    pub fn login_failed(&self, ip: IpAddr) -> Price {
        let live = self.live.load();
        let bans = &live.config.bans;
        let cost = {
            let mut all = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
            all.failed(ip, bans.exempts(ip), &bans.rules, clock::instant())
        };
        let first = match cost {
            Cost::Wait(wait) => return Price { wait, shut_out: false },
            Cost::Banned { first } => first,
        };
        if first {
            let (n, lasts, within) = (bans.rules.failures, bans.rules.lasts, bans.rules.within);
            let detail = format!("{ip} is shut out for {lasts:?}: {n} wrong passwords or tokens within {within:?}");
            tracing::warn!(%ip, "{detail}");
            let what = What::Relay { state: "banned".into(), part: Some("auth".into()), detail };
            self.log.append(event(&live.config.node, clock::now(), what), None);
        }
        Price { wait: bans.rules.delay, shut_out: true }
    }
}
