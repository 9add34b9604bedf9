//! Why a request of an operator was not carried out.

use posthaste_queue::Stopping;
use posthaste_spool::ReadError;

use crate::{reload::ReloadError, settings::SettingsError};

/// What a method answers, or why it could not do what it was asked for.
pub(super) type Answered<T> = Result<T, Undone>;

/// Does something on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Answered<T> {
    tokio::task::spawn_blocking(work).await.map_err(Undone::of)
}

/// Why a request was not carried out; for people.
#[derive(Debug, thiserror::Error)]
pub enum Undone {
    /// The relay stops.
    #[error(transparent)]
    Stopping(#[from] Stopping),
    /// The settings in force cannot do it.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The spool cannot be read.
    #[error(transparent)]
    Spool(#[from] ReadError),
    /// The configuration cannot be put in force.
    #[error(transparent)]
    Reload(#[from] ReloadError),
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

impl Undone {
    pub(crate) fn of(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}
