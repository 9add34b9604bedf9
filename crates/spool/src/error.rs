//! The errors of a spool.

use std::{io, path::PathBuf, sync::Arc};

/// Why a message or fact is not durable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No room, by the spool's own limit, by the limit of free disk, or by the file system. Nothing was kept.
    #[error("the spool is full: {reason}")]
    Full {
        /// Which limit, with its figures.
        reason: String,
    },
    /// The disk failed. Nothing was kept.
    #[error("the spool cannot write: {source}")]
    Io {
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// [`Spool::close`](crate::Spool::close) was called.
    #[error("the spool is closed")]
    Closed,
}

impl StoreError {
    pub(crate) fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { reason: error.to_string() }
            }
            _ => Self::Io { source: Arc::new(error) },
        }
    }
}

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder of the spool cannot be created, read or written.
    #[error("cannot open spool {path}: {source}")]
    Io {
        /// The spool's folder, or the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another process has the spool open.
    #[error("spool {path} is in use by another process")]
    Locked {
        /// The spool's folder.
        path: PathBuf,
    },
    /// A later version wrote it. Nothing was touched.
    #[error(
        "{path} was written by a later version of posthaste (its format is {found}, this version knows up to {known}): use that version"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The number of its format.
        found: u32,
        /// The newest format that this version can read.
        known: u32,
    },
    /// It is of a format that this version does not know. Nothing was touched.
    #[error(
        "{path} is of a format that this posthaste does not know ({found}); nothing was touched. Use the version that wrote it; if none did, \
         bring the file back from a backup, or move it away and ask `posthaste audit` what is missing"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What stands for the format.
        found: String,
    },
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error("cannot read message {seq}: {source}")]
    Io {
        /// The message.
        seq: u64,
        /// The system's error.
        source: io::Error,
    },
    /// The bytes on disk are not those that were stored.
    #[error("message {seq} is damaged in segment {segment} at byte {offset}")]
    Damaged {
        /// The message.
        seq: u64,
        /// The segment's number.
        segment: u32,
        /// The record's first byte.
        offset: u64,
    },
}
