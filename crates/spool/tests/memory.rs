//! Opening and compacting a spool takes memory that does not depend on the messages' sizes. A process of its own, since it measures itself.

use std::{fs, path::Path, thread, time::Instant};

use bytes::Bytes;
use posthaste_mail::MessageId;
use posthaste_spool::{Spool, SpoolOptions};

const LONG: usize = 20 << 20;
/// What opening or compacting may take, in KiB: read buffers, the index's tables.
const MOST: u64 = 12 * 1024;

#[expect(clippy::disallowed_methods, reason = "the spool's shell is given a real clock")]
fn clock() -> Instant {
    Instant::now()
}

/// Runs `work`; returns by how many KiB it raised the memory of this process at most.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let status = |line: &str| -> u64 {
        let text = fs::read_to_string("/proc/self/status").unwrap();
        let value = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':')).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    };
    // 5 sets the peak back to what is taken now (proc_pid_clear_refs(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let done = work();
    (done, status("VmHWM").saturating_sub(before))
}

fn open(dir: &Path) -> Spool {
    Spool::open(dir, SpoolOptions { min_free: 0, ..SpoolOptions::default() }, clock).unwrap().0
}

fn segments(dir: &Path) -> usize {
    fs::read_dir(dir.join("log")).unwrap().count()
}

#[test]
fn long_messages_are_read_at_the_opening_and_moved_in_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let spool = open(dir.path());
    let body = Bytes::from(vec![b'x'; LONG]);
    // Four fill a segment.
    let seqs: Vec<u64> =
        (0..5).map(|n| runtime.block_on(spool.store(MessageId::from_bytes([n; 16]), Bytes::new(), vec![body.clone()])).unwrap()).collect();
    drop(body);
    // Without an orderly stop, so that the next opening reads everything.
    drop(spool);

    let (spool, taken) = peak_of(|| open(dir.path()));
    assert!(taken < MOST, "opening a spool with five messages of 20 MiB took {taken} KiB");

    let before = segments(dir.path());
    let ((), taken) = peak_of(|| {
        seqs[..3].iter().for_each(|seq| spool.remove(*seq));
        let deadline = clock() + std::time::Duration::from_secs(40);
        while segments(dir.path()) == before {
            assert!(clock() < deadline, "the first segment was not emptied");
            runtime.block_on(spool.sync()).unwrap();
            thread::yield_now();
        }
    });
    assert!(taken < MOST, "moving a message of 20 MiB took {taken} KiB");
    let moved = spool.body(seqs[3]).unwrap().expect("it was moved, not removed");
    assert!(moved.len() == LONG && moved.iter().all(|byte| *byte == b'x'));
}
