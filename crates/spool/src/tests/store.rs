use std::{
    cell::RefCell,
    task::{Context, Waker},
};

use super::*;
use crate::{OpenError, StoreError};

#[test]
fn what_was_stored_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, recovery) = open(dir.path());
    assert_eq!((recovery.messages, recovery.clean, recovery.torn_bytes), (0, false, 0));
    let parts = vec![body(1, 10), Bytes::new(), body(2, 300_000), body(3, 7)];
    let seq = block_on(spool.store(id(1), "meta".into(), parts.clone())).unwrap();
    assert_eq!(spool.body(seq).unwrap().unwrap(), parts.concat());
    assert_eq!(spool.meta(seq).unwrap().unwrap(), "meta");
    assert_eq!(spool.body(seq + 1).unwrap(), None);
    spool.update(seq, b"one".to_vec());
    spool.update(seq, b"two".to_vec());
    let live = LiveMessage { seq, id: id(1), meta: "meta".into(), state: Some(b"two".to_vec()), state_damaged: false, body_len: 300_017 };
    assert_eq!(all(&spool), [live]);
    spool.remove(seq);
    assert_eq!(spool.body(seq).unwrap(), None);
    assert_eq!(spool.meta(seq).unwrap(), None);
    assert_eq!(all(&spool), []);
}

#[test]
fn seqs_rise_and_are_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..4 {
        let (spool, _) = open(dir.path());
        for n in 0..5 {
            let seq = store(&spool, n, 2000);
            assert!(seq > last);
            last = seq;
            spool.remove(seq);
        }
        settle(&spool, || segments(dir.path()).len() <= 2);
        if round % 2 == 0 {
            spool.close().unwrap();
        }
    }
}

#[test]
fn a_rebuild_tells_how_far_it_has_come_and_an_orderly_stop_needs_none() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    for n in 0..50 {
        store(&spool, n, 3000);
    }
    drop(spool);
    let (told, all) = (RefCell::new(Vec::new()), segments(dir.path()).iter().map(|path| path.metadata().unwrap().len()).sum::<u64>());
    let seen = |done, of| told.borrow_mut().push((done, of));
    std::fs::remove_file(dir.path().join("checkpoint")).unwrap_or_default();
    let (spool, recovery) = Spool::open_watched(dir.path(), small_segments(), clock, std::sync::Arc::new(|_| ()), &seen).unwrap();
    let told = told.take();
    assert!(recovery.rebuilt && told.len() > 3, "{told:?}");
    assert!(told.is_sorted() && told[0] == (0, all) && told[told.len() - 1] == (all, all), "{told:?}, {all}");
    spool.close().unwrap();
    drop(spool);
    Spool::open_watched(dir.path(), small_segments(), clock, std::sync::Arc::new(|_| ()), &|_, _| panic!("nothing is rebuilt")).unwrap();
}

#[test]
fn an_orderly_stop_needs_no_rebuild_and_keeps_all() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let seqs: Vec<_> = (0..50).map(|n| store(&spool, n, 500)).collect();
    spool.update(seqs[3], b"state".to_vec());
    spool.put(b"key", b"value");
    let large = vec![b'm'; 20_000];
    let last = block_on(spool.store(id(99), large.clone().into(), vec![])).unwrap();
    let before = all(&spool);
    spool.close().unwrap();
    assert!(matches!(block_on(spool.store(id(1), "".into(), vec![])), Err(StoreError::Closed)));
    assert!(matches!(block_on(spool.sync()), Err(StoreError::Closed)));
    drop(spool);
    let (spool, recovery) = open(dir.path());
    assert!(recovery.clean && !recovery.rebuilt);
    assert_eq!(recovery.messages, 51);
    assert_eq!(all(&spool), before);
    assert_eq!(spool.get(b"key"), Some(b"value".to_vec()));
    assert_eq!(spool.meta(last).unwrap().unwrap(), large);
    for (n, seq) in seqs.iter().enumerate() {
        assert_eq!(spool.body(*seq).unwrap().unwrap(), body(n as u64, 500));
    }
}

#[test]
fn a_stop_without_close_is_recovered_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let seq = store(&spool, 1, 100);
    store(&spool, 2, 100);
    spool.update(seq, b"state".to_vec());
    spool.put(b"a", b"1");
    spool.put(b"b", b"2");
    spool.delete(b"a");
    let before = all(&spool);
    drop(spool);
    let (spool, recovery) = open(dir.path());
    assert!(!recovery.clean && recovery.rebuilt);
    assert_eq!((recovery.messages, recovery.torn_bytes, recovery.quarantined.len()), (2, 0, 0));
    assert_eq!(all(&spool), before);
    assert_eq!(spool.scan(b""), [(b"b".to_vec(), b"2".to_vec())]);
}

