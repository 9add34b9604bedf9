//! The recipients that were deferred because a smart host refuses the relay's login.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::backlog::table::{Rcpt, Seq, Table};

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
