//! The result of opening a spool.

use std::time::Duration;

use crate::{checkpoint::StopCheckpoint, index::Index};

/// What was found on opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the last stop was orderly.
    pub clean: bool,
    /// Whether the index was rebuilt from the log.
    pub rebuilt: bool,
    /// The index's error, if it failed: it was made again from the log, or is in memory until that succeeds.
    pub index_failed: Option<String>,
    /// The number of live messages.
    pub messages: u64,
    /// Bytes cut off the end of the log: records that were being written.
    pub torn_bytes: u64,
    /// Damage that was copied to the folder `quarantine`.
    pub quarantined: Vec<Quarantined>,
    /// Records may be missing from the midst of the log. What was written later may be there although what came before it is not: messages
    /// whose removal is lost are back.
    pub holes: bool,
    /// The last stop was not orderly, and nobody has compared the spool with the delivery log since: [`Spool::compared`](crate::Spool::compared).
    pub uncompared: bool,
    /// The lowest number that a message stored from now on can have.
    pub next: u64,
    /// Messages of the spool whose bodies are damaged, by seq. They cannot be delivered.
    pub damaged: Vec<u64>,
    /// Segments that are gone. After a kill they are told again.
    pub missing: Vec<MissingSegment>,
    /// Messages that were there at the last orderly stop and are gone, by seq. Known only if nothing was written since that stop.
    pub lost: Vec<u64>,
    /// How long opening took.
    pub took: Duration,
}

/// Hears how many bytes of the log a rebuild has read, and how many there are.
pub(crate) type Seen<'a> = &'a dyn Fn(u64, u64);

/// A segment that is gone, with everything that it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingSegment {
    /// Its number.
    pub segment: u32,
    /// The lowest seq that a message stored in it at first can have. Messages that compaction had moved there have lower ones.
    pub first: u64,
    /// The highest one, where that is known.
    pub last: Option<u64>,
}

/// Damaged bytes in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The segment's number; 0 for a file that is no segment.
    pub segment: u32,
    /// The first damaged byte.
    pub offset: u64,
    /// The number of bytes.
    pub len: u64,
    /// The message whose body it is, by seq: it stays in the spool. None: whatever it was, it is lost.
    pub message: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

impl Recovery {
    pub(crate) fn new(rebuilt: bool) -> Self {
        Self {
            clean: false,
            rebuilt,
            index_failed: None,
            messages: 0,
            torn_bytes: 0,
            quarantined: Vec::new(),
            holes: false,
            uncompared: false,
            next: 0,
            damaged: Vec::new(),
            missing: Vec::new(),
            lost: Vec::new(),
            took: Duration::ZERO,
        }
    }
}

/// The state that a spool starts with, from the checkpoint or from a rebuild.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) checkpoint: StopCheckpoint,
    pub(crate) recovery: Recovery,
}
