//! What a message's life depends on: the log alone. Nothing that was removed comes back, whatever is damaged, compacted, or cut off when.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::FileExt,
    sync::atomic::Ordering::SeqCst,
};

use proptest::prelude::*;

use super::{faults::FlakyDisk, *};

/// Flips a bit of a message on disk, at a share of its length; false if the message is gone.
pub(super) fn damage(dir: &Path, spool: &Spool, seq: u64, share: f64) -> bool {
    let Some(entry) = spool.location(seq) else { return false };
    let prefix = format!("{:08x}-", entry.at.segment);
    let is_its = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix);
    let Some(path) = segments(dir).into_iter().find(is_its) else { return false };
    // Compaction may have moved the message meanwhile.
    let Ok(file) = fs::File::options().read(true).write(true).open(path) else { return false };
    let at = u64::from(entry.at.offset) + (f64::from(entry.at.len - 1) * share) as u64;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    true
}

fn tidy(spool: &Spool) {
    (0..20).for_each(|_| block_on(spool.sync()).unwrap());
}

fn churn(spool: &Spool) {
    for n in 1000..1008 {
        let seq = store(spool, n, 3000);
        tidy(spool);
        spool.remove(seq);
    }
}

#[test]
fn a_segment_that_cannot_be_emptied_brings_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let first: Vec<u64> = (0..8).map(|n| store(&spool, n, 450)).collect();
    assert!(damage(dir.path(), &spool, first[0], 0.0));
    // The rest of the first segment moves on: the damaged message stays where it is.
    first[3..].iter().for_each(|seq| spool.remove(*seq));
    let filler = store(&spool, 90, 4000);
    tidy(&spool);
    let moved = spool.location(first[1]).unwrap().at.segment;
    assert!(moved > spool.location(first[0]).unwrap().at.segment, "the whole messages were moved out");
    assert_eq!(spool.stuck(), [spool.location(first[0]).unwrap().at.segment], "an operator has to know");
    // The moved messages are removed; then the segments of their new copies and of their tombstones go.
    [first[1], first[2], filler].into_iter().for_each(|seq| spool.remove(seq));
    (0..3).for_each(|_| churn(&spool));
    drop(spool);
    let (spool, recovery) = open(dir.path());
    assert_eq!(seqs(&spool), [], "what was removed stays so");
    assert_eq!(recovery.quarantined.len(), 1, "the damaged message is the only loss");
}

#[test]
fn a_message_with_a_damaged_body_moves_on_and_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(dir.path());
    let first: Vec<u64> = (0..8).map(|n| store(&spool, n, 450)).collect();
    assert!(damage(dir.path(), &spool, first[1], 1.0));
    first[3..].iter().for_each(|seq| spool.remove(*seq));
    churn(&spool);
    let gone = |spool: &Spool| {
        segments(dir.path())[0].file_name().unwrap().to_str().unwrap().starts_with("00000001") || spool.damaged().is_empty()
    };
    settle(&spool, || !gone(&spool));
    assert_eq!((spool.damaged(), seqs(&spool)), (vec![first[1]], first[..3].to_vec()));
    drop(spool);
    let (spool, recovery) = open(dir.path());
    assert_eq!((recovery.quarantined.len(), recovery.damaged), (0, vec![first[1]]), "it is known, and no news");
    assert!(matches!(spool.body(first[1]), Err(crate::ReadError::Damaged { .. })));
    assert_eq!(spool.meta(first[1]).unwrap().unwrap(), "meta 1");
    spool.remove(first[1]);
    block_on(spool.sync()).unwrap();
    assert_eq!((spool.damaged(), seqs(&spool)), (vec![], vec![first[0], first[2]]));
}

