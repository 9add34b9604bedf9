//! The thread that counts the log.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use posthaste_host::{clock, guarded_here};
use posthaste_journal::{Journal, Part, State};
use posthaste_tallies::{Kept, Limits, LogReader, Progress, Tallies, TalliesError};

use self::alarms::{Failure, UNCOUNTED, file_gone, skipped, uncounted};

mod alarms;

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
    /// Keep figures of these keys.
    Keep(Arc<Kept>),
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
    /// When the log's end was reached last, in milliseconds since 1970; at first, when counting began.
    reached: Arc<AtomicI64>,
    /// Why the log is not counted at present.
    trouble: Arc<Mutex<Option<String>>>,
}

impl Counting {
    /// Starts the thread. What is wrong with the tallies is said in the journal, and tried again.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start(settings: Settings, journal: Journal) -> io::Result<Self> {
        Self::start_with(settings, journal, Box::new(|reader, tallies| reader.catch_up(tallies, LINES_AT_ONCE)), AGAIN)
    }

    fn start_with(settings: Settings, journal: Journal, step: Step, again: Duration) -> io::Result<Self> {
        let (told, hears) = channel();
        let reached = Arc::new(AtomicI64::new(clock::now().as_millisecond()));
        let trouble = Arc::new(Mutex::new(None));
        let counting = Self { told, reached: reached.clone(), trouble: trouble.clone() };
        let counter = Counter { settings, journal, step, again, reached, trouble, well: false, waiters: Vec::new() };
        std::thread::Builder::new().name("tallies".into()).spawn(move || counter.run(&hears))?;
        Ok(counting)
    }

    /// How long ago all that was in the log was counted.
    pub fn behind(&self, now: Timestamp) -> Duration {
        let passed = now.as_millisecond().saturating_sub(self.reached.load(Relaxed));
        Duration::from_millis(u64::try_from(passed).unwrap_or(0))
    }

    /// Why the log is not counted at present; None: it is.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// Keeps figures of these keys from now on, whatever else there is: the configuration has changed.
    pub fn keep(&self, kept: Arc<Kept>) {
        let _ = self.told.send(Told::Keep(kept));
    }

    /// Ends the thread after the lines that it is counting.
    pub fn stop(&self) {
        let _ = self.told.send(Told::Stop);
    }
}

/// Counts some lines. A test has one that fails.
type Step = Box<dyn FnMut(&mut LogReader, &mut Tallies) -> Result<Progress, TalliesError> + Send>;

struct Counter {
    settings: Settings,
    journal: Journal,
    step: Step,
    /// How long it waits after a failure.
    again: Duration,
    reached: Arc<AtomicI64>,
    /// What is wrong, if it has been said.
    trouble: Arc<Mutex<Option<String>>>,
    /// Something was counted since the start or the last failure.
    well: bool,
    waiters: Vec<Waiter>,
}

impl Counter {
    fn run(mut self, told: &Receiver<Told>) {
        // What a panic leaves half done is counted again: the database has it all or not at all.
        while let Err(error) = guarded_here(|| self.count(told)).map_err(Failure::from).and_then(|counted| counted.map_err(Failure::from)) {
            if self.failed(&error) {
                continue;
            }
            let trouble = self.trouble().clone().unwrap_or_default();
            self.answer(&Err(trouble));
            let by = clock::instant() + self.again;
            loop {
                match told.recv_timeout(by.saturating_duration_since(clock::instant())) {
                    Ok(Told::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                    Ok(Told::Keep(kept)) => self.settings.limits.kept = kept,
                    Ok(Told::CatchUp(waiter)) => drop(waiter.try_send(Err(self.trouble().clone().unwrap_or_default()))),
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&mut self, counted: &Result<(), String>) {
        for waiter in self.waiters.drain(..) {
            // Who no longer waits has gone.
            let _ = waiter.try_send(counted.clone());
        }
    }

    /// Counts until it is told to stop, or until something fails.
    fn count(&mut self, told: &Receiver<Told>) -> Result<Stopped, TalliesError> {
        loop {
            match self.count_into_file(told)? {
                Ended::Stopped => return Ok(Stopped),
                Ended::FileGone => self.journal.say(Part::Tallies, State::Alarm, file_gone(&self.settings.path)),
            }
        }
    }

    /// Counts until it is told to stop, or until the database's file is another one or none: what is written then is seen by nobody.
    fn count_into_file(&mut self, told: &Receiver<Told>) -> Result<Ended, TalliesError> {
        let settings = &self.settings;
        let mut tallies = Tallies::open(&settings.path, settings.zone.clone(), settings.limits.clone())?;
        let file = FileNow::of(&settings.path);
        let mut reader = LogReader::new(&settings.log);
        loop {
            let begun = clock::now();
            let progress = (self.step)(&mut reader, &mut tallies)?;
            if FileNow::of(&self.settings.path) != file {
                return Ok(Ended::FileGone);
            }
            self.well(&progress);
            if progress.at_end {
                self.reached.store(begun.as_millisecond(), Relaxed);
                self.answer(&Ok(()));
            }
            let pause = if progress.at_end { PAUSE } else { Duration::ZERO };
            match told.recv_timeout(pause) {
                Ok(Told::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(Ended::Stopped),
                Ok(Told::CatchUp(waiter)) => self.waiters.push(waiter),
                Ok(Told::Keep(kept)) => {
                    tallies.keep(kept.clone());
                    self.settings.limits.kept = kept;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn well(&mut self, progress: &Progress) {
        *self.trouble() = None;
        // At the first success after a start too: it is the last start whose trouble may stand.
        if !std::mem::replace(&mut self.well, true) {
            self.journal.mended(Part::Tallies, UNCOUNTED, "", || "the log is counted again".into());
        }
        if progress.gap {
            let detail = "files of the delivery log were deleted before they were counted: reports lack what stood in them";
            self.journal.say(Part::Tallies, State::Alarm, detail);
        }
        // The first one, and then as their number doubles: each word is a line of the log too.
        if let Some(line) = progress.skipped.as_ref().filter(|line| line.count.is_power_of_two()) {
            self.journal.raise_again(skipped(line));
        }
    }

    /// Says what is wrong, once. A database that is damaged makes room for a new one, since the log has it all: then it is true, and counting goes
    /// on at once.
    fn failed(&mut self, error: &Failure) -> bool {
        self.well = false;
        let damaged = matches!(error, Failure::Tallies(error) if error.is_corrupt());
        let moved = damaged.then(|| put_aside(&self.settings.path));
        let detail = match &moved {
            None => format!("the log is not counted, and reports stand still: {error}"),
            Some(Ok(aside)) => {
                format!("the tallies are damaged ({error}) and are now {}; the log is counted again from its beginning", aside.display())
            }
            Some(Err(failed)) => format!("the tallies are damaged ({error}) and cannot be moved away: {failed}"),
        };
        let again = matches!(moved, Some(Ok(_)));
        let before = self.trouble().replace(detail.clone());
        if before.as_ref() != Some(&detail) {
            match again {
                true => self.journal.say(Part::Tallies, State::Alarm, detail),
                false => self.journal.raise_again(uncounted(detail, error, &self.settings.path)),
            }
        }
        again
    }
}

struct Stopped;

/// Why counting into a file ended.
enum Ended {
    Stopped,
    FileGone,
}

/// Which file lies at a path: its device and its number there; None: there is none.
#[derive(PartialEq, Eq)]
struct FileNow(Option<(u64, u64)>);

impl FileNow {
    fn of(path: &Path) -> Self {
        Self(std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino())))
    }
}

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

#[cfg(test)]
mod tests;
