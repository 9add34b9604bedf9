//! The recorder: one thread that turns decided fates into lines of the delivery log, in order, and lets the spool forget only behind them.
//!
//! Log before forget: the change to the spool rides on the log's line as a ticket, and is made when the line is durable. A bounce's notice
//! comes before both: it is in the spool before the line says "bounced", and meanwhile later fates of the same message wait.

mod durable;
mod lines;

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

use self::{
    durable::{Told, tell, told},
    lines::what,
};
use crate::notify::Notifier;

/// What the recorder is told.
#[derive(Debug)]
pub enum Note {
    /// Fates to write down.
    Record(Box<FateRecord>),
    /// The notice that a record waited for is in the spool.
    Noticed(Box<FateRecord>, Arc<Message>),
    /// What happened to a lane, and when.
    Lane(Timestamp, Box<LaneFacts>),
    /// The relay stops: no more notes come.
    Stop,
}

/// What the recorder works with.
pub struct Recorder {
    /// Where lines go.
    pub journal: Journal,
    /// Where messages are looked up that are not in memory, and forgotten when their story is over.
    pub spool: Spool,
    /// Who tells senders.
    pub notifier: Arc<Notifier>,
    /// Who is told of endings.
    pub register: Arc<Register<Spool>>,
    /// The rules of the suppression list.
    pub settings: InForce<posthaste_delivery::Settings>,
    /// Notices are made on the runtime.
    pub runtime: tokio::runtime::Handle,
    /// Its own front door, for notices that are done.
    pub door: Sender<Note>,
    /// Records of messages whose notice is under way, in their order.
    pub waiting: HashMap<Seq, VecDeque<Box<FateRecord>>>,
}

impl Recorder {
    /// Works until told to stop; blocks.
    pub fn run(mut self, notes: &Receiver<Note>) {
        let mut stopping = false;
        while let Ok(note) = notes.recv() {
            match note {
                Note::Record(record) => self.take(record),
                Note::Noticed(record, letter) => self.noticed(&record, &letter),
                Note::Lane(at, facts) => self.journal.append(at, What::Lane(facts)),
                Note::Stop => stopping = true,
            }
            if stopping && self.waiting.is_empty() {
                return;
            }
        }
    }

    fn take(&mut self, record: Box<FateRecord>) {
        if let Some(queue) = self.waiting.get_mut(&record.seq) {
            return queue.push_back(record);
        }
        let letter = match record.warm.clone() {
            Some(letter) => letter,
            None => match read_record(&self.spool, record.seq) {
                Ok(meta) => Arc::new(Message::new(meta, Vec::new(), None)),
                Err(why) => return self.lost_letter(&record, &why.to_string()),
            },
        };
        if self.notifier.is_worth_a_notice(&record, &letter) {
            return self.notice(record, letter);
        }
        self.write(&record, &letter);
    }

    /// Puts a failure notice into the spool, then comes back with the record.
    fn notice(&mut self, record: Box<FateRecord>, letter: Arc<Message>) {
        self.waiting.insert(record.seq, VecDeque::new());
        let (notifier, door) = (self.notifier.clone(), self.door.clone());
        self.runtime.spawn(async move {
            notifier.notify(&record, &letter).await;
            drop(door.send(Note::Noticed(record, letter)));
        });
    }

    fn noticed(&mut self, record: &FateRecord, letter: &Message) {
        self.write(record, letter);
        for waiting in self.waiting.remove(&record.seq).unwrap_or_default() {
            self.take(waiting);
        }
    }

    fn write(&self, record: &FateRecord, letter: &Message) {
        if record.fates.iter().all(|fate| matches!(fate.next, Next::Waits(_))) {
            // The spool has nothing to learn: what waits stands as it stood.
            return self.journal.append_all(record.now, record.fates.iter().map(|fate| what(record, letter, fate)), None);
        }
        let told: Vec<Told> = record.fates.iter().filter_map(|fate| told(record, letter, fate)).collect();
        let keep = record.after.as_ref().map(Progress::encode);
        let (seq, spool, register, settings) = (record.seq, self.spool.clone(), self.register.clone(), self.settings.get());
        let ticket = Ticket::then(move || {
            match keep {
                Some(progress) => spool.update(seq, progress),
                None => spool.remove(seq),
            }
            tell(&register, &settings.suppression, told);
        });
        // That its time is over changes nothing for the message; that its sender was told is the notice's own line.
        let fates = record.fates.iter().filter(|fate| fate.next != Next::Late);
        self.journal.append_all(record.now, fates.map(|fate| what(record, letter, fate)), Some(ticket));
    }

    /// The spool has lost what its events would say: say that, and keep the message where it is.
    fn lost_letter(&self, record: &FateRecord, why: &str) {
        self.journal.say(Part::Spool, State::Alarm, format!("{}: {why}", record.id));
    }
}
