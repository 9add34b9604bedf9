//! Why the relay does not start, or ends.

use std::{io, net::SocketAddr, path::PathBuf};

use posthaste_findings::LookoutError;
use posthaste_journal::AlarmsError;
use posthaste_mail::Name;
use posthaste_monitor::{CheckpointError, LogError};
use posthaste_spool::{OpenError, ReadError, StoreError};
use tokio::task::JoinError;

use crate::{descriptors::TooFewFiles, settings::SettingsError};

/// Why the relay does not start, or why it ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It cannot listen for signals.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// The data folder, the spool or a socket.
    #[error(transparent)]
    Open(#[from] OpeningError),
    /// It may have too few files open.
    #[error(transparent)]
    Descriptors(#[from] TooFewFiles),
    /// The configuration cannot be put in force.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Log and spool cannot be brought into agreement.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// Another version wrote the incidents.
    #[error(transparent)]
    Incidents(#[from] LookoutError),
    /// The machine gives no thread for this.
    #[error("cannot start {what}")]
    Thread {
        /// What it was for.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The dispatcher ended; mail must not be accepted any more.
    #[error("the dispatcher has ended: {0:?}")]
    DispatcherEnded(Result<(), JoinError>),
    /// The recorder ended; mail must not be accepted any more.
    #[error("the recorder has ended")]
    RecorderEnded,
    /// The thread that writes the log had ended before.
    #[error("closing the delivery log")]
    CloseLog(#[source] LogError),
    /// The spool could not be closed in good order.
    #[error("closing the spool")]
    CloseSpool(#[source] StoreError),
    /// Closing did not come to its end.
    #[error("closing the log and the spool")]
    Close(#[source] JoinError),
}

/// Why the data folder, the spool or a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// No data folder.
    #[error("cannot make the data folder {}", path.display())]
    DataFolder {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file where a folder must be, or the other way round. Nothing was touched.
    #[error(
        "{} is no {wanted}: move it away, and put back what was there if you have a copy; what the relay can make anew, it makes",
        path.display()
    )]
    WrongKind {
        /// What it is about.
        path: PathBuf,
        /// `file` or `folder`.
        wanted: &'static str,
    },
    /// The data folder's file `format` holds no number of ours: a later version may write more into it.
    #[error("{} is not {known}, the format that this posthaste writes: start the posthaste that wrote it. If the file is damaged and you know that this version wrote the folder, write {known} into it", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The format of this version.
        known: u32,
    },
    /// A later version wrote the data folder. Nothing was touched.
    #[error("{} was written by a later version of posthaste (its format is {found}, this version knows up to {known}): use that version", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// The number of its format.
        found: u32,
        /// The newest format that this version can read.
        known: u32,
    },
    /// Another version wrote a file. Nothing was touched.
    #[error("{}: {why}; nothing was touched", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// Its version, and what to do.
        why: String,
    },
    /// The lock file cannot be opened.
    #[error("cannot open {}", path.display())]
    LockFile {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The secret that hides who is a user.
    #[error("cannot read or make {}: {source}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// Another relay holds the data folder.
    #[error("another posthaste is running on {}", path.display())]
    AlreadyRunning {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The delivery log cannot be looked at, or a newer version wrote it.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The alarms that stand cannot be read, or a newer version wrote them.
    #[error(transparent)]
    Alarms(#[from] AlarmsError),
    /// No folder for the spool.
    #[error("cannot make the spool's folder {}", path.display())]
    SpoolFolder {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The spool.
    #[error("cannot open the spool {}", path.display())]
    Spool {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        source: OpenError,
    },
    /// The sockets that systemd opened cannot be taken over.
    #[error("the sockets that systemd handed over")]
    Handed(#[source] io::Error),
    /// A socket of systemd's that does not listen.
    #[error("a socket of systemd's is no listening one")]
    NotListening(#[source] io::Error),
    /// A socket of systemd's whose name is no listener's.
    #[error("systemd handed over a socket called {0:?} (FileDescriptorName=), and there is no listener of that name")]
    NoSuchListener(String),
    /// An address of an SMTP listener.
    #[error("listen.{name}: cannot listen on {address}")]
    Listener {
        /// The listener.
        name: Name,
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// An address of the HTTP interface.
    #[error("http: cannot listen on {address}")]
    Http {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The admin socket.
    #[error("cannot listen on the admin socket {}", path.display())]
    AdminSocket {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Why log and spool cannot be brought into agreement.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// No folder for the log.
    #[error("{}: {source}", path.display())]
    LogFolder {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The checkpoint is of a newer version.
    #[error(transparent)]
    Checkpoint(CheckpointError),
    /// The log cannot be opened.
    #[error("delivery log: {0}")]
    OpenLog(#[source] LogError),
    /// The spool cannot be read.
    #[error("the spool cannot be read: {0}")]
    Spool(#[source] ReadError),
    /// It cannot be noted that the spool is to be compared with the log.
    #[error("the spool's folder cannot be written: {0}")]
    Mark(#[source] StoreError),
}
