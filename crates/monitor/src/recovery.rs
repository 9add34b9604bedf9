//! What a restart has to know: which recipients have lines in the log after the last checkpoint.
//!
//! The relay writes to the log before the spool forgets. After a crash the spool may hold recipients whose delivery has ended (to be
//! forgotten now, without a second ending) and messages without any line (to be logged as accepted, with `recovered`). The [`Tail`] tells
//! which.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    path::Path,
};

use posthaste_mail::{GapFacts, MessageId};
use serde::{Deserialize, Serialize};

use crate::{
    Lines, LogError, Position, Watermark,
    log::{
        files,
        inventory::{Inventory, Listed},
        json_version,
    },
    record::{BriefRecord, event_word, is_ending, is_return, is_routine},
};

/// Stored by the relay in its spool from time to time: at `position` in the log, exactly these messages had their `accepted` lines, and the
/// spool had forgotten every recipient that had ended before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The position; None if the log was empty.
    pub position: Option<Position>,
    /// Every spool number up to this one has its `accepted` lines.
    pub accepted_through: u64,
    /// So have those in these ranges, first and last included.
    pub accepted_beyond: Vec<(u64, u64)>,
    /// [`Checkpoint::VERSION`]; the first checkpoints had none.
    #[serde(default = "first_version")]
    pub v: u64,
}

fn first_version() -> u64 {
    1
}

/// Why a checkpoint cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is of a version that this program does not know. It must be left alone.
    #[error("the checkpoint of the delivery log has version {0}, and this posthaste knows {known}: start the posthaste that wrote it", known = Checkpoint::VERSION)]
    Unknown(String),
    /// The bytes are no checkpoint: then all files that are kept have to be read.
    #[error("the checkpoint of the delivery log cannot be read")]
    Unreadable,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self::new(None, &Watermark::default())
    }
}

impl Checkpoint {
    /// The version of what [`Self::to_bytes`] writes.
    pub const VERSION: u64 = 1;

    /// A checkpoint of this watermark at this position.
    pub fn new(position: Option<Position>, mark: &Watermark) -> Self {
        Self { position, accepted_through: mark.through(), accepted_beyond: mark.beyond(), v: Self::VERSION }
    }

    /// The watermark to continue with.
    pub fn mark(&self) -> Watermark {
        Watermark::new(self.accepted_through, &self.accepted_beyond)
    }

    /// Encodes it as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a checkpoint is plain data")
    }

    /// Decodes it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        match json_version::of(bytes) {
            // The first checkpoints had none.
            Some(Some(v)) if v != Self::VERSION => Err(CheckpointError::Unknown(v.to_string())),
            _ => serde_json::from_slice(bytes).map_err(|_| CheckpointError::Unreadable),
        }
    }
}

/// Stored by the relay in its spool before it forgets what the durable lines let it forget: the log's end up to which they reach. Where a start
/// finds the log shorter, lines are gone that the spool depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurableEnd {
    /// The end.
    pub position: Position,
    v: u64,
}

impl DurableEnd {
    /// The end at this position.
    pub fn new(position: Position) -> Self {
        Self { position, v: Checkpoint::VERSION }
    }

    /// Encodes it as JSON.
    pub fn to_bytes(self) -> Vec<u8> {
        serde_json::to_vec(&self).expect("an end is plain data")
    }

    /// Decodes it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        match json_version::of(bytes) {
            Some(v) if v.as_ref().and_then(serde_json::Value::as_u64) != Some(Checkpoint::VERSION) => {
                Err(CheckpointError::Unknown(v.unwrap_or_default().to_string()))
            }
            _ => serde_json::from_slice(bytes).map_err(|_| CheckpointError::Unreadable),
        }
    }
}

/// The part of the log after a checkpoint. Recipients are kept as hashes, because a tail may hold millions of lines.
#[derive(Debug)]
pub struct Tail {
    accepted: HashSet<(u64, u64)>,
    ended: HashSet<(MessageId, u64)>,
    hasher: RandomState,
    /// Every spool number that an `accepted` line names.
    pub seqs: HashSet<u64>,
    /// The returns (late bounces, complaints, unsubscriptions) as whole lines, so that the caller can complete what follows from them.
    pub returns: Vec<Box<[u8]>>,
    /// The log's end.
    pub end: Option<Position>,
    /// True if the checkpoint's file is gone and all files that are kept were read instead.
    pub gone: bool,
    /// Lines that could not be read.
    pub damaged: u64,
    /// Lines read.
    pub lines: u64,
}

impl Tail {
    /// Whether this recipient has an `accepted` line. A crash may have fallen between two recipients of one message.
    pub fn was_accepted(&self, spool_seq: u64, rcpt: &str) -> bool {
        self.accepted.contains(&(spool_seq, self.hasher.hash_one(rcpt)))
    }

