//! What can go wrong with the log, as values.

use std::{io, path::PathBuf};

use super::Position;

/// Why the log could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk failed.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried: `open`, `read`, ...
        what: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody else has it open for writing.
    #[error("another process writes {0}")]
    InUse(PathBuf),
    /// The file that the position lies in was deleted or cut.
    #[error("the delivery log no longer holds {0}")]
    Gone(Position),
    /// The writer was closed before.
    #[error("the delivery log is closed")]
    Closed,
    /// The disk did not take the last lines before the log was closed.
    #[error("lines of the delivery log are lost: {0}")]
    Unwritten(String),
}

impl LogError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
