//! The other side of the admin socket: a command asks, and waits for the answer.

use std::{
    io::{self, BufRead, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use posthaste_host::{clock, rights};
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
    let broken = |e: io::Error| match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => slow(PATIENCE),
        _ => AskError::Failed(e.to_string()),
    };
    stream.set_write_timeout(Some(PATIENCE)).map_err(broken)?;
    let line = serde_json::to_string(request).expect("a request has nothing that JSON can't hold") + "\n";
    stream.write_all(line.as_bytes()).map_err(broken)?;
    let answer = read_answer(stream, ANSWER_MAX, PATIENCE)?;
    let reply: Reply = serde_json::from_str(&answer).map_err(|e| AskError::Failed(e.to_string()))?;
    match reply.error {
        Some(error) => Err(AskError::Failed(error)),
        None => serde_json::from_value(reply.answer).map_err(|e| AskError::Failed(e.to_string())),
    }
}

/// Reads the answer: at most `most` bytes, whose end comes within `patience`. Whoever can put a socket in the relay's place must not be able to fill
/// the memory of a command, or to keep it for ever.
fn read_answer(stream: UnixStream, most: u64, patience: Duration) -> Result<String, AskError> {
    let mut answer = String::new();
    let until = Until { stream, end: clock::instant() + patience };
    match io::BufReader::new(until.take(most)).read_line(&mut answer) {
        Ok(_) if answer.len() as u64 == most => Err(AskError::Failed(format!("the relay's answer is longer than {} MiB", most >> 20))),
        Ok(_) => Ok(answer),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Err(slow(patience)),
        Err(error) => Err(AskError::Failed(error.to_string())),
    }
}

fn slow(patience: Duration) -> AskError {
    AskError::Failed(format!("the relay has not answered for {} s; it may still do what it was asked", patience.as_secs()))
}

/// A socket that is read until some time, however little comes at a time.
struct Until {
    stream: UnixStream,
    end: Instant,
}

impl Read for Until {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(clock::instant());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(into)
    }
}

/// The longest answer, in bytes: far more than the table of a full queue.
const ANSWER_MAX: u64 = 256 << 20;
/// How long an answer may take.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_an_end_and_one_that_does_not_come_are_given_up() {
        let ask = |most, patience, say: &[u8]| {
            let (mut relay, command) = UnixStream::pair().unwrap();
            relay.write_all(say).unwrap();
            read_answer(command, most, patience).map_err(|error| error.to_string())
        };
        let long = Duration::from_secs(300);
        assert_eq!(ask(1 << 20, long, b"{}\nmore").unwrap(), "{}\n");
        // The socket takes less than that, so the other side writes while it is read.
        let (mut relay, command) = UnixStream::pair().unwrap();
        let flood = std::thread::spawn(move || while relay.write_all(&[b'x'; 4096]).is_ok() {});
        let said = read_answer(command, 1 << 20, long).unwrap_err().to_string();
        assert_eq!(said, "the relay's answer is longer than 1 MiB");
        flood.join().unwrap();
        let (_silent, command) = UnixStream::pair().unwrap();
        let said = read_answer(command, 1 << 20, Duration::from_millis(1)).unwrap_err().to_string();
        assert!(said.starts_with("the relay has not answered for 0 s"), "{said}");
        // Nor does it help to say something all the time.
        let (mut relay, command) = UnixStream::pair().unwrap();
        let chatter = std::thread::spawn(move || while relay.write_all(b"x").is_ok() {});
        let said = read_answer(command, u64::MAX, Duration::from_millis(20)).unwrap_err().to_string();
        assert!(said.starts_with("the relay has not answered for 0 s"), "{said}");
        chatter.join().unwrap();
    }
}
