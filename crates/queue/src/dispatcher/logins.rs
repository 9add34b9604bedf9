//! Mail that waits because a smart host refuses the relay's login. Its next attempt is due by the schedule, as that of other deferred mail;
//! once the login works, or is another one, it goes at once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::Dispatcher;
use crate::{
    backlog::table::{Rcpt, Seq, Table},
    connections::lanes::QueueIx,
    exchange::{AttemptResult, FateRecord, Next},
    verdicts::LOGIN_RULE,
};

/// The recipients that were deferred for a login, by the key of their site. Some may have gone meanwhile.
#[derive(Default)]
pub(super) struct Waits(HashMap<Arc<str>, BTreeSet<(Seq, Rcpt)>>);

impl Waits {
    /// Forgets recipients whose messages have gone.
    pub(super) fn sweep(&mut self, table: &Table) {
        self.0.values_mut().for_each(|waits| waits.retain(|(seq, _)| table.get(*seq).is_some()));
        self.0.retain(|_, waits| !waits.is_empty());
    }
}

impl Dispatcher {
    /// Remembers the recipients of a record that are deferred because the hosts of their queue refuse the login.
    pub(super) fn note_logins(&mut self, queue: QueueIx, record: &FateRecord) {
        let refused = |said: &Option<AttemptResult>| matches!(said, Some(AttemptResult::Failed(_, why)) if *why.rule == *LOGIN_RULE);
        let waits = record.fates.iter().filter(|fate| matches!(fate.next, Next::Deferred(_)) && refused(&fate.said)).map(|fate| fate.rcpt);
        let mut waits = waits.map(|rcpt| (record.seq, rcpt)).peekable();
        if waits.peek().is_some() {
            self.logins.0.entry(self.connections.site(queue).key.clone()).or_default().extend(waits);
        }
    }

    /// Records the results of attempts at the hosts of a queue.
    pub(super) fn record_results_at(&mut self, queue: QueueIx, record: FateRecord) {
        self.note_logins(queue, &record);
        self.record_results(record);
    }

    /// The logins of these sites work, or are others: what waited for that is due now.
    pub(super) fn logins_changed(&mut self, sites: &[Arc<str>]) {
        self.connections.lanes_mut().forget_down(|site| sites.contains(&site.key));
        let mut waiting: BTreeMap<Seq, BTreeSet<Rcpt>> = BTreeMap::new();
        for (seq, rcpt) in sites.iter().filter_map(|site| self.logins.0.remove(site)).flatten() {
            waiting.entry(seq).or_default().insert(rcpt);
        }
        for (seq, rcpts) in waiting {
            if self.backlog.make_due(seq, |rcpt, _| rcpts.contains(&rcpt), self.now) {
                self.backlog.void_groups(seq);
                self.queue_all(seq);
            }
        }
    }
}
