//! Questions to the list, over the admin socket or HTTP, or without a running relay.

use std::ops::ControlFlow;

use jiff::Timestamp;
use posthaste_mail::Address;
use posthaste_spool::{Facts, in_shards};
use serde::{Deserialize, Serialize};

use crate::{Added, Breadth, List, Over, Reason, SuppressionEntry, keys::ENTRIES};

/// A question or a change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum ListRequest {
    /// Put entries onto the list.
    Add {
        /// Which.
        entries: Vec<SuppressionEntry>,
        /// What becomes of existing entries.
        over: Over,
    },
    /// Take addresses off the list.
    Remove {
        /// Which.
        addresses: Vec<Address>,
        /// Only in this scope.
        scope: Option<Breadth>,
    },
    /// Show entries, in a stable order.
    List {
        /// Which.
        filter: EntryFilter,
        /// Only entries after this key, which is `next` of the last answer.
        after: Option<String>,
        /// The most entries to show, up to [`ListRequest::PAGE_MAX`].
        limit: usize,
    },
}

impl ListRequest {
    /// The most entries that one answer holds.
    pub const PAGE_MAX: usize = 10_000;
}

/// Selects entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EntryFilter {
    /// With this address.
    pub address: Option<Address>,
    /// At this domain, in lower case.
    pub domain: Option<String>,
    /// With this scope.
    pub scope: Option<Breadth>,
    /// With this reason.
    pub reason: Option<Reason>,
    /// With one of these scopes; None: with any.
    pub within: Option<Vec<Breadth>>,
}

impl EntryFilter {
    fn fits(&self, entry: &SuppressionEntry) -> bool {
        self.domain.as_ref().is_none_or(|d| entry.address.domain() == d)
            && self.scope.as_ref().is_none_or(|s| entry.scope == *s)
            && self.reason.is_none_or(|r| entry.reason == r)
            && self.within.as_ref().is_none_or(|scopes| scopes.contains(&entry.scope))
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum ListAnswer {
    /// To `Add` and `Remove`.
    Changed {
        /// Entries added or removed.
        changed: usize,
        /// Entries that were kept because they hold longer, or addresses that were not on the list.
        kept: usize,
    },
    /// To `List`.
    Entries {
        /// The entries in force.
        entries: Vec<SuppressionEntry>,
        /// The key to continue after, if there may be more.
        next: Option<String>,
    },
}

impl<F: Facts> List<'_, F> {
    /// Does what is asked. May read much from disk.
    pub fn perform(&self, request: &ListRequest, now: Timestamp) -> ListAnswer {
        match request {
            ListRequest::Add { entries, over } => {
                let changed = entries.iter().filter(|e| self.add(e, *over, now) == Added::New).count();
                ListAnswer::Changed { changed, kept: entries.len() - changed }
            }
            ListRequest::Remove { addresses, scope } => {
                let removed: Vec<usize> = addresses.iter().map(|a| self.remove(a, scope.as_ref())).collect();
                ListAnswer::Changed { changed: removed.iter().sum(), kept: removed.iter().filter(|n| **n == 0).count() }
            }
            ListRequest::List { filter, after, limit } => {
                self.list(filter, after.as_deref(), (*limit).clamp(1, ListRequest::PAGE_MAX), now)
            }
        }
    }

    fn list(&self, filter: &EntryFilter, after: Option<&str>, limit: usize, now: Timestamp) -> ListAnswer {
        if let Some(address) = &filter.address {
            let entries = self.find(address, now).into_iter().filter(|e| filter.fits(e)).collect();
            return ListAnswer::Entries { entries, next: None };
        }
        let (mut entries, mut next) = (Vec::new(), None);
        let _ = in_shards(self.register.facts(), ENTRIES, after, |key, value| {
            entries.extend(SuppressionEntry::decode(value).filter(|e| e.holds(now) && filter.fits(e)));
            if entries.len() < limit {
                return ControlFlow::Continue(());
            }
            next = Some(String::from_utf8_lossy(key).into_owned());
            ControlFlow::Break(())
        });
        ListAnswer::Entries { entries, next }
    }
}
