//! The writer thread.

use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering::SeqCst,
        mpsc::{Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::Duration,
};

use jiff::Timestamp;
use posthaste_mail::Event;

use super::{
    LogError, LogOptions, Position,
    appender::Appender,
    command::{WriterCommand, WriterState},
};
use crate::encode;

/// Takes commands, writes and syncs batches, and hands tickets back.
pub(super) struct Worker<T, F> {
    commands: Receiver<WriterCommand<T>>,
    appender: Appender,
    clock: fn() -> Timestamp,
    shared: Arc<WriterState>,
    on_durable: F,
    unsynced: Unsynced<T>,
    /// The end that was reported last.
    reported: Option<Position>,
}

/// The entries taken since the last sync.
struct Unsynced<T> {
    entries: usize,
    /// The lines among them.
    lines: usize,
    since: Timestamp,
    tickets: Vec<T>,
    /// The callers that wait for the next sync.
    waiters: Vec<SyncSender<()>>,
}

/// What ended a batch.
enum BatchEnd<T> {
    Nothing,
    Command(WriterCommand<T>),
    Close,
}

/// The disk failed until the log was closed.
struct GaveUp;

impl<T, F: FnMut(Vec<T>, &Position)> Worker<T, F> {
    pub(super) fn new(
        commands: Receiver<WriterCommand<T>>,
        appender: Appender,
        clock: fn() -> Timestamp,
        shared: Arc<WriterState>,
        on_durable: F,
    ) -> Self {
        let unsynced = Unsynced { entries: 0, lines: 0, since: Timestamp::MIN, tickets: Vec::new(), waiters: Vec::new() };
        let reported = appender.end();
        Self { commands, appender, clock, shared, on_durable, unsynced, reported }
    }

    /// Runs until the log is closed, or until the disk fails while the log is being closed.
    pub(super) fn run(mut self) {
        while let Ok(true) = self.turn() {}
    }

    fn turn(&mut self) -> Result<bool, GaveUp> {
        let first = match self.next() {
            Ok(command) => command,
            Err(RecvTimeoutError::Timeout) => return self.sync().map(|()| true),
            Err(RecvTimeoutError::Disconnected) => return self.end(),
        };
        if matches!(first, WriterCommand::Append(..) | WriterCommand::AppendAll(..)) {
            // A flush or a close unparks the thread. An append in the meantime does not, because a wake-up would cost more than the append.
            thread::park_timeout(self.appender.options().gather);
        }
        if self.appender.rotation_is_due() {
            self.rotate()?;
        }
        match self.batch(first) {
            BatchEnd::Nothing if self.sync_is_due() => self.sync()?,
            BatchEnd::Nothing => self.persist(Appender::write)?,
            BatchEnd::Command(command) => self.execute(command)?,
            BatchEnd::Close => return self.end(),
        }
        Ok(true)
    }

    fn end(&mut self) -> Result<bool, GaveUp> {
        self.sync()?;
        // A failure was reported, and the next start does not depend on it.
        let _ = self.appender.save_list();
        self.shared.list_serial.store(self.appender.list_serial(), SeqCst);
        Ok(false)
    }

    /// The next command. Waits no longer than until the next look at the file; while entries are written but not durable, no longer than
    /// until the sync is due.
    fn next(&self) -> Result<WriterCommand<T>, RecvTimeoutError> {
        if self.unsynced.entries == 0 {
            return self.commands.recv_timeout(self.appender.options().look);
        }
        let linger = self.appender.options().sync;
        self.commands.recv_timeout(linger.saturating_sub(self.lingered()).min(linger))
    }

    /// How long entries have waited for a sync. If the clock went back that is not known, and they wait no longer.
    fn lingered(&self) -> Duration {
        Duration::try_from((self.clock)().duration_since(self.unsynced.since)).unwrap_or(Duration::MAX)
    }

    fn sync_is_due(&self) -> bool {
        let unsynced = &self.unsynced;
        let waits = unsynced.entries > 0 && self.lingered() >= self.appender.options().sync;
        waits || unsynced.entries >= LogOptions::SYNC_ENTRIES || !unsynced.waiters.is_empty()
    }

