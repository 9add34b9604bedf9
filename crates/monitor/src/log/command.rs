//! The commands from the handle to the writer thread, and the state that both share.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    mpsc::SyncSender,
};

use posthaste_mail::Event;

use super::{LogAlarm, LogOptions};

/// A command to the writer thread.
pub(super) enum WriterCommand<T> {
    // Boxed: an event is ten times the size of the rest, and the channel's blocks would grow with it.
    Append(Box<Event>, Option<T>),
    AppendAll(Vec<Event>, Option<T>),
    Flush(SyncSender<()>),
    #[cfg(test)]
    Rotate(SyncSender<Result<(), super::LogError>>),
    Keep(Box<LogOptions>),
    Close,
}

/// The state that handle and writer thread share.
#[derive(Default)]
pub(super) struct WriterState {
    pub(super) queued: AtomicUsize,
    /// How many entries were appended, and how many of them are durable, since the log was opened.
    pub(super) appended: AtomicU64,
    pub(super) durable: AtomicU64,
    pub(super) queue_max: usize,
    /// The log is being closed: after one more failed try the thread gives up.
    pub(super) closing: AtomicBool,
    /// How many lists of the log's files were written.
    pub(super) list_serial: AtomicU64,
    trouble: Mutex<Option<String>>,
    /// What the operator has to know and nobody has asked for yet.
    alarms: Mutex<Vec<LogAlarm>>,
}

impl WriterState {
    pub(super) fn new(queue_max: usize) -> Self {
        Self { queue_max, ..Self::default() }
    }

    /// So many entries are handed to the thread.
    pub(super) fn takes(&self, entries: usize) {
        self.queued.fetch_add(entries, SeqCst);
        self.appended.fetch_add(entries as u64, SeqCst);
    }

    pub(super) fn set_trouble(&self, text: Option<String>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&text, trouble.is_some()) {
            (Some(text), false) => tracing::error!("the delivery log cannot be written: {text}"),
            (None, true) => tracing::info!("the delivery log is written again"),
            _ => {}
        }
        *trouble = text;
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add_alarms(&self, mut alarms: Vec<LogAlarm>) {
        if !alarms.is_empty() {
            self.alarms.lock().unwrap_or_else(PoisonError::into_inner).append(&mut alarms);
        }
    }

    pub(super) fn take_alarms(&self) -> Vec<LogAlarm> {
        std::mem::take(&mut *self.alarms.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
