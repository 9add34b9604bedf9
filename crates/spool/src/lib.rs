//! The crash-safe store of messages: an append-only log of segments, indexed by sled.
//!
//! Everything durable goes through the log: accepted messages with their bodies, their state, their removal, and keyed facts. One thread
//! writes: it drains its queue, writes once, calls fdatasync once, and only then answers the waiters of the batch. The folder of a spool
//! holds:
//!
//! - `log/`: the segments;
//! - `index/` (or `index.N/`): sled's files, deleted and rebuilt from the log after a crash, and while the spool runs when sled fails;
//! - `segments`: which segments there are, so that a missing one is noticed;
//! - `quarantine/`: damaged bytes;
//! - `clean`: the checkpoint of an orderly stop;
//! - `holes`, `uncompared`: what is still to be done about a loss;
//! - `lock`: a lock against a second process.
//!
//! Level 1: of the workspace it may use `posthaste-mail` only, of which it knows the message id. The meta and state bytes of a message and
//! the values of facts are opaque to it.
//!
//! Invariants:
//! - The log is the only truth. The index holds nothing that the log does not, and is not trusted after a crash.
//! - [`Spool::store`] resolves with Ok only after fdatasync. A message whose caller stopped waiting is removed again.
//! - Small records (updates, removals, facts) are never lost to a full or failing disk while the process lives: they are written again
//!   when the disk allows.
//! - A removed message never comes back: its tombstone outlives every segment that holds a copy of it.
//! - Numbers (seqs) rise and are never used again.
//! - After a failed fdatasync, nothing is appended to that segment any more.

mod checkpoint;
mod commit;
mod compact;
mod compaction;
mod disk;
mod error;
mod fact;
mod files;
mod format;
mod handles;
mod index;
mod index_dir;
mod keyed;
mod locations;
mod log;
mod manifest;
mod marks;
mod mend;
mod options;
mod overlay;
mod queue;
mod read;
mod rebuild;
mod record;
mod recover;
mod recovery;
mod reindex;
mod scan;
mod segment;
mod segments;
mod shared;
mod spool;
mod writer;

#[cfg(test)]
mod tests;

pub use disk::SyncTook;
pub use error::{OpenError, ReadError, StoreError};
pub use format::refuse_unknown;
pub use keyed::{Facts, MemoryFacts, delete_where, in_shards, sharded};
pub use options::SpoolOptions;
pub use read::LiveMessage;
pub use recovery::{MissingSegment, Quarantined, Recovery};
pub use spool::Spool;
