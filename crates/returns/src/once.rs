//! Each report counts once: the first mail with it claims it, and others with the same report have to wait meanwhile.

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
    identity::{REMEMBERED, Subject, identity, is_known, remember, subject},
    record,
    settings::Settings,
    settle,
};

/// Reports that were read but are not remembered yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(Arc<Mutex<HashSet<Subject>>>);

/// The right to log one report; given back when dropped.
#[derive(Debug)]
pub(crate) struct ReportClaim {
    of: Claims,
    subject: Subject,
}

/// The result of claiming a report.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// It belongs to the caller.
    Granted(ReportClaim),
    /// Another mail has claimed one with the same subject, and its line is not durable yet.
    UnderWay,
    /// It was logged before.
    Known,
}

impl Claims {
    /// Claims a report; None if it is about no message.
    pub(crate) fn claim<F: Facts>(&self, facts: &F, found: &Return, now: Timestamp) -> Option<Claimed> {
        let (identity, subject) = (identity(found)?, subject(found)?);
        let mut under_way = self.lock();
        if is_known(facts, &identity, now) {
            return Some(Claimed::Known);
        }
        if !under_way.insert(subject.clone()) {
            return Some(Claimed::UnderWay);
        }
        drop(under_way);
        Some(Claimed::Granted(ReportClaim { of: self.clone(), subject }))
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Subject>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReportClaim {
    fn drop(&mut self) {
        self.of.lock().remove(&self.subject);
    }
}

/// A return whose line is not durable yet; the ticket of that line.
pub(crate) struct Settling {
    pub(crate) found: Return,
    pub(crate) at: Timestamp,
    /// The settings that apply.
    pub(crate) settings: Arc<Settings>,
    pub(crate) claim: ReportClaim,
    /// Signalled when all of it is done.
    pub(crate) done: oneshot::Sender<()>,
}

impl Settling {
    /// The line is durable: updates the suppression list and remembers the report.
    pub(crate) fn settle(self, register: &Register<Spool>) {
        let Self { found, at, settings, claim, done } = self;
        settle_once(register, &settings, &found, at);
        drop(claim);
        // The waiting task may have given up.
        let _ = done.send(());
    }
}

/// Catches up on the consequences of a durable log line that a crash may have cut off.
pub fn make_up_for(register: &Register<Spool>, settings: &Settings, line: &[u8], now: Timestamp) {
    let Some((found, at)) = record::read(line) else { return };
    let forgotten = at.saturating_add(REMEMBERED).is_ok_and(|until| until <= now);
    let new = |identity| !is_known(register.facts(), &identity, at);
    if !forgotten && identity(&found).is_some_and(new) {
        settle_once(register, settings, &found, at);
    }
}

/// The list is updated first, so that a report is remembered only after it has taken effect.
fn settle_once<F: Facts>(register: &Register<F>, settings: &Settings, found: &Return, at: Timestamp) {
    let list = List::new(register, &settings.suppression);
    settle::settle(&list, found, settings.returns.trust, at);
    remember(register.facts(), found, at);
}
