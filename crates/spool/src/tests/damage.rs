use std::{fs, os::unix::fs::FileExt};

use super::*;

/// A spool after a crash with one message in each of three segments.
fn three(dir: &Path) -> Vec<u64> {
    let (spool, _) = open(dir);
    (0..3).map(|n| store(&spool, n, 5000)).collect()
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

#[test]
fn a_torn_tail_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let seqs: Vec<_> = (0..3).map(|n| store(&spool, n, 100)).collect();
    drop(spool);
    let last = segments(dir.path()).pop().unwrap();
    let len = fs::metadata(&last).unwrap().len();
    fs::File::options().write(true).open(&last).unwrap().set_len(len - 1).unwrap();
    let (spool, recovery) = open(dir.path());
    assert_eq!((recovery.messages, recovery.quarantined.len()), (2, 0));
    assert_eq!(recovery.torn_bytes, 40 + 16 + "meta 2".len() as u64 + 100 - 1);
    assert_eq!(self::seqs(&spool), seqs[..2]);
    let copies: Vec<_> = fs::read_dir(dir.path().join("quarantine")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(fs::metadata(&copies[0]).unwrap().len(), recovery.torn_bytes, "what is cut is kept");
    assert_eq!(spool.quarantined().unwrap(), 0, "nobody was told that it is safe");
    assert!(store(&spool, 9, 10) >= seqs[2]);
}

#[test]
fn a_damaged_record_goes_to_quarantine_and_is_reported_once() {
    let dir = tempfile::tempdir().unwrap();
    let seqs = three(dir.path());
    flip(&segments(dir.path())[1], 1000);
    let (spool, recovery) = open(dir.path());
    assert_eq!((recovery.messages, recovery.damaged), (3, vec![seqs[1]]), "the body is lost; who sent it to whom is not");
    let [damage] = &recovery.quarantined[..] else { panic!("{:?}", recovery.quarantined) };
    assert_eq!((damage.segment, damage.offset, damage.len), (2, 64, 40 + 16 + 6 + 5000));
    let copies: Vec<_> = fs::read_dir(dir.path().join("quarantine")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(fs::metadata(&copies[0]).unwrap().len(), damage.len);
    assert_eq!(spool.quarantined().unwrap(), 1);
    assert_eq!(self::seqs(&spool), seqs);
    assert_eq!(spool.meta(seqs[1]).unwrap().unwrap(), "meta 1");
    assert!(matches!(spool.body(seqs[1]), Err(crate::ReadError::Damaged { .. })));
    drop(spool);
    let again = open(dir.path()).1;
    assert_eq!((again.quarantined, again.damaged), (vec![], vec![seqs[1]]));
    fs::remove_file(&copies[0]).unwrap();
    assert_eq!(open(dir.path()).0.quarantined().unwrap(), 0, "an operator took it away");
}

#[test]
fn updates_and_removals_of_a_damaged_message_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let seqs = three(dir.path());
    let (spool, _) = open(dir.path());
    spool.update(seqs[0], b"state".to_vec());
    spool.update(seqs[1], b"state".to_vec());
    drop(spool);
    flip(&segments(dir.path())[0], 70);
    let (spool, recovery) = open(dir.path());
    assert_eq!((recovery.messages, recovery.quarantined.len()), (2, 1));
    assert_eq!(self::seqs(&spool), seqs[1..]);
    spool.remove(seqs[0]);
    spool.update(seqs[0], b"later".to_vec());
    spool.close().unwrap();
    drop(spool);
    let (spool, _) = open(dir.path());
    assert_eq!(self::seqs(&spool), seqs[1..]);
    assert_eq!(all(&spool)[0].state, Some(b"state".to_vec()));
}

#[test]
fn a_body_changed_on_disk_is_not_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let seq = store(&spool, 1, 5000);
    flip(&segments(dir.path())[0], 3000);
    assert!(matches!(spool.body(seq), Err(crate::ReadError::Damaged { segment: 1, offset: 64, .. })));
    assert_eq!(spool.meta(seq).unwrap().unwrap(), "meta 1");
}

