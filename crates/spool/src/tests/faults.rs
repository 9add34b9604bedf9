use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use super::*;
use crate::{
    StoreError,
    disk::{Disk, RealDisk},
};

/// A disk that fails on demand.
pub(super) struct FlakyDisk {
    room: AtomicU64,
    free: AtomicU64,
    asked: AtomicU64,
    pub(super) sync_fails: AtomicBool,
    pub(super) index_fails: AtomicBool,
    /// How long each file was when it was last synced, by inode.
    synced: Mutex<HashMap<u64, u64>>,
    truncate_fails: AtomicBool,
}

impl FlakyDisk {
    pub(super) fn new() -> Arc<Self> {
        let (room, free) = (AtomicU64::new(u64::MAX), AtomicU64::new(1 << 30));
        let [sync_fails, index_fails, truncate_fails] = [(); 3].map(|()| AtomicBool::new(false));
        Arc::new(Self { room, free, asked: AtomicU64::new(0), sync_fails, index_fails, truncate_fails, synced: Mutex::default() })
    }
}

impl Disk for FlakyDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let room = self.room.load(SeqCst);
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        RealDisk.write_at(file, &bytes[..fits], offset)?;
        if room != u64::MAX {
            self.room.store(room - fits as u64, SeqCst);
        }
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.sync_fails.load(SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let meta = file.metadata()?;
        self.synced.lock().unwrap().insert(meta.ino(), meta.len());
        RealDisk.sync(file)
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        if self.truncate_fails.load(SeqCst) { Err(io::Error::from_raw_os_error(5)) } else { RealDisk.truncate(file, len) }
    }

    fn index(&self) -> io::Result<()> {
        if self.index_fails.load(SeqCst) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        self.asked.fetch_add(1, SeqCst);
        Ok(self.free.load(SeqCst))
    }
}

fn flaky(dir: &Path) -> (Spool, Arc<FlakyDisk>) {
    let disk = FlakyDisk::new();
    let options = SpoolOptions { min_free: 10_000, ..small_segments() };
    (Spool::open_on(dir, &options, clock, disk.clone()).unwrap().0, disk)
}

fn try_store(spool: &Spool, n: u64, len: usize) -> Result<u64, StoreError> {
    block_on(spool.store(id(n), "".into(), vec![body(n, len)]))
}

#[test]
fn the_floor_of_free_disk_refuses_messages_only() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, disk) = flaky(dir.path());
    let seq = try_store(&spool, 1, 10).unwrap();
    disk.free.store(10_500, SeqCst);
    assert!(spool.trouble().is_some());
    assert!(matches!(try_store(&spool, 2, 1000), Err(StoreError::Full { .. })));
    spool.put(b"key", b"value");
    block_on(spool.sync()).unwrap();
    spool.remove(seq);
    block_on(spool.sync()).unwrap();
    disk.free.store(1 << 30, SeqCst);
    assert_eq!(spool.trouble(), None);
    let seq = try_store(&spool, 3, 1000).unwrap();
    assert_eq!(seqs(&spool), [seq]);
}

#[test]
fn a_disk_with_plenty_is_not_asked_for_each_message() {
    static NOW: LazyLock<Instant> = LazyLock::new(clock);
    for (free, most) in [((1 << 30) + 10_000, 20..=u64::MAX), (1 << 40, 1..=1)] {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FlakyDisk::new());
        let options = SpoolOptions { min_free: 10_000, ..small_segments() };
        // No time goes by.
        let spool = Spool::open_on(dir.path(), &options, || *NOW, disk.clone()).unwrap().0;
        disk.free.store(free, SeqCst);
        let before = disk.asked.load(SeqCst);
        for n in 0..20 {
            try_store(&spool, n, 10).unwrap();
        }
        let asked = disk.asked.load(SeqCst) - before;
        assert!(most.contains(&asked), "{asked} with {free}");
    }
}

#[test]
fn new_limits_hold_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, disk) = flaky(dir.path());
    disk.free.store(20_000, SeqCst);
    try_store(&spool, 1, 1000).unwrap();
    spool.set_limits(&SpoolOptions { min_free: 50_000, ..small_segments() });
    assert!(matches!(try_store(&spool, 2, 1000), Err(StoreError::Full { .. })));
    spool.set_limits(&SpoolOptions { min_free: 1000, ..small_segments() });
    try_store(&spool, 3, 1000).unwrap();
}

