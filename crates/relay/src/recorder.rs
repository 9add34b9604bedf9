//! The recorder: one thread that writes decided fates to the delivery log, in order. The spool forgets a message only after its lines are
//! durable.
//!
//! Log before forget: a log line carries the change to the spool as a ticket, and the change is made once the line is durable. A bounce's
//! notice is stored before both: it is in the spool before the line says "bounced", and until then later fates of the same message wait.

mod durable;
mod lines;
mod logged;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        mpsc::{Receiver, Sender},
    },
};

use jiff::Timestamp;
use posthaste_delivery::read_record;
use posthaste_host::InForce;
use posthaste_journal::{Journal, Part, State, Ticket};
use posthaste_mail::{LaneFacts, What};
use posthaste_message::{Message, Progress};
use posthaste_queue::{FateRecord, Next, Seq};
use posthaste_spool::Spool;
use posthaste_suppression::Register;

pub use durable::{CHECKPOINT, settle_on_durable};
pub use logged::{Logged, OnTheirWay};

use self::{
    durable::{DeliveryOutcome, outcome, report_outcomes},
    lines::what,
};
use crate::notify::Notifier;

/// A record, and its results on their way to the log.
#[derive(Debug)]
pub struct Owed {
    /// What was decided.
    pub record: Box<FateRecord>,
    /// Dropped once it is durable.
    pub results: OnTheirWay,
}

/// The recorder's input.
#[derive(Debug)]
pub enum Note {
    /// Fates to write down.
    Record(Owed),
    /// The notice that a record was waiting for is in the spool.
    Noticed(Owed, Arc<Message>),
    /// A lane's event, and its time.
    Lane(Timestamp, Box<LaneFacts>),
    /// The relay stops: no more notes follow.
    Stop,
}

/// Writes fates to the log.
pub struct Recorder {
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
    pub waiting: HashMap<Seq, VecDeque<Owed>>,
}

impl Recorder {
    /// Runs until [`Note::Stop`]. Blocks.
    pub fn run(mut self, notes: &Receiver<Note>) {
        let mut stopping = false;
        while let Ok(note) = notes.recv() {
            match note {
                Note::Record(owed) => self.take(owed),
                Note::Noticed(owed, message) => self.noticed(owed, &message),
                Note::Lane(at, facts) => self.journal.append(at, What::Lane(facts)),
                Note::Stop => stopping = true,
            }
            if stopping && self.waiting.is_empty() {
                return;
            }
        }
    }

    fn take(&mut self, owed: Owed) {
        let record = &owed.record;
        if let Some(queue) = self.waiting.get_mut(&record.seq) {
            return queue.push_back(owed);
        }
        let message = match record.warm.clone() {
            Some(message) => message,
            None => match read_record(&self.spool, record.seq) {
                Ok(record) => Arc::new(Message::new(record, Vec::new(), None)),
                Err(why) => return self.lost_message(record, &why.to_string()),
            },
        };
        if self.notifier.is_worth_a_notice(record, &message) {
            return self.notice(owed, message);
        }
        self.write(owed, &message);
    }

    /// Stores a failure notice in the spool, then sends the record back to the recorder.
    fn notice(&mut self, mut owed: Owed, message: Arc<Message>) {
        // If the spool is full, the notice waits until deliveries have made room: they must not wait for it.
        owed.results.let_go();
        self.waiting.insert(owed.record.seq, VecDeque::new());
        let (notifier, own_sender) = (self.notifier.clone(), self.own_sender.clone());
        self.runtime.spawn(async move {
            notifier.notify(&owed.record, &message).await;
            drop(own_sender.send(Note::Noticed(owed, message)));
        });
    }

    fn noticed(&mut self, owed: Owed, message: &Message) {
        let seq = owed.record.seq;
        self.write(owed, message);
        for waiting in self.waiting.remove(&seq).unwrap_or_default() {
            self.take(waiting);
        }
    }

    fn write(&self, Owed { record, results }: Owed, message: &Message) {
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

    /// The message cannot be read from the spool, so its events cannot be written: reports that, and leaves the message where it is.
    fn lost_message(&self, record: &FateRecord, why: &str) {
        self.journal.say(Part::Spool, State::Alarm, format!("{}: {why}", record.id));
    }
}