#[test]
fn what_is_damaged_over_an_orderly_stop_is_found_by_reading_on() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let seqs: Vec<u64> = (0..9).map(|n| store(&spool, n, if n == 4 { 700_000 } else { 3000 })).collect();
    spool.close().unwrap();
    drop(spool);
    let at = |spool: &Spool, n: usize| spool.location(seqs[n]).unwrap().at;
    let (spool, _) = open(dir.path());
    let (zeroed, flipped) = (at(&spool, 1), at(&spool, 4));
    spool.close().unwrap();
    drop(spool);
    let segment = |id: u32| segments(dir.path()).into_iter().find(|path| path.to_str().unwrap().contains(&format!("/{id:08x}-"))).unwrap();
    let file = fs::File::options().write(true).open(segment(zeroed.segment)).unwrap();
    file.write_all_at(&vec![0; zeroed.len as usize], zeroed.offset.into()).unwrap();
    flip(&segment(flipped.segment), u64::from(flipped.offset) + 600_000);
    let (spool, recovery) = open(dir.path());
    assert!(recovery.clean && !recovery.rebuilt && spool.damaged().is_empty(), "{recovery:?}");
    let (mut from, mut turns) = (Some(0), 0);
    while let Some(next) = from {
        from = spool.verify(next, 8_000).unwrap();
        turns += 1;
    }
    assert_eq!(spool.damaged(), [seqs[1], seqs[4]]);
    assert!((3..=9).contains(&turns), "{turns}");
}

#[test]
fn garbage_in_the_log_folder_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let seqs = three(dir.path());
    let log = dir.path().join("log");
    fs::write(log.join("00000007-00000001.log"), vec![b'x'; 5000]).unwrap();
    fs::write(log.join("00000008-00000001.log"), b"").unwrap();
    fs::write(log.join("notes.txt"), b"hello").unwrap();
    let (spool, recovery) = open(dir.path());
    assert_eq!(self::seqs(&spool), seqs);
    let found: Vec<_> = recovery.quarantined.iter().map(|damage| (damage.segment, damage.offset, damage.len)).collect();
    assert_eq!(found, [(0, 0, 5), (7, 0, 64), (7, 64, 5000 - 64)]);
    drop(spool);
    assert_eq!(open(dir.path()).1.quarantined, []);
}

#[test]
fn a_closed_segment_that_lost_its_end_is_reported_once() {
    let dir = tempfile::tempdir().unwrap();
    let seqs = three(dir.path());
    fs::File::options().write(true).open(&segments(dir.path())[0]).unwrap().set_len(64 + 20).unwrap();
    let (spool, recovery) = open(dir.path());
    let [damage] = &recovery.quarantined[..] else { panic!("{recovery:?}") };
    assert_eq!((damage.segment, damage.offset, damage.len, recovery.torn_bytes), (1, 64, 20, 0));
    assert_eq!(self::seqs(&spool), seqs[1..]);
    drop(spool);
    assert_eq!(open(dir.path()).1.quarantined, []);
}

#[test]
fn a_damaged_segment_header_costs_no_message() {
    let dir = tempfile::tempdir().unwrap();
    let seqs = three(dir.path());
    flip(&segments(dir.path())[1], 3);
    let (spool, recovery) = open(dir.path());
    assert_eq!(recovery.quarantined.len(), 1);
    assert_eq!(self::seqs(&spool), seqs);
}

