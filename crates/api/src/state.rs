//! State shared by the handlers, and the values they extract from a request.

use std::{convert::Infallible, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use axum::{
    extract::{FromRequestParts, Path as Captured},
    http::request::Parts,
};
use bytes::Bytes;
use posthaste_access::Lockout;
use posthaste_host::{InForce, clock};
use posthaste_monitor::{LogError, Lookup};
use posthaste_queue::QueueHandle;
use posthaste_spool::Spool;
use posthaste_submission::Intake;
use posthaste_watch::{Figures, Incidents, Reloads, SyncTimes};
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    task::JoinError,
    time::sleep,
};

use crate::{body::Bodies, idempotency::Keys, settings::Settings};

/// Why the delivery log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogReadError {
    /// The log's own error.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The reading task panicked, or the relay stops.
    #[error(transparent)]
    Task(#[from] JoinError),
}

/// The most concurrent readers of the log: it may be long, and delivery has priority.
const READERS: usize = 2;

/// How often expired idempotency keys are removed, in minutes.
const SWEEP_EVERY: u64 = 60;

/// What the monitoring knows.
pub struct Monitored {
    /// What the log comes to; None: it is not counted.
    pub figures: Option<Figures>,
    /// What is wrong.
    pub incidents: Incidents,
    /// How the last reload went.
    pub reloads: Reloads,
    /// How long commits took, of what: `spool`, `log`.
    pub commits: Vec<(&'static str, SyncTimes)>,
}

/// State shared by the handlers.
pub struct Api {
    pub(crate) settings: InForce<Settings>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) queue: QueueHandle,
    pub(crate) lockout: Arc<Lockout>,
    pub(crate) keys: Arc<Keys<Spool>>,
    pub(crate) bodies: Bodies,
    readers: Semaphore,
    /// What the log comes to; None: it is not counted.
    pub(crate) figures: Option<Figures>,
    /// What is wrong.
    pub(crate) incidents: Incidents,
    /// How the last reload went.
    pub(crate) reloads: Reloads,
    /// How long commits took, of what.
    pub(crate) commits: Vec<(&'static str, SyncTimes)>,
    /// The OpenAPI document.
    pub(crate) document: ArcSwapOption<Bytes>,
}

/// The last part of a path. One that is not valid UTF-8 is handled like any other that does not exist or is not an address.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let text = Captured::<String>::from_request_parts(parts, state).await;
        Ok(Self(text.map_or_else(|_| String::from("\u{fffd}"), |Captured(text)| text)))
    }
}

impl Api {
    /// The handlers' state.
    pub fn new(settings: InForce<Settings>, intake: Arc<Intake>, lockout: Arc<Lockout>, monitored: Monitored) -> Arc<Self> {
        let Monitored { figures, incidents, reloads, commits } = monitored;
        let bodies = Bodies::new(settings.get().requests.body_memory);
        let (keys, queue) = (Keys::new(intake.spool.clone(), clock::instant()), intake.queue.clone());
        let (readers, document) = (Semaphore::new(READERS), ArcSwapOption::empty());
        Arc::new(Self { settings, intake, queue, lockout, keys, bodies, readers, figures, incidents, reloads, commits, document })
    }

    /// Removes expired idempotency keys from time to time, until the relay stops.
    pub async fn tidy(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        for minute in 0_u64.. {
            let (keys, sweeps) = (self.keys.clone(), minute.is_multiple_of(SWEEP_EVERY));
            let tidied = tokio::task::spawn_blocking(move || {
                let now = keys.moment(clock::now(), clock::instant());
                keys.note(now);
                if sweeps {
                    keys.sweep(now);
                }
            });
            drop(tidied.await);
            tokio::select! {
                // An error means that the sender is gone: the relay stops then too.
                _ = stopping.wait_for(|stop| *stop) => return,
                () = sleep(Duration::from_secs(60)) => {}
            }
        }
    }

    /// Reads the log, including the lines written just before.
    pub(crate) async fn read_log<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Lookup) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogReadError> {
        let turn = self.turn().await;
        self.read_log_in(&turn, read).await
    }

    /// A turn to read the log, for as long as it is held.
    pub(crate) async fn turn(&self) -> SemaphorePermit<'_> {
        self.readers.acquire().await.expect("the semaphore is never closed")
    }

    /// Reads the log in this turn, including the lines written just before.
    pub(crate) async fn read_log_in<T: Send + 'static>(
        &self,
        _turn: &SemaphorePermit<'_>,
        read: impl FnOnce(&Lookup) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogReadError> {
        let journal = self.intake.journal.clone();
        let reading = tokio::task::spawn_blocking(move || {
            journal.flush()?;
            Ok(read(&journal.index().caught_up()?)?)
        });
        reading.await?
    }
}
