use std::{collections::BTreeMap, fs, os::unix::fs::FileExt};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Store(usize),
    Update(prop::sample::Index),
    Remove(prop::sample::Index),
    Put(u8, usize),
    Delete(u8),
    Sync,
    /// Gives the writer time to free and empty segments.
    Tidy,
    Check,
    Close,
    Drop,
    /// A crash that leaves an unfinished record at the end.
    Tear(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => prop_oneof![0..200usize, 1000..6000usize].prop_map(Step::Store),
        4 => any::<prop::sample::Index>().prop_map(Step::Update),
        7 => any::<prop::sample::Index>().prop_map(Step::Remove),
        5 => (0..6u8, 0..800usize).prop_map(|(key, len)| Step::Put(key, len)),
        3 => (0..6u8).prop_map(Step::Delete),
        2 => Just(Step::Sync),
        2 => Just(Step::Tidy),
        1 => Just(Step::Check),
        1 => Just(Step::Close),
        1 => Just(Step::Drop),
        1 => (1..300usize).prop_map(Step::Tear),
    ];
    prop::collection::vec(step, 1..150)
}

#[derive(Default)]
struct Model {
    messages: BTreeMap<u64, (u64, usize, Option<Vec<u8>>)>,
    facts: BTreeMap<Vec<u8>, Vec<u8>>,
    last: u64,
}

impl Model {
    fn pick(&self, index: &prop::sample::Index) -> Option<u64> {
        (!self.messages.is_empty()).then(|| *self.messages.keys().nth(index.index(self.messages.len())).unwrap())
    }

    fn check(&self, spool: &Spool) {
        let expected: Vec<_> = self.messages.iter().map(|(seq, (n, len, state))| (*seq, id(*n), *len as u64, state.clone())).collect();
        let found: Vec<_> = all(spool).into_iter().map(|live| (live.seq, live.id, live.body_len, live.state)).collect();
        assert_eq!(found, expected);
        for (seq, (n, len, _)) in &self.messages {
            assert_eq!(spool.body(*seq).unwrap().unwrap(), body(*n, *len));
            assert_eq!(spool.meta(*seq).unwrap().unwrap(), format!("meta {n}"));
        }
        self.check_facts(spool);
    }

    fn check_facts(&self, spool: &Spool) {
        assert_eq!(spool.scan(b"key").into_iter().collect::<BTreeMap<_, _>>(), self.facts);
        for key in (0..6u8).map(key) {
            assert_eq!(spool.get(&key), self.facts.get(&key).cloned());
        }
    }

    fn apply(&mut self, n: u64, step: &Step, dir: &Path, spool: Spool) -> Spool {
        match step {
            Step::Store(len) => {
                let seq = store(&spool, n, *len);
                assert!(seq > self.last, "{seq} is not above {}", self.last);
                self.last = seq;
                self.messages.insert(seq, (n, *len, None));
            }
            Step::Update(index) => {
                if let Some(seq) = self.pick(index) {
                    let state = format!("state {n}").into_bytes();
                    spool.update(seq, state.clone());
                    self.messages.get_mut(&seq).unwrap().2 = Some(state);
                }
            }
            Step::Remove(index) => {
                if let Some(seq) = self.pick(index) {
                    spool.remove(seq);
                    self.messages.remove(&seq);
                    assert_eq!(spool.body(seq).unwrap(), None);
                }
            }
            Step::Put(number, len) => {
                let value = body(n, *len).to_vec();
                spool.put(&key(*number), &value);
                self.facts.insert(key(*number), value);
                self.check_facts(&spool);
            }
            Step::Delete(number) => {
                spool.delete(&key(*number));
                self.facts.remove(&key(*number));
                self.check_facts(&spool);
            }
            Step::Sync => block_on(spool.sync()).unwrap(),
            Step::Tidy => (0..20).for_each(|_| block_on(spool.sync()).unwrap()),
            Step::Check => self.check(&spool),
            Step::Close | Step::Drop | Step::Tear(_) => return self.reopen(step, dir, spool),
        }
        spool
    }