#[test]
fn a_full_disk_fails_the_batch_keeps_small_records_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, disk) = flaky(dir.path());
    let (kept, removed) = (try_store(&spool, 1, 100).unwrap(), try_store(&spool, 2, 100).unwrap());
    disk.room.store(30, SeqCst);
    let refused = try_store(&spool, 3, 100);
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    assert!(spool.trouble().is_some());
    assert!(matches!(try_store(&spool, 4, 100), Err(StoreError::Full { .. })));
    spool.remove(removed);
    spool.update(kept, b"state".to_vec());
    spool.put(b"key", b"value");
    spool.put(b"other", b"value");
    assert!(matches!(block_on(spool.sync()), Err(StoreError::Full { .. })));
    assert_eq!(spool.get(b"key"), Some(b"value".to_vec()));
    disk.room.store(u64::MAX, SeqCst);
    settle(&spool, || spool.trouble().is_none());
    let later = try_store(&spool, 5, 100).unwrap();
    let (before, facts) = (all(&spool), spool.scan(b""));
    assert_eq!(before.iter().map(|live| live.seq).collect::<Vec<_>>(), [kept, later]);
    assert_eq!((before[0].state.as_deref(), facts.len()), (Some(b"state".as_slice()), 2));
    drop(spool);
    let (spool, recovery) = open(dir.path());
    assert_eq!((recovery.torn_bytes, recovery.quarantined.len()), (0, 0));
    assert_eq!((all(&spool), spool.scan(b"")), (before, facts));
}

#[test]
fn a_failed_fdatasync_is_never_taken_for_a_good_one() {
    for truncate_fails in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (spool, disk) = flaky(dir.path());
        let first = try_store(&spool, 1, 100).unwrap();
        spool.update(first, b"before".to_vec());
        let before = segments(dir.path()).pop();
        disk.sync_fails.store(true, SeqCst);
        disk.truncate_fails.store(truncate_fails, SeqCst);
        let refused = try_store(&spool, 2, 100);
        assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
        assert!(spool.trouble().is_some());
        disk.sync_fails.store(false, SeqCst);
        disk.truncate_fails.store(false, SeqCst);
        settle(&spool, || spool.trouble().is_none());
        assert!(segments(dir.path()).pop() > before, "the spoilt segment is not written to again");
        let second = try_store(&spool, 3, 100).unwrap();
        block_on(spool.sync()).unwrap();
        drop(spool);
        let (spool, _) = open(dir.path());
        let stored = seqs(&spool);
        assert!(stored.contains(&first) && stored.contains(&second), "{stored:?}");
        assert_eq!(all(&spool)[0].state, Some(b"before".to_vec()));
        assert_eq!(stored.len(), 2, "the refused message does not come back");
    }
}

#[test]
fn a_disk_that_stays_broken_is_told_at_close() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, disk) = flaky(dir.path());
    try_store(&spool, 1, 100).unwrap();
    disk.sync_fails.store(true, SeqCst);
    spool.put(b"key", b"value");
    assert!(spool.close().is_err());
    assert!(!dir.path().join("clean").exists());
}

#[test]
fn clients_hear_at_once_while_no_new_segment_can_be_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, disk) = flaky(dir.path());
    try_store(&spool, 1, 5000).unwrap();
    // The active segment is full: the next batch begins with a new one.
    disk.sync_fails.store(true, SeqCst);
    for n in 2..5 {
        assert!(matches!(try_store(&spool, n, 10), Err(StoreError::Io { .. })), "{n}");
    }
    disk.sync_fails.store(false, SeqCst);
    settle(&spool, || spool.trouble().is_none());
    try_store(&spool, 9, 10).unwrap();
}

#[test]
fn a_spool_opens_without_an_index_and_makes_one_once_it_can() {
    for clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (spool, disk) = flaky(dir.path());
        let kept: Vec<u64> = (1..5).map(|n| try_store(&spool, n, 1000).unwrap()).collect();
        spool.put(b"key", b"value");
        spool.update(kept[0], b"state".to_vec());
        block_on(spool.sync()).unwrap();
        if clean {
            spool.close().unwrap();
        }
        drop(spool);
        disk.index_fails.store(true, SeqCst);
        let (spool, recovery) = Spool::open_on(dir.path(), &small_segments(), clock, disk.clone()).unwrap();
        assert!(recovery.index_failed.is_some() && spool.index_in_memory().is_some(), "{recovery:?}");
        assert_eq!((spool.trouble(), spool.damaged(), recovery.lost), (None, vec![], vec![]), "mail is taken");
        let later = try_store(&spool, 6, 1000).unwrap();
        spool.remove(kept[1]);
        spool.put(b"other", b"new");
        block_on(spool.sync()).unwrap();
        let state = || {
            let found: Vec<_> = all(&spool).into_iter().map(|live| (live.seq, live.id, live.state)).collect();
            (found, spool.get(b"key"), spool.scan(b""))
        };
        let before = state();
        assert_eq!(before.0.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>(), [kept[0], kept[2], kept[3], later]);
        assert_eq!(
            (before.0[0].2.as_deref(), before.1.as_deref(), before.2.len()),
            (Some(b"state".as_slice()), Some(b"value".as_slice()), 2)
        );
        disk.index_fails.store(false, SeqCst);
        settle(&spool, || spool.index_in_memory().is_none());
        assert_eq!(state(), before);
        assert_eq!(spool.body(later).unwrap().unwrap(), body(6, 1000));
        spool.close().unwrap();
        drop(spool);
        let (spool, recovery) = open(dir.path());
        assert!(recovery.clean && !recovery.rebuilt && recovery.index_failed.is_none(), "{recovery:?}");
        assert_eq!(spool.get(b"other").as_deref(), Some(b"new".as_slice()));
    }
}

