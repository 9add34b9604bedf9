//! What the handle tells the writer's thread, and what both look at.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize},
    mpsc::SyncSender,
};

use posthaste_mail::Event;

use super::{LogError, LogOptions};

/// What the thread is told.
pub(super) enum WriterCommand<T> {
    // Boxed: an event is ten times the size of the rest, and the channel's blocks would pay for it.
    Append(Box<Event>, Option<T>),
    AppendAll(Vec<Event>, Option<T>),
    Flush(SyncSender<()>),
    Rotate(SyncSender<Result<(), LogError>>),
    Reopen(SyncSender<Result<(), LogError>>),
    Keep(Box<LogOptions>),
    Close,
}

/// What handle and thread both look at.
#[derive(Default)]
pub(super) struct WriterState {
    pub(super) queued: AtomicUsize,
    pub(super) queue_max: usize,
    /// A disk that refuses is given one more try, and then up.
    pub(super) closing: AtomicBool,
    trouble: Mutex<Option<String>>,
}

impl WriterState {
    pub(super) fn new(queue_max: usize) -> Self {
        Self { queue_max, ..Self::default() }
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
}