#[test]
fn a_log_changed_after_an_orderly_stop_is_read_again() {
    for change in ["shorter", "missing", "index", "stranger", "checkpoint"] {
        let dir = tempfile::tempdir().unwrap();
        let seqs = three(dir.path());
        let (spool, _) = open(dir.path());
        spool.close().unwrap();
        drop(spool);
        let first = &segments(dir.path())[0];
        match change {
            "shorter" => fs::File::options().write(true).open(first).unwrap().set_len(3000).unwrap(),
            "missing" => fs::remove_file(first).unwrap(),
            "index" => fs::remove_dir_all(dir.path().join("index")).unwrap(),
            "stranger" => fs::write(dir.path().join("log/x"), b"").unwrap(),
            _ => flip(&dir.path().join("clean"), 50),
        }
        let (spool, recovery) = open(dir.path());
        assert!(recovery.rebuilt, "{change}");
        let lost = usize::from(["shorter", "missing"].contains(&change));
        assert_eq!(self::seqs(&spool), seqs[lost..], "{change}");
        assert_eq!(recovery.lost, seqs[..lost], "{change}");
    }
}

#[test]
fn a_record_inside_a_body_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let seq = store(&spool, 1, 100);
    drop(spool);
    // A mail that holds a copy of a record, with the salt of another segment.
    let mut forged = Vec::new();
    let header =
        crate::record::RecordHeader { kind: crate::record::RecordKind::Remove, lsn: 99, seq, head_len: 4, tail_len: 0, tail_crc: 0 };
    header.encode(12345, &[&1u32.to_le_bytes()], &mut forged);
    let (spool, _) = open(dir.path());
    block_on(spool.store(id(2), "".into(), vec![vec![0; 500].into(), forged.clone().into(), vec![0; 500].into()])).unwrap();
    let last = store(&spool, 3, 10);
    drop(spool);
    let segment = segments(dir.path()).pop().unwrap();
    let at = memchr::memmem::find(&fs::read(&segment).unwrap(), &forged).unwrap() as u64;
    flip(&segment, at - 100);
    let (spool, recovery) = open(dir.path());
    let [damaged] = recovery.damaged[..] else { panic!("{recovery:?}") };
    assert_eq!(recovery.quarantined.len(), 1);
    assert_eq!(self::seqs(&spool), [seq, damaged, last]);
}

#[test]
fn a_segment_that_is_gone_is_told_with_its_numbers_and_none_is_given_out_again() {
    for which in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = open(dir.path());
        let seqs: Vec<u64> = (0..3).map(|n| store(&spool, n, 5000)).collect();
        drop(spool);
        let path = segments(dir.path()).into_iter().filter(|path| fs::metadata(path).unwrap().len() > 64).nth(which).unwrap();
        fs::remove_file(path).unwrap();
        let (spool, recovery) = open(dir.path());
        let [missing] = &recovery.missing[..] else { panic!("{which}: {recovery:?}") };
        assert!(missing.first <= seqs[which] && missing.last.is_none_or(|last| last >= seqs[which]), "{which}: {missing:?} {seqs:?}");
        let first = missing.first;
        assert!(store(&spool, 9, 10) > seqs[2], "{which}");
        drop(spool);
        let (spool, recovery) = open(dir.path());
        assert_eq!(
            recovery.missing.iter().map(|gone| gone.first).collect::<Vec<_>>(),
            [first],
            "{which}: the kill may have come too early"
        );
        spool.close().unwrap();
        drop(spool);
        assert_eq!(open(dir.path()).1.missing, [], "{which}: and not for ever");
        assert_eq!(open(dir.path()).1.missing, [], "{which}: not even after a kill");
    }
}