    /// Encodes what has arrived, until the batch is full or a command other than an append comes.
    fn batch(&mut self, first: WriterCommand<T>) -> BatchEnd<T> {
        let (mut command, mut taken) = (first, 0);
        loop {
            match command {
                WriterCommand::Append(event, ticket) => taken += self.encode(std::slice::from_ref(&*event), ticket),
                WriterCommand::AppendAll(events, ticket) => taken += self.encode(&events, ticket),
                WriterCommand::Flush(waiter) => self.unsynced.waiters.push(waiter),
                WriterCommand::Close => return BatchEnd::Close,
                other => return BatchEnd::Command(other),
            }
            if taken >= BATCH_ENTRIES || self.appender.waiting().len() >= BATCH_BYTES {
                return BatchEnd::Nothing;
            }
            match self.commands.try_recv() {
                Ok(next) => command = next,
                Err(_) => return BatchEnd::Nothing,
            }
        }
    }

    /// Encodes events that belong together after those that wait; returns how many.
    fn encode(&mut self, events: &[Event], ticket: Option<T>) -> usize {
        if self.unsynced.entries == 0 {
            self.unsynced.since = (self.clock)();
        }
        events.iter().for_each(|event| encode(event, self.appender.waiting()));
        // A ticket without an event is handed back after the next sync; it does not wait for another event.
        self.unsynced.lines += events.len();
        self.unsynced.entries += events.len().max(usize::from(ticket.is_some()));
        self.unsynced.tickets.extend(ticket);
        self.shared.queued.fetch_sub(events.len(), SeqCst);
        events.len()
    }

    fn execute(&mut self, command: WriterCommand<T>) -> Result<(), GaveUp> {
        self.sync()?;
        match command {
            #[cfg(test)]
            WriterCommand::Rotate(reply) => drop(reply.send(self.appender.rotate())),
            WriterCommand::Keep(options) => self.appender.keep(*options),
            WriterCommand::Append(..) | WriterCommand::AppendAll(..) | WriterCommand::Flush(_) | WriterCommand::Close => {
                unreachable!("batch() handles these")
            }
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), GaveUp> {
        self.sync()?;
        if let Err(error) = self.appender.rotate() {
            report_rotation(&error);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), GaveUp> {
        self.persist(Appender::sync)?;
        let entries = std::mem::take(&mut self.unsynced.entries);
        self.shared.durable.fetch_add(std::mem::take(&mut self.unsynced.lines) as u64, SeqCst);
        // A `log_gap` is nobody's entry, but it moves the end.
        if let Some(end) = self.appender.end().filter(|end| entries > 0 || self.reported != Some(*end)) {
            self.reported = Some(end);
            (self.on_durable)(std::mem::take(&mut self.unsynced.tickets), &end);
        }
        for waiter in self.unsynced.waiters.drain(..) {
            let _ = waiter.send(());
        }
        Ok(())
    }

    /// Retries until the disk succeeds. Nothing is taken from the channel meanwhile: new commands wait there, in order.
    fn persist(&mut self, step: fn(&mut Appender) -> io::Result<()>) -> Result<(), GaveUp> {
        loop {
            let closing = self.shared.closing.load(SeqCst);
            let done = step(&mut self.appender);
            self.shared.add_alarms(self.appender.take_alarms());
            self.shared.list_serial.store(self.appender.list_serial(), SeqCst);
            match done {
                Ok(()) => {
                    self.shared.set_trouble(None);
                    return Ok(());
                }
                Err(error) => self.shared.set_trouble(Some(error.to_string())),
            }
            if closing {
                return Err(GaveUp);
            }
            thread::park_timeout(self.appender.options().retry);
        }
    }
}

fn report_rotation(error: &LogError) {
    tracing::error!("the delivery log could not be rotated; lines go on into the same file: {error}");
}

/// A batch is written when it holds this many entries or bytes.
const BATCH_ENTRIES: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
