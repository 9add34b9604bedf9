//! Limits, errors and functions that all kinds of mailboxes share.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use posthaste_mail::NextHop;
use tokio::task::JoinSet;

use crate::handler::ReturnHandler;

/// Mails that are handled at once.
pub(super) const AT_ONCE: usize = 32;
/// Mails of one mailbox before the others have their turn again.
pub(super) const ROUND_MAX: usize = 1000;
/// How much of a mail is read, in bytes.
pub(super) const MAIL_MAX: u64 = 1 << 20;
/// How long a mailbox may take before the others have their turn.
pub(super) const WITHIN: Duration = Duration::from_mins(5);
/// The largest file in mbox form that is read, in bytes.
pub(super) const MBOX_MAX: u64 = 64 << 20;

/// Why a mailbox could not be read (to its end).
#[derive(Debug, thiserror::Error)]
pub(super) enum MailboxError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{0} is locked by somebody else")]
    Locked(PathBuf),
    #[error("{} is larger than {} MiB: move it away", .path.display(), MBOX_MAX >> 20)]
    TooLarge { path: PathBuf },
    #[error("{0}")]
    Imap(#[from] async_imap::error::Error),
    #[error("no connection to {0}: {1}")]
    Connect(NextHop, io::Error),
    #[error("it took longer than {WITHIN:?}")]
    Slow,
    #[error("{0} mails could not be written down; they are read again")]
    Left(usize),
}

impl MailboxError {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// Handles mails, all at once. Returns for each whether it was handled.
pub(super) async fn take(handler: &Arc<ReturnHandler>, mails: Vec<Bytes>) -> Vec<bool> {
    let mut taken = vec![false; mails.len()];
    let mut taking = JoinSet::new();
    for (place, mail) in mails.iter().cloned().enumerate() {
        let handler = handler.clone();
        taking.spawn(async move { (place, handler.take_fetched(mail).await.is_ok()) });
    }
    while let Some(done) = taking.join_next().await {
        if let Ok((place, is_taken)) = done {
            taken[place] = is_taken;
        }
    }
    // Of two mails with the same report the second has to wait for the first.
    for (mail, taken) in mails.into_iter().zip(&mut taken).filter(|(_, taken)| !**taken) {
        *taken = handler.take_fetched(mail).await.is_ok();
    }
    taken
}

/// Runs work on files on a thread that may block.
pub(super) async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, MailboxError> + Send + 'static) -> Result<T, MailboxError> {
    tokio::task::spawn_blocking(work).await.expect("work on files does not panic")
}

pub(super) fn all_or(left: usize) -> Result<(), MailboxError> {
    if left == 0 { Ok(()) } else { Err(MailboxError::Left(left)) }
}
