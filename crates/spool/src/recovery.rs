//! What opening found.

use std::time::Duration;

use crate::{checkpoint::StopCheckpoint, index::Index};

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The last stop was an orderly one.
    pub clean: bool,
    /// The index was made anew from the log.
    pub rebuilt: bool,
    /// Live messages.
    pub messages: u64,
    /// Bytes cut off the log's end: records that were being written.
    pub torn_bytes: u64,
    /// Damage, copied to the folder `quarantine`.
    pub quarantined: Vec<Quarantined>,
    /// How long it took.
    pub took: Duration,
}

/// Bytes of the log that are no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The segment's number; 0 for a file that is no segment.
    pub segment: u32,
    /// The first damaged byte.
    pub offset: u64,
    /// How many.
    pub len: u64,
    /// What is wrong with them.
    pub reason: String,
}

impl Recovery {
    pub(crate) fn new(rebuilt: bool) -> Self {
        Self { clean: false, rebuilt, messages: 0, torn_bytes: 0, quarantined: Vec::new(), took: Duration::ZERO }
    }
}

/// What a spool starts with: from its last orderly stop, or made anew from the log.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) checkpoint: StopCheckpoint,
    pub(crate) recovery: Recovery,
}
