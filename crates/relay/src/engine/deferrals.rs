//! Deferrals on their way to the log, of attempts that offered nothing to anybody. Each of their records holds the state of all of its message's
//! recipients, so a message to a thousand dead domains would need a thousand times a thousand states, in memory and on disk. Only so many states
//! are on their way at once; meanwhile the deferrals of each message wait as one record.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use posthaste_queue::{FateRecord, Seq};

use crate::recorder::States;

/// States on their way, at most: about a MiB.
const STATES_MAX: usize = 32_768;

/// A record that is to be written down, and its states, if they are counted here.
pub(super) type Ready = (Box<FateRecord>, Option<States>);

/// Those on their way, and those that wait.
#[derive(Default)]
pub(super) struct Deferrals {
    on_their_way: Arc<AtomicUsize>,
    waiting: HashMap<Seq, Box<FateRecord>>,
    /// The messages that wait, in order. Some may have gone on before their turn.
    order: VecDeque<Seq>,
}

impl Deferrals {
    /// What is to go on now that there is this record, in this order.
    pub(super) fn take(&mut self, record: Box<FateRecord>) -> [Option<Ready>; 2] {
        if !record.is_deferral() {
            // What comes later of a message must not overtake what it has waiting.
            let before = if self.wait() { self.waiting.remove(&record.seq) } else { None };
            return [before.map(|before| self.go(before)), Some((record, None))];
        }
        if let Some(waiting) = self.waiting.get_mut(&record.seq) {
            waiting.append(*record);
        } else if self.is_full() {
            // Its line needs no body, and a body that waits with it is counted by nobody.
            self.order.push_back(record.seq);
            self.waiting.insert(record.seq, Box::new(FateRecord { warm: None, ..*record }));
        } else {
            return [Some(self.go(record)), None];
        }
        [None, None]
    }

    /// The records that have waited and may go on.
    pub(super) fn next(&mut self) -> Option<Ready> {
        while !self.is_full() {
            let record = self.waiting.remove(&self.order.pop_front()?);
            if let Some(record) = record {
                return Some(self.go(record));
            }
        }
        None
    }

    /// Whether some wait.
    pub(super) fn wait(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// All that wait: the engine ends.
    pub(super) fn all(&mut self) -> impl Iterator<Item = Box<FateRecord>> + use<> {
        let (mut waiting, order) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.order));
        order.into_iter().filter_map(move |seq| waiting.remove(&seq))
    }

    fn is_full(&self) -> bool {
        self.on_their_way.load(Relaxed) >= STATES_MAX
    }

    fn go(&self, record: Box<FateRecord>) -> Ready {
        let states = record.fates.len() + record.after.as_ref().map_or(0, |after| after.recipients.len());
        (record, Some(States::count(states, &self.on_their_way)))
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use posthaste_mail::{Attempt, MessageId};
    use posthaste_message::{Progress, SavedRecipient};
    use posthaste_queue::{Fate, Next};

    use super::*;

    const BEGIN: Timestamp = Timestamp::UNIX_EPOCH;

    fn deferred() -> Next {
        Next::Deferred(BEGIN)
    }

    /// A record of this second about one recipient of a message with a thousand.
    fn record(seq: Seq, rcpt: u16, second: u32, next: Next) -> Box<FateRecord> {
        let fate = Fate { rcpt, attempt: 1, said: None, facts: None, elsewhere: Vec::new(), earlier: None, next, was_due: BEGIN };
        let recipients = (0..1000).map(|rcpt| SavedRecipient(rcpt, 1, second.into(), false)).collect();
        Box::new(FateRecord {
            seq,
            id: MessageId::new(BEGIN, u128::from(seq)),
            warm: None,
            now: BEGIN + SignedDuration::from_secs(second.into()),
            facts: Arc::new(Attempt { attempt: second, ..Attempt::default() }),
            fates: vec![fate],
            after: Some(Progress::of(recipients)),
            results: 0,
            unoffered: None,
        })
    }

    /// What a record tells: of which second it is, and of which recipients and attempts.
    fn told(record: &FateRecord) -> (i64, Vec<(u16, u32)>) {
        let attempt = |fate: &Fate| fate.facts.as_ref().unwrap_or(&record.facts).attempt;
        (record.now.as_second(), record.fates.iter().map(|fate| (fate.rcpt, attempt(fate))).collect())
    }

    /// Deferrals with as many on their way as may be, which end when the second is dropped.
    fn full() -> (Deferrals, Vec<States>) {
        let mut deferrals = Deferrals::default();
        let mut on_their_way = Vec::new();
        while !deferrals.is_full() {
            on_their_way.extend(deferrals.take(record(0, 0, 0, deferred())).into_iter().flatten().filter_map(|(_, states)| states));
        }
        assert!(on_their_way.len() <= STATES_MAX / 1000 + 1, "{}", on_their_way.len());
        (deferrals, on_their_way)
    }

    fn waits(deferrals: &mut Deferrals, record: Box<FateRecord>) -> bool {
        deferrals.take(record).iter().all(Option::is_none)
    }

    #[test]
    fn while_many_are_on_their_way_each_messages_deferrals_wait_as_one_record() {
        let (mut deferrals, on_their_way) = full();
        for rcpt in 0..1000 {
            for seq in [7, 8] {
                assert!(waits(&mut deferrals, record(seq, rcpt, u32::from(rcpt) + 1, deferred())));
            }
        }
        assert!(deferrals.next().is_none() && deferrals.wait());
        drop(on_their_way);
        let (first, states) = deferrals.next().unwrap();
        let all: Vec<(u16, u32)> = (0..1000).map(|rcpt| (rcpt, u32::from(rcpt) + 1)).collect();
        assert_eq!((first.seq, told(&first)), (7, (1000, all)));
        assert_eq!(first.after.unwrap().recipients[0].2, 1000, "what is known last");
        assert_eq!(deferrals.next().map(|(record, _)| record.seq), Some(8));
        assert!(deferrals.next().is_none() && !deferrals.wait());
        drop(states);
        assert_eq!(deferrals.on_their_way.load(Relaxed), 0);
    }

    #[test]
    fn an_ending_does_not_overtake_what_waits_of_its_message() {
        let (mut deferrals, _on_their_way) = full();
        assert!(waits(&mut deferrals, record(7, 1, 1, deferred())));
        assert!(waits(&mut deferrals, record(8, 1, 1, deferred())));
        let gone: Vec<_> =
            deferrals.take(record(7, 2, 2, Next::Bounced)).into_iter().flatten().map(|(record, _)| (record.seq, told(&record))).collect();
        assert_eq!(gone, [(7, (1, vec![(1, 1)])), (7, (2, vec![(2, 2)]))]);
        // What waits again has a turn of its own, and nothing is told twice.
        assert!(waits(&mut deferrals, record(7, 3, 3, deferred())));
        let all: Vec<_> = deferrals.all().map(|record| (record.seq, told(&record))).collect();
        assert_eq!(all, [(7, (3, vec![(3, 3)])), (8, (1, vec![(1, 1)]))]);
        assert!(!deferrals.wait() && deferrals.next().is_none());
    }
}
