//! The other side of the admin socket: a command asks, and waits for the answer.

use std::{
    io::{self, BufRead, Write},
    path::Path,
};

use posthaste_host::rights;
use serde::de::DeserializeOwned;

use super::{Reply, Request};

/// Sends a request to the relay behind `socket`. Blocks.
pub fn ask<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<T, AskError> {
    let mut stream = rights::along(socket, || std::os::unix::net::UnixStream::connect(socket)).map_err(|error| {
        let unusable = || {
            format!(
                "the relay's socket {} cannot be used: {error}; ask as the relay's user, as one of the socket's group (admin.mode), or as root",
                socket.display()
            )
        };
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning(error),
            io::ErrorKind::PermissionDenied => AskError::NotAllowed(unusable()),
            _ => AskError::Failed(unusable()),
        }
    })?;
    let broken = |e: io::Error| AskError::Failed(e.to_string());
    let line = serde_json::to_string(request).expect("a request has nothing that JSON can't hold") + "\n";
    stream.write_all(line.as_bytes()).map_err(broken)?;
    let mut answer = String::new();
    io::BufReader::new(stream).read_line(&mut answer).map_err(broken)?;
    let reply: Reply = serde_json::from_str(&answer).map_err(|e| AskError::Failed(e.to_string()))?;
    match reply.error {
        Some(error) => Err(AskError::Failed(error)),
        None => serde_json::from_value(reply.answer).map_err(|e| AskError::Failed(e.to_string())),
    }
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No relay listens on the socket.
    #[error("no relay answers: {0}")]
    NotRunning(io::Error),
    /// This user may not use the socket.
    #[error("{0}")]
    NotAllowed(String),
    /// The request could not be carried out.
    #[error("{0}")]
    Failed(String),
}
