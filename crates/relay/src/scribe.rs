//! The scribe: one thread that turns decided fates into lines of the delivery log, in order, and lets the spool forget only behind them.
//!
//! Log before forget: the change to the spool rides on the log's line as a ticket, and is made when the line is durable. A bounce's notice
//! comes before both: it is in the spool before the line says "bounced", and meanwhile later fates of the same message wait.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        mpsc::{Receiver, Sender},
    },
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use posthaste_bounce::Verdict;
use posthaste_mail::{Address, Attempt, BudgetFacts, Event, EventId, Failure, Name, SCHEMA_VERSION, Stage, What};
use posthaste_message::{Letter, Progress};
use posthaste_monitor::{Checkpoint, EventLog, Position, Watermark};
use posthaste_spool::Spool;
use {
    posthaste_suppression,
    posthaste_suppression::{List, Register},
};

use crate::{
    attempt::read_letter,
    dispatch::{Fate, Next, Record, Said, Seq, Wait},
    intake::{self, Intake},
    live::Live,
    pending::{Pending, Token},
    returns::Settling,
};

/// The spool's key of the log's checkpoint.
pub const CHECKPOINT: &[u8] = b"log/checkpoint";
/// Log bytes between two checkpoints: what a recovery reads at most, give or take a batch.
const CHECKPOINT_EVERY: u64 = 8 << 20;

/// What the spool and the suppression list are told once a line is durable.
pub enum Ticket {
    /// A message's `accepted` lines are all there.
    Accepted(Seq, Token),
    /// What came back.
    Returned(Box<Settling>),
    /// What became of some recipients.
    Settled {
        /// The message.
        seq: Seq,
        /// What the spool is to keep of it now; None: its story is over.
        keep: Option<Vec<u8>>,
        /// What the suppression list is told. Not before the line: a bounce that a crash cut off must not keep its own message back.
        told: Vec<Told>,
        /// Whose rules the list follows.
        live: Arc<Live>,
    },
}

/// What the suppression list is told of an ending.
#[derive(Debug)]
pub enum Told {
    /// The mailbox is alive.
    Delivered(Address),
    /// It is not, or seems so.
    Bounced(Address, posthaste_suppression::Said, Timestamp),
}

/// The delivery log as the relay uses it.
pub type DeliveryLog = EventLog<Ticket>;

/// What the scribe is told.
#[derive(Debug)]
pub enum Note {
    /// Fates to write down.
    Record(Box<Record>),
    /// The notice that a record waited for is in the spool.
    Noticed(Box<Record>, Arc<Letter>),
    /// What happened to a lane.
    Lane(Box<Event>),
    /// The relay stops: no more notes come.
    Stop,
}

/// What the scribe works with.
pub struct Scribe {
    /// Where lines go.
    pub log: DeliveryLog,
    /// Where messages are looked up that are not in memory.
    pub spool: Spool,
    /// Where notices go in.
    pub intake: Arc<Intake>,
    /// The configuration in force.
    pub live: Arc<ArcSwap<Live>>,
    /// Notices are made on the runtime.
    pub runtime: tokio::runtime::Handle,
    /// Its own front door, for notices that are done.
    pub door: Sender<Note>,
    /// Records of messages whose notice is under way, in their order.
    pub waiting: HashMap<Seq, VecDeque<Box<Record>>>,
}

impl Scribe {
    /// Works until told to stop; blocks.
    pub fn run(mut self, notes: &Receiver<Note>) {
        let mut stopping = false;
        while let Ok(note) = notes.recv() {
            match note {
                Note::Record(record) => self.take(record),
                Note::Noticed(record, letter) => self.noticed(&record, &letter),
                Note::Lane(event) => self.log.append(*event, None),
                Note::Stop => stopping = true,
            }
            if stopping && self.waiting.is_empty() {
                return;
            }
        }
    }

