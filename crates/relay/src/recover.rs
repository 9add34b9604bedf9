//! The start: what the spool holds goes back into the queue, and what a crash cut off between spool and log is made whole.
//!
//! The log is the truth about the past, the spool about what is still owed. So a recipient that the log says has ended is taken out of the
//! spool, and a message that no `accepted` line speaks of gets its line now.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use posthaste_config::Config;
use posthaste_host::{InForce, clock};
use posthaste_journal::{Journal, Pending, Ticket};
use posthaste_mail::Name;
use posthaste_message::{Message, MessageRecord, Progress, SavedRecipient};
use posthaste_monitor::{Checkpoint, EventLog, LogOptions, Tail, Watermark, tail_since};
use posthaste_queue::{Action, Dispatcher, Input};
use posthaste_returns::make_up_for;
use posthaste_spool::{LiveMessage as Stored, ReadError, Spool};
use posthaste_submission::{Announced, announce, arrival};
use posthaste_suppression::Register;

use crate::{
    error::RecoveryError,
    recorder::{CHECKPOINT, settle_on_durable},
    settings::Settings,
};

/// What was found and done at the start.
#[derive(Debug, Default)]
pub struct Found {
    /// Messages that are owed.
    pub messages: u64,
    /// Recipients whose story had ended, though the spool did not know yet.
    pub ended: u64,
    /// Messages whose `accepted` lines were missing.
    pub announced: u64,
    /// Messages whose envelope could not be read: they stay in the spool, and are told.
    pub unreadable: Vec<String>,
}

/// The log opened, the queue filled; the actions are what the dispatcher wants done at once.
pub struct Recovered {
    /// The delivery log.
    pub journal: Journal,
    /// What the dispatcher wants done.
    pub actions: Vec<Action>,
    /// Messages between the spool and their durable lines.
    pub pending: Pending,
    /// The suppression list; to be filled.
    pub register: Arc<Register<Spool>>,
    /// For the log and for people.
    pub found: Found,
}

/// Brings log and spool into agreement and fills the queue. Blocks on the disk.
pub fn recover(
    spool: &Spool,
    settings: &Settings,
    node: InForce<Name>,
    dispatcher: &mut Dispatcher,
    now: Timestamp,
) -> Result<Recovered, RecoveryError> {
    let config = &settings.config;
    std::fs::create_dir_all(&config.log.dir).map_err(|source| RecoveryError::LogFolder { path: config.log.dir.clone(), source })?;
    let checkpoint = spool.get(CHECKPOINT).and_then(|bytes| Checkpoint::from_bytes(&bytes)).unwrap_or_default();
    let tail = tail_since(&config.log.dir, checkpoint.position.as_ref())?;
    let mut work =
        Work { tail, mark: checkpoint.mark(), live: HashSet::new(), found: Found::default(), actions: Vec::new(), changes: Vec::new() };
    let (mut unannounced, mut highest) = (Vec::new(), 0);
    let read = spool.for_each(|stored| {
        highest = highest.max(stored.seq);
        if let Some(meta) = work.restore(&stored, dispatcher, now) {
            unannounced.push((stored.seq, meta));
        }
    });
    read.map_err(RecoveryError::Spool)?;
    let Work { tail, mut mark, live, mut found, actions, changes } = work;
    tail.seqs.iter().filter(|seq| !live.contains(seq)).for_each(|seq| mark.see(*seq));
    let pending = Pending::default();
    pending.stored(mark.through());
    let register = Arc::new(Register::new(spool.clone()));
    tail.returns.iter().for_each(|line| make_up_for(&register, &settings.returns, line, now));
    let journal = Journal::new(open_log(config, spool, mark, pending.clone())?, node);
    found.announced = unannounced.len() as u64;
    for (seq, meta) in unannounced {
        let letter = Message::new(meta, Vec::new(), None);
        announce(&journal, &letter, seq, pending.begin(), Announced::Late, |rcpt| !tail.was_accepted(seq, rcpt));
    }
    pending.stored(highest);
    journal.flush()?;
    for (seq, progress) in changes {
        match progress {
            Some(progress) => spool.update(seq, progress.encode()),
            None => spool.remove(seq),
        }
    }
    Ok(Recovered { journal, actions, pending, register, found })
}

