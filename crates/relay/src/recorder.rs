//! The recorder: one thread that writes decided fates to the delivery log, in order. The spool forgets a message only after its lines are
//! durable.
//!
//! Log before forget: a log line carries the change to the spool as a ticket, and the change is made once the line is durable. A bounce's
//! notice is stored before both: it is in the spool before the line says "bounced", and until then later fates of the same message wait.

mod durable;
mod from_log;
mod lines;
mod logged;
mod on_disk;
mod unread;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
};

use jiff::Timestamp;
use posthaste_delivery::{ReadError, read_record};
use posthaste_host::{InForce, clock, guarded};
use posthaste_journal::{Journal, Part, State, Ticket};
use posthaste_mail::{LaneFacts, What};
use posthaste_message::{Message, MessageRecord, Progress};
use posthaste_queue::{Fate, FateRecord, Next, Seq};
use posthaste_spool::Spool;
use posthaste_suppression::Register;
use tokio::sync::oneshot;

pub(crate) use durable::{CHECKPOINT, DURABLE_END, settle_on_durable};
pub(crate) use logged::{Logged, States, UnloggedRecord};
pub(crate) use on_disk::OnDisk;
pub(crate) use unread::Unread;

use self::{
    durable::{DeliveryOutcome, outcome, report_outcomes},
    lines::what,
};
use crate::notify::Notifier;

/// The recorder's input.
#[derive(Debug)]
pub(crate) enum Note {
    /// Fates to write down.
    Record(UnloggedRecord),
    /// The notice that a record was waiting for is in the spool.
    Noticed(UnloggedRecord, Arc<Message>),
    /// A lane's event, and its time.
    Lane(Timestamp, Box<LaneFacts>),
    /// Somebody waits until all that was decided before is durable in the log.
    Tell(oneshot::Sender<()>),
    /// The relay stops: no more notes follow.
    Stop,
}

/// Writes fates to the log.
pub(crate) struct Recorder {
    /// The delivery log.
    pub journal: Journal,
    /// The spool: messages that are not in memory are read from it, and finished ones are removed.
    pub spool: Spool,
    /// Sends notices to senders.
    pub notifier: Arc<Notifier>,
    /// The suppression list, which learns the outcome of each delivery.
    pub register: Arc<Register<Spool>>,
    /// The rules of the suppression list.
    pub settings: InForce<posthaste_delivery::Settings>,
    /// The runtime on which notices are made.
    pub runtime: tokio::runtime::Handle,
    /// A sender to the recorder itself, for finished notices.
    pub own_sender: Sender<Note>,
    /// Records that wait for their message's notice, in order.
    pub waiting: HashMap<Seq, VecDeque<UnloggedRecord>>,
    /// Records whose messages cannot be read at present.
    pub unread: Unread,
}

fn without_body(record: MessageRecord) -> Arc<Message> {
    Arc::new(Message::new(record, Vec::new(), None))
}

/// Puts a record behind those that wait for their message's notice. A full spool may keep it away for long: other messages' deferrals do not wait
/// for that, and those of this message are one record.
fn wait_for_notice(queue: &mut VecDeque<UnloggedRecord>, mut owed: UnloggedRecord) {
    match queue.back_mut().filter(|last| last.record.is_deferral() && owed.record.is_deferral()) {
        Some(last) => last.record.append(*owed.record),
        None => {
            owed.results.forget_states();
            queue.push_back(owed);
        }
    }
}