#[derive(Debug, Clone)]
enum Step {
    Store(usize),
    Update(prop::sample::Index),
    Remove(prop::sample::Index),
    Damage(prop::sample::Index, f64),
    /// Messages come and go, until segments of small records have come and gone too.
    Churn,
    /// The disk fails for a while, in the middle of whatever the spool does.
    Fault,
    /// The index fails while facts change.
    IndexFault(u8),
    Put(u8),
    Delete(u8),
    Kill,
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        9 => prop_oneof![100..700usize, 1500..3500usize].prop_map(Step::Store),
        1 => any::<prop::sample::Index>().prop_map(Step::Update),
        8 => any::<prop::sample::Index>().prop_map(Step::Remove),
        2 => (any::<prop::sample::Index>(), prop_oneof![Just(0.0), 0.0..1.0]).prop_map(|(which, share)| Step::Damage(which, share)),
        3 => Just(Step::Churn),
        1 => Just(Step::Fault),
        1 => (0..5u8).prop_map(Step::IndexFault),
        4 => (0..5u8).prop_map(Step::Put),
        2 => (0..5u8).prop_map(Step::Delete),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 20..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn the_log_alone_decides_who_lives(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let disk = FlakyDisk::new();
        let open = || Spool::open_on(dir.path(), &small_segments(), clock, disk.clone()).unwrap().0;
        let mut spool = open();
        let (mut live, mut damaged, mut facts) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        for (n, step) in steps.iter().enumerate() {
            let n = n as u64;
            let pick = |index: &prop::sample::Index| live.keys().nth(index.index(live.len().max(1))).copied();
            match step {
                Step::Store(len) => {
                    live.insert(store(&spool, n, *len), (n, *len));
                }
                Step::Update(index) => pick(index).into_iter().for_each(|seq| spool.update(seq, vec![1, 2, 3])),
                Step::Remove(index) => if let Some(seq) = pick(index) {
                    spool.remove(seq);
                    live.remove(&seq);
                },
                Step::Damage(index, share) => if let Some(seq) = pick(index) && damage(dir.path(), &spool, seq, *share) {
                    damaged.insert(seq);
                },
                Step::Churn => churn(&spool),
                Step::Fault => {
                    disk.sync_fails.store(true, SeqCst);
                    (0..3).for_each(|_| drop(block_on(spool.sync())));
                    disk.sync_fails.store(false, SeqCst);
                    settle(&spool, || spool.trouble().is_none());
                }
                Step::IndexFault(key) => {
                    disk.index_fails.store(true, SeqCst);
                    spool.put(&[*key], &[n as u8; 300]);
                    spool.delete(&[*key + 1]);
                    settle(&spool, || spool.trouble().is_some());
                    disk.index_fails.store(false, SeqCst);
                    settle(&spool, || spool.trouble().is_none());
                    facts.insert(vec![*key], vec![n as u8; 300]);
                    facts.remove(&vec![*key + 1]);
                }
                Step::Put(key) => {
                    spool.put(&[*key], &[n as u8; 400]);
                    facts.insert(vec![*key], vec![n as u8; 400]);
                }
                Step::Delete(key) => {
                    spool.delete(&[*key]);
                    facts.remove(&vec![*key]);
                }
                Step::Kill | Step::Close => {
                    if matches!(step, Step::Close) {
                        spool.close().unwrap();
                    }
                    drop(spool);
                    spool = open();
                    let there: BTreeSet<u64> = seqs(&spool).into_iter().collect();
                    prop_assert!(there.iter().all(|seq| live.contains_key(seq)), "{there:?} of {:?}", live.keys());
                    prop_assert!(live.keys().all(|seq| there.contains(seq) || damaged.contains(seq)), "{there:?} of {:?}", live.keys());
                    live.retain(|seq, _| there.contains(seq));
                    prop_assert_eq!(spool.scan(b"").into_iter().collect::<BTreeMap<_, _>>(), facts.clone());
                }
            }
        }
        for (seq, (n, len)) in live.iter().filter(|(seq, _)| !damaged.contains(seq)) {
            prop_assert_eq!(spool.body(*seq).unwrap().unwrap(), body(*n, *len));
        }
    }
}
