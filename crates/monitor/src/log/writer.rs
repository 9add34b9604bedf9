//! The handle through which the relay writes.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering::SeqCst,
        mpsc::{Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
};

use jiff::Timestamp;
use posthaste_mail::{Event, What};

use super::{
    LogAlarm, LogError, LogOptions, OpenedLog, Position,
    appender::{Appender, Stamp},
    command::{WriterCommand, WriterState},
    disk::{Disk, LogFolder},
    worker::Worker,
};
use crate::encode;

/// A handle to the delivery log's writer thread. `T` is a ticket that an entry may carry; it is handed back once the entry is durable.
///
/// When the last handle is dropped, waiting entries are made durable and the log is closed.
pub struct EventLog<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    commands: Sender<WriterCommand<T>>,
    shared: Arc<WriterState>,
    thread: Mutex<Option<JoinHandle<()>>>,
    worker: thread::Thread,
    dir: PathBuf,
}

impl<T> Clone for EventLog<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T: Send + 'static> EventLog<T> {
    /// Opens the log for writing, cuts a torn last line, and starts the thread. Blocks on the disk.
    ///
    /// `stamp` makes an event of what the log itself has to say (`log_gap`). `on_durable` runs on that thread after each sync, with the
    /// tickets in the order of their entries and the position up to which the log is now durable. Neither may hold a handle of this log:
    /// then dropping the other handles would never close the log.
    pub fn open(
        options: LogOptions,
        clock: fn() -> Timestamp,
        stamp: impl Fn(Timestamp, What) -> Event + Send + 'static,
        on_durable: impl FnMut(Vec<T>, &Position) + Send + 'static,
    ) -> Result<(Self, OpenedLog), LogError> {
        Self::open_on(options, clock, Box::new(stamp), on_durable, Box::new(Disk))
    }

    /// Like [`Self::open`], in a folder that a test may make fail.
    pub(super) fn open_on(
        options: LogOptions,
        clock: fn() -> Timestamp,
        stamp: Stamp,
        on_durable: impl FnMut(Vec<T>, &Position) + Send + 'static,
        folder: Box<dyn LogFolder>,
    ) -> Result<(Self, OpenedLog), LogError> {
        let (dir, queue_max) = (options.dir.clone(), options.queue_max);
        let (appender, opened) = Appender::open(options, clock, stamp, folder)?;
        // No bound of its own, since appending never waits. While more than `queue_max` entries wait, `trouble` says so and no mail is
        // accepted; what still comes is the fates of queued recipients, each from one attempt, deadline or operator's change, and reports
        // on the relay itself.
        let (commands, inbox) = channel();
        let shared = Arc::new(WriterState::new(queue_max));
        let worker = Worker::new(inbox, appender, clock, Arc::clone(&shared), on_durable);
        let thread = thread::Builder::new().name("delivery-log".into()).spawn(move || worker.run());
        let thread = thread.map_err(LogError::io("start the writer of", &dir))?;
        let worker = thread.thread().clone();
        Ok((Self { inner: Arc::new(Inner { commands, shared, thread: Mutex::new(Some(thread)), worker, dir }) }, opened))
    }
}

/// Lines that came when the log was closed: the diagnostics get them instead.
fn report_unwritten(events: &[Event]) {
    let mut lines = Vec::new();
    events.iter().for_each(|event| encode(event, &mut lines));
    let lines = String::from_utf8_lossy(&lines);
    lines.lines().for_each(|line| tracing::error!("the delivery log is closed and lacks this line: {line}"));
}

impl<T> EventLog<T> {
    /// Hands an entry to the thread. Never blocks; entries keep their order. If the log is closed, the entry is only reported to the
    /// diagnostics.
    pub fn append(&self, event: Event, ticket: Option<T>) {
        self.inner.shared.takes(1);
        if let Err(unsent) = self.inner.commands.send(WriterCommand::Append(Box::new(event), ticket))
            && let WriterCommand::Append(event, _) = unsent.0
        {
            report_unwritten(std::slice::from_ref(&event));
        }
    }

