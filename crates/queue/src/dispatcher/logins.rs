//! Mail that waits because a smart host refuses the relay's login. Its next attempt is due by the schedule, as that of other deferred mail;
//! once the login works, or is another one, it goes at once.

use std::sync::Arc;

use super::Dispatcher;
use crate::{connections::lanes::QueueIx, exchange::FateRecord, login_waits::waits_for_login};

impl Dispatcher {
    /// Remembers the recipients of a record that are deferred because the hosts of their queue refuse the login.
    pub(super) fn note_logins(&mut self, queue: QueueIx, record: &FateRecord) {
        let waits = record.fates.iter().filter(|fate| waits_for_login(fate));
        self.logins.note(&self.connections.site(queue).key, waits.map(|fate| (record.seq, fate.rcpt)));
    }

    /// Records the results of attempts at the hosts of a queue.
    pub(super) fn record_results_at(&mut self, queue: QueueIx, record: FateRecord) {
        self.note_logins(queue, &record);
        self.record_results(record);
    }

    /// The logins of these sites work, or are others: what waited for that is due now.
    pub(super) fn logins_changed(&mut self, sites: &[Arc<str>]) {
        self.connections.lanes_mut().forget_down(|site| sites.contains(&site.key));
        for (seq, rcpts) in self.logins.take(sites) {
            if self.backlog.make_due(seq, |rcpt, _| rcpts.contains(&rcpt), self.now) {
                self.backlog.void_groups(seq);
                self.queue_all(seq);
            }
        }
    }
}