    fn take(&mut self, record: Box<Record>) {
        if let Some(queue) = self.waiting.get_mut(&record.seq) {
            return queue.push_back(record);
        }
        let letter = match record.warm.clone() {
            Some(letter) => letter,
            None => match read_letter(&self.spool, record.seq) {
                Ok(meta) => Arc::new(Letter::new(meta, Vec::new(), None)),
                Err(why) => return self.lost_letter(&record, &why),
            },
        };
        let live = self.live.load();
        let rules = &live.config.notice;
        let tells = record.fates.iter().any(|fate| intake::ending(&record, &letter, fate, rules.delay).is_some());
        if tells && !letter.meta.envelope.reverse_path.is_null() && rules.send {
            drop(live);
            return self.notice(record, letter);
        }
        self.write(&record, &letter);
    }

    /// Puts a failure notice into the spool, then comes back with the record.
    fn notice(&mut self, record: Box<Record>, letter: Arc<Letter>) {
        self.waiting.insert(record.seq, VecDeque::new());
        let (intake, door) = (self.intake.clone(), self.door.clone());
        self.runtime.spawn(async move {
            intake.notify(&record, &letter).await;
            drop(door.send(Note::Noticed(record, letter)));
        });
    }

    fn noticed(&mut self, record: &Record, letter: &Letter) {
        self.write(record, letter);
        for waiting in self.waiting.remove(&record.seq).unwrap_or_default() {
            self.take(waiting);
        }
    }

    fn write(&self, record: &Record, letter: &Letter) {
        let node = self.live.load().config.node.clone();
        if record.fates.iter().all(|fate| matches!(fate.next, Next::Waits(_))) {
            // The spool has nothing to learn: what waits stands as it stood.
            let lines = record.fates.iter().map(|fate| event(&node, record.now, what(record, letter, fate)));
            return self.log.append_all(lines.collect(), None);
        }
        let told = record.fates.iter().filter_map(|fate| told(record, letter, fate)).collect();
        let keep = record.after.as_ref().map(Progress::encode);
        let ticket = Ticket::Settled { seq: record.seq, keep, told, live: self.live.load_full() };
        // That its time is over changes nothing for the message; that its sender was told is the notice's own line.
        let fates = record.fates.iter().filter(|fate| fate.next != Next::Late);
        let lines = fates.map(|fate| event(&node, record.now, what(record, letter, fate)));
        self.log.append_all(lines.collect(), Some(ticket));
    }

    /// The spool has lost what its events would say: say that, and keep the message where it is.
    fn lost_letter(&self, record: &Record, why: &str) {
        tracing::error!(message = %record.id, why, "cannot write down what became of a message");
        let node = self.live.load().config.node.clone();
        let detail = format!("{}: {why}", record.id);
        self.log.append(event(&node, record.now, What::Relay { state: "alarm".into(), part: Some("spool".into()), detail }), None);
    }
}

/// A line with a new id.
pub fn event(node: &Name, now: Timestamp, what: What) -> Event {
    Event { time: now, v: SCHEMA_VERSION, id: EventId::new(now, rand::random()), node: node.clone(), what }
}

fn what(record: &Record, letter: &Letter, fate: &Fate) -> What {
    let about = letter.about(fate.rcpt, record.now);
    let attempt = || attempt(&record.facts, fate);
    match &fate.next {
        Next::Delivered => What::Delivered { about, attempt: attempt() },
        Next::Deferred(at) => What::Deferred { about, attempt: attempt(), retry_at: *at },
        Next::Bounced => What::Bounced { about, attempt: attempt() },
        Next::Expired => What::Expired { about, attempt: attempt() },
        Next::Suppressed => {
            let Some(Said::Suppressed(entry)) = &fate.said else { unreachable!("only the list suppresses") };
            let scope = entry.scope.to_string().into();
            What::Suppressed { about, reason: entry.reason.as_str().into(), scope, since: entry.since }
        }
        Next::Cancelled(by, reason) => What::Cancelled { about, by: by.clone(), reason: reason.clone() },
        Next::Held(reason) => What::Held { about, reason: reason.clone(), until: None, budget: None },
        Next::Waits(wait) => What::Held { about, reason: wait.reason.into(), until: wait.until, budget: Some(budget(wait)) },
        Next::Late => unreachable!("has no line"),
        Next::Released(by) => What::Released { about, by: by.clone() },
    }
}