struct Work {
    tail: Tail,
    mark: Watermark,
    /// Messages of the spool that the mark does not cover.
    live: HashSet<u64>,
    found: Found,
    actions: Vec<Action>,
    changes: Vec<(u64, Option<Progress>)>,
}

impl Work {
    /// Queues one message again. Gives its meta back where some of its `accepted` lines are missing.
    fn restore(&mut self, stored: &Stored, dispatcher: &mut Dispatcher, now: Timestamp) -> Option<MessageRecord> {
        let meta = match MessageRecord::decode(&stored.meta) {
            Ok(meta) => meta,
            Err(error) => {
                self.found.unreadable.push(format!("{}: {error}", stored.id));
                return None;
            }
        };
        let before = self.progress(stored, &meta);
        let rcpt = |s: &SavedRecipient| meta.envelope.recipients.get(usize::from(s.0)).map(|r| r.as_str());
        let owed: Vec<SavedRecipient> =
            before.owed.iter().copied().filter(|s| rcpt(s).is_some_and(|r| !self.tail.has_ended(meta.id, r))).collect();
        let ended = before.owed.len() - owed.len();
        self.found.ended += ended as u64;
        let progress = Progress { owed, told_late: before.told_late };
        if ended > 0 {
            self.changes.push((stored.seq, (!progress.owed.is_empty()).then(|| progress.clone())));
        }
        if !progress.owed.is_empty() {
            self.found.messages += 1;
            let mut arrival = arrival(&meta, stored.seq, None);
            arrival.progress = Some(progress);
            self.actions.append(&mut dispatcher.handle(Input::Arrived(Box::new(arrival)), now));
        }
        if self.mark.has(stored.seq) {
            return None;
        }
        self.live.insert(stored.seq);
        if meta.envelope.recipients.iter().all(|r| self.tail.was_accepted(stored.seq, r.as_str())) {
            self.mark.see(stored.seq);
            return None;
        }
        Some(meta)
    }

    /// Where the recipients stand: as last saved, else all as new.
    fn progress(&mut self, stored: &Stored, meta: &MessageRecord) -> Progress {
        let saved = stored.state.as_deref().map(Progress::decode);
        if let Some(Err(error)) = &saved {
            self.found.unreadable.push(format!("{}: {error}; every recipient is tried again", stored.id));
        }
        let due = meta.held_until().unwrap_or(meta.arrived);
        saved.and_then(Result::ok).unwrap_or_else(|| Progress {
            owed: (0..).zip(&meta.envelope.recipients).map(|(i, _)| SavedRecipient(i, 0, due.as_millisecond(), false)).collect(),
            told_late: false,
        })
    }
}

fn open_log(config: &Config, spool: &Spool, mark: Watermark, pending: Pending) -> Result<EventLog<Ticket>, RecoveryError> {
    let options = log_options(config);
    let (log, opened) =
        EventLog::open(options, clock::now, settle_on_durable(spool.clone(), mark, pending)).map_err(RecoveryError::OpenLog)?;
    if opened.cut > 0 {
        tracing::warn!(bytes = opened.cut, "the delivery log's last line was torn and has been cut");
    }
    Ok(log)
}

/// How the configuration wants the delivery log kept.
pub fn log_options(config: &Config) -> LogOptions {
    let log = &config.log;
    LogOptions {
        rotate_size: log.rotate_size,
        rotate_age: log.rotate_age,
        keep_files: log.keep_files.unwrap_or(usize::MAX),
        keep_age: log.keep_age,
        gather: log.gather,
        sync: log.sync,
        ..LogOptions::new(&log.dir)
    }
}

/// Every recipient that the spool holds, for the audit. Blocks on the disk.
pub fn spooled(spool: &Spool) -> Result<Vec<(posthaste_mail::MessageId, String)>, ReadError> {
    let mut all = Vec::new();
    let read = spool.for_each(|stored| {
        let Ok(meta) = MessageRecord::decode(&stored.meta) else { return };
        let saved = stored.state.as_deref().and_then(|s| Progress::decode(s).ok());
        let recipients = &meta.envelope.recipients;
        let owed: Vec<usize> = match saved {
            Some(progress) => progress.owed.iter().map(|s| usize::from(s.0)).collect(),
            None => (0..recipients.len()).collect(),
        };
        all.extend(owed.into_iter().filter_map(|i| recipients.get(i)).map(|r| (meta.id, r.to_string())));
    });
    read.map(|_| all)
}
