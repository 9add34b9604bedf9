//! Faults of the system for the relay's process: its files fail, tear, or are slow, and its clock is set. See ../faults/shim/src/lib.rs.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use rand::{RngExt, rngs::StdRng};
use rustix::io::Errno;

use self::layout::{CLOCK, COUNT, DELAY, ERROR, HITS, MASK, PART, PER_MILLE, SIZE, TORN};

#[path = "../faults/shim/src/layout.rs"]
mod layout;

/// write(2) and its like.
pub const WRITE: u64 = layout::WRITE;
/// fsync(2) and fdatasync(2).
pub const SYNC: u64 = layout::SYNC;
/// pread(2).
pub const READ: u64 = layout::READ;
/// open(2).
pub const OPEN: u64 = layout::OPEN;
/// rename(2).
pub const RENAME: u64 = layout::RENAME;
/// unlink(2).
pub const UNLINK: u64 = layout::UNLINK;
/// ftruncate(2).
pub const TRUNCATE: u64 = layout::TRUNCATE;

/// What goes wrong with the system's calls.
#[derive(Clone, Debug)]
pub struct SystemFault {
    /// Which calls.
    pub mask: u64,
    /// What the path of their file contains.
    pub part: &'static str,
    /// The error; None: they are only slow.
    pub error: Option<Errno>,
    /// How many calls at most.
    pub count: u64,
    /// How many in a thousand.
    pub per_mille: u64,
    /// Whether writes tear.
    pub torn: bool,
    /// How long they take, in microseconds.
    pub delay: u64,
}

/// The harness's end of the shim.
pub struct Shim {
    control: File,
    folder: PathBuf,
}

impl Shim {
    /// A shim that does nothing yet; its files are in `folder`.
    pub fn new(folder: &Path) -> Self {
        let path = folder.join("control");
        let control = OpenOptions::new().create(true).read(true).write(true).truncate(true).open(path).expect("a control file");
        control.set_len(SIZE).expect("a control file of that size");
        Self { control, folder: folder.to_owned() }
    }

    /// The environment of the program that it acts on.
    pub fn environment(&self) -> [(&'static str, PathBuf); 3] {
        let binary = crate::relay::binary();
        let library = binary.with_file_name("libposthaste_fault_shim.so");
        assert!(library.is_file(), "{} is not there: run `cargo build -p posthaste-fault-shim` first", library.display());
        [("LD_PRELOAD", library), ("POSTHASTE_FAULTS", self.folder.join("control")), ("POSTHASTE_SYNCS", self.syncs())]
    }

    /// From now on.
    pub fn begin(&self, fault: &SystemFault) {
        self.lift();
        self.set(HITS, 0);
        self.set(ERROR, fault.error.map_or(0, |e| e.raw_os_error().unsigned_abs().into()));
        self.set(COUNT, fault.count);
        self.set(PER_MILLE, fault.per_mille);
        self.set(TORN, fault.torn.into());
        self.set(DELAY, fault.delay);
        let part = [fault.part.as_bytes(), &[0]].concat();
        self.control.write_all_at(&part, PART).expect("the control file takes a path");
        self.set(MASK, fault.mask);
    }

    /// Nothing fails any more.
    pub fn lift(&self) {
        self.set(MASK, 0);
    }

    /// How many calls were hit since the fault began.
    pub fn hits(&self) -> u64 {
        let mut field = [0; 8];
        self.control.read_exact_at(&mut field, HITS).expect("the control file can be read");
        u64::from_ne_bytes(field)
    }

    /// The relay's wall clock is off by this many seconds.
    pub fn set_clock(&self, seconds: i64) {
        self.control.write_all_at(&(seconds * 1_000_000_000).to_ne_bytes(), CLOCK).expect("the control file takes a time");
    }

    /// The power went: what was not synced of the files below `data` is gone, in part, or garbled. The process must be dead.
    pub fn cut_power(&self, data: &Path, random: &mut StdRng) {
        let syncs = fs::read_to_string(self.syncs()).unwrap_or_default();
        let number = |word: Option<&str>| word.and_then(|w| w.parse::<u64>().ok()).expect("the shim writes numbers");
        let synced: HashMap<u64, u64> =
            syncs.lines().map(|line| line.split(' ')).map(|mut w| (number(w.next()), number(w.next()))).collect();
        for path in files(data) {
            let meta = fs::metadata(&path).expect("the relay is dead, its files stay");
            let kept = synced.get(&meta.ino()).copied().unwrap_or(0);
            if path.components().any(|c| c.as_os_str() == "index") {
                garble(&path, 0..meta.len(), random);
            } else if meta.len() > kept {
                let left = match random.random_range(0..3) {
                    0 => kept,
                    1 => random.random_range(kept..=meta.len()),
                    _ => meta.len(),
                };
                open(&path).set_len(left).expect("a file of ours can be cut");
                garble(&path, kept..left, random);
            }
        }
    }

    fn syncs(&self) -> PathBuf {
        self.folder.join("syncs")
    }

    fn set(&self, field: u64, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), field).expect("the control file takes a number");
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every other time, zeros in a part of the range.
fn garble(path: &Path, range: std::ops::Range<u64>, random: &mut StdRng) {
    if range.is_empty() || random.random_bool(0.5) {
        return;
    }
    let from = random.random_range(range.clone());
    let length = (range.end - from).min(random.random_range(1..=8192));
    let zeros = vec![0; usize::try_from(length).expect("at most 8 KiB")];
    open(path).write_all_at(&zeros, from).expect("a file of ours can be written");
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// What others write over lines of the log. The control character makes sure that no line is JSON afterwards: without it, two members' names
/// could become one, and the rest of the line stay as true as it was.
pub const WRITTEN_OVER: &str = "written\u{1}over by others";

/// Writes other bytes over the middle of a file.
pub fn overwrite_middle(path: &Path) -> std::io::Result<()> {
    let length = fs::metadata(path)?.len();
    open(path).write_all_at(WRITTEN_OVER.as_bytes(), length / 2)
}