    fn reopen(&self, step: &Step, dir: &Path, spool: Spool) -> Spool {
        if matches!(step, Step::Close) {
            spool.close().unwrap();
        }
        drop(spool);
        let torn = if let Step::Tear(len) = step { tear(dir, *len) } else { 0 };
        let (spool, recovery) = open(dir);
        assert_eq!(recovery.clean, matches!(step, Step::Close));
        assert_eq!((recovery.messages, recovery.torn_bytes), (self.messages.len() as u64, torn));
        assert_eq!(recovery.quarantined, []);
        self.check(&spool);
        spool
    }
}

fn key(number: u8) -> Vec<u8> {
    format!("key{number}").into_bytes()
}

/// Appends the beginning of a record followed by zeros, as a power cut leaves it.
fn tear(dir: &Path, len: usize) -> u64 {
    let last = segments(dir).pop().unwrap();
    let file = fs::File::options().write(true).open(last).unwrap();
    let end = file.metadata().unwrap().len();
    let mut bytes = b"PhR1\x01\0\0\0".to_vec();
    bytes.resize(len, 0);
    file.write_all_at(&bytes, end).unwrap();
    len as u64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_spool_behaves_like_its_model(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(dir.path()).0;
        let mut model = Model::default();
        for (n, step) in steps.iter().enumerate() {
            spool = model.apply(n as u64, step, dir.path(), spool);
        }
        model.check(&spool);
        model.reopen(&Step::Drop, dir.path(), spool);
    }

    /// Whatever bytes are changed, the spool opens and returns only what was stored.
    #[test]
    fn damage_anywhere_never_stops_an_open_nor_invents_mail(
        lens in prop::collection::vec(0..3000usize, 5..30),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = open(dir.path());
        let stored: BTreeMap<u64, (u64, usize)> = lens.iter().enumerate().map(|(n, len)| (store(&spool, n as u64, *len), (n as u64, *len))).collect();
        drop(spool);
        let paths = segments(dir.path());
        for (which, at, byte) in damage {
            let file = fs::File::options().read(true).write(true).open(&paths[which.index(paths.len())]).unwrap();
            let len = file.metadata().unwrap().len() as usize;
            let at = at.index(len) as u64;
            let mut before = [0; 3];
            // Another format is no damage.
            if at == 7 || (at >= 67 && file.read_exact_at(&mut before, at - 3).is_ok() && before == *b"PhR") {
                continue;
            }
            file.write_all_at(&[byte], at).unwrap();
        }
        if let Some((which, at)) = cut {
            let file = fs::File::options().write(true).open(&paths[which.index(paths.len())]).unwrap();
            let len = file.metadata().unwrap().len() as usize;
            file.set_len(at.index(len) as u64).unwrap();
        }
        let (spool, recovery) = open(dir.path());
        prop_assert_eq!(recovery.messages, seqs(&spool).len() as u64);
        for live in all(&spool) {
            let (n, len) = stored[&live.seq];
            prop_assert_eq!(live.id, id(n));
            match spool.body(live.seq) {
                Ok(found) => prop_assert_eq!(found.unwrap(), body(n, len)),
                Err(_) => prop_assert!(recovery.damaged.contains(&live.seq)),
            }
        }
        let lost = stored.len() as u64 - recovery.messages;
        prop_assert!(lost == 0 || recovery.torn_bytes > 0 || !recovery.quarantined.is_empty() || cut.is_some());
        let next = store(&spool, 99, 10);
        drop(spool);
        let (spool, again) = open(dir.path());
        prop_assert_eq!(again.quarantined, []);
        prop_assert_eq!(again.messages, recovery.messages + 1);
        prop_assert_eq!(spool.body(next).unwrap().unwrap(), body(99, 10));
    }
}
