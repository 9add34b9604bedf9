//! Whatever others do to the log's files, and whenever: no durable line is lost in silence, and none is in the log twice.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    sync::atomic::Ordering::SeqCst,
    time::Duration,
};

use proptest::prelude::*;

use super::{
    CURRENT, LogOptions,
    appender::Appender,
    files,
    outside_tests::{read, write_into},
    rotated_tests::ticking,
    testing::*,
};
use crate::encode;

/// What may happen to the log.
#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Sync,
    Restart,
    /// The process is killed: what it has not written is lost.
    Kill,
    Deed(Deed),
    /// A deed to the oldest file that is not written any more.
    DeedToOldest(Deed),
    /// A deed just before the next append or sync.
    DeedAt(Deed, bool),
    /// From now on the disk does so no more, or again.
    Fail(Fault, bool),
}

/// What the disk does not do.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Append,
    Sync,
    Cut,
    Open,
    Rename,
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Delete,
    MoveAway,
    Rename,
    Truncate(u8),
    Note(bool),
    Copy,
}

impl Deed {
    fn is_done(self, path: &Path, elsewhere: &Path) {
        let free = |dir: &Path| (1..).map(|n| dir.join(format!("old.{n}"))).find(|path| !path.exists()).unwrap();
        let dir: PathBuf = path.parent().unwrap().into();
        if !path.exists() {
            return;
        }
        let length = fs::metadata(path).unwrap().len();
        match self {
            Self::Delete => fs::remove_file(path).unwrap(),
            Self::MoveAway => fs::rename(path, free(elsewhere)).unwrap(),
            Self::Rename => fs::rename(path, free(&dir)).unwrap(),
            Self::Truncate(part) => {
                OpenOptions::new().write(true).open(path).unwrap().set_len(length * u64::from(part) / 256).unwrap();
            }
            Self::Note(whole) => write_into(path, if whole { b"a note\n" } else { b"half a note" }),
            Self::Copy => {
                let copy = dir.join("copy");
                fs::copy(path, &copy).unwrap();
                fs::rename(&copy, path).unwrap();
            }
        }
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        Just(Deed::Delete),
        Just(Deed::MoveAway),
        Just(Deed::Rename),
        prop_oneof![Just(0), any::<u8>()].prop_map(Deed::Truncate),
        any::<bool>().prop_map(Deed::Note),
        Just(Deed::Copy),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..5).prop_map(Step::Append),
        2 => Just(Step::Sync),
        1 => Just(Step::Restart),
        2 => deed().prop_map(Step::Deed),
        2 => deed().prop_map(Step::DeedToOldest),
        1 => (deed(), any::<bool>()).prop_map(|(deed, at_sync)| Step::DeedAt(deed, at_sync)),
        1 => any::<bool>().prop_map(|fails| Step::Fail(Fault::Sync, fails)),
        1 => Just(Step::Kill),
        1 => (prop::sample::select(&FAULTS[..]), any::<bool>()).prop_map(|(fault, fails)| Step::Fail(fault, fails)),
    ]
}

const FAULTS: [Fault; 5] = [Fault::Append, Fault::Sync, Fault::Cut, Fault::Open, Fault::Rename];

impl Fault {
    fn is_on(self, faults: &Faults) -> bool {
        match self {
            Self::Append => faults.room.load(SeqCst) < u64::MAX / 2,
            Self::Sync => faults.sync_fails.load(SeqCst),
            Self::Cut => faults.cut_fails.load(SeqCst),
            Self::Open => faults.open_fails.load(SeqCst),
            Self::Rename => faults.rename_fails.load(SeqCst),
        }
    }

    fn set(self, faults: &Faults, fails: bool) {
        match self {
            // There is room for one line, but not for a `log_gap` or the list.
            Self::Append => faults.room.store(if fails { 200 } else { u64::MAX }, SeqCst),
            Self::Sync => faults.sync_fails.store(fails, SeqCst),
            Self::Cut => faults.cut_fails.store(fails, SeqCst),
            Self::Open => faults.open_fails.store(fails, SeqCst),
            Self::Rename => faults.rename_fails.store(fails, SeqCst),
        }
    }
}

/// The numbers of the lines, by what a writer has promised about them.
#[derive(Default)]
struct Promised {
    next: u64,
    /// No sync has succeeded since.
    waiting: BTreeSet<u64>,
    durable: BTreeSet<u64>,
    /// Those among the durable ones that the list on disk knows of: they are not lost in silence even if the process is killed.
    listed: BTreeSet<u64>,
}

impl Promised {
    fn append(&mut self, lines: u64, log: &mut Appender) {
        let numbers = self.next..self.next + lines;
        numbers.clone().for_each(|n| encode(&numbered(n), log.waiting()));
        self.next = numbers.end;
        self.waiting.extend(numbers);
    }

    /// Syncs the log. The second sync has no lines to write, and so writes the list, if the disk does all that is needed for it.
    fn sync(&mut self, log: &mut Appender, faults: &Faults) -> bool {
        let done = log.sync().is_ok();
        if done {
            self.durable.append(&mut self.waiting);
            if log.sync().is_ok() && !FAULTS.iter().any(|fault| fault.is_on(faults)) {
                self.listed.clone_from(&self.durable);
            }
        }
        done
    }

    fn is_killed(&mut self) {
        self.waiting.clear();
        self.durable.clone_from(&self.listed);
    }
}

/// No line is shorter.
const LINE: u64 = 130;

/// A line whose sync succeeded is in the log once, or a `log_gap` covers it: the gaps speak of at least as many bytes as are missing.
fn holds(steps: &[Step]) -> Result<(), TestCaseError> {
    // The rotated files are looked at with each sync, or only with the first one after a start.
    [1, 3600].map(Duration::from_secs).into_iter().try_for_each(|look| holds_with(look, steps.to_vec()))
}

