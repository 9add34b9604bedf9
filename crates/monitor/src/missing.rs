//! Which accepted messages are missing: they have no ending in the log, and the spool does not hold them. Only the recipients that are open at
//! a time are held in memory, eight bytes each, however long the log is.
//!
//! A message's `accepted` line is written once its record in the spool is durable, and the spool forgets a recipient once the line that ends
//! it is durable. So what a crash or a power cut takes from a healthy disk is never missing here: its line was not written yet.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
};

use posthaste_mail::MessageId;

use crate::{
    Lines, LogError, Watermark,
    audit::gaps::{self, GapLines},
    record::{BriefRecord, GapRecord, is_ending, is_routine},
};

/// Accepted recipients without an ending, as far as the log was read.
pub struct Unended {
    dir: PathBuf,
    lines: Lines,
    /// Keyed at random, so that nobody can choose addresses with equal hashes.
    hasher: RandomState,
    open: HashSet<u64>,
}

/// What is missing. Nothing: `recipients` is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Recipients that were accepted, have not ended and are not in the spool.
    pub recipients: u64,
    /// How many messages that is.
    pub messages: u64,
    /// The messages' spool numbers as ranges, first and last included, in rising order.
    pub numbers: Vec<(u64, u64)>,
    /// The first [`NAMED_MAX`] messages, in order of acceptance.
    pub first: Vec<MessageId>,
    /// Recipients whose endings may be in a gap of the log.
    pub unproven: u64,
}

/// The messages that are named one by one.
pub const NAMED_MAX: usize = 3;

impl Unended {
    /// Reads the log from its beginning to its present end. Blocks on the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn read(dir: &Path) -> Result<Self, LogError> {
        let (lines, hasher) = (Lines::all(dir), RandomState::new());
        let mut unended = Self { dir: dir.to_owned(), lines, hasher, open: HashSet::new() };
        unended.read_on(|open, recipient, event| match event {
            Event::Accepted => drop(open.insert(recipient)),
            Event::Ended => drop(open.remove(&recipient)),
        })?;
        Ok(unended)
    }

    /// Whether there is nothing to look for in the spool.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// This recipient is in the spool, which was read after the log was.
    pub fn is_queued(&mut self, message: MessageId, rcpt: &str) {
        self.open.remove(&self.hasher.hash_one((message, rcpt)));
    }

    /// What is missing, after all that is in the spool was told. What has ended meanwhile has to be durable in the log: the caller flushes it
    /// first. Messages whose spool numbers are in `told` are left out. Blocks on the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn missing(mut self, told: &Watermark) -> Result<Missing, LogError> {
        self.read_on(|open, recipient, event| {
            if let Event::Ended = event {
                open.remove(&recipient);
            }
        })?;
        if self.open.is_empty() { Ok(Missing::default()) } else { self.name(told) }
    }

    fn read_on(&mut self, mut take: impl FnMut(&mut HashSet<u64>, u64, Event)) -> Result<(), LogError> {
        while let Some(line) = self.lines.next_line()? {
            if let Some((message, rcpt, event)) = brief(line.bytes).as_ref().and_then(judged) {
                take(&mut self.open, self.hasher.hash_one((message, rcpt)), event);
            }
        }
        Ok(())
    }

    /// Reads the log again for the numbers. An ending before the `accepted` line counts too.
    fn name(mut self, told: &Watermark) -> Result<Missing, LogError> {
        let (mut found, mut gaps) = (BTreeMap::<u64, (u64, MessageId)>::new(), GapLines::new());
        let mut lines = Lines::all(&self.dir);
        while let Some(line) = lines.next_line()? {
            let Some(record) = brief(line.bytes) else { continue };
            if &*record.event == "log_gap"
                && let Some(gap) = GapRecord::parse(line.bytes)
            {
                gaps.insert(gap.id.clone(), gap);
            }
            let Some((message, rcpt, event)) = judged(&record) else { continue };
            let recipient = self.hasher.hash_one((message, rcpt));
            if !self.open.contains(&recipient) {
                continue;
            }
            match event {
                Event::Accepted => drop(found.insert(recipient, (record.spool_seq.unwrap_or(0), message))),
                Event::Ended => {
                    self.open.remove(&recipient);
                    found.remove(&recipient);
                }
            }
        }
        let gaps = gaps::still_open(&self.dir, &gaps)?;
        Ok(Missing::of(found.into_values().filter(|(number, _)| *number == 0 || !told.has(*number)), |message| {
            gaps::may_hold(&gaps, message, false)
        }))
    }
}

impl Missing {
    fn of(recipients: impl Iterator<Item = (u64, MessageId)>, may_have_ended: impl Fn(MessageId) -> bool) -> Self {
        let (mut missing, mut messages) = (Self::default(), BTreeSet::new());
        for (number, message) in recipients {
            if may_have_ended(message) {
                missing.unproven += 1;
            } else {
                missing.recipients += 1;
                messages.insert((number, message));
            }
        }
        missing.messages = messages.len() as u64;
        missing.first = messages.iter().take(NAMED_MAX).map(|(_, message)| *message).collect();
        for (number, _) in messages.into_iter().filter(|(number, _)| *number > 0) {
            match missing.numbers.last_mut() {
                Some((_, last)) if *last + 1 >= number => *last = number,
                _ => missing.numbers.push((number, number)),
            }
        }
        missing
    }
}

enum Event {
    Accepted,
    Ended,
}

fn brief(line: &[u8]) -> Option<BriefRecord<'_>> {
    if is_routine(line) { None } else { BriefRecord::parse(line) }
}

fn judged<'a>(record: &'a BriefRecord<'_>) -> Option<(MessageId, &'a str, Event)> {
    let event = match &*record.event {
        "accepted" => Event::Accepted,
        word if is_ending(word) => Event::Ended,
        _ => return None,
    };
    let (message, rcpt) = record.about()?;
    Some((message, rcpt, event))
}