/// Everything in a folder, with its content.
fn snapshot(dir: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut all = std::collections::BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => all.extend(snapshot(&entry.path())),
            false => drop(all.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    all
}

#[test]
fn what_a_later_version_wrote_is_refused_and_not_touched() {
    for (what, closed) in [("headers", true), ("headers", false), ("records", false), ("clean", true)] {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = open(dir.path());
        for n in 0..3 {
            store(&spool, n, 3000);
        }
        if closed {
            spool.close().unwrap();
        }
        drop(spool);
        let paths = if what == "clean" { vec![dir.path().join("clean")] } else { segments(dir.path()) };
        for path in paths {
            let mut bytes = fs::read(&path).unwrap();
            match what {
                "records" => {
                    bytes[7] = b'2';
                    memchr::memmem::find_iter(&bytes.clone(), b"PhR1").for_each(|at| bytes[at + 3] = b'2');
                }
                _ => bytes[7] = b'2',
            }
            if what == "clean" {
                let end = bytes.len() - 4;
                let crc = crc32fast::hash(&bytes[..end]);
                bytes[end..].copy_from_slice(&crc.to_le_bytes());
            }
            fs::write(path, bytes).unwrap();
        }
        let before = snapshot(dir.path());
        let refused = Spool::open(dir.path(), small_segments(), clock).map(drop).unwrap_err();
        assert!(matches!(refused, crate::OpenError::Newer { found: 2, known: 1, .. }), "{what}: {refused}");
        assert_eq!(snapshot(dir.path()), before, "{what}: nothing is touched");
    }
}

#[test]
fn an_unknown_version_is_no_damage_whatever_its_checksums_are() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 6] = [
        ("one segment beside ours", |bytes| bytes[7] = b'2'),
        ("a format that is one bit away", |bytes| bytes[7] = b'9'),
        ("no digit", |bytes| bytes[7] = b'A'),
        ("a record amid ours", |bytes| {
            let at = second_record(bytes);
            bytes[at + 3] = b'2';
        }),
        ("the first record", |bytes| bytes[67] = b'2'),
        ("a record of an unknown kind", |bytes| unknown_kind(bytes)),
    ];
    for (what, change) in changes {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = open(dir.path());
        let seqs: Vec<_> = (0..5).map(|n| store(&spool, n, 2000)).collect();
        drop(spool);
        // Damage elsewhere is not touched either.
        let paths = segments(dir.path());
        flip(&paths[1], 1000);
        fs::write(dir.path().join("log/notes.txt"), "hello").unwrap();
        let bytes = fs::read(&paths[0]).unwrap();
        let mut changed = bytes.clone();
        change(&mut changed);
        fs::write(&paths[0], &changed).unwrap();
        let before = snapshot(dir.path());
        let refused = Spool::open(dir.path(), small_segments(), clock).map(drop).unwrap_err();
        assert!(matches!(refused, crate::OpenError::Newer { .. } | crate::OpenError::Unknown { .. }), "{what}: {refused}");
        assert!(refused.to_string().contains(paths[0].file_name().unwrap().to_str().unwrap()), "{what}: {refused}");
        assert_eq!(snapshot(dir.path()), before, "{what}: nothing is touched");
        fs::write(&paths[0], &bytes).unwrap();
        let (spool, recovery) = open(dir.path());
        assert_eq!((self::seqs(&spool), recovery.quarantined.len()), (seqs, 2), "{what}");
    }
}

#[test]
fn an_index_of_another_sled_is_refused_and_one_flipped_bit_is_damage() {
    for (version, refused) in [("0.99", true), ("1.0", true), ("0.35", false), ("0.3x", false)] {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = open(dir.path());
        let seq = store(&spool, 1, 2000);
        drop(spool);
        let path = dir.path().join("index/conf");
        let conf = fs::read(&path).unwrap();
        let at = memchr::memmem::find(&conf, b"version: 0.34\n").unwrap() + "version: ".len();
        fs::write(&path, [&conf[..at], version.as_bytes(), &conf[at + 4..]].concat()).unwrap();
        let before = snapshot(dir.path());
        match Spool::open(dir.path(), small_segments(), clock) {
            Err(error) => {
                assert!(refused && error.to_string().contains(&format!("sled {version}")), "{version}: {error}");
                assert_eq!(snapshot(dir.path()), before, "nothing is touched");
            }
            Ok((spool, _)) => assert_eq!((refused, seqs(&spool)), (false, vec![seq]), "{version}"),
        }
    }
}