impl Recorder {
    /// Runs until [`Note::Stop`]. Blocks.
    pub(crate) fn run(mut self, notes: &Receiver<Note>) {
        let mut stopping = false;
        loop {
            let note = match self.unread.wait(clock::instant()) {
                None => notes.recv().map_err(RecvTimeoutError::from),
                Some(wait) => notes.recv_timeout(wait),
            };
            match note {
                Ok(Note::Record(owed)) => self.take(owed),
                Ok(Note::Noticed(owed, message)) => self.noticed(owed, &message),
                Ok(Note::Lane(at, facts)) => self.journal.append(at, What::Lane(facts)),
                Ok(Note::Tell(waiter)) => {
                    self.journal.append_all(clock::now(), [], Some(Ticket::then(|| waiter.send(()).unwrap_or_default())))
                }
                Ok(Note::Stop) => stopping = true,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.read_again();
            if stopping && self.waiting.is_empty() {
                return;
            }
        }
    }

    fn read_again(&mut self) {
        let due = self.unread.due(clock::instant());
        if due.is_empty() {
            return;
        }
        due.into_iter().for_each(|owed| self.take(owed));
        self.unread.tried(&self.journal);
    }

    /// Writes a record down, or puts it aside until it can be.
    pub(crate) fn take(&mut self, mut owed: UnloggedRecord) {
        let record = &owed.record;
        if let Some(queue) = self.waiting.get_mut(&record.seq) {
            return wait_for_notice(queue, owed);
        }
        if self.unread.holds(record.seq) {
            return self.unread.push(owed);
        }
        let (warm, now) = (record.warm.clone(), clock::instant());
        let message = match warm.map_or_else(|| read_record(&self.spool, record.seq).map(without_body), Ok) {
            Ok(message) => message,
            Err(why) if self.unread.is_worth_waiting(&why, now) => return self.unread.put_aside(owed, &why, &self.journal, now),
            Err(why) => match self.logged(record, &why) {
                Some(message) => message,
                None => return,
            },
        };
        from_log::recall(&self.journal, &mut owed.record, &message.record);
        let record = &owed.record;
        if self.notifier.is_worth_a_notice(record, &message) {
            return self.notice(owed, message);
        }
        self.write(owed, &message);
    }

    /// A message that the spool cannot give, as the log has it. None: the log has no longer got it either, and an alarm says what was decided.
    fn logged(&mut self, record: &FateRecord, why: &ReadError) -> Option<Arc<Message>> {
        let found = from_log::record(&self.journal, record.id).unwrap_or_else(|error| {
            tracing::error!(message = %record.id, "the log cannot be read for a message that the spool cannot give: {error}");
            None
        });
        let names = found.as_ref().map_or(&[][..], |found| &found.envelope.recipients);
        let rcpt =
            |fate: &Fate| names.get(usize::from(fate.rcpt)).map_or_else(|| format!("recipient {}", fate.rcpt + 1), ToString::to_string);
        if let Some(found) = found.as_ref().filter(|_| record.fates.iter().all(|fate| usize::from(fate.rcpt) < names.len())) {
            if self.unread.is_news(record.seq) {
                let detail = format!("{}: {why}: what becomes of it is written down as far as the log knows it. Check the disk", record.id);
                self.journal.say(Part::Spool, State::Alarm, detail);
            }
            return Some(without_body(found.clone()));
        }
        let fates: Vec<_> = record.fates.iter().map(|fate| format!("{}: {:?}", rcpt(fate), fate.next)).collect();
        let detail = format!("{}: {why}, and the log has not got its accepted lines: {}. Check the disk", record.id, fates.join(", "));
        self.journal.say(Part::Spool, State::Alarm, detail);
        None
    }

    /// Stores a failure notice in the spool, then sends the record back to the recorder. If that panics, the record comes back all the same,
    /// since later fates of the message wait for it: it is written down without a notice, and an alarm tells the operator.
    fn notice(&mut self, mut owed: UnloggedRecord, message: Arc<Message>) {
        // If the spool is full, the notice waits until deliveries have made room: they must not wait for it.
        owed.results.let_go();
        self.waiting.insert(owed.record.seq, VecDeque::new());
        let (notifier, journal, own_sender) = (self.notifier.clone(), self.journal.clone(), self.own_sender.clone());
        self.runtime.spawn(async move {
            if let Err(panicked) = guarded(notifier.notify(&owed.record, &message)).await {
                let detail = format!("{}: internal error in a failure notice: {panicked}; its sender gets no notice", owed.record.id);
                journal.say(Part::Delivery, State::Alarm, detail);
            }
            drop(own_sender.send(Note::Noticed(owed, message)));
        });
    }

    fn noticed(&mut self, owed: UnloggedRecord, message: &Message) {
        let seq = owed.record.seq;
        self.write(owed, message);
        for waiting in self.waiting.remove(&seq).unwrap_or_default() {
            self.take(waiting);
        }
    }

    fn write(&self, UnloggedRecord { record, results }: UnloggedRecord, message: &Message) {
        let record = &*record;
        if record.fates.iter().all(|fate| matches!(fate.next, Next::Waits(_))) {
            // The spool does not change: the waiting recipients' states are as before.
            return self.journal.append_all(record.now, record.fates.iter().map(|fate| what(record, message, fate)), None);
        }
        let outcomes: Vec<DeliveryOutcome> = record.fates.iter().filter_map(|fate| outcome(record, message, fate)).collect();
        let keep = record.after.as_ref().map(Progress::encode);
        let (seq, spool, register, settings) = (record.seq, self.spool.clone(), self.register.clone(), self.settings.get());
        let ticket = Ticket::then(move || {
            match keep {
                Some(progress) => spool.update(seq, progress),
                None => spool.remove(seq),
            }
            report_outcomes(&register, &settings.suppression, outcomes);
            drop(results);
        });
        // A message that is late is delivered as before; the notice to its sender has a log line of its own.
        let fates = record.fates.iter().filter(|fate| fate.next != Next::Late);
        self.journal.append_all(record.now, fates.map(|fate| what(record, message, fate)), Some(ticket));
    }
}
