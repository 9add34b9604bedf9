//! A file in mbox format (RFC 4155), locked as mail systems lock it. Mail that was read is appended to `FILE.read`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use jiff::Timestamp;
use memchr::memmem;
use posthaste_host::{
    clock,
    rights::{along, within},
};
use rustix::fs::{FlockOperation, OFlags, fcntl_lock};

use super::common::{AT_ONCE, MAIL_MAX, MBOX_MAX, MailboxError, all_or, on_disk, take};
use crate::handler::ReturnHandler;

/// Of `open(2)`: a link in the file's place is an error.
const NOFOLLOW: i32 = OFlags::NOFOLLOW.bits().cast_signed();
/// A lock file of this age is stale: it is twice the time that a mailbox may take.
const STALE: Duration = Duration::from_mins(10);

pub(super) async fn read(handler: &Arc<ReturnHandler>, path: &Path) -> Result<(), MailboxError> {
    let at = path.to_owned();
    let Some((locked, content)) = on_disk(move || Locked::open(&at)).await? else { return Ok(()) };
    let mut left = 0;
    for some in mails(&content).chunks(AT_ONCE) {
        left += take(handler, some.to_vec()).await.iter().filter(|taken| !**taken).count();
    }
    // All or nothing: if a mail is left, all of them are read again, and the reports of the others do not count twice.
    all_or(left)?;
    on_disk(move || locked.empty(&content)).await
}

/// The file while it is locked against other writers.
struct Locked {
    file: File,
    path: PathBuf,
    _lock: LockFile,
}

impl Locked {
    /// None for an empty file.
    fn open(path: &Path) -> Result<Option<(Self, Bytes)>, MailboxError> {
        let length = along(path, || fs::metadata(path)).map_err(MailboxError::file(path))?.len();
        if length == 0 {
            return Ok(None);
        }
        if length > MBOX_MAX {
            return Err(MailboxError::TooLarge { path: path.to_owned() });
        }
        // Taken before the file is opened: closing any descriptor of it would release another one's fcntl lock.
        let lock = LockFile::make(path)?;
        let file = along(path, || OpenOptions::new().read(true).write(true).open(path)).map_err(MailboxError::file(path))?;
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| MailboxError::Locked(path.to_owned()))?;
        let mut content = Vec::new();
        (&file).take(MBOX_MAX).read_to_end(&mut content).map_err(MailboxError::file(path))?;
        Ok(Some((Self { file, path: path.to_owned(), _lock: lock }, content.into())))
    }

    /// Keeps a copy of the content, then empties the file. After a crash between the two it is read once more.
    fn empty(self, content: &[u8]) -> Result<(), MailboxError> {
        let copy = beside(&self.path, "read");
        // In the folder of a mailbox others may write, so a link is not followed.
        let open = || OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(NOFOLLOW).open(&copy);
        let mut read = within(folder(&copy), open).map_err(MailboxError::file(&copy))?;
        read.write_all(content).and_then(|()| read.sync_all()).map_err(MailboxError::file(&copy))?;
        let emptied = self.file.set_len(0).and_then(|()| self.file.sync_all());
        emptied.map_err(MailboxError::file(&self.path))
    }
}

/// `FILE.lock`, which is removed when this is dropped.
struct LockFile(PathBuf);

impl LockFile {
    fn make(of: &Path) -> Result<Self, MailboxError> {
        let lock = beside(of, "lock");
        // The process that made it may have been killed, as this relay may.
        if fs::symlink_metadata(&lock).and_then(|m| m.modified()).is_ok_and(is_stale) {
            tracing::warn!(lock = %lock.display(), "the lock file of a mailbox is stale and is removed");
            let _ = within(folder(&lock), || fs::remove_file(&lock));
        }
        match within(folder(&lock), || OpenOptions::new().write(true).create_new(true).open(&lock)) {
            Ok(_) => Ok(Self(lock)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(MailboxError::Locked(of.to_owned())),
            Err(source) => Err(MailboxError::File { path: lock, source }),
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if let Err(error) = within(folder(&self.0), || fs::remove_file(&self.0)) {
            tracing::warn!(lock = %self.0.display(), %error, "cannot remove a mailbox's lock");
        }
    }
}

fn is_stale(made: SystemTime) -> bool {
    let made = Timestamp::try_from(made).unwrap_or(Timestamp::MAX);
    made.saturating_add(STALE).is_ok_and(|until| until < clock::now())
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    path.with_added_extension(extension)
}

/// The mails in the file. Each begins behind a line `From …` at the start of the file or after an empty line.
fn mails(content: &Bytes) -> Vec<Bytes> {
    let starts: Vec<usize> = memmem::find_iter(content, b"From ").filter(|at| begins_mail(&content[..*at])).collect();
    let ends = starts.iter().skip(1).copied().chain([content.len()]);
    let whole = starts.iter().zip(ends).map(|(start, end)| content.slice(*start..end));
    let most = usize::try_from(MAIL_MAX).unwrap_or(usize::MAX);
    whole.filter_map(|m| memchr::memchr(b'\n', &m).map(|line| m.slice(line + 1..m.len().min(line + 1 + most)))).collect()
}

fn begins_mail(before: &[u8]) -> bool {
    before.is_empty() || before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mails_begin_at_from_lines_behind_empty_ones() {
        let text = "From a@x Mon Nov 23\nSubject: 1\n\nFrom here on\nFrom me\n\nFrom b@x Mon Nov 23\r\nSubject: 2\r\n\r\n>From you\r\n";
        let found: Vec<_> = mails(&Bytes::from(text)).iter().map(|m| String::from_utf8_lossy(m).into_owned()).collect();
        assert_eq!(found, ["Subject: 1\n\n", "From me\n\n", "Subject: 2\r\n\r\n>From you\r\n"]);
        assert!(mails(&Bytes::from("Subject: none\n\nFromage\n")).is_empty());
    }

    #[test]
    fn a_lock_of_somebody_killed_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("box");
        let lock = File::create(dir.path().join("box.lock")).unwrap();
        assert!(matches!(LockFile::make(&path), Err(MailboxError::Locked(_))));
        lock.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        assert!(LockFile::make(&path).is_ok());
    }

    #[test]
    fn nobody_reads_what_somebody_else_has_locked_and_what_was_read_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("box");
        fs::write(&path, "From a@x\nSubject: 1\n\n").unwrap();
        let (locked, content) = Locked::open(&path).unwrap().unwrap();
        assert!(matches!(Locked::open(&path), Err(MailboxError::Locked(_))));
        locked.empty(&content).unwrap();
        assert!(Locked::open(&path).unwrap().is_none());
        assert_eq!(fs::read(dir.path().join("box.read")).unwrap(), content);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_in_place_of_the_copy_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("box"), dir.path().join("victim"));
        fs::write(&path, "From a@x\nSubject: 1\n\n").unwrap();
        fs::write(&victim, "theirs").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("box.read")).unwrap();
        let (locked, content) = Locked::open(&path).unwrap().unwrap();
        assert!(locked.empty(&content).is_err());
        assert_eq!((fs::read(&victim).unwrap(), fs::read(&path).unwrap()), (b"theirs".to_vec(), content.to_vec()), "nothing is lost");
    }
}
