//! Repeatedly kills a process that stores, updates and removes at full speed, and compares the spool with what that process was told.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use bytes::Bytes;
use posthaste_mail::MessageId;
use posthaste_spool::{Spool, SpoolOptions};
use rand::RngExt;

const KILLS: u64 = 24;
const FOLDER: &str = "POSTHASTE_SPOOL_CRASH_FOLDER";
const ROUND: &str = "POSTHASTE_SPOOL_CRASH_ROUND";

#[test]
fn no_acknowledged_message_is_lost_by_kills_under_load() {
    if let Some(dir) = env::var_os(FOLDER) {
        return child(Path::new(&dir), env::var(ROUND).unwrap().parse().unwrap());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    for round in 0..KILLS {
        told.read(&run_and_kill(dir.path(), round));
        let (spool, recovery) = Spool::open(dir.path(), options(), clock).unwrap();
        assert_eq!(recovery.quarantined, [], "a killed process leaves no damage");
        told.compare(&spool, round);
        if rand::random() {
            spool.close().unwrap();
        }
    }
    assert!(told.acknowledged > KILLS * 20, "the load was no load: {} messages", told.acknowledged);
    assert!(told.removed.len() > 100 && told.facts.len() > 10);
}

fn run_and_kill(dir: &Path, round: u64) -> Vec<String> {
    let exe: PathBuf = env::current_exe().unwrap();
    let mut child = Command::new(exe)
        .args(["--exact", "no_acknowledged_message_is_lost_by_kills_under_load", "--nocapture"])
        .env(FOLDER, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let kill_after = rand::rng().random_range(1..1500);
    let (mut lines, mut line) = (Vec::new(), String::new());
    loop {
        line.clear();
        if out.read_line(&mut line).unwrap() == 0 {
            break;
        }
        // Only whole lines that the process wrote before it died count.
        lines.extend(line.strip_suffix('\n').and_then(|line| line.strip_prefix("told ")).map(str::to_owned));
        if lines.len() == kill_after {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    lines
}

/// What the killed processes reported.
#[derive(Default)]
struct Told {
    acknowledged: u64,
    /// Message by seq, for those without a request to remove them.
    stored: BTreeMap<u64, u64>,
    /// Messages that may be removed: the removal was requested.
    leaving: BTreeMap<u64, u64>,
    /// Messages that are durably removed.
    removed: BTreeSet<u64>,
    facts: BTreeMap<String, String>,
}

impl Told {
    fn read(&mut self, lines: &[String]) {
        for line in lines {
            let words: Vec<_> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().unwrap();
            match words[0] {
                "stored" => {
                    self.acknowledged += 1;
                    assert!(self.stored.insert(number(1), number(2)).is_none() && !self.removed.contains(&number(1)), "a seq came twice");
                }
                "leaving" => self.leaving.extend(self.stored.remove(&number(1)).map(|n| (number(1), n))),
                "removed" => {
                    self.leaving.remove(&number(1));
                    self.removed.insert(number(1));
                }
                "fact" => drop(self.facts.insert(words[1].to_owned(), words[2].to_owned())),
                other => panic!("the child said {other}"),
            }
        }
    }

    fn compare(&mut self, spool: &Spool, round: u64) {
        let mut live = BTreeMap::new();
        spool.for_each(|message| assert!(live.insert(message.seq, message).is_none())).unwrap();
        for (seq, n) in &self.stored {
            let found = live.get(seq).unwrap_or_else(|| panic!("round {round}: acknowledged message {n} (seq {seq}) is lost"));
            assert_eq!(found.meta, n.to_string());
            assert_eq!(found.id, id(*n));
            if let Some(state) = &found.state {
                assert_eq!(state, &seq.to_be_bytes());
            }
            assert!(spool.body(*seq).unwrap().unwrap() == body(*n), "round {round}: message {n} is not what was stored");
        }
        for seq in &self.removed {
            assert!(!live.contains_key(seq), "round {round}: {seq} came back");
        }
        for (key, value) in &self.facts {
            assert_eq!(spool.get(key.as_bytes()), Some(value.clone().into_bytes()), "round {round}");
        }
        self.clear_up(spool, live.keys());
    }

    /// A message that was stored or removed without a report may be there or not. It is removed now, so that its state is known.
    fn clear_up<'a>(&mut self, spool: &Spool, live: impl Iterator<Item = &'a u64>) {
        let unknown: Vec<_> = live.filter(|seq| !self.stored.contains_key(seq)).copied().collect();
        unknown.iter().for_each(|seq| spool.remove(*seq));
        // Remove old messages too, so that the disk does not fill up.
        let surplus: Vec<_> = self.stored.keys().rev().skip(300).copied().collect();
        surplus.iter().for_each(|seq| spool.remove(*seq));
        self.stored.retain(|seq, _| !surplus.contains(seq));
        runtime().block_on(spool.sync()).unwrap();
        self.removed.extend(unknown.into_iter().chain(surplus).chain(std::mem::take(&mut self.leaving).into_keys()));
    }
}

fn child(dir: &Path, round: u64) {
    let (spool, _) = Spool::open(dir, options(), clock).unwrap();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    runtime().block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..16 {
            tasks.spawn(work(spool.clone(), round, task, &NEXT));
        }
        tasks.join_next().await.unwrap().unwrap();
    });
}

async fn work(spool: Spool, round: u64, task: u64, next: &AtomicU64) {
    loop {
        let n = round * 1_000_000 + next.fetch_add(1, Relaxed);
        let seq = spool.store(id(n), n.to_string().into(), vec![body(n)]).await.unwrap();
        tell(&format!("stored {seq} {n}"));
        spool.update(seq, seq.to_be_bytes().to_vec());
        if !n.is_multiple_of(5) {
            tell(&format!("leaving {seq}"));
            spool.remove(seq);
        }
        if n.is_multiple_of(7) {
            let (key, value) = (format!("key/{round}/{task}/{n}"), n.to_string());
            spool.put(key.as_bytes(), value.as_bytes());
            spool.sync().await.unwrap();
            tell(&format!("fact {key} {value}"));
            if !n.is_multiple_of(5) {
                tell(&format!("removed {seq}"));
            }
        }
    }
}

fn tell(text: &str) {
    // One write per line: a kill cuts at most the last line.
    std::io::stdout().write_all(format!("told {text}\n").as_bytes()).unwrap();
}

fn options() -> SpoolOptions {
    SpoolOptions { segment_size: 256 * 1024, index_cache: 1 << 20, ..SpoolOptions::default() }
}

fn id(n: u64) -> MessageId {
    MessageId::from_bytes(u128::from(n).to_be_bytes())
}

fn body(n: u64) -> Bytes {
    let len = (n.wrapping_mul(2_654_435_761) >> 7) % 12_000;
    (0..len).map(|at| (n * 7 + at) as u8).collect::<Vec<u8>>().into()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the spool's shell is given a real clock")]
fn clock() -> Instant {
    Instant::now()
}