#[test]
fn a_spool_that_stops_while_its_index_is_in_memory_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FlakyDisk::new();
    disk.index_fails.store(true, SeqCst);
    let (spool, _) = Spool::open_on(dir.path(), &small_segments(), clock, disk).unwrap();
    let seq = try_store(&spool, 1, 1000).unwrap();
    spool.put(b"key", b"value");
    spool.close().unwrap();
    drop(spool);
    let (spool, recovery) = open(dir.path());
    assert!(!recovery.clean && recovery.messages == 1, "{recovery:?}");
    assert_eq!((seqs(&spool), spool.get(b"key").as_deref()), (vec![seq], Some(b"value".as_slice())));
}

#[test]
fn an_index_that_failed_is_rebuilt_while_the_spool_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, disk) = flaky(dir.path());
    let seqs: Vec<u64> = (0..6).map(|n| try_store(&spool, n, 900).unwrap()).collect();
    spool.put(b"kept", b"one");
    spool.put(b"gone", b"two");
    spool.update(seqs[2], b"state".to_vec());
    (0..20).for_each(|_| block_on(spool.sync()).unwrap());
    disk.index_fails.store(true, SeqCst);
    spool.delete(b"gone");
    spool.put(b"late", b"three");
    spool.remove(seqs[0]);
    settle(&spool, || spool.trouble().is_some());
    // While the index is away, mail is refused, small records are written, and messages are read from the log.
    assert!(matches!(try_store(&spool, 10, 100), Err(StoreError::Full { .. })));
    spool.put(b"later", b"four");
    spool.remove(seqs[1]);
    block_on(spool.sync()).unwrap();
    assert_eq!(spool.body(seqs[5]).unwrap().unwrap(), body(5, 900));
    assert_eq!(spool.meta(seqs[5]).unwrap().unwrap(), "");
    assert_eq!((spool.get(b"late"), spool.get(b"gone")), (Some(b"three".to_vec()), None));
    disk.index_fails.store(false, SeqCst);
    settle(&spool, || spool.trouble().is_none());
    let facts: Vec<Vec<u8>> = spool.scan(b"").into_iter().map(|(key, _)| key).collect();
    assert_eq!(facts, [b"kept".to_vec(), b"late".to_vec(), b"later".to_vec()]);
    assert_eq!(super::seqs(&spool), seqs[2..]);
    assert_eq!(all(&spool)[0].state, Some(b"state".to_vec()));
    let next = try_store(&spool, 11, 100).unwrap();
    spool.close().unwrap();
    drop(spool);
    let (spool, recovery) = open(dir.path());
    assert!(recovery.clean && !recovery.rebuilt, "the new index is as good as the first: {recovery:?}");
    assert_eq!(super::seqs(&spool), [&seqs[2..], &[next]].concat());
}

#[test]
fn damage_that_is_found_while_the_spool_runs_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, disk) = flaky(dir.path());
    let seqs: Vec<u64> = (0..6).map(|n| try_store(&spool, n, 900).unwrap()).collect();
    assert!(super::survival::damage(dir.path(), &spool, seqs[0], 0.0));
    disk.index_fails.store(true, SeqCst);
    spool.put(b"key", b"value");
    settle(&spool, || spool.trouble().is_some());
    disk.index_fails.store(false, SeqCst);
    settle(&spool, || spool.trouble().is_none());
    assert_eq!((spool.take_quarantined().len(), spool.take_quarantined().len()), (1, 0));
}

#[test]
fn what_an_opening_reads_is_durable_before_anybody_acts_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, disk) = flaky(dir.path());
    let seq = store(&spool, 1, 100);
    // A kill: what is written last is never synced.
    disk.sync_fails.store(true, SeqCst);
    spool.remove(seq);
    drop(spool);
    let killed = segments(dir.path());
    let (spool, disk) = flaky(dir.path());
    let synced = disk.synced.lock().unwrap().clone();
    for path in killed {
        let meta = path.metadata().unwrap();
        assert_eq!(synced.get(&meta.ino()), Some(&meta.len()), "{} may shrink in a power cut", path.display());
    }
    drop(spool);
}
