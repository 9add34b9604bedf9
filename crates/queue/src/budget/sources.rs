//! The sources of pools: which of them are on this host, and which one is next.

use std::collections::{HashMap, HashSet};

use posthaste_mail::Name;

use crate::{backlog::table::StreamIx, policy::Policy};

/// Turns that are remembered, at most. Beyond that all turns start again, each with another source.
const TURNS_MAX: usize = 100_000;

/// The sources' turns by weight, and which sources are gone.
#[derive(Default)]
pub(crate) struct Sources {
    /// The number of the next turn, by stream and provider.
    turns: HashMap<(StreamIx, Name), u64>,
    begun: u64,
    /// Sources that are not on this host.
    gone: HashSet<Name>,
}

impl Sources {
    /// These sources are not on this host; all others are.
    pub(crate) fn set_gone(&mut self, gone: HashSet<Name>) {
        self.gone = gone;
    }

    /// Whether a source is not on this host.
    pub(crate) fn is_gone(&self, source: &Name) -> bool {
        self.gone.contains(source)
    }

    /// A pool's sources that are on this host, with their weights.
    pub(crate) fn of_pool<'a>(&'a self, pool: &Name, policy: &'a Policy) -> impl Iterator<Item = (&'a Name, u32)> + Clone {
        let sources = policy.pools.get(pool).map_or(&[][..], |pool| &pool.sources);
        sources.iter().filter(|(name, _)| !self.gone.contains(name)).map(|(name, weight)| (name, *weight))
    }

    /// The source of a pool whose turn it is. Sources take turns by their weights at each provider separately; otherwise mail that
    /// alternates between two providers would leave each provider to one source. Providers begin with different sources, so that providers
    /// with one message each are shared out too.
    pub(crate) fn next_by_weight(&mut self, stream: StreamIx, pool: &Name, provider: &Name, policy: &Policy) -> Option<Name> {
        let sources = &policy.pools.get(pool)?.sources;
        let there = || sources.iter().filter(|(name, _)| !self.gone.contains(name));
        let total: u64 = there().map(|(_, weight)| u64::from(*weight)).sum();
        let begun = &mut self.begun;
        let turn = self.turns.entry((stream, provider.clone())).or_insert_with(|| {
            *begun = begun.wrapping_add(1);
            begun.wrapping_sub(1)
        });
        let mut at = *turn % total.max(1);
        *turn = turn.wrapping_add(1);
        for (name, weight) in there() {
            if at < u64::from(*weight) {
                return Some(name.clone());
            }
            at -= u64::from(*weight);
        }
        None
    }

    /// Forgets all turns if there are too many.
    pub(crate) fn sweep(&mut self) {
        if self.turns.len() > TURNS_MAX {
            self.turns.clear();
        }
    }
}
