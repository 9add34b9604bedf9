//! What is known of each recipient domain: its route for as long as DNS lets us keep it, and who waits for it.

use std::{collections::HashMap, sync::Arc};

use posthaste_bounce::Verdict;
use posthaste_mail::{Domain, Failure};

use crate::{
    Way,
    backlog::table::{DomainIx, RecipientGroup},
};

/// No hosts, why, and what that means.
#[derive(Clone, Debug)]
pub struct Unroutable {
    /// What DNS said.
    pub failure: Failure,
    /// What that means for the mail.
    pub verdict: Verdict,
}

/// How far a domain's route is known.
pub(crate) enum Known {
    /// Never asked, or too long ago.
    No,
    /// Asked.
    Asking,
    /// The hosts, until then.
    Route(Arc<Way>, i64),
    /// No hosts, until then.
    Nowhere(Arc<Unroutable>, i64),
}

/// One domain.
pub(crate) struct DomainEntry {
    /// Its name.
    pub(crate) name: Arc<Domain>,
    /// Its route.
    pub(crate) known: Known,
    /// Groups that wait for the answer.
    pub(crate) waiting: Vec<RecipientGroup>,
    /// Recipients owed at it.
    pub(crate) owed: usize,
}

/// All domains that mail is owed to.
#[derive(Default)]
pub(crate) struct Domains {
    entries: HashMap<DomainIx, DomainEntry>,
    by_name: HashMap<Arc<Domain>, DomainIx>,
    next: DomainIx,
}

impl Domains {
    /// A domain's number, for one more recipient owed there.
    pub(crate) fn owe(&mut self, name: &Domain) -> DomainIx {
        if let Some(ix) = self.by_name.get(name) {
            self.entries.get_mut(ix).expect("by_name leads to entries that exist").owed += 1;
            return *ix;
        }
        self.next += 1;
        let name = Arc::new(name.clone());
        self.by_name.insert(name.clone(), self.next);
        self.entries.insert(self.next, DomainEntry { name, known: Known::No, waiting: Vec::new(), owed: 1 });
        self.next
    }

    /// One recipient less is owed at it.
    pub(crate) fn settle(&mut self, ix: DomainIx) {
        if let Some(entry) = self.entries.get_mut(&ix) {
            entry.owed = entry.owed.saturating_sub(1);
        }
    }

    /// A domain by its number.
    pub(crate) fn get_mut(&mut self, ix: DomainIx) -> Option<&mut DomainEntry> {
        self.entries.get_mut(&ix)
    }

    /// A domain by its number.
    pub(crate) fn get(&self, ix: DomainIx) -> Option<&DomainEntry> {
        self.entries.get(&ix)
    }

    /// The numbers of all of them.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = DomainIx> {
        self.entries.keys().copied()
    }

    /// Forgets every route, so that the next look asks again.
    pub(crate) fn forget_routes(&mut self) {
        for entry in self.entries.values_mut() {
            if !matches!(entry.known, Known::Asking) {
                entry.known = Known::No;
            }
        }
    }

    /// Forgets domains that nothing is owed to and whose answer is too old.
    pub(crate) fn sweep(&mut self, now: i64) {
        let done = |e: &DomainEntry| {
            let stale = match e.known {
                Known::No => true,
                Known::Asking => false,
                Known::Route(_, until) | Known::Nowhere(_, until) => until <= now,
            };
            e.owed == 0 && e.waiting.is_empty() && stale
        };
        self.by_name.retain(|_, ix| !done(&self.entries[ix]));
        self.entries.retain(|_, e| !done(e));
    }
}
