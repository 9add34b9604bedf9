//! Mailboxes that are read for what comes back, besides a listener or instead of one. A mail is marked as read behind its durable line; what a
//! crash leaves unmarked is read again, and says nothing new.

mod imap;
mod maildir;
mod mbox;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use posthaste_mail::Name;
use tokio::{task::JoinSet, time::timeout};

use super::Desk;
use crate::{config, live::Live};

/// Mails in hand at once.
const AT_ONCE: usize = 32;
/// Mails of one mailbox before the others have their turn again.
const ROUND_MAX: usize = 1000;
/// As much of a mail as is ever looked at, in bytes.
const MAIL_MAX: u64 = 1 << 20;
/// How long a mailbox may take before the others have their turn.
const WITHIN: Duration = Duration::from_mins(5);

/// Why a mailbox could not be read (to its end).
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{0} is locked by somebody else")]
    Locked(PathBuf),
    #[error("{} is larger than {} MiB: move it away", .path.display(), mbox::SIZE_MAX >> 20)]
    TooLarge { path: PathBuf },
    #[error("{0}")]
    Imap(#[from] async_imap::error::Error),
    #[error("no connection to {0}: {1}")]
    Connect(config::NextHop, io::Error),
    #[error("it took longer than {WITHIN:?}")]
    Slow,
    #[error("{0} mails could not be written down; they are read again")]
    Left(usize),
}

impl Trouble {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// Reads the configured mailboxes for as long as the relay runs. What goes wrong is said once, and once that it is over.
pub async fn watch(desk: Arc<Desk>) {
    let mut troubles: HashMap<Name, String> = HashMap::new();
    loop {
        let live = desk.live();
        let mut reading = JoinSet::new();
        for (name, mailbox) in live.config.returns.mailboxes.clone() {
            let (desk, live) = (desk.clone(), live.clone());
            reading.spawn(async move {
                let read = timeout(WITHIN, read(&desk, &live, &mailbox)).await.unwrap_or(Err(Trouble::Slow));
                (name, read)
            });
        }
        while let Some(done) = reading.join_next().await {
            let Ok((name, read)) = done else { continue };
            match read.map_err(|trouble| trouble.to_string()) {
                Ok(()) if troubles.remove(&name).is_some() => desk.say("alarm_over", format!("the mailbox {name} is read again")),
                Ok(()) => {}
                Err(why) if troubles.get(&name) != Some(&why) => {
                    tracing::warn!(mailbox = %name, why, "cannot read a mailbox");
                    desk.say("alarm", format!("the mailbox {name} cannot be read: {why}"));
                    troubles.insert(name, why);
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(live.config.returns.read_every).await;
    }
}

async fn read(desk: &Arc<Desk>, live: &Arc<Live>, mailbox: &config::Mailbox) -> Result<(), Trouble> {
    match mailbox {
        config::Mailbox::Maildir(path) => maildir::read(desk, path).await,
        config::Mailbox::Mbox(path) => mbox::read(desk, path).await,
        config::Mailbox::Imap(imap) => imap::read(desk, live, imap).await,
    }
}

/// Takes mails, all at once; whether each was.
async fn take(desk: &Arc<Desk>, mails: Vec<Bytes>) -> Vec<bool> {
    let mut taken = vec![false; mails.len()];
    let mut taking = JoinSet::new();
    for (place, mail) in mails.iter().cloned().enumerate() {
        let desk = desk.clone();
        taking.spawn(async move { (place, desk.take(mail, vec![None]).await.is_ok()) });
    }
    while let Some(done) = taking.join_next().await {
        if let Ok((place, is_taken)) = done {
            taken[place] = is_taken;
        }
    }
    // Of two that say the same the second has to wait for the first.
    for (mail, taken) in mails.into_iter().zip(&mut taken).filter(|(_, taken)| !**taken) {
        *taken = desk.take(mail, vec![None]).await.is_ok();
    }
    taken
}

/// Work on files, off the threads that others wait for.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, Trouble> + Send + 'static) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work).await.expect("work on files does not panic")
}

fn all_or(left: usize) -> Result<(), Trouble> {
    if left == 0 { Ok(()) } else { Err(Trouble::Left(left)) }
}