#[test]
fn after_an_orderly_stop_a_record_of_a_later_version_is_no_damage_when_it_is_read() {
    for (at, is_later) in [(3, true), (0, false)] {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = open(dir.path());
        let seqs: Vec<_> = (0..3).map(|n| store(&spool, n, 200)).collect();
        spool.close().unwrap();
        drop(spool);
        let path = &segments(dir.path())[0];
        let mut bytes = fs::read(path).unwrap();
        let record = second_record(&bytes);
        bytes[record + at] = b'2';
        fs::write(path, bytes).unwrap();
        let (spool, recovery) = open(dir.path());
        assert!(!recovery.rebuilt);
        let error = spool.body(seqs[1]).unwrap_err().to_string();
        assert_eq!((error.contains("later version of posthaste"), spool.damaged().is_empty()), (is_later, is_later), "{error}");
        assert_eq!(spool.unreadable().len(), usize::from(is_later));
        assert!(spool.body(seqs[2]).unwrap().is_some());
    }
}

fn second_record(bytes: &[u8]) -> usize {
    memchr::memmem::find_iter(bytes, b"PhR1").nth(1).unwrap()
}

/// Makes the second record one of a kind that a later version may have, with the right checksum.
fn unknown_kind(bytes: &mut [u8]) {
    let at = second_record(bytes);
    // The salt is not known here: it is found by the checksum of the record as it is.
    let head_len = u32::from_le_bytes(bytes[at + 24..at + 28].try_into().unwrap()) as usize;
    let crc = |bytes: &[u8], salt: u32| {
        let mut crc = crc32fast::Hasher::new_with_initial(salt);
        crc.update(&bytes[at..at + 36]);
        crc.update(&bytes[at + 40..at + 40 + head_len]);
        crc.finalize()
    };
    // CRC-32 is linear: the difference that the kind makes is the same whatever the salt is.
    let before = crc(bytes, 0);
    bytes[at + 4] = 99;
    let difference = before ^ crc(bytes, 0);
    let stored = u32::from_le_bytes(bytes[at + 36..at + 40].try_into().unwrap());
    bytes[at + 36..at + 40].copy_from_slice(&(stored ^ difference).to_le_bytes());
}

#[test]
fn a_flipped_bit_in_a_record_s_version_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let seqs = three(dir.path());
    let file = fs::File::options().write(true).open(&segments(dir.path())[1]).unwrap();
    file.write_all_at(b"3", 67).unwrap();
    let (spool, recovery) = open(dir.path());
    assert_eq!((recovery.quarantined.len(), self::seqs(&spool)), (1, vec![seqs[0], seqs[2]]));
}

#[test]
fn numbers_that_others_know_are_not_given_out() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, recovery) = open(dir.path());
    assert!(recovery.uncompared && recovery.next == 1, "{recovery:?}");
    spool.skip_numbers(700);
    spool.skip_numbers(3);
    assert!(store(&spool, 1, 10) > 700);
    drop(spool);
    let (spool, recovery) = open(dir.path());
    assert!(recovery.uncompared && recovery.next > 701, "{recovery:?}");
    spool.close().unwrap();
    drop(spool);
    let (spool, recovery) = open(dir.path());
    assert!(recovery.clean && recovery.uncompared, "nobody has compared it yet");
    spool.compared().unwrap();
    spool.close().unwrap();
    drop(spool);
    assert!(!open(dir.path()).1.uncompared);
    assert!(open(dir.path()).1.uncompared, "and after the next kill it is to be compared again");
}