    /// Whether this recipient has an ending.
    pub fn has_ended(&self, message: MessageId, rcpt: &str) -> bool {
        self.ended.contains(&(message, self.hasher.hash_one(rcpt)))
    }

    /// Adds the endings of these messages from everything that is kept: for a spool that may have lost what it had forgotten, whatever the
    /// checkpoint says.
    pub fn add_endings(&mut self, dir: &Path, messages: &HashSet<MessageId>) -> Result<(), LogError> {
        let mut lines = Lines::all(dir);
        while let Some(line) = lines.next_line()? {
            let Some(record) = Some(line.bytes).filter(|line| event_word(line).is_some_and(is_ending)).and_then(BriefRecord::parse) else {
                continue;
            };
            if let Some((message, rcpt)) = record.about().filter(|(message, _)| messages.contains(message)) {
                self.ended.insert((message, self.hasher.hash_one(rcpt)));
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8]) {
        if is_routine(line) {
            return;
        }
        let Some(record) = BriefRecord::parse(line) else {
            self.damaged += 1;
            return;
        };
        let Some((message, rcpt)) = record.about() else { return };
        let rcpt = self.hasher.hash_one(rcpt);
        match (&*record.event, record.spool_seq) {
            ("accepted", Some(seq)) => {
                self.accepted.insert((seq, rcpt));
                self.seqs.insert(seq);
            }
            (event, _) if is_return(event) => self.returns.push(line.into()),
            (event, _) if is_ending(event) => {
                self.ended.insert((message, rcpt));
            }
            _ => {}
        }
    }
}

/// The gap that a start has to report: the file of a position that was durable is gone, or too short. None: it is there.
pub fn gap_at_start(dir: &Path, position: &Position) -> Result<Option<GapFacts>, LogError> {
    let found = files::find(dir, position.file)?;
    let left = found.as_ref().map_or(0, |(_, length)| (*length).min(position.offset));
    if left == position.offset {
        return Ok(None);
    }
    let (file, bytes) = (position.file.to_string(), position.offset - left);
    let what = match found.filter(|_| left > 0) {
        None => format!("a file of the delivery log ({file}) is gone"),
        Some((path, _)) => format!("{} was cut at byte {left}", path.display()),
    };
    let detail = format!("{what}: the spool knows of {bytes} bytes more of it, and there may have been others since");
    let file = Some(file.into());
    Ok(Some(GapFacts {
        cause: "not_found",
        file,
        since: None,
        until: None,
        from_byte: left,
        bytes,
        lines: None,
        accepted: None,
        ended: None,
        crc32: None,
        detail,
    }))
}

/// Whether the list of the log's files knows this position: then the log notices by itself whether it is still there, and knows more of what is
/// missing than [`gap_at_start`].
pub fn list_knows(dir: &Path, position: &Position) -> Result<bool, LogError> {
    let knows = |listed: Listed| listed.file == position.file && listed.length >= position.offset;
    Ok(Inventory::read(dir)?.is_some_and(|list| list.into_files().any(knows)))
}

/// After how many lines progress is told.
const SEEN_EVERY: u64 = 4096;

/// Reads what follows the position (None: everything). If its file is gone, reads all files that are kept and sets [`Tail::gone`].
pub fn tail_since(dir: &Path, position: Option<&Position>) -> Result<Tail, LogError> {
    tail_since_watched(dir, position, &|_, _| ())
}

/// The same; `seen` hears again and again how many bytes have been read, and how many there are.
pub fn tail_since_watched(dir: &Path, position: Option<&Position>, seen: &dyn Fn(u64, u64)) -> Result<Tail, LogError> {
    let (mut lines, gone) = match position.map(|p| Lines::from(dir, *p)) {
        Some(Ok(lines)) => (lines, false),
        Some(Err(LogError::Gone(_))) => (Lines::all(dir), true),
        Some(Err(error)) => return Err(error),
        None => (Lines::all(dir), false),
    };
    let mut tail = Tail {
        accepted: HashSet::new(),
        ended: HashSet::new(),
        // Keyed at random, so that nobody can choose addresses with equal hashes.
        hasher: RandomState::new(),
        seqs: HashSet::new(),
        returns: Vec::new(),
        end: position.copied().filter(|_| !gone),
        gone,
        damaged: 0,
        lines: 0,
    };
    let (mut read, all) = (0, lines.left()?);
    while let Some(line) = lines.next_line()? {
        tail.end = Some(line.end);
        tail.lines += 1;
        read += line.bytes.len() as u64 + 1;
        tail.take(line.bytes);
        if tail.lines.is_multiple_of(SEEN_EVERY) {
            seen(read, all);
        }
    }
    Ok(tail)
}