#[test]
fn facts_are_seen_at_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    spool.put(b"a/1", b"x");
    spool.put(b"a/2", b"y");
    spool.put(b"b/1", b"z");
    spool.put(b"a/1", b"xx");
    assert_eq!(spool.get(b"a/1"), Some(b"xx".to_vec()));
    assert_eq!(spool.scan(b"a/"), [(b"a/1".to_vec(), b"xx".to_vec()), (b"a/2".to_vec(), b"y".to_vec())]);
    spool.delete(b"a/2");
    assert_eq!(spool.get(b"a/2"), None);
    spool.put(b"a/3", b"w");
    block_on(spool.sync()).unwrap();
    assert_eq!(spool.scan(b"a/"), [(b"a/1".to_vec(), b"xx".to_vec()), (b"a/3".to_vec(), b"w".to_vec())]);
}

#[test]
fn a_dropped_store_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    for n in 0..20 {
        let mut store = Box::pin(spool.store(id(n), "".into(), vec![body(n, 10)]));
        assert!(store.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        if n % 2 == 0 {
            // This one is written and answered, but its caller is gone.
            block_on(spool.sync()).unwrap();
        }
    }
    settle(&spool, || seqs(&spool).is_empty());
    assert_eq!(all(&spool), []);
}

#[test]
fn two_cannot_open_one_spool() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    assert!(matches!(Spool::open(dir.path(), small_segments(), clock), Err(OpenError::Locked { .. })));
    drop(spool);
    open(dir.path());
}

#[test]
fn dead_segments_are_deleted_and_sparse_ones_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let seqs: Vec<_> = (0..200).map(|n| store(&spool, n, 1000)).collect();
    let full = segments(dir.path()).len();
    assert!(full > 40, "{full} segments");
    for seq in seqs.iter().filter(|seq| **seq % 20 != 0) {
        spool.remove(*seq);
    }
    settle(&spool, || segments(dir.path()).len() < 12);
    let left: Vec<_> = seqs.iter().copied().filter(|seq| seq % 20 == 0).collect();
    assert_eq!(self::seqs(&spool), left);
    for seq in &left {
        assert_eq!(spool.body(*seq).unwrap().unwrap(), body(seqs.iter().position(|s| s == seq).unwrap() as u64, 1000));
    }
    drop(spool);
    let (spool, _) = open(dir.path());
    assert_eq!(self::seqs(&spool), left);
}

#[test]
fn the_disk_limit_refuses_messages_but_not_their_ends() {
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions { max_disk: 64 * 1024, ..small_segments() };
    let (spool, _) = Spool::open(dir.path(), options, clock).unwrap();
    let mut stored = Vec::new();
    let refused = loop {
        match block_on(spool.store(id(1), "".into(), vec![body(1, 3000)])) {
            Ok(seq) => stored.push(seq),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert!(spool.trouble().is_some_and(|text| text.contains("at most 65536 bytes")));
    assert!(stored.len() > 15 && disk(dir.path()) <= 64 * 1024, "{} messages, {} bytes", stored.len(), disk(dir.path()));
    stored.iter().for_each(|seq| spool.update(*seq, b"state".to_vec()));
    stored.iter().for_each(|seq| spool.remove(*seq));
    settle(&spool, || disk(dir.path()) < 16 * 1024);
    assert_eq!(spool.trouble(), None);
    store(&spool, 1, 3000);
}

#[test]
fn each_sync_is_timed_by_the_clock_that_was_given() {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering::SeqCst},
        },
        time::Duration,
    };
    /// Each look at it takes a second.
    fn slow() -> Instant {
        static LOOKS: AtomicU64 = AtomicU64::new(0);
        static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BEGIN.get_or_init(clock) + Duration::from_secs(LOOKS.fetch_add(1, SeqCst))
    }
    let dir = tempfile::tempdir().unwrap();
    let (syncs, short) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (heard, too_short) = (syncs.clone(), short.clone());
    let took = move |time: Duration| {
        heard.fetch_add(1, SeqCst);
        too_short.fetch_add(u64::from(time < Duration::from_secs(1)), SeqCst);
    };
    let (spool, _) = Spool::open_watched(dir.path(), small_segments(), slow, Arc::new(took), &|_, _| ()).unwrap();
    let before = syncs.load(SeqCst);
    store(&spool, 1, 100);
    assert!(syncs.load(SeqCst) > before, "a message is safe once it is synced");
    assert_eq!(short.load(SeqCst), 0);
}
