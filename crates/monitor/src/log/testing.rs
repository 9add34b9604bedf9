//! A log for tests: a clock that stands still, and disks that fail.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use jiff::Timestamp;
use posthaste_mail::{Event, EventId, What};
use serde_json::Value;

use super::{
    CURRENT, EventLog, LogError, LogOptions, Position,
    disk::{Disk, LogFolder, Seen, WritableFile},
};
use crate::samples;

pub(super) fn still() -> Timestamp {
    samples::at(0)
}

/// Entries do not wait for others, and nothing happens by time: only [`EventLog::flush`] syncs and retries.
pub(super) fn options(dir: &Path) -> LogOptions {
    LogOptions {
        gather: Duration::ZERO,
        sync: Duration::from_secs(3600),
        retry: Duration::from_secs(3600),
        look: Duration::from_secs(3600),
        keep_files: 1000,
        ..LogOptions::new(dir)
    }
}

pub(super) fn open(dir: &Path) -> EventLog<u64> {
    EventLog::open(options(dir), still, stamp, |_, _| ()).unwrap().0
}

static LINES: AtomicU64 = AtomicU64::new(0);

/// The events of the log itself: each has an id of its own.
pub(super) fn stamp(at: Timestamp, what: What) -> Event {
    let id = EventId::new(at, LINES.fetch_add(1, SeqCst).into());
    Event { time: at, id, ..samples::event(0, what) }
}

/// An event with a number.
pub(super) fn numbered(n: u64) -> Event {
    samples::event(n.cast_signed(), What::Relay { state: "started".into(), part: None, alarm: None, detail: n.to_string() })
}

pub(super) fn append(log: &EventLog<u64>, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        log.append(numbered(n), Some(n));
    }
    log.flush().unwrap();
}

pub(super) fn number(line: &[u8]) -> u64 {
    let line: Value = serde_json::from_slice(line).unwrap();
    line["detail"].as_str().unwrap().parse().unwrap()
}

/// The numbers in the current file, which must hold only whole lines.
pub(super) fn current(dir: &Path) -> Vec<u64> {
    let bytes = fs::read(dir.join(CURRENT)).unwrap();
    assert!(bytes.is_empty() || bytes.ends_with(b"\n"), "torn: {:?}", String::from_utf8_lossy(&bytes));
    bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(number).collect()
}

/// The tickets handed back.
pub(super) struct Durable(Receiver<(Vec<u64>, Position)>);

impl Durable {
    pub(super) fn new() -> (Self, impl FnMut(Vec<u64>, &Position) + Send + 'static) {
        let (tell, told) = channel();
        (Self(told), move |tickets, end: &Position| drop(tell.send((tickets, *end))))
    }

    /// All tickets so far.
    pub(super) fn tickets(&self) -> Vec<u64> {
        self.0.try_iter().flat_map(|(tickets, _)| tickets).collect()
    }

    pub(super) fn batches(&self) -> Vec<(Vec<u64>, Position)> {
        self.0.try_iter().collect()
    }
}

/// What somebody does at a moment that the writer cannot foresee.
type Deed = Box<dyn FnOnce() + Send>;

/// The faults of a disk, and a message for every failure.
#[derive(Clone)]
pub(super) struct Faults {
    /// How many bytes still fit.
    pub(super) room: Arc<AtomicU64>,
    pub(super) sync_fails: Arc<AtomicBool>,
    pub(super) cut_fails: Arc<AtomicBool>,
    pub(super) open_fails: Arc<AtomicBool>,
    pub(super) rename_fails: Arc<AtomicBool>,
    /// Done just before the next append, between the writer's look and its write.
    before_append: Arc<Mutex<Option<Deed>>>,
    /// Done just before the next sync.
    before_sync: Arc<Mutex<Option<Deed>>>,
    failed: Sender<()>,
}

pub(super) fn spoiled() -> (Faults, Receiver<()>) {
    let (failed, failures) = channel();
    let flag = Arc::<AtomicBool>::default;
    let faults = Faults {
        room: Arc::new(AtomicU64::new(u64::MAX)),
        sync_fails: flag(),
        cut_fails: flag(),
        open_fails: flag(),
        rename_fails: flag(),
        before_append: Arc::default(),
        before_sync: Arc::default(),
        failed,
    };
    (faults, failures)
}

impl Faults {
    pub(super) fn before_append(&self, deed: impl FnOnce() + Send + 'static) {
        *self.before_append.lock().unwrap() = Some(Box::new(deed));
    }

    pub(super) fn before_sync(&self, deed: impl FnOnce() + Send + 'static) {
        *self.before_sync.lock().unwrap() = Some(Box::new(deed));
    }

    /// Whatever was to be done is not done any more.
    pub(super) fn no_deeds(&self) {
        (*self.before_append.lock().unwrap(), *self.before_sync.lock().unwrap()) = (None, None);
    }

    fn fail<T>(&self) -> io::Result<T> {
        let _ = self.failed.send(());
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }

    fn unless<T>(&self, flag: &AtomicBool, done: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if flag.load(SeqCst) { self.fail() } else { done() }
    }
}

/// Blocks until the disk has failed and the log reports it: then the log has cleaned up and waits for the next try.
pub(super) fn until_trouble(log: &EventLog<u64>, failures: &Receiver<()>) {
    failures.recv_timeout(Duration::from_secs(30)).expect("the disk fails");
    while log.trouble().is_none() {
        thread::yield_now();
    }
}

fn do_now(deed: &Mutex<Option<Deed>>) {
    let deed = deed.lock().unwrap().take();
    deed.into_iter().for_each(|deed| deed());
}

struct Spoiled {
    file: Box<dyn WritableFile>,
    faults: Faults,
}

impl WritableFile for Spoiled {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        do_now(&self.faults.before_append);
        let room = self.faults.room.load(SeqCst);
        if bytes.len() as u64 <= room {
            self.faults.room.fetch_sub(bytes.len() as u64, SeqCst);
            return self.file.append(bytes);
        }
        self.file.append(&bytes[..room as usize])?;
        self.faults.fail()
    }

    fn sync(&self) -> io::Result<()> {
        do_now(&self.faults.before_sync);
        self.faults.unless(&self.faults.sync_fails, || self.file.sync())
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.faults.unless(&self.faults.cut_fails, || self.file.cut(length))
    }

    fn seen(&self) -> io::Result<Seen> {
        self.file.seen()
    }

    fn file(&self) -> &File {
        self.file.file()
    }
}

/// A folder on the disk, with faults.
impl LogFolder for Faults {
    fn make(&self, dir: &Path) -> io::Result<()> {
        Disk.make(dir)
    }

    fn open(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WritableFile>> {
        let file = self.unless(&self.open_fails, || Disk.open(path, mode))?;
        Ok(Box::new(Spoiled { file, faults: self.clone() }))
    }

    fn seen(&self, path: &Path) -> io::Result<Option<Seen>> {
        Disk.seen(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.unless(&self.rename_fails, || Disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }
}

pub(super) fn open_spoiled(
    options: LogOptions,
    faults: &Faults,
    on_durable: impl FnMut(Vec<u64>, &Position) + Send + 'static,
) -> Result<EventLog<u64>, LogError> {
    EventLog::open_on(options, still, Box::new(stamp), on_durable, Box::new(faults.clone())).map(|(log, _)| log)
}
