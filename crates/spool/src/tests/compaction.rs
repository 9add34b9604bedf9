use std::{fs, os::unix::fs::FileExt};

use super::*;
use crate::{
    disk::RealDisk,
    record::{ID, RecordHeader, RecordKind},
    segment::{self, START, SegmentName},
};

/// Writes a segment by hand.
struct Segment {
    name: SegmentName,
    bytes: Vec<u8>,
}

impl Segment {
    fn new(id: u32) -> Self {
        Self { name: SegmentName { id, salt: id * 77 }, bytes: Vec::new() }
    }

    fn message(mut self, seq: u64, len: usize) -> Self {
        let body = body(seq, len);
        let (tail_len, tail_crc) = (len as u32, crc32fast::hash(&body));
        let header = RecordHeader { kind: RecordKind::Message, lsn: seq, seq, head_len: ID as u32, tail_len, tail_crc };
        header.encode(self.name.salt, &[&id(seq).to_bytes()], &mut self.bytes);
        self.bytes.extend_from_slice(&body);
        self
    }

    fn tombstone(mut self, lsn: u64, seq: u64, holder: u32) -> Self {
        let header = RecordHeader { kind: RecordKind::Remove, lsn, seq, head_len: 4, tail_len: 0, tail_crc: 0 };
        header.encode(self.name.salt, &[&holder.to_le_bytes()], &mut self.bytes);
        self
    }

    fn write(self, dir: &Path) {
        fs::create_dir_all(dir.join("log")).unwrap();
        let file = segment::create(&dir.join("log"), self.name, 1, &RealDisk).unwrap();
        file.write_all_at(&self.bytes, START).unwrap();
    }
}

fn has(dir: &Path, id: u32) -> bool {
    segments(dir).iter().any(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{id:08x}-")))
}

/// Opens and drops the spool until none of its old segments is kept without need.
fn live_after_many_opens(dir: &Path) -> Vec<u64> {
    for round in 0..6 {
        let (spool, recovery) = open(dir);
        assert_eq!(recovery.quarantined, [], "{round}");
        (0..20).for_each(|_| block_on(spool.sync()).unwrap());
    }
    seqs(&open(dir).0)
}

#[test]
fn a_crash_between_copy_and_deletion_leaves_one_message() {
    let dir = tempfile::tempdir().unwrap();
    Segment::new(1).message(1, 100).message(2, 3500).write(dir.path());
    Segment::new(2).message(1, 100).message(3, 3500).write(dir.path());
    let (spool, recovery) = open(dir.path());
    assert_eq!((recovery.messages, seqs(&spool)), (3, vec![1, 2, 3]));
    assert_eq!(spool.body(1).unwrap().unwrap(), body(1, 100));
    spool.remove(1);
    drop(spool);
    assert_eq!(live_after_many_opens(dir.path()), [2, 3]);
}

#[test]
fn a_copy_that_a_power_cut_tore_does_not_take_the_place_of_what_it_was_copied_from() {
    for torn in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let mut copies = [Segment::new(1).message(1, 3500), Segment::new(2).message(1, 3500).message(2, 100)];
        copies[torn - 1].bytes[2000..2512].fill(0);
        copies.into_iter().for_each(|copy| copy.write(dir.path()));
        for _ in 0..3 {
            let (spool, recovery) = open(dir.path());
            assert_eq!((recovery.messages, seqs(&spool), recovery.damaged), (2, vec![1, 2], vec![]), "{torn}");
            assert_eq!(spool.body(1).unwrap().unwrap(), body(1, 3500));
        }
        let (spool, _) = open(dir.path());
        spool.remove(1);
        drop(spool);
        assert_eq!(live_after_many_opens(dir.path()), [2]);
    }
}

#[test]
fn a_crash_before_a_dead_copy_got_its_tombstone_leaves_none() {
    let dir = tempfile::tempdir().unwrap();
    Segment::new(1).message(1, 100).write(dir.path());
    Segment::new(2).message(1, 100).message(2, 3500).write(dir.path());
    Segment::new(3).tombstone(3, 1, 1).write(dir.path());
    assert_eq!(live_after_many_opens(dir.path()), [2]);
}

#[test]
fn a_tombstone_may_lie_before_the_copy_that_it_buries() {
    let dir = tempfile::tempdir().unwrap();
    Segment::new(1).tombstone(3, 1, 2).write(dir.path());
    Segment::new(2).message(1, 100).message(2, 3500).write(dir.path());
    assert_eq!(live_after_many_opens(dir.path()), [2]);
}

#[test]
fn a_deletion_stays_while_an_older_value_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    spool.put(b"key", b"old");
    block_on(spool.sync()).unwrap();
    let keeps_the_first = store(&spool, 1, 4500);
    spool.delete(b"key");
    let filler = store(&spool, 2, 4500);
    spool.remove(filler);
    store(&spool, 3, 10);
    settle(&spool, || !has(dir.path(), 2));
    assert!(has(dir.path(), 1));
    drop(spool);
    let (spool, _) = open(dir.path());
    assert_eq!(spool.get(b"key"), None, "the old value came back");
    spool.remove(keeps_the_first);
    settle(&spool, || !has(dir.path(), 1));
    drop(spool);
    let (spool, _) = open(dir.path());
    assert_eq!(spool.scan(b""), []);
}

#[test]
fn an_overwritten_value_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    for value in ["one", "two", "three"] {
        spool.put(b"key", value.as_bytes());
        block_on(spool.sync()).unwrap();
        store(&spool, 1, 4500);
    }
    spool.delete(b"key");
    let filler = store(&spool, 2, 4500);
    spool.remove(filler);
    store(&spool, 3, 10);
    settle(&spool, || !has(dir.path(), 4));
    drop(spool);
    assert_eq!(open(dir.path()).0.get(b"key"), None);
}