fn holds_with(look: Duration, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = dir.path().join(CURRENT);
    let (faults, _failures) = spoiled();
    let open = || {
        let short = LogOptions { rotate_size: 1500, look, ..options(dir.path()) };
        Appender::open(short, ticking, Box::new(stamp), Box::new(faults.clone())).unwrap().0
    };
    let (mut log, mut promised) = (open(), Promised::default());
    for step in steps.into_iter().chain([Step::Restart]) {
        match step {
            Step::Append(lines) => {
                if log.rotation_is_due() && log.sync().is_ok() {
                    let _ = log.rotate();
                }
                promised.append(lines, &mut log);
                let _ = log.write();
            }
            Step::Sync => drop(promised.sync(&mut log, &faults)),
            Step::Restart => {
                FAULTS.iter().for_each(|fault| fault.set(&faults, false));
                let done = (0..3).any(|_| promised.sync(&mut log, &faults));
                prop_assert!(done, "{:?}", log.sync());
                prop_assert!(log.end().is_some() || promised.durable.is_empty(), "no position, and so no ticket comes back");
                drop(log);
                faults.no_deeds();
                log = open();
            }
            Step::Kill => {
                FAULTS.iter().for_each(|fault| fault.set(&faults, false));
                promised.is_killed();
                drop(log);
                faults.no_deeds();
                log = open();
            }
            Step::Deed(deed) => deed.is_done(&path, elsewhere.path()),
            Step::DeedToOldest(deed) => {
                let oldest = files::list(dir.path()).unwrap().into_iter().find(|file| file.rotated.is_some());
                oldest.into_iter().for_each(|file| deed.is_done(&file.path, elsewhere.path()));
            }
            Step::DeedAt(deed, at_sync) => {
                let (path, elsewhere) = (path.clone(), elsewhere.path().to_owned());
                let act = move || deed.is_done(&path, &elsewhere);
                if at_sync { faults.before_sync(act) } else { faults.before_append(act) }
            }
            Step::Fail(fault, fails) => fault.set(&faults, fails),
        }
    }
    prop_assert!(log.sync().is_ok(), "what was done since the last look is told at the start");
    let (numbers, gaps) = read(dir.path());
    let found: BTreeSet<u64> = numbers.iter().copied().collect();
    prop_assert_eq!(found.len(), numbers.len(), "no line twice: {:?}", numbers);
    let missing = promised.durable.difference(&found).count() as u64;
    let bytes: u64 = gaps.iter().map(|gap| gap["bytes"].as_u64().unwrap()).sum();
    prop_assert!(bytes >= missing * LINE, "{} lines are missing, and the gaps say {} bytes: {:?}", missing, bytes, gaps);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_durable_line_is_read_or_covered_by_a_gap(steps in prop::collection::vec(step(), 1..30)) {
        holds(&steps)?;
    }
}

#[test]
fn a_longer_copy_of_a_files_first_lines_is_not_taken_for_the_file() {
    let mut steps = vec![Step::Append(2), Step::DeedAt(Deed::Copy, false), Step::Append(1), Step::Deed(Deed::Rename), Step::Append(1)];
    steps.extend([Step::Deed(Deed::Truncate(64)), Step::Append(1), Step::DeedToOldest(Deed::Truncate(0))]);
    holds(&steps).unwrap();
}

#[test]
fn what_is_left_of_a_file_is_missed_too() {
    let mut steps = vec![Step::Append(2), Step::DeedAt(Deed::Rename, false), Step::Append(1), Step::Restart];
    steps.extend([Step::DeedToOldest(Deed::Truncate(86)), Step::Sync, Step::DeedToOldest(Deed::Delete)]);
    holds(&steps).unwrap();
}

#[test]
fn a_file_whose_gaps_stand_behind_a_note_is_missed_with_them() {
    let note = Step::DeedAt(Deed::Note(true), false);
    holds(&[Step::Append(4), Step::Sync, note, Step::Deed(Deed::Delete), Step::Sync, Step::DeedToOldest(Deed::Delete)]).unwrap();
}

#[test]
fn a_file_that_is_emptied_just_before_it_is_rotated_is_missed() {
    let mut steps = vec![Step::Append(4), Step::Append(4), Step::Append(4), Step::Sync, Step::Restart];
    // The list is the first that is written then.
    steps.extend([Step::DeedAt(Deed::Truncate(0), false), Step::Append(1)]);
    holds(&steps).unwrap();
}

#[test]
fn a_file_that_is_emptied_and_whose_sync_fails_keeps_no_line_twice() {
    let mut steps = vec![Step::Append(1); 5];
    steps.extend([
        Step::Append(4),
        Step::Deed(Deed::Truncate(57)),
        Step::Sync,
        Step::Append(3),
        Step::Fail(Fault::Sync, true),
        Step::Append(4),
    ]);
    steps.extend([Step::DeedAt(Deed::Truncate(0), false), Step::Sync, Step::Append(1)]);
    holds(&steps).unwrap();
}

#[test]
fn a_gap_that_waits_while_the_file_is_renamed_counts_for_the_new_file() {
    let mut steps = vec![Step::DeedAt(Deed::Rename, false), Step::Append(3), Step::Append(1), Step::Restart, Step::Fail(Fault::Sync, true)];
    steps.extend([Step::Deed(Deed::Rename), Step::DeedToOldest(Deed::Delete), Step::Append(1), Step::Restart, Step::Deed(Deed::Delete)]);
    holds(&steps).unwrap();
}
