//! A Maildir: each mail is a file in `new`. Mail that was read is moved to `cur`, marked as seen.

use std::{ffi::OsString, fs, io::Read, path::Path, sync::Arc};

use bytes::Bytes;

use posthaste_host::{files, rights::within};

use super::common::{AT_ONCE, MAIL_MAX, MailboxError, ROUND_MAX, all_or, on_disk, take};
use crate::handler::ReturnHandler;

pub(super) async fn read(handler: &Arc<ReturnHandler>, path: &Path) -> Result<(), MailboxError> {
    let new = path.join("new");
    let names = on_disk(move || names(&new)).await?;
    let mut left = 0;
    for some in names.chunks(AT_ONCE) {
        let (new, some_names) = (path.join("new"), some.to_vec());
        let mails = on_disk(move || some_names.iter().map(|name| mail(&new.join(name))).collect::<Result<Vec<_>, _>>()).await?;
        let taken = take(handler, mails).await;
        left += taken.iter().filter(|taken| !**taken).count();
        let seen: Vec<_> = some.iter().zip(taken).filter(|(_, taken)| *taken).map(|(name, _)| name.clone()).collect();
        let path = path.to_owned();
        on_disk(move || seen.iter().try_for_each(|name| mark(&path, name))).await?;
    }
    all_or(left)
}

/// The names of the mails, the oldest first, since names begin with the time.
fn names(new: &Path) -> Result<Vec<OsString>, MailboxError> {
    let entries = within(new, || fs::read_dir(new)).map_err(MailboxError::file(new))?;
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name()).filter(|name| !name.to_string_lossy().starts_with('.')).collect();
    names.sort();
    names.truncate(ROUND_MAX);
    Ok(names)
}

fn mail(path: &Path) -> Result<Bytes, MailboxError> {
    let mut mail = Vec::new();
    let read = files::open(path).and_then(|file| file.take(MAIL_MAX).read_to_end(&mut mail));
    read.map(|_| mail.into()).map_err(MailboxError::file(path))
}

fn mark(path: &Path, name: &OsString) -> Result<(), MailboxError> {
    let mut seen = name.clone();
    seen.push(":2,S");
    let new = path.join("new").join(name);
    within(&path.join("new"), || fs::rename(&new, path.join("cur").join(seen))).map_err(MailboxError::file(&new))
}
