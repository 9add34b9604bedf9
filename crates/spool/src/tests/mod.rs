//! Tests of the whole store: against a model, with damage, and with failing disks.

mod compaction;
mod damage;
mod faults;
mod model;
mod store;
mod survival;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use bytes::Bytes;
use posthaste_mail::MessageId;

use crate::{LiveMessage, Recovery, Spool, SpoolOptions};

#[expect(clippy::disallowed_methods, reason = "the spool's shell is given a real clock")]
fn clock() -> Instant {
    Instant::now()
}

fn small_segments() -> SpoolOptions {
    SpoolOptions { segment_size: 4096, min_free: 0, index_cache: 1 << 20, ..SpoolOptions::default() }
}

fn open(dir: &Path) -> (Spool, Recovery) {
    Spool::open(dir, small_segments(), clock).unwrap()
}

fn id(n: u64) -> MessageId {
    MessageId::from_bytes(u128::from(n).to_be_bytes())
}

fn body(n: u64, len: usize) -> Bytes {
    (0..len).map(|at| (n as usize * 31 + at) as u8).collect::<Vec<u8>>().into()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn store(spool: &Spool, n: u64, len: usize) -> u64 {
    block_on(spool.store(id(n), format!("meta {n}").into(), vec![body(n, len)])).unwrap()
}

fn all(spool: &Spool) -> Vec<LiveMessage> {
    let mut all = Vec::new();
    let count = spool.for_each(|live| all.push(live)).unwrap();
    assert_eq!(count, all.len() as u64);
    all
}

fn seqs(spool: &Spool) -> Vec<u64> {
    all(spool).iter().map(|live| live.seq).collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Bytes of all segments.
fn disk(dir: &Path) -> u64 {
    // A segment may be deleted between the listing and the look at it.
    segments(dir).iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum()
}

/// Makes the spool write and compact until `done` returns true.
fn settle(spool: &Spool, done: impl Fn() -> bool) {
    let deadline = clock() + std::time::Duration::from_secs(20);
    while !done() {
        assert!(clock() < deadline, "the spool did not get there: {} messages", seqs(spool).len());
        let _ = block_on(spool.sync());
        std::thread::yield_now();
    }
}
