//! What can go wrong with the log, as values.

use std::{io, path::PathBuf};

use posthaste_mail::SCHEMA_VERSION;

use super::Position;

/// Why the log could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk failed.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// The operation: `open`, `read`, ...
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The newest lines are of a version that this program does not know. Nothing was changed.
    #[error("{} holds lines of schema version {version}, and this posthaste knows {SCHEMA_VERSION}: start the posthaste that wrote them", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its newest lines as it stands there.
        version: String,
    },
    /// The list of the log's files is of a version that this program does not know. Nothing was changed.
    #[error(
        "{} has version {version}, and this posthaste knows {known}; nothing was touched. Start the posthaste that wrote it; if none did, move the \
         file away", path.display()
    )]
    UnknownList {
        /// The list.
        path: PathBuf,
        /// Its version as it stands there.
        version: String,
        /// The newest version that this program knows.
        known: u64,
    },
    /// Another process has the log open for writing.
    #[error("another process writes {0}")]
    InUse(PathBuf),
    /// The file that the position refers to was deleted or shortened.
    #[error("the delivery log no longer holds {0}")]
    Gone(Position),
    /// The writer was closed.
    #[error("the delivery log is closed")]
    Closed,
    /// The last lines could not be written before the log was closed.
    #[error("the last lines of the delivery log could not be written: {0}")]
    Unwritten(String),
    /// The writer's thread panicked.
    #[error("the thread that writes the delivery log panicked")]
    Panicked,
}

impl LogError {
    /// Whether this user may not read the log.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
