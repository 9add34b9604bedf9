//! The recipients that were deferred because a smart host refuses the relay's login. The spool keeps that with each message, so that a start knows
//! it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use posthaste_message::Progress;

use crate::{
    backlog::table::{Rcpt, Seq, Table},
    exchange::{AttemptResult, Fate, FateRecord, Next},
    verdicts::LOGIN_RULE,
};

/// The recipients that wait for a login, by the key of their site. Some may have gone meanwhile.
#[derive(Default)]
pub(crate) struct LoginWaits(HashMap<Arc<str>, BTreeSet<(Seq, Rcpt)>>);

impl LoginWaits {
    /// These recipients of a message wait for the login at a site.
    pub(crate) fn note(&mut self, site: &Arc<str>, waits: impl Iterator<Item = (Seq, Rcpt)>) {
        let mut waits = waits.peekable();
        if waits.peek().is_some() {
            self.0.entry(site.clone()).or_default().extend(waits);
        }
    }

    /// Takes over what the spool kept of a message. A start is a chance for a login, as a reload is: these recipients are due now.
    pub(crate) fn restore(&mut self, seq: Seq, progress: &mut Progress, now: i64) {
        for (site, rcpts) in &progress.logins {
            self.note(site, rcpts.iter().map(|rcpt| (seq, *rcpt)));
            let waits = progress.recipients.iter_mut().filter(|saved| rcpts.binary_search(&saved.0).is_ok());
            waits.for_each(|saved| saved.2 = saved.2.min(now));
        }
    }

    /// Forgets the recipients of a record that wait for something else now, or have ended, and has the spool keep who still waits.
    pub(crate) fn settle(&mut self, record: &mut FateRecord) {
        for waits in self.0.values_mut() {
            for fate in record.fates.iter().filter(|fate| !waits_for_login(fate)) {
                waits.remove(&(record.seq, fate.rcpt));
            }
        }
        if let Some(after) = &mut record.after {
            let of_site = |(site, waits): (&Arc<str>, &BTreeSet<_>)| {
                let rcpts: Vec<Rcpt> = of_message(waits, record.seq).map(|(_, rcpt)| rcpt).collect();
                (!rcpts.is_empty()).then(|| (site.clone(), rcpts))
            };
            after.logins = self.0.iter().filter_map(of_site).collect();
        }
    }

    /// All that waits: the key of the site, the message and the recipient.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Arc<str>, Seq, Rcpt)> {
        self.0.iter().flat_map(|(site, waits)| waits.iter().map(move |(seq, rcpt)| (site, *seq, *rcpt)))
    }

    /// Takes out what waits for the logins at these sites, by message.
    pub(crate) fn take(&mut self, sites: &[Arc<str>]) -> BTreeMap<Seq, BTreeSet<Rcpt>> {
        let mut waiting: BTreeMap<Seq, BTreeSet<Rcpt>> = BTreeMap::new();
        for (seq, rcpt) in sites.iter().filter_map(|site| self.0.remove(site)).flatten() {
            waiting.entry(seq).or_default().insert(rcpt);
        }
        waiting
    }

    /// Forgets recipients whose messages have gone.
    pub(crate) fn sweep(&mut self, table: &Table) {
        self.0.values_mut().for_each(|waits| waits.retain(|(seq, _)| table.get(*seq).is_some()));
        self.0.retain(|_, waits| !waits.is_empty());
    }
}

/// The recipients of a message among these.
fn of_message(waits: &BTreeSet<(Seq, Rcpt)>, seq: Seq) -> impl Iterator<Item = (Seq, Rcpt)> {
    waits.range((seq, Rcpt::MIN)..=(seq, Rcpt::MAX)).copied()
}

/// Whether this recipient is deferred because a smart host refused it for the relay's login.
pub(crate) fn waits_for_login(fate: &Fate) -> bool {
    let refused = matches!(&fate.said, Some(AttemptResult::Failed(_, why)) if *why.rule == *LOGIN_RULE);
    refused && matches!(fate.next, Next::Deferred(_))
}
