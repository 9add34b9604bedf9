//! The signals that the relay obeys.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use crate::{desk::Reload, reload::Reloader};

/// SIGTERM, SIGINT and SIGHUP.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    /// Never read. The system ends a process that has no handler for it when a file would grow beyond the limit for files (RLIMIT_FSIZE); with
    /// one, the write fails as on a full disk.
    _too_large: Signal,
}

impl Signals {
    /// Registers the handlers. From here on signals are kept until they are read.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            _too_large: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Reloads on SIGHUP and on request of the admin socket; returns on SIGTERM or SIGINT.
    pub(super) async fn stop_or_reload(mut self, reloader: &Reloader, mut reloads: mpsc::Receiver<Reload>) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.int.recv() => return,
                _ = self.hup.recv() => drop(reloader.reload().await),
                Some(done) = reloads.recv() => drop(done.send(reloader.reload().await)),
            }
        }
    }
}
