//! Why a channel has not taken a message.

use std::time::Duration;

/// Why a channel has not taken a message. Its text holds nothing secret: of a URL only the host.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The request failed.
    #[error("{host}: {why}")]
    Request {
        /// The server.
        host: String,
        /// What failed.
        why: String,
    },
    /// The server answered, and did not take it.
    #[error("{host} answers with status {status}{said}")]
    Status {
        /// The server.
        host: String,
        /// The status.
        status: u16,
        /// `: ` and the beginning of the answer; empty if there is none.
        said: String,
    },
    /// The command failed.
    #[error("{program}: {why}")]
    Command {
        /// The program.
        program: String,
        /// What failed.
        why: String,
    },
    /// The mail server did not take it.
    #[error("{server}: {why}")]
    Mail {
        /// The server.
        server: String,
        /// What failed.
        why: String,
    },
    /// It took too long.
    #[error("not done within {0:?}")]
    Late(Duration),
}
