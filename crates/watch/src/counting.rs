//! The thread that counts the log.

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    time::Duration,
};

use jiff::tz::TimeZone;
use posthaste_host::clock;
use posthaste_journal::{Journal, Part, State};
use posthaste_tallies::{Limits, LogReader, Progress, Tallies, TalliesError};

/// How the log is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The database.
    pub path: PathBuf,
    /// The log's folder.
    pub log: PathBuf,
    /// The zone of the days.
    pub zone: TimeZone,
    /// How much is kept.
    pub limits: Limits,
}

/// What the thread is told.
enum Told {
    /// Count all that is in the log now, and answer.
    CatchUp(SyncSender<()>),
    Stop,
}

/// The thread that counts the log.
#[derive(Clone, Debug)]
pub struct Counting {
    told: Sender<Told>,
}

impl Counting {
    /// Starts the thread. What is wrong with the tallies is said in the journal, and tried again.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start(settings: Settings, journal: Journal) -> io::Result<Self> {
        let (told, hears) = channel();
        let counter = Counter { settings, journal, trouble: None, waiters: Vec::new() };
        std::thread::Builder::new().name("tallies".into()).spawn(move || counter.run(&hears))?;
        Ok(Self { told })
    }

    /// Waits until all that is in the log now is counted; false if that takes longer. Blocks.
    pub fn catch_up(&self, patience: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        self.told.send(Told::CatchUp(done)).is_ok() && wait.recv_timeout(patience).is_ok()
    }

    /// Ends the thread after the lines that it is counting.
    pub fn stop(&self) {
        let _ = self.told.send(Told::Stop);
    }
}

struct Counter {
    settings: Settings,
    journal: Journal,
    /// What is wrong, if it has been said.
    trouble: Option<String>,
    waiters: Vec<SyncSender<()>>,
}

impl Counter {
    fn run(mut self, told: &Receiver<Told>) {
        loop {
            match self.count(told) {
                Ok(Stopped) => return,
                Err(error) => self.failed(&error),
            }
            self.waiters.clear();
            match told.recv_timeout(AGAIN) {
                Ok(Told::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Told::CatchUp(_)) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Counts until it is told to stop, or until something fails.
    fn count(&mut self, told: &Receiver<Told>) -> Result<Stopped, TalliesError> {
        let settings = &self.settings;
        let mut tallies = Tallies::open(&settings.path, settings.zone.clone(), settings.limits.clone())?;
        let mut reader = LogReader::new(&settings.log);
        loop {
            let progress = reader.catch_up(&mut tallies, LINES_AT_ONCE)?;
            self.well(&progress);
            if progress.at_end {
                // Who no longer waits has gone.
                for waiter in self.waiters.drain(..) {
                    let _ = waiter.try_send(());
                }
            }
            let pause = if progress.at_end { PAUSE } else { Duration::ZERO };
            match told.recv_timeout(pause) {
                Ok(Told::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(Stopped),
                Ok(Told::CatchUp(waiter)) => self.waiters.push(waiter),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn well(&mut self, progress: &Progress) {
        if self.trouble.take().is_some() {
            self.journal.say(Part::Tallies, State::AlarmOver, "the log is counted again");
        }
        if progress.gap {
            let detail = "files of the delivery log were deleted before they were counted: reports lack what stood in them";
            self.journal.say(Part::Tallies, State::Alarm, detail);
        }
    }

    /// Says what is wrong, once. A database that is damaged makes room for a new one: the log has it all.
    fn failed(&mut self, error: &TalliesError) {
        let mut detail = format!("the log is not counted, and reports stand still: {error}");
        if error.is_corrupt() {
            detail = match put_aside(&self.settings.path) {
                Ok(aside) => format!(
                    "the tallies are damaged ({error}) and are now {}; the log is counted again from its beginning",
                    aside.display()
                ),
                Err(failed) => format!("the tallies are damaged ({error}) and cannot be moved away: {failed}"),
            };
        }
        if self.trouble.as_ref() != Some(&detail) {
            self.journal.say(Part::Tallies, State::Alarm, detail.as_str());
            self.trouble = Some(detail);
        }
    }
}

struct Stopped;

/// Renames the database, with what belongs to it.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = PathBuf::from(format!("{}.damaged-{}", path.display(), clock::now().as_second()));
    std::fs::rename(path, &aside)?;
    for part in ["-wal", "-shm"] {
        let _ = std::fs::rename(format!("{}{part}", path.display()), format!("{}{part}", aside.display()));
    }
    Ok(aside)
}

/// How long it waits at the log's end.
const PAUSE: Duration = Duration::from_secs(2);
/// How long it waits after a failure.
const AGAIN: Duration = Duration::from_secs(10);
/// Lines between two looks at who asks.
const LINES_AT_ONCE: u64 = 20_000;
