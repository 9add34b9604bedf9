//! Waits until what an operator decided survives a crash.

use std::{sync::mpsc::Sender, time::Duration};

use posthaste_spool::Spool;
use tokio::{sync::oneshot, time::timeout};

use super::Note;

/// Knows when decisions are on disk.
#[derive(Clone)]
pub(crate) struct OnDisk {
    recorder: Sender<Note>,
    spool: Spool,
}

/// How long an operator waits for the disk.
const PATIENCE: Duration = Duration::from_secs(10);

impl OnDisk {
    /// Of what this recorder writes down and this spool keeps.
    pub(crate) fn new(recorder: Sender<Note>, spool: Spool) -> Self {
        Self { recorder, spool }
    }

    /// Waits until all that was decided before is on disk: its lines in the log, and what the spool knows by them.
    ///
    /// # Errors
    /// It is not, after some seconds; why.
    pub(crate) async fn wait(&self) -> Result<(), String> {
        let (tell, told) = oneshot::channel();
        drop(self.recorder.send(Note::Tell(tell)));
        match timeout(PATIENCE, told).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err("the relay stops".into()),
            Err(_) => return Err("the delivery log cannot be written at present".into()),
        }
        // What the log's lines change in the spool was handed to it before they told us.
        match timeout(PATIENCE, self.spool.sync()).await {
            Ok(synced) => synced.map_err(|error| format!("the spool cannot be written at present: {error}")),
            Err(_) => Err("the spool cannot be written at present".into()),
        }
    }
}
