//! The crash-safe store: one append-only segment log is the truth, sled is its index.
//!
//! Every durable fact goes through the log: an accepted message with its body, its progress, its end, and keyed facts.
//! One thread writes: it drains its queue, writes once, calls fdatasync once, and only then tells the batch's waiters.
//! The meta and state bytes of a message are opaque here.
//!
//! Layout of the folder: `log/` holds the segments, `index/` is sled's (deleted and rebuilt from the log after a crash),
//! `quarantine/` keeps damaged bytes, `clean` is the checkpoint of an orderly stop, `lock` keeps a second process out.

mod checkpoint;
mod commit;
mod compact;
mod compaction;
mod disk;
mod error;
mod fact;
mod files;
mod index;
mod locations;
mod log;
mod options;
mod overlay;
mod queue;
mod read;
mod rebuild;
mod record;
mod recover;
mod recovery;
mod scan;
mod segment;
mod segments;
mod shared;
mod spool;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{OpenError, ReadError, StoreError};
pub use options::{Options, Usage};
pub use read::Live;
pub use recovery::{Quarantined, Recovery};
pub use spool::Spool;
