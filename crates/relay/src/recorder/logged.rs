//! Counts the results of attempts that became durable in the log, for the dispatcher, which halts deliveries while too many are not.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use posthaste_queue::{FateRecord, Party};

/// The results that became durable since somebody asked last. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logged(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    offered: AtomicUsize,
    /// Those of attempts that offered nothing to anybody, by whose mail it was.
    unoffered: Mutex<BTreeMap<Party, usize>>,
}

/// Results on their way to the log. When it is dropped, they count as durable: it travels with the ticket on their lines.
#[derive(Debug)]
pub(crate) struct OnTheirWay {
    results: usize,
    of: Option<Party>,
    to: Logged,
    states: Option<States>,
}

/// States of recipients on their way to the log, in a count of such states. When it is dropped, they are there.
#[derive(Debug)]
pub(crate) struct States {
    many: usize,
    counted: Arc<AtomicUsize>,
}

impl States {
    /// So many more in this count.
    pub(crate) fn count(many: usize, counted: &Arc<AtomicUsize>) -> Self {
        counted.fetch_add(many, Relaxed);
        Self { many, counted: counted.clone() }
    }
}

impl Drop for States {
    fn drop(&mut self) {
        self.counted.fetch_sub(self.many, Relaxed);
    }
}

/// A record, and its results on their way to the log.
#[derive(Debug)]
pub(crate) struct UnloggedRecord {
    /// What was decided.
    pub(crate) record: Box<FateRecord>,
    /// Dropped once it is durable.
    pub(crate) results: OnTheirWay,
}

impl Logged {
    /// This many results are on their way, and these states; `of`: as [`FateRecord::unoffered`].
    pub(crate) fn expect(&self, of: Option<Party>, results: usize, states: Option<States>) -> OnTheirWay {
        OnTheirWay { results, of, to: self.clone(), states }
    }

    /// How many became durable since the last call.
    pub(crate) fn take(&self) -> Vec<(Option<Party>, usize)> {
        let offered = Some(self.0.offered.swap(0, Relaxed)).filter(|n| *n > 0);
        let unoffered = std::mem::take(&mut *self.0.unoffered.lock().unwrap_or_else(PoisonError::into_inner));
        offered.map(|n| (None, n)).into_iter().chain(unoffered.into_iter().map(|(party, n)| (Some(party), n))).collect()
    }
}

impl OnTheirWay {
    /// Its states are counted no longer.
    pub(crate) fn forget_states(&mut self) {
        self.states = None;
    }

    /// Nobody waits for these results any more.
    pub(crate) fn let_go(&mut self) {
        match (std::mem::take(&mut self.results), self.of) {
            (0, _) => {}
            (n, None) => drop(self.to.0.offered.fetch_add(n, Relaxed)),
            (n, Some(party)) => {
                *self.to.0.unoffered.lock().unwrap_or_else(PoisonError::into_inner).entry(party).or_default() += n;
            }
        }
    }
}

impl Drop for OnTheirWay {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_count_once_when_their_way_ends() {
        let logged = Logged::default();
        let (one, two, dead) = (logged.expect(None, 3, None), logged.expect(None, 4, None), logged.expect(Some(Party::default()), 5, None));
        assert_eq!(logged.take(), []);
        drop(two);
        assert_eq!(logged.take(), [(None, 4)]);
        drop((one, dead));
        assert_eq!((logged.take(), logged.take()), (vec![(None, 3), (Some(Party::default()), 5)], vec![]));
    }
}
