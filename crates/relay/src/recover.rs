//! Recovery at the start: queues the messages in the spool again, and repairs what a crash left inconsistent between spool and log.
//!
//! The log is authoritative about the past, the spool about what is still to be delivered. So a recipient that has ended according to the
//! log is removed from the spool, and a message without an `accepted` line gets one now.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use posthaste_config::Config;
use posthaste_host::{InForce, clock, files};
use posthaste_journal::{Finding, Journal, Part, Pending, Ticket, stamp};
use posthaste_mail::{GapFacts, MessageId, Name, What};
use posthaste_message::{Message, MessageRecord, Progress, SavedRecipient};
use posthaste_monitor::{
    Checkpoint, CheckpointError, DurableEnd, EventLog, LogOptions, Position, Tail, Watermark, gap_at_start, list_knows, put_copy_aside,
    tail_since_watched, take_back,
};
use posthaste_queue::{Action, Dispatcher, Input};
use posthaste_returns::make_up_for;
use posthaste_spool::{LiveMessage as Stored, ReadError, Spool};
use posthaste_submission::{Announced, announce, arrival};
use posthaste_suppression::Register;

use crate::{
    error::RecoveryError,
    open::OpenedSpool,
    recorder::{CHECKPOINT, DURABLE_END, settle_on_durable},
    settings::Settings,
    spooled::each_spooled,
    starting::{self, Hear, MESSAGES_APART, Step, Unit},
    told::{alarms_are_lost, newest_log_list},
};

/// What the recovery found and did.
#[derive(Debug, Default)]
pub struct Found {
    /// Messages in the queue.
    pub messages: u64,
    /// Recipients that had ended according to the log, but not according to the spool.
    pub ended: u64,
    /// Messages whose `accepted` lines were missing.
    pub announced: u64,
    /// Files of the log that others had renamed or copied, in words.
    pub renamed: Vec<String>,
    /// What is missing or damaged: lines of the log, and messages that cannot be read, which stay in the spool.
    pub losses: Vec<Finding>,
    /// Whether the spool must be compared with the log: accepted messages may be missing from it.
    pub uncompared: bool,
    /// Whether the bodies in the spool were not read yet.
    pub unread: bool,
}

/// The result of a recovery: the opened log and the dispatcher's first actions.
pub struct Recovered {
    /// The delivery log.
    pub journal: Journal,
    /// Actions of the dispatcher, to be carried out.
    pub actions: Vec<Action>,
    /// Messages that are in the spool while their log lines are not durable yet.
    pub pending: Pending,
    /// The suppression list, still to be filled.
    pub register: Arc<Register<Spool>>,
    /// What was found, for the log and for people.
    pub found: Found,
}

