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
    CatchUp(Waiter),
    Stop,
}

/// Hears that all is counted, or why it is not.
type Waiter = SyncSender<Result<(), String>>;

/// Why the figures do not hold all that is in the log.
#[derive(Debug, thiserror::Error)]
pub enum NotCounted {
    /// It takes longer than one can wait.
    #[error("the delivery log is still being counted; try again in a minute")]
    Yet,
    /// It fails.
    #[error("{0}")]
    Failed(String),
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

    /// Waits until all that is in the log now is counted. Blocks.
    ///
    /// # Errors
    /// It takes longer, or it fails.
    pub fn catch_up(&self, patience: Duration) -> Result<(), NotCounted> {
        let (done, wait) = sync_channel(1);
        let ended = || NotCounted::Failed("the thread that counts the log has ended".into());
        self.told.send(Told::CatchUp(done)).map_err(|_| ended())?;
        match wait.recv_timeout(patience) {
            Ok(counted) => counted.map_err(NotCounted::Failed),
            Err(RecvTimeoutError::Timeout) => Err(NotCounted::Yet),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        }
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
    waiters: Vec<Waiter>,
}

impl Counter {
    fn run(mut self, told: &Receiver<Told>) {
        while let Err(error) = self.count(told) {
            if self.failed(&error) {
                continue;
            }
            self.answer(&Err(self.trouble.clone().unwrap_or_default()));
            let by = clock::instant() + AGAIN;
            loop {
                match told.recv_timeout(by.saturating_duration_since(clock::instant())) {
                    Ok(Told::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                    Ok(Told::CatchUp(waiter)) => drop(waiter.try_send(Err(self.trouble.clone().unwrap_or_default()))),
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
        }
    }

    fn answer(&mut self, counted: &Result<(), String>) {
        for waiter in self.waiters.drain(..) {
            // Who no longer waits has gone.
            let _ = waiter.try_send(counted.clone());
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
                self.answer(&Ok(()));
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

    /// Says what is wrong, once. A database that is damaged makes room for a new one, since the log has it all: then it is true, and counting goes on
    /// at once.
    fn failed(&mut self, error: &TalliesError) -> bool {
        let moved = error.is_corrupt().then(|| put_aside(&self.settings.path));
        let detail = match &moved {
            None => format!("the log is not counted, and reports stand still: {error}"),
            Some(Ok(aside)) => {
                format!("the tallies are damaged ({error}) and are now {}; the log is counted again from its beginning", aside.display())
            }
            Some(Err(failed)) => format!("the tallies are damaged ({error}) and cannot be moved away: {failed}"),
        };
        if self.trouble.as_ref() != Some(&detail) {
            self.journal.say(Part::Tallies, State::Alarm, detail.as_str());
            self.trouble = Some(detail);
        }
        matches!(moved, Some(Ok(_)))
    }
}

struct Stopped;

/// Renames the database, with what belongs to it. Only the last damaged one is kept.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = PathBuf::from(format!("{}.damaged", path.display()));
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
