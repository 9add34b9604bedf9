//! A folder where a file must be, or a file where a folder must be: said with its path and what to do, before anything is touched.

use std::{
    fs,
    path::{Path, PathBuf},
};

use posthaste_config::Config;

use crate::error::OpeningError;

/// What the relay keeps at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

/// Refuses a data folder in which something is of the wrong kind. What cannot be looked at is left to whoever opens it, and
/// so is what the relay can do without: the maildrop and the indexes.
pub(crate) fn check_data(data_dir: &Path) -> Result<(), OpeningError> {
    check(data_dir, &[("", Kind::Folder), ("dkim", Kind::Folder)])?;
    check(
        data_dir,
        &["lock", "format", "alarms.json", "users.toml", "scram.secret", "verp.secret", "dkim/keys.json"].map(|name| (name, Kind::File)),
    )
}

/// The same for the spool and the delivery log.
pub(crate) fn check_stores(config: &Config) -> Result<(), OpeningError> {
    check(&config.spool.dir, &["", "log", "quarantine"].map(|name| (name, Kind::Folder)))?;
    check(&config.spool.dir, &["lock", "segments", "segments.twin", "clean", "holes", "uncompared"].map(|name| (name, Kind::File)))?;
    check(&config.log.dir, &[""].map(|name| (name, Kind::Folder)))?;
    check(&config.log.dir, &["delivery.log", "delivery.files", "delivery.files.twin"].map(|name| (name, Kind::File)))
}

fn check(dir: &Path, names: &[(&str, Kind)]) -> Result<(), OpeningError> {
    for (name, kind) in names {
        let path: PathBuf = if name.is_empty() { dir.to_owned() } else { dir.join(name) };
        let Ok(found) = fs::metadata(&path) else { continue };
        let (wanted, right) = match kind {
            Kind::File => ("file", found.is_file()),
            Kind::Folder => ("folder", found.is_dir()),
        };
        if !right {
            return Err(OpeningError::WrongKind { path, wanted });
        }
    }
    Ok(())
}
