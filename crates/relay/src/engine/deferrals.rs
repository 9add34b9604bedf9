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

use posthaste_queue::{FateRecord, Next, Seq};

use crate::recorder::States;

/// States on their way, at most: about a MiB.
const STATES_MAX: usize = 32_768;

/// Those on their way, and those that wait.
#[derive(Default)]
pub(super) struct Deferrals {
    on_their_way: Arc<AtomicUsize>,
    waiting: HashMap<Seq, Box<FateRecord>>,
    /// The messages that wait, in order. Some may have gone on before their turn.
    order: VecDeque<Seq>,
}

impl Deferrals {
    /// The records that are to go on now that there is this one, in their order.
    pub(super) fn take(&mut self, record: Box<FateRecord>) -> Vec<(Box<FateRecord>, States)> {
        if !is_deferral(&record) {
            // What comes later of a message must not overtake what it has waiting.
            let before = self.waiting.remove(&record.seq).map(|before| self.go(before));
            return before.into_iter().chain([(record, States::default())]).collect();
        }
        if let Some(waiting) = self.waiting.get_mut(&record.seq) {
            add(waiting, *record);
        } else if self.is_full() {
            // Its line needs no body, and a body that waits with it is counted by nobody.
            self.order.push_back(record.seq);
            self.waiting.insert(record.seq, Box::new(FateRecord { warm: None, ..*record }));
        } else {
            return vec![self.go(record)];
        }
        Vec::new()
    }

    /// The records that have waited and may go on.
    pub(super) fn next(&mut self) -> Option<(Box<FateRecord>, States)> {
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

    fn go(&self, record: Box<FateRecord>) -> (Box<FateRecord>, States) {
        let states = record.fates.len() + record.after.as_ref().map_or(0, |after| after.recipients.len());
        (record, States::count(states, &self.on_their_way))
    }
}

/// Whether a record tells of nothing but deferrals, and the dispatcher waits for none of them.
fn is_deferral(record: &FateRecord) -> bool {
    record.results == 0 && record.after.is_some() && record.fates.iter().all(|fate| matches!(fate.next, Next::Deferred(_)))
}

/// Adds what was decided later about the same message.
fn add(to: &mut FateRecord, later: FateRecord) {
    let FateRecord { now, facts, fates, after, .. } = later;
    to.fates.extend(fates.into_iter().map(|mut fate| {
        fate.facts.get_or_insert_with(|| facts.clone());
        fate
    }));
    (to.now, to.after) = (now, after);
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use posthaste_mail::{Attempt, MessageId};
    use posthaste_message::{Progress, SavedRecipient};
    use posthaste_queue::Fate;

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
            on_their_way.extend(deferrals.take(record(0, 0, 0, deferred())).into_iter().map(|(_, states)| states));
        }
        assert!(on_their_way.len() <= STATES_MAX / 1000 + 1, "{}", on_their_way.len());
        (deferrals, on_their_way)
    }

    #[test]
    fn while_many_are_on_their_way_each_messages_deferrals_wait_as_one_record() {
        let (mut deferrals, on_their_way) = full();
        for rcpt in 0..1000 {
            for seq in [7, 8] {
                assert!(deferrals.take(record(seq, rcpt, u32::from(rcpt) + 1, deferred())).is_empty());
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
        assert!(deferrals.take(record(7, 1, 1, deferred())).is_empty());
        assert!(deferrals.take(record(8, 1, 1, deferred())).is_empty());
        let gone: Vec<_> =
            deferrals.take(record(7, 2, 2, Next::Bounced)).into_iter().map(|(record, _)| (record.seq, told(&record))).collect();
        assert_eq!(gone, [(7, (1, vec![(1, 1)])), (7, (2, vec![(2, 2)]))]);
        // What waits again has a turn of its own, and nothing is told twice.
        assert!(deferrals.take(record(7, 3, 3, deferred())).is_empty());
        let all: Vec<_> = deferrals.all().map(|record| (record.seq, told(&record))).collect();
        assert_eq!(all, [(7, (3, vec![(3, 3)])), (8, (1, vec![(1, 1)]))]);
        assert!(!deferrals.wait() && deferrals.next().is_none());
    }
}
