//! File descriptors: how many files and connections this process may have open, and listeners that keep within their part of them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{sync::Notify, time::timeout};

/// How many connections listeners of one kind take beyond those that may stay, to tell clients that they are too many. The others wait in
/// the system until these have been told.
pub const REFUSED_AT_ONCE: usize = 16;

/// How soon a listener that may take no connection notices that its limit was raised.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Raises the limit of open files (RLIMIT_NOFILE) as far as the system allows without privileges. Returns it.
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Some systems allow a number that no table of files can have.
    let wanted = maximum.unwrap_or(MOST).min(MOST);
    let now = current.unwrap_or(MOST);
    if now >= wanted {
        return now;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => wanted,
        Err(_) => now,
    }
}

const MOST: u64 = 1 << 20;

/// The connections that clients have open at listeners of one kind. What is accepted takes a descriptor, even to be refused, so a listener
/// asks here first.
#[derive(Debug, Default)]
pub struct Gate {
    open: AtomicUsize,
    freed: Notify,
}

/// Leave to accept a connection and to keep it open; given back when dropped.
#[derive(Debug)]
pub struct Admission(Arc<Gate>);

impl Gate {
    /// Waits until fewer than `most` connections are open, and counts one more.
    pub async fn admission(self: &Arc<Self>, most: impl Fn() -> usize) -> Admission {
        loop {
            let freed = self.freed.notified();
            if self.open.fetch_update(Relaxed, Relaxed, |open| (open < most()).then_some(open + 1)).is_ok() {
                return Admission(self.clone());
            }
            drop(timeout(LOOK_AGAIN, freed).await);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        self.0.freed.notify_waiters();
    }
}

/// Whether a listener can accept connections. That it cannot is said once, however long it lasts, and that it can again.
#[derive(Debug, Default)]
pub struct Accepting {
    /// How many tries in a row have failed.
    failures: u32,
}

/// What an operator has to know of a listener.
#[derive(Debug, PartialEq, Eq)]
pub enum AcceptNews {
    /// It has accepted no connection for some time, for this reason, and clients wait.
    Fails(String),
    /// It accepts connections again.
    Again,
}

impl Accepting {
    /// The listener tried to accept a connection. It tries ten times a second while it fails.
    pub fn note<T>(&mut self, listener: &str, accepted: &io::Result<T>) -> Option<AcceptNews> {
        match accepted {
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == 1 {
                    tracing::warn!(%listener, %error, "no connection can be accepted, and clients wait");
                }
                (self.failures == ALARMING).then(|| AcceptNews::Fails(error.to_string()))
            }
            Ok(_) => {
                let failed = std::mem::take(&mut self.failures);
                if failed > 0 {
                    tracing::warn!(%listener, "connections are accepted again");
                }
                (failed >= ALARMING).then_some(AcceptNews::Again)
            }
        }
    }
}

/// So many failures in a row are worth an alarm: about two seconds.
const ALARMING: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_fails_for_long_is_news_and_so_is_its_end() {
        let mut accepting = Accepting::default();
        let mut note = |fails: bool| accepting.note("app", &if fails { Err(io::Error::other("too many open files")) } else { Ok(()) });
        assert_eq!((note(true), note(false)), (None, None), "it passed at once");
        let news: Vec<_> = (0..100).filter_map(|_| note(true)).collect();
        assert_eq!(news, [AcceptNews::Fails("too many open files".into())]);
        assert_eq!((note(false), note(false)), (Some(AcceptNews::Again), None));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_connections_are_accepted_than_may_be_open() {
        let gate = Arc::new(Gate::default());
        let open: Vec<Admission> = vec![gate.admission(|| 2).await, gate.admission(|| 2).await];
        assert!(timeout(Duration::from_secs(60), gate.admission(|| 2)).await.is_err());
        let raised = timeout(2 * LOOK_AGAIN, gate.admission(|| 3)).await.expect("the limit was raised");
        drop((open, raised));
        assert!(timeout(Duration::ZERO, gate.admission(|| 1)).await.is_ok());
        let (one, waits) = (gate.admission(|| 1).await, gate.clone());
        let waits = tokio::spawn(async move { waits.admission(|| 1).await });
        tokio::task::yield_now().await;
        drop(one);
        assert!(timeout(LOOK_AGAIN / 2, waits).await.is_ok(), "who waits is told");
    }
}
