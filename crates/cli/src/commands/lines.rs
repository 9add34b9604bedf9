//! The delivery log for commands that read all of it: from its files, or from the running relay for whoever may not read these.

use std::path::{Path, PathBuf};

use posthaste_monitor::{LineFilter, Lines, LogRecord, Position};
use posthaste_relay::admin::{Logged, Request, ask};

/// A reader of the log that goes on where it stopped.
pub(super) struct LogReader {
    socket: PathBuf,
    from: From,
}

enum From {
    Files(Box<Lines>),
    Relay(Option<Position>),
}

impl LogReader {
    /// A reader of the log in this folder. The relay is asked at the socket if the folder is private to others.
    pub(super) fn new(dir: &Path, socket: &Path) -> Self {
        Self { socket: socket.to_owned(), from: From::Files(Box::new(Lines::all(dir))) }
    }

    /// Shows all records that are there by now.
    pub(super) fn each(&mut self, mut show: impl FnMut(&LogRecord<'_>)) -> anyhow::Result<()> {
        let mut show = |line: &[u8]| LogRecord::parse(line).iter().for_each(&mut show);
        loop {
            match &mut self.from {
                From::Files(lines) => match lines.next_line() {
                    Ok(Some(line)) => show(line.bytes),
                    Ok(None) => return Ok(()),
                    Err(error) if error.is_denied() => self.from = From::Relay(None),
                    Err(error) => return Err(error.into()),
                },
                From::Relay(after) => {
                    let request = Request::Log { filter: LineFilter::default(), last: None, after: *after };
                    let Logged { lines, end, more } = ask(&self.socket, &request)?;
                    lines.iter().for_each(|line| show(line.as_bytes()));
                    *after = end;
                    if !more {
                        return Ok(());
                    }
                }
            }
        }
    }
}