fn budget(wait: &Wait) -> BudgetFacts {
    BudgetFacts {
        source: wait.source.clone(),
        provider: wait.provider.clone(),
        cap: wait.cap,
        used: wait.used,
        next_release: wait.next_release,
        detail: wait.detail.as_str().into(),
    }
}

fn attempt(facts: &Attempt, fate: &Fate) -> Attempt {
    let mut attempt = Attempt { attempt: fate.attempt, ..facts.clone() };
    match &fate.said {
        Some(Said::Delivered(reply)) => {
            attempt.smtp_stage = Some(Stage::Dot);
            attempt.reply = Some(reply.clone());
        }
        Some(Said::Failed(failure, verdict)) => failed(&mut attempt, failure, verdict),
        Some(Said::Unknown(failure, verdict)) => {
            failed(&mut attempt, failure, verdict);
            attempt.ambiguous = true;
        }
        Some(Said::Suppressed(_)) | None => {}
    }
    attempt
}

fn failed(attempt: &mut Attempt, failure: &Failure, verdict: &Verdict) {
    attempt.smtp_stage = Some(failure.stage());
    match failure {
        Failure::Refused { reply, .. } => attempt.reply = Some(reply.clone()),
        Failure::Local { cause, detail, .. } => {
            attempt.cause = Some(cause.as_str());
            attempt.detail = Some(detail.as_str().into());
        }
    }
    attempt.class = Some(verdict.class);
    attempt.action = Some(verdict.action);
    attempt.rule = Some(verdict.rule.clone());
}

/// What the suppression list is told of a fate.
fn told(record: &Record, letter: &Letter, fate: &Fate) -> Option<Told> {
    let rcpt = || letter.meta.envelope.recipients[usize::from(fate.rcpt)].clone();
    match (&fate.next, &fate.said) {
        (Next::Delivered, _) => Some(Told::Delivered(rcpt())),
        (Next::Bounced | Next::Expired, Some(Said::Failed(failure, verdict))) => {
            let said = posthaste_suppression::Said::new(verdict, Some(record.id), &failure.to_string());
            Some(Told::Bounced(rcpt(), said, record.now))
        }
        _ => None,
    }
}

fn tell(register: &Register<Spool>, live: &Live, told: Vec<Told>) {
    let list = List::new(register, &live.config.suppression);
    for told in told {
        match told {
            Told::Delivered(rcpt) => list.note_delivered(&rcpt),
            Told::Bounced(rcpt, said, at) => drop(list.note_bounce(&rcpt, &said, at)),
        }
    }
}

/// What the log's thread does once lines are durable: tells the spool, and now and then how far the log had come.
pub fn settle_on_durable(
    spool: Spool,
    register: Arc<Register<Spool>>,
    mut mark: Watermark,
    pending: Pending,
) -> impl FnMut(Vec<Ticket>, &Position) + Send + 'static {
    let mut last: Option<Position> = None;
    move |tickets, position| {
        for ticket in tickets {
            match ticket {
                Ticket::Accepted(seq, token) => {
                    mark.see(seq);
                    drop(token);
                }
                Ticket::Returned(settling) => settling.settle(&register),
                Ticket::Settled { seq, keep, told, live } => {
                    match keep {
                        Some(progress) => spool.update(seq, progress),
                        None => spool.remove(seq),
                    }
                    tell(&register, &live, told);
                }
            }
        }
        let due = last.as_ref().is_none_or(|l| l.file != position.file || position.offset >= l.offset + CHECKPOINT_EVERY);
        if due {
            mark.see_all(pending.announced_through());
            // Behind the changes above in the spool's order: whoever finds this record finds them too.
            spool.put(CHECKPOINT, &Checkpoint::new(Some(*position), &mark).to_bytes());
            last = Some(*position);
        }
    }
}