/// Makes log and spool consistent and fills the queue. Blocks on the disk.
pub fn recover(
    opened: &OpenedSpool,
    settings: &Settings,
    node: InForce<Name>,
    dispatcher: &mut Dispatcher,
    now: Timestamp,
    hear: Hear<'_>,
) -> Result<Recovered, RecoveryError> {
    let (config, spool) = (&settings.config, &opened.spool);
    let KnownLog { mut tail, mark, gap, renamed, mut losses, whole } = read_log(spool, config, now, hear)?;
    if opened.holes {
        // What the spool had forgotten before the checkpoint may be back.
        let mut back = HashSet::new();
        let read = spool.for_each(|stored| {
            back.insert(stored.id);
        });
        read.map_err(RecoveryError::Spool)?;
        tail.add_endings(&config.log.dir, &back)?;
        spool.made_up_for_holes();
    }
    let behind = numbers_behind_its_log(opened, &tail, &mark)?;
    losses.extend(behind.map(|highest| set_back(config, highest)));
    losses.extend((opened.gone && behind.is_none()).then(|| gone(config, now)));
    let forgotten = alarms_are_lost(&opened.alarms, spool, now).map_err(RecoveryError::Mark)?;
    let uncompared = opened.uncompared | behind.is_some() | forgotten;
    let found = Found { renamed, losses, uncompared, unread: !opened.read, ..Found::default() };
    // Where lines are missing from the log, it does not know what was acknowledged.
    let damaged = if whole { spool.damaged().into_iter().collect() } else { HashSet::new() };
    let mut work = Work { tail, mark, damaged, live: HashSet::new(), found, actions: Vec::new(), changes: Vec::new() };
    let (mut unannounced, mut highest) = (Vec::new(), 0);
    let (mut done, of) = (0, opened.messages);
    let damaged_before = spool.damaged().len();
    let mut without_state = Vec::new();
    let mut restore = |work: &mut Work, stored: &Stored| {
        if let Some((record, owed)) = work.restore(stored, dispatcher, now) {
            unannounced.push((stored.seq, record, owed));
        }
    };
    let read = spool.for_each(|stored| {
        if u64::is_multiple_of(done, MESSAGES_APART) {
            hear(Step { what: "queueing messages", done, of, unit: Unit::Messages });
        }
        done += 1;
        highest = highest.max(stored.seq);
        match stored.state_damaged {
            true => without_state.push(stored),
            false => restore(&mut work, &stored),
        }
    });
    read.map_err(RecoveryError::Spool)?;
    if !without_state.is_empty() {
        // Which of their recipients ended before the checkpoint was in the state alone.
        work.tail.add_endings(&config.log.dir, &without_state.iter().map(|stored| stored.id).collect())?;
        without_state.iter().for_each(|stored| restore(&mut work, stored));
    }
    if spool.damaged().len() > damaged_before {
        // A message was left out: whether it is owed to anybody is in the log.
        spool.must_be_compared().map_err(RecoveryError::Mark)?;
        work.found.uncompared = true;
    }
    let Work { tail, mut mark, damaged: _, live, mut found, actions, changes } = work;
    tail.seqs.iter().filter(|seq| !live.contains(seq)).for_each(|seq| mark.see(*seq));
    let pending = Pending::default();
    pending.stored(mark.through());
    let register = Arc::new(Register::with_memory(spool.clone(), config.suppression.memory));
    tail.returns.iter().for_each(|line| make_up_for(&register, &settings.returns, line, now));
    let told = gap.as_ref().and_then(|gap| gap.file.as_deref()?.parse().ok());
    let timer = Some(opened.syncs.of_log());
    let options = LogOptions { told, timer, list_serial: newest_log_list(spool), ..log_options(config) };
    let journal = Journal::new(open_log(options, spool, node.clone(), mark, pending.clone())?, node).with_alarms(opened.alarms.clone());
    journal.limit_refusals(config.log.refusals);
    found.announced = unannounced.len() as u64;
    gap.into_iter().for_each(|gap| journal.append(now, What::LogGap(Box::new(gap))));
    for (seq, record, owed) in unannounced {
        let message = Message::new(record, Vec::new(), None);
        let missing = |rcpt: &str| !tail.was_accepted(seq, rcpt) && (whole || owed.iter().any(|owed| owed == rcpt));
        announce(&journal, &message, seq, pending.begin(), Announced::Late, missing);
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

/// The highest number in the log, if the spool would give out that one again: then what was stored under it is lost, and with it all else that
/// the spool kept since. Such numbers are not given out again.
fn numbers_behind_its_log(opened: &OpenedSpool, tail: &Tail, mark: &Watermark) -> Result<Option<u64>, RecoveryError> {
    let highest = tail.seqs.iter().copied().max().unwrap_or(0).max(mark.highest());
    if highest < opened.next {
        return Ok(None);
    }
    opened.spool.must_be_compared().map_err(RecoveryError::Mark)?;
    opened.spool.skip_numbers(highest);
    Ok(Some(highest))
}

/// The spool is gone, or is an old copy.
fn set_back(config: &Config, highest: u64) -> Finding {
    let dir = config.spool.dir.display();
    Finding {
        rule: "spool_set_back",
        key: highest.to_string(),
        part: Some(Part::Spool),
        what: format!(
            "the spool {dir} is not the one that the delivery log goes with: it was deleted, or is an old copy. Entries of the suppression list, \
             warm-up budgets and other things that it kept are gone as well as mail that waited; an alarm `messages_missing` says whether any did"
        ),
        remedy: "Import the suppression list again (`posthaste suppress import`), and let `posthaste warmup audit` recount the budgets"
            .into(),
    }
}

/// The spool is gone, and no line of the log says what was in it.
fn gone(config: &Config, now: Timestamp) -> Finding {
    let (spool, log) = (config.spool.dir.display(), config.log.dir.display());
    Finding {
        rule: "spool_gone",
        key: now.as_second().to_string(),
        part: Some(Part::Spool),
        what: format!(
            "the spool {spool} is gone: this data folder had one, and the start has made a new one. Mail that waited, entries of the suppression \
             list, warm-up budgets and other things that it kept are lost, as far as they were in it. The delivery log {log} names no message \
             that was: if it is gone, too, what was lost is not known"
        ),
        remedy:
            "If the folders were moved, stop the relay and put them back. Otherwise import the suppression list again (`posthaste suppress \
                 import`); senders have to send again what nobody has received"
                .into(),
    }
}

/// The log as far as it has to be known at the start.
struct KnownLog {
    tail: Tail,
    mark: Watermark,
    gap: Option<GapFacts>,
    /// Every line is known that must be compared with the spool.
    whole: bool,
    /// Files that others had renamed or copied, in words.
    renamed: Vec<String>,
    /// What is missing.
    losses: Vec<Finding>,
}

/// Reads the log from the last checkpoint on. Where its file is gone, every line that is left is read instead, and every message in the spool
/// is announced again unless its line is among them: the messages stay queued, and the log tells of them. Where it ends before the end that was
/// durable, lines are missing, too.
fn read_log(spool: &Spool, config: &Config, now: Timestamp, hear: Hear<'_>) -> Result<KnownLog, RecoveryError> {
    let (dir, mut losses, mut whole) = (&config.log.dir, Vec::new(), true);
    let checkpoint = match spool.get(CHECKPOINT).as_deref().map(Checkpoint::from_bytes) {
        None => Checkpoint::default(),
        Some(Ok(checkpoint)) => checkpoint,
        Some(Err(error @ CheckpointError::Unknown(_))) => return Err(RecoveryError::Checkpoint(error)),
        Some(Err(error)) => {
            whole = false;
            let what = format!("{error}: all lines that are kept were compared with the spool instead");
            losses.push(log_loss("log_checkpoint_unreadable", now.as_second().to_string(), what, TWICE));
            Checkpoint::default()
        }
    };
    files::make_durable_dir(dir).map_err(|source| RecoveryError::LogFolder { path: dir.clone(), source })?;
    let end = match spool.get(DURABLE_END).as_deref().map(DurableEnd::from_bytes) {
        Some(Err(error @ CheckpointError::Unknown(_))) => return Err(RecoveryError::Checkpoint(error)),
        // Without it, only the checkpoint and the list of files say whether lines were cut off.
        None | Some(Err(CheckpointError::Unreadable)) => None,
        Some(Ok(end)) => Some(end.position),
    };
    let position = checkpoint.position;
    // Before a position is looked for: a copy of its file must not be taken for it.
    let mut renamed = Vec::from_iter(put_copy_aside(dir, now)?);
    for position in [end, position].into_iter().flatten() {
        renamed.extend(take_back(dir, &position, now)?.map(|(was, is)| {
            let (was, is) = (was.display(), is.display());
            format!("while the relay was stopped, a file of its log was renamed to {was}; it is part of the log again as {is}")
        }));
    }
    let tail = tail_since_watched(dir, position.as_ref(), &starting::bytes(hear, "reading the delivery log"))?;
    let gap_at = |position: Option<Position>| position.map(|position| gap_at_start(dir, &position)).transpose().map(Option::flatten);
    let (at_end, at_checkpoint) = (gap_at(end)?, gap_at(position.filter(|_| tail.gone))?);
    whole &= at_end.is_none() && !tail.gone;
    // What the list of the log's files knows of is told when the log is opened.
    let is_told_then = at_end.is_some() && !tail.gone && end.is_some_and(|end| list_knows(dir, &end).unwrap_or(false));
    let gap = at_end.filter(|_| !is_told_then).or(at_checkpoint);
    losses.extend(gap.as_ref().map(|gap| {
        let key = format!("{}-{}-{}", gap.file.as_deref().unwrap_or_default(), gap.from_byte, gap.bytes);
        log_loss("log_gap", key, gap.detail.clone(), TWICE)
    }));
    let mark = if tail.gone { Watermark::default() } else { checkpoint.mark() };
    Ok(KnownLog { tail, mark, gap, whole, renamed, losses })
}

fn log_loss(rule: &'static str, key: String, what: String, remedy: &str) -> Finding {
    Finding { rule, key, part: Some(Part::Log), what, remedy: remedy.into() }
}

const TWICE: &str = "Which recipients had ended in these lines could not be compared with the spool: all messages in the spool stay queued, \
                     and some recipients may get a message twice";

const RECIPIENTS_TRIED: &str = "Every recipient without an ending in the log is tried again. Check the disk";

struct Work {
    tail: Tail,
    mark: Watermark,
    /// Messages in the spool whose bodies are not whole.
    damaged: HashSet<u64>,
    /// Messages in the spool that the mark does not cover.
    live: HashSet<u64>,
    found: Found,
    actions: Vec<Action>,
    changes: Vec<(u64, Option<Progress>)>,
}

impl Work {
    /// Queues one message again. Returns its record if some of its `accepted` lines are missing, with the recipients that have not ended.
    fn restore(&mut self, stored: &Stored, dispatcher: &mut Dispatcher, now: Timestamp) -> Option<(MessageRecord, Vec<String>)> {
        let record = match MessageRecord::decode(&stored.meta) {
            Ok(record) => record,
            Err(error) => {
                self.unreadable(stored, &error.to_string(), "It is left in the spool. Check the disk");
                return None;
            }
        };
        if self.damaged.contains(&stored.seq) && self.was_never_acknowledged(stored.seq, &record) {
            self.changes.push((stored.seq, None));
            return None;
        }
        let before = self.progress(stored, &record);
        let rcpt = |s: &SavedRecipient| record.envelope.recipients.get(usize::from(s.0)).map(|r| r.as_str());
        let recipients: Vec<SavedRecipient> =
            before.recipients.iter().copied().filter(|s| rcpt(s).is_some_and(|r| !self.tail.has_ended(record.id, r))).collect();
        let names = recipients.iter().filter_map(rcpt).map(str::to_owned).collect();
        let ended = before.recipients.len() - recipients.len();
        self.found.ended += ended as u64;
        let progress = Progress { recipients, ..before };
        if ended > 0 {
            self.changes.push((stored.seq, (!progress.recipients.is_empty()).then(|| progress.clone())));
        }
        if !progress.recipients.is_empty() {
            self.found.messages += 1;
            let mut arrival = arrival(&record, stored.seq, None);
            if let Some(released) = progress.begins.and_then(|at| Timestamp::from_millisecond(at).ok()) {
                (arrival.arrived, arrival.guarded) = (released, None);
            }
            arrival.progress = Some(progress);
            self.actions.append(&mut dispatcher.handle(Input::Arrived(Box::new(arrival)), now));
        }
        if self.mark.has(stored.seq) {
            return None;
        }
        self.live.insert(stored.seq);
        if record.envelope.recipients.iter().all(|r| self.tail.was_accepted(stored.seq, r.as_str())) {
            self.mark.see(stored.seq);
            return None;
        }
        Some((record, names))
    }

    fn unreadable(&mut self, stored: &Stored, error: &str, remedy: &str) {
        let (key, what) = (stored.seq.to_string(), format!("message {} in the spool cannot be read: {error}", stored.id));
        self.found.losses.push(Finding { rule: "message_unreadable", key, part: Some(Part::Spool), what, remedy: remedy.into() });
    }

    /// Whether a message was being stored when the relay was killed: the log accounts for others, and knows nothing of this one.
    fn was_never_acknowledged(&self, seq: u64, record: &MessageRecord) -> bool {
        let accepted = || record.envelope.recipients.iter().any(|rcpt| self.tail.was_accepted(seq, rcpt.as_str()));
        // In its first seconds a relay has no checkpoint yet.
        let others = self.mark.through() > 0 || !self.tail.seqs.is_empty();
        others && !self.mark.has(seq) && !accepted()
    }

    /// The recipients' states as last saved; if none are saved or readable, all are new.
    fn progress(&mut self, stored: &Stored, record: &MessageRecord) -> Progress {
        if stored.state_damaged {
            self.unreadable(stored, "the state of its recipients is damaged", RECIPIENTS_TRIED);
        }
        let saved = stored.state.as_deref().map(Progress::decode);
        if let Some(Err(error)) = &saved {
            self.unreadable(stored, &format!("the state of its recipients: {error}"), RECIPIENTS_TRIED);
        }
        let due = record.held_until().unwrap_or(record.arrived);
        let (all, held) = ((0..).zip(&record.envelope.recipients), record.guarded.is_some());
        saved
            .and_then(Result::ok)
            .unwrap_or_else(|| Progress::of(all.map(|(i, _)| SavedRecipient(i, 0, due.as_millisecond(), held)).collect()))
    }
}

fn open_log(
    options: LogOptions,
    spool: &Spool,
    node: InForce<Name>,
    mark: Watermark,
    pending: Pending,
) -> Result<EventLog<Ticket>, RecoveryError> {
    let settle = settle_on_durable(spool.clone(), mark, pending);
    let (log, opened) = EventLog::open(options, clock::now, stamp(node), settle).map_err(RecoveryError::OpenLog)?;
    if opened.cut > 0 {
        tracing::warn!(bytes = opened.cut, "the delivery log's last line was torn and has been cut");
    }
    Ok(log)
}

/// The delivery log's settings, from the configuration.
pub(crate) fn log_options(config: &Config) -> LogOptions {
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

/// All recipients in the spool, for the audit. Blocks on the disk.
pub fn spooled(spool: &Spool) -> Result<Vec<(MessageId, String)>, ReadError> {
    let mut all = Vec::new();
    each_spooled(spool, |message, rcpt| all.push((message, rcpt.to_owned())), |_| ())?;
    Ok(all)
}
