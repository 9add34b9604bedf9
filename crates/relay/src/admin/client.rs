//! The other side of the admin socket: a command asks, and waits for the answer.

use std::{
    io::{self, BufRead, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use posthaste_host::rights;
use serde::de::DeserializeOwned;

use super::{Reply, Request};

/// Sends a request to the relay behind `socket`. Blocks.
pub fn ask<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<T, AskError> {
    let mut stream = rights::along(socket, || UnixStream::connect(socket)).map_err(|error| {
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
    let answer = read_answer(stream)?;
    let reply: Reply = serde_json::from_str(&answer).map_err(|e| AskError::Failed(e.to_string()))?;
    match reply.error {
        Some(error) => Err(AskError::Failed(error)),
        None => serde_json::from_value(reply.answer).map_err(|e| AskError::Failed(e.to_string())),
    }
}

/// Reads the answer. Whoever can put a socket in the relay's place must not be able to fill the memory of a command, or to keep it for ever.
fn read_answer(stream: UnixStream) -> Result<String, AskError> {
    let mut answer = String::new();
    let read = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| io::BufReader::new(stream.take(ANSWER_MAX)).read_line(&mut answer));
    match read {
        Ok(_) if answer.len() as u64 == ANSWER_MAX => Err(AskError::Failed("the relay's answer is longer than 256 MiB".into())),
        Ok(_) => Ok(answer),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(AskError::Failed(format!("the relay has not answered for {} s; it may still do what it was asked", PATIENCE.as_secs())))
        }
        Err(error) => Err(AskError::Failed(error.to_string())),
    }
}

/// The longest answer, in bytes: far more than the table of a full queue.
const ANSWER_MAX: u64 = 256 << 20;
/// How long the relay may say nothing.
const PATIENCE: Duration = Duration::from_secs(300);

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
