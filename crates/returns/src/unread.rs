//! Mail that cannot be read: reading it panics, or ended the relay twice in a row. It is put aside, so that nothing reads it again for ever and an
//! operator can.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use posthaste_host::{
    Panicked, files, guarded,
    readings::{CRASHES_MAX, Reading, Readings},
};
use posthaste_smtp::server::{Answer, Refused};
use tokio::{
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock},
    task::spawn_blocking,
};

/// Mails that are put aside, at most. With more, others wait where they are: in their mailbox, or at the host that brings them.
const ASIDE_MAX: usize = 20;

/// What keeps a mail from being read for ever.
pub(crate) struct Unread {
    /// The folder of mails that were put aside.
    dir: PathBuf,
    readings: Arc<Readings>,
    /// A suspect is read while nothing else is.
    turns: Arc<RwLock<()>>,
}

/// A mail is being read.
pub(crate) struct Begun {
    /// For as long as somebody has it, the relay's end would be this mail's fault.
    pub(crate) reading: Arc<Reading>,
    _turn: Turn,
}

#[expect(dead_code, reason = "they are held")]
enum Turn {
    With(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

/// Why a mail was not taken.
#[derive(Debug)]
pub(crate) enum Untaken {
    /// Its host hears this; a mailbox keeps it for the next time.
    Refused(Refused),
    /// It cannot be read; why, for people.
    Unreadable(String),
    /// It was put aside before.
    Aside,
}

impl From<Refused> for Untaken {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Panicked> for Untaken {
    fn from(panicked: Panicked) -> Self {
        Self::Unreadable(format!("reading it failed inside the relay ({panicked})"))
    }
}

impl Unread {
    pub(crate) fn open(data_dir: &Path) -> Self {
        let readings = Readings::open(&data_dir.join("returns.reading"));
        Self { dir: data_dir.join("unread"), readings, turns: Arc::default() }
    }

    pub(crate) fn stop(&self) {
        self.readings.stop();
    }

    /// Notes that this mail is being read, unless it must not be.
    pub(crate) async fn begin(&self, mail: &Bytes) -> Result<Begun, Untaken> {
        let key = key(mail).await?;
        if self.path(&key).exists() {
            return Err(Untaken::Aside);
        }
        let crashes = self.readings.crashes(&key);
        if crashes >= CRASHES_MAX {
            return Err(Untaken::Unreadable(format!("the relay ended {crashes} times in a row while it read it")));
        }
        let turns = self.turns.clone();
        let turn = if crashes == 0 { Turn::With(turns.read_owned().await) } else { Turn::Alone(turns.write_owned().await) };
        Ok(Begun { reading: Arc::new(self.readings.begin(&key)), _turn: turn })
    }

    /// A mail was put aside: it is a suspect no more.
    pub(crate) fn forget(&self, key: &str) {
        self.readings.forget(key);
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.eml"))
    }

    /// Keeps the mail. Durable when this returns. Blocks.
    pub(crate) fn keep(&self, key: &str, mail: &[u8]) -> io::Result<PathBuf> {
        files::make_durable_dir(&self.dir)?;
        if fs::read_dir(&self.dir)?.count() >= ASIDE_MAX {
            return Err(io::Error::other(format!(
                "{ASIDE_MAX} mails are in {} already: delete those that are done with",
                self.dir.display()
            )));
        }
        let path = self.path(key);
        match files::create(&path, mail) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(path),
        }
    }
}

/// A panic is a reason, too.
pub(crate) async fn tried<T>(read: impl Future<Output = Result<T, Untaken>>) -> Result<T, Untaken> {
    guarded(read).await.unwrap_or_else(|panicked| Err(panicked.into()))
}

/// What a mail is known by: the same mail has the same, wherever and however often it comes.
pub(crate) async fn key(mail: &Bytes) -> Result<String, Refused> {
    let mail = mail.clone();
    let hash = spawn_blocking(move || digest(&SHA256, &mail)).await;
    let hash = hash.map_err(|_| Refused::new(Answer::trouble("the relay stops, try again later"), "return_trouble"))?;
    Ok(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn begun(unread: &Unread, mail: &'static str) -> Result<Begun, Untaken> {
        unread.begin(&Bytes::from(mail)).await
    }

    #[tokio::test]
    async fn a_suspect_is_read_alone_and_what_ended_the_relay_twice_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let unread = Unread::open(dir.path());
        // The process dies while it reads two mails.
        std::mem::forget((begun(&unread, "bad").await.unwrap(), begun(&unread, "beside").await.unwrap()));
        let unread = Unread::open(dir.path());
        let other = begun(&unread, "other").await.unwrap();
        let alone = begun(&unread, "bad");
        tokio::pin!(alone);
        assert!(futures_util::poll!(&mut alone).is_pending());
        drop(other);
        std::mem::forget(alone.await.unwrap());
        let unread = Unread::open(dir.path());
        assert!(matches!(begun(&unread, "bad").await, Err(Untaken::Unreadable(why)) if why.contains("2 times in a row")));
        drop(begun(&unread, "beside").await.expect("it is read by itself"));
        let key = key(&"bad".into()).await.unwrap();
        let path = unread.keep(&key, b"bad").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"bad");
        assert!(matches!(begun(&unread, "bad").await, Err(Untaken::Aside)));
    }

    #[tokio::test]
    async fn a_mail_whose_reading_panics_is_unreadable() {
        let broken = async || -> Result<(), Untaken> { panic!("a part") };
        let said = tried(broken()).await;
        assert!(matches!(said, Err(Untaken::Unreadable(why)) if why == "reading it failed inside the relay (a part)"));
    }

    #[tokio::test]
    async fn so_many_are_put_aside_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let unread = Unread::open(dir.path());
        for i in 0..ASIDE_MAX {
            unread.keep(&i.to_string(), b"x").unwrap();
        }
        assert!(unread.keep("another", b"x").unwrap_err().to_string().contains("delete those"));
        assert!(!unread.path("another").exists());
    }
}