#[test]
fn holes_are_known_until_someone_has_made_up_for_them_and_the_spool_stopped_in_order() {
    let dir = tempfile::tempdir().unwrap();
    three(dir.path());
    assert!(!open(dir.path()).1.holes);
    // The first record's header.
    flip(&segments(dir.path())[1], 70);
    let (spool, recovery) = open(dir.path());
    assert!(recovery.holes && recovery.quarantined.len() == 1, "{recovery:?}");
    spool.close().unwrap();
    drop(spool);
    let (spool, recovery) = open(dir.path());
    assert!(recovery.holes && recovery.quarantined.is_empty(), "a command that opens and closes the spool makes up for nothing");
    spool.made_up_for_holes();
    drop(spool);
    let (spool, recovery) = open(dir.path());
    assert!(recovery.holes, "what was made up for may be lost in a kill");
    spool.made_up_for_holes();
    spool.close().unwrap();
    drop(spool);
    assert!(!open(dir.path()).1.holes);
}

#[test]
fn a_message_whose_meta_is_damaged_over_an_orderly_stop_is_left_out_and_noted() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    // A large meta is in the log alone, a small one in the index, too.
    let large = block_on(spool.store(id(1), "m".repeat(9000).into(), vec![body(1, 10)])).unwrap();
    let small = store(&spool, 2, 10);
    spool.close().unwrap();
    drop(spool);
    flip(&segments(dir.path())[0], 200);
    let (spool, recovery) = open(dir.path());
    assert!(recovery.clean && !recovery.rebuilt);
    assert_eq!((seqs(&spool), spool.damaged()), (vec![small], vec![large]));
    assert!(matches!(spool.meta(large), Err(crate::ReadError::Damaged { .. })));
}

#[test]
fn a_state_that_is_damaged_over_an_orderly_stop_is_said_with_its_message() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let seq = store(&spool, 1, 10);
    spool.update(seq, b"state".to_vec());
    block_on(spool.sync()).unwrap();
    drop(spool);
    // After a rebuild, states are in the log alone.
    let (spool, recovery) = open(dir.path());
    assert!(recovery.rebuilt);
    let state = spool.location(seq).unwrap().update;
    spool.close().unwrap();
    drop(spool);
    flip(&segments(dir.path())[state.segment as usize - 1], u64::from(state.offset + state.len - 1));
    let (spool, recovery) = open(dir.path());
    assert!(recovery.clean && !recovery.rebuilt);
    let [live] = &all(&spool)[..] else { panic!("{:?}", all(&spool)) };
    assert_eq!((live.seq, &live.state, live.state_damaged), (seq, &None, true));
    assert_eq!(spool.damaged(), [], "the message itself is whole");
    assert_eq!(spool.body(seq).unwrap().unwrap(), body(1, 10));
}

#[test]
fn a_message_that_the_disk_does_not_give_is_told_until_it_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    // Each fills a segment.
    let all: Vec<u64> = (1..=20).map(|n| store(&spool, n, 5000)).collect();
    drop(spool);
    let (spool, _) = open(dir.path());
    assert_eq!(spool.unreadable(), []);
    // A folder in the place of the segment: it can be opened, and not be read.
    let (segment, aside) = (segments(dir.path()).remove(0), dir.path().join("aside"));
    fs::rename(&segment, &aside).unwrap();
    fs::create_dir(&segment).unwrap();
    assert!(matches!(spool.body(all[0]), Err(crate::ReadError::Io { .. })));
    let [(unreadable, why)] = &spool.unreadable()[..] else { panic!("{:?}", spool.unreadable()) };
    assert!(*unreadable == all[0] && why.contains("directory") && spool.damaged().is_empty(), "{why}");
    fs::remove_dir(&segment).unwrap();
    fs::rename(&aside, &segment).unwrap();
    // Only so many segments are kept open.
    all[1..].iter().for_each(|seq| assert!(spool.body(*seq).unwrap().is_some()));
    assert_eq!(spool.body(all[0]).unwrap().unwrap(), body(1, 5000));
    assert_eq!(spool.unreadable(), []);
}
