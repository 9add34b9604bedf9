//! The file in which the outbox survives restarts.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use posthaste_host::files;

use crate::{Outbox, Unreadable};

/// The file's name in the data folder.
const NAME: &str = "channels.json";

pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// The outbox of the file; an empty one if there is none. A file that cannot be used is put aside: an alarm that is told twice is better than a
/// relay that does not start. What happened to it comes back, for the operator.
pub(crate) fn load(path: &Path, now: Timestamp) -> (Outbox, Option<String>) {
    let why = match files::read(path) {
        Ok(bytes) => match Outbox::from_bytes(&bytes) {
            Ok(outbox) => return (outbox, None),
            Err(error) => error.to_string(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (Outbox::default(), None),
        Err(error) => error.to_string(),
    };
    let aside = path.with_added_extension(format!("unreadable-{}", now.as_second()));
    let moved = match std::fs::rename(path, &aside) {
        Ok(()) => format!("it is now {}", aside.display()),
        Err(error) => format!("and it cannot be renamed: {error}"),
    };
    let what = format!("{} cannot be used: {why}; {moved}. Incidents that are open may be told again", path.display());
    (Outbox::default(), Some(what))
}

/// Refuses the file of a data folder if another version wrote it. Changes nothing; the file need not exist, and may be damaged.
///
/// # Errors
/// The file, and its version.
pub fn refuse_unknown(data_dir: &Path) -> Result<(), (PathBuf, Unreadable)> {
    let path = path(data_dir);
    match files::read(&path).map(|bytes| Outbox::from_bytes(&bytes)) {
        Ok(Err(error @ Unreadable::Version(_))) => Err((path, error)),
        _ => Ok(()),
    }
}

/// Blocks until it is durable.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    files::replace(path, bytes)
}
