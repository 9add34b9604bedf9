//! Each report once: who is first to bring it may write it down, and whoever brings it again meanwhile has to wait.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use posthaste_spool::{Facts, Spool};
use posthaste_suppression::{List, Register};
use tokio::sync::oneshot;

use crate::{
    found::Return,
    identity::{Identity, REMEMBERED, identity, is_known, remember},
    record,
    settings::Settings,
    settle,
};

/// Reports between their reading and their remembered line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(Arc<Mutex<HashSet<Identity>>>);

/// The right to write one report down; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    of: Claims,
    identity: Identity,
}

/// Whose turn it is.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The caller's.
    Mine(Claim),
    /// Somebody else's, whose line is not durable yet.
    UnderWay,
    /// Nobody's: it was written down before.
    Over,
}

impl Claims {
    /// None for what is about no message.
    pub(crate) fn claim<F: Facts>(&self, facts: &F, found: &Return, now: Timestamp) -> Option<Turn> {
        let identity = identity(found)?;
        let mut under_way = self.lock();
        if is_known(facts, &identity, now) {
            return Some(Turn::Over);
        }
        if !under_way.insert(identity.clone()) {
            return Some(Turn::UnderWay);
        }
        drop(under_way);
        Some(Turn::Mine(Claim { of: self.clone(), identity }))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Identity>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.of.lock().remove(&self.identity);
    }
}

/// A return whose line is on its way to the disk. Rides on that line as its ticket.
pub(crate) struct Settling {
    pub(crate) found: Return,
    pub(crate) at: Timestamp,
    /// Whose rules hold.
    pub(crate) settings: Arc<Settings>,
    pub(crate) claim: Claim,
    /// Told when all of it is done.
    pub(crate) done: oneshot::Sender<()>,
}

impl Settling {
    /// The line is durable: the suppression list is told, and the report remembered.
    pub(crate) fn settle(self, register: &Register<Spool>) {
        let Self { found, at, settings, claim, done } = self;
        settle_once(register, &settings, &found, at);
        drop(claim);
        // Whoever waited may have given up.
        let _ = done.send(());
    }
}

/// What a crash may have cut off behind a durable line of the log.
pub fn make_up_for(register: &Register<Spool>, settings: &Settings, line: &[u8], now: Timestamp) {
    let Some((found, at)) = record::read(line) else { return };
    let forgotten = at.saturating_add(REMEMBERED).is_ok_and(|until| until <= now);
    let new = |identity| !is_known(register.facts(), &identity, at);
    if !forgotten && identity(&found).is_some_and(new) {
        settle_once(register, settings, &found, at);
    }
}

/// The list first: who finds the report remembered finds the list told.
fn settle_once<F: Facts>(register: &Register<F>, settings: &Settings, found: &Return, at: Timestamp) {
    let list = List::new(register, &settings.suppression);
    settle::settle(&list, found, settings.returns.trust, at);
    remember(register.facts(), found, at);
}