    /// Like [`Self::append`], for events that belong together: no sync falls between them, and so no position that `on_durable` gets. The
    /// ticket is handed back once all of them are durable.
    pub fn append_all(&self, events: Vec<Event>, ticket: Option<T>) {
        self.inner.shared.takes(events.len());
        if let Err(unsent) = self.inner.commands.send(WriterCommand::AppendAll(events, ticket))
            && let WriterCommand::AppendAll(events, _) = unsent.0
        {
            report_unwritten(&events);
        }
    }

    /// Some while the disk fails, too many entries wait, or the writer has ended: the relay then accepts no mail.
    pub fn trouble(&self) -> Option<String> {
        let Inner { shared, .. } = &*self.inner;
        if let Some(text) = shared.trouble() {
            return Some(text);
        }
        if self.inner.has_ended() {
            return Some("the writer of the delivery log has ended".into());
        }
        let queued = shared.queued.load(SeqCst);
        (queued > shared.queue_max).then(|| format!("{queued} entries wait for the disk"))
    }

    /// The log's folder.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// What others did to the log's files since the last call.
    pub fn take_alarms(&self) -> Vec<LogAlarm> {
        self.inner.shared.take_alarms()
    }

    /// How many entries were appended since the log was opened, and how many of them are durable.
    pub fn progress(&self) -> (u64, u64) {
        // In this order: what is durable was appended.
        let durable = self.inner.shared.durable.load(SeqCst);
        (self.inner.shared.appended.load(SeqCst), durable)
    }

    /// The number of the newest list of the log's files: a start that is told of it ([`LogOptions::list_serial`]) notices an older one.
    pub fn list_serial(&self) -> u64 {
        self.inner.shared.list_serial.load(SeqCst)
    }

    /// How many entries the thread has not taken yet.
    pub fn queued(&self) -> usize {
        self.inner.shared.queued.load(SeqCst)
    }

    /// Blocks until everything appended before is durable.
    pub fn flush(&self) -> Result<(), LogError> {
        self.inner.ask(WriterCommand::Flush)
    }

    /// Makes everything durable and begins a new file, unless the current one is empty.
    #[cfg(test)]
    pub(super) fn rotate_now(&self) -> Result<(), LogError> {
        self.inner.ask(WriterCommand::Rotate)?
    }

    /// Rotates, keeps and syncs by these options from now on; the folder, the mode and `queue_max` stay as opened.
    pub fn keep(&self, options: LogOptions) {
        let _ = self.inner.commands.send(WriterCommand::Keep(Box::new(options)));
    }

    /// Makes everything durable and ends the thread. If the disk fails, it is tried once more; then the error says what was lost.
    pub fn close(&self) -> Result<(), LogError> {
        self.inner.close()
    }
}

impl<T> Inner<T> {
    fn ask<A>(&self, command: impl FnOnce(SyncSender<A>) -> WriterCommand<T>) -> Result<A, LogError> {
        let (reply, answer) = sync_channel(1);
        self.commands.send(command(reply)).map_err(|_| LogError::Closed)?;
        self.worker.unpark();
        answer.recv().map_err(|_| LogError::Closed)
    }

    /// Whether the thread has ended: closed or panicked.
    fn has_ended(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn close(&self) -> Result<(), LogError> {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        self.shared.closing.store(true, SeqCst);
        // A thread that has ended needs no command.
        let _ = self.commands.send(WriterCommand::Close);
        self.worker.unpark();
        if self.worker.id() != thread::current().id() && thread.join().is_err() {
            return Err(LogError::Panicked);
        }
        self.shared.trouble().map_or(Ok(()), |text| Err(LogError::Unwritten(text)))
    }
}

impl<T> Drop for Inner<T> {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!("{error}");
        }
        // Nobody can ask for them any more.
        self.shared.take_alarms().iter().for_each(|alarm| tracing::error!("{alarm}"));
    }
}
