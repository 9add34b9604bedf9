//! Counts the results of attempts that became durable in the log, for the dispatcher, which halts deliveries while too many are not.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use posthaste_queue::FateRecord;

/// The results that became durable since somebody asked last. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logged(Arc<AtomicUsize>);

/// Results on their way to the log. When it is dropped, they count as durable: it travels with the ticket on their lines.
#[derive(Debug)]
pub(crate) struct OnTheirWay {
    results: usize,
    to: Logged,
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
    /// This many results are on their way.
    pub(crate) fn expect(&self, results: usize) -> OnTheirWay {
        OnTheirWay { results, to: self.clone() }
    }

    /// How many became durable since the last call.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Relaxed)
    }
}

impl OnTheirWay {
    /// Nobody waits for these results any more.
    pub(crate) fn let_go(&mut self) {
        self.to.0.fetch_add(std::mem::take(&mut self.results), Relaxed);
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
        let (one, two) = (logged.expect(3), logged.expect(4));
        assert_eq!(logged.take(), 0);
        drop(two);
        assert_eq!(logged.take(), 4);
        drop(one);
        assert_eq!((logged.take(), logged.take()), (3, 0));
    }
}
