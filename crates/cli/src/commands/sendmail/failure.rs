//! How a call ends that did not do what it was to do.

use std::io;

/// Why the message was not submitted, with the exit status of sysexits.h.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// EX_USAGE
    #[error("{0}")]
    Usage(String),
    /// EX_UNAVAILABLE
    #[error("the message is refused: {0}")]
    Refused(String),
    /// EX_UNAVAILABLE
    #[error("{0}")]
    Unavailable(String),
    /// EX_IOERR
    #[error("cannot read the message: {0}")]
    Input(io::Error),
    /// EX_TEMPFAIL
    #[error("{0}; try again later")]
    Later(String),
    /// EX_NOPERM
    #[error("{0}")]
    NotAllowed(String),
    /// EX_CONFIG
    #[error("{0}")]
    Config(String),
}

impl Failure {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Refused(_) | Self::Unavailable(_) => 69,
            Self::Input(_) => 74,
            Self::Later(_) => 75,
            Self::NotAllowed(_) => 77,
            Self::Config(_) => 78,
        }
    }
}
