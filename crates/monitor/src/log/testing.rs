//! A log for tests: a clock that stands still, and disks that fail.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use jiff::Timestamp;
use posthaste_mail::{Event, What};
use serde_json::Value;

use super::{
    CURRENT, EventLog, LogError, LogOptions, Position,
    disk::{Wrap, WritableFile},
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
        keep_files: 1000,
        ..LogOptions::new(dir)
    }
}

pub(super) fn open(dir: &Path) -> EventLog<u64> {
    EventLog::open(options(dir), still, |_, _| ()).unwrap().0
}

/// An event with a number.
pub(super) fn numbered(n: u64) -> Event {
    samples::event(n.cast_signed(), What::Relay { state: "started".into(), part: None, detail: n.to_string() })
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

/// The faults of a disk, and a message for every failure.
#[derive(Clone)]
pub(super) struct Faults {
    /// How many bytes still fit.
    pub(super) room: Arc<AtomicU64>,
    pub(super) sync_fails: Arc<AtomicBool>,
    failed: Sender<()>,
}

pub(super) fn spoiled() -> (Faults, Receiver<()>) {
    let (failed, failures) = channel();
    (Faults { room: Arc::new(AtomicU64::new(u64::MAX)), sync_fails: Arc::default(), failed }, failures)
}

impl Faults {
    pub(super) fn wrap(&self) -> Wrap {
        let faults = self.clone();
        Box::new(move |file| Box::new(Spoiled { file, faults: faults.clone() }))
    }

    fn fail<T>(&self) -> io::Result<T> {
        let _ = self.failed.send(());
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }
}

/// Blocks until the disk has failed and the log reports it: then the log has cleaned up and waits for the next try.
pub(super) fn until_trouble(log: &EventLog<u64>, failures: &Receiver<()>) {
    failures.recv_timeout(Duration::from_secs(30)).expect("the disk fails");
    while log.trouble().is_none() {
        thread::yield_now();
    }
}

struct Spoiled {
    file: File,
    faults: Faults,
}

impl WritableFile for Spoiled {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let room = self.faults.room.load(SeqCst);
        if bytes.len() as u64 <= room {
            self.faults.room.fetch_sub(bytes.len() as u64, SeqCst);
            return self.file.write_at(bytes, offset);
        }
        self.file.write_at(&bytes[..room as usize], offset)?;
        self.faults.fail()
    }

    fn sync(&self) -> io::Result<()> {
        if self.faults.sync_fails.load(SeqCst) { self.faults.fail() } else { self.file.sync() }
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.file.cut(length)
    }
}

pub(super) fn open_spoiled(
    options: LogOptions,
    faults: &Faults,
    on_durable: impl FnMut(Vec<u64>, &Position) + Send + 'static,
) -> Result<EventLog<u64>, LogError> {
    EventLog::open_on(options, still, on_durable, faults.wrap()).map(|(log, _)| log)
}
