//! Runs a command for a message: JSON on its standard input, no shell, no environment but a path and a locale.

use std::process::{ExitStatus, Stdio};

use posthaste_mail::Foreign;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{self, ChildStderr},
};

use super::error::SendError;
use crate::Command;

/// As much of what it writes to standard error is shown.
const SHOWN_MAX: usize = 300;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the command to its end. If this is dropped before, the command is killed with all that it has started.
pub(super) async fn run(command: &Command, json: &Value) -> Result<(), SendError> {
    let program = command.program.display().to_string();
    let fails = |why: String| SendError::Command { program: program.clone(), why };
    let mut child = process::Command::new(&command.program)
        .args(&command.arguments)
        .env_clear()
        .envs([("PATH", PATH), ("LC_ALL", "C.UTF-8")])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| fails(format!("it cannot be started: {error}")))?;
    let group = Group(child.id());
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take().expect("it is piped"));
    let line = format!("{json}\n");
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A command that reads nothing closes the pipe.
            let _ = stdin.write_all(line.as_bytes()).await;
        }
    };
    let mut stderr = Said { from: stderr, text: Vec::new() };
    let end = async {
        tokio::select! {
            status = child.wait() => status,
            () = async { stderr.hear_all().await; std::future::pending().await } => unreachable!("it waits for ever"),
        }
    };
    let ((), status) = tokio::join!(feed, end);
    stderr.hear_rest();
    let status = status.map_err(|error| fails(error.to_string()))?;
    group.release();
    if status.success() { Ok(()) } else { Err(fails(ended(status, &stderr.text))) }
}

/// What the command writes to standard error, from its beginning.
struct Said {
    from: ChildStderr,
    text: Vec<u8>,
}

impl Said {
    /// Reads to the end.
    async fn hear_all(&mut self) {
        let mut buffer = [0; 1024];
        while let Ok(n @ 1..) = self.from.read(&mut buffer).await {
            self.keep(&buffer[..n]);
        }
    }

    /// Reads what is in the pipe once the command has ended: its end may be noticed before its last words. Waits for nothing, because a
    /// process that the command left behind can keep the pipe open.
    fn hear_rest(&mut self) {
        let mut buffer = [0; SHOWN_MAX * 4];
        while self.text.len() < SHOWN_MAX * 4 {
            // The pipe does not block: tokio has made it so.
            let Ok(n @ 1..) = rustix::io::read(&self.from, &mut buffer) else { return };
            self.keep(&buffer[..n]);
        }
    }

    fn keep(&mut self, heard: &[u8]) {
        self.text.extend_from_slice(&heard[..heard.len().min((SHOWN_MAX * 4).saturating_sub(self.text.len()))]);
    }
}

fn ended(status: ExitStatus, said: &[u8]) -> String {
    match Foreign::new(said.trim_ascii()).first(SHOWN_MAX) {
        said if said.is_empty() => format!("it ended with {status}"),
        said => format!("it ended with {status}: {said}"),
    }
}

/// The process group of a command that runs; killed when this is dropped.
struct Group(Option<u32>);

impl Group {
    fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}
