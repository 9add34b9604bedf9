//! Copies of the log's files under names of the log: their lines would count twice. An older copy begins with the same line as the file that it
//! was made of, and holds nothing that this one does not.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::super::{
    FileId, LogError,
    disk::{Disk, LogFolder},
    files::{self, CURRENT, LogFile},
    inventory::{Inventory, checksum},
};

/// Puts `delivery.log` aside if it is a copy, older or not, of a rotated file. Returns what happened, in words; None: it is no copy. For those who
/// read the log before it is opened for writing; no relay may be writing it.
///
/// # Errors
/// The files cannot be read or renamed.
pub fn put_copy_aside(dir: &Path, now: Timestamp) -> Result<Option<String>, LogError> {
    put_current_aside(&Disk, dir, now)
}

/// As [`put_copy_aside`], in this folder.
pub(super) fn put_current_aside(folder: &dyn LogFolder, dir: &Path, now: Timestamp) -> Result<Option<String>, LogError> {
    let current = dir.join(CURRENT);
    let listed = Inventory::read(dir)?.and_then(|list| list.current).map(|current| current.file);
    let original = original_of(dir, &current, listed).map_err(LogError::io("read", &current))?;
    original.map(|original| put_aside(folder, &current, &original, now)).transpose()
}

/// The rotated file of which this one is a copy: it begins with all bytes of this one. `current` is the file that the list has as the current one: of
/// two that are the same, the other is the copy.
pub(super) fn original_of(dir: &Path, path: &Path, current: Option<FileId>) -> io::Result<Option<PathBuf>> {
    let Some((copy, id)) = opened(path)? else { return Ok(None) };
    let least = copy.metadata()?.len() + u64::from(current == Some(id));
    let others = files::list(dir).map_err(io::Error::other)?.into_iter().filter(|file| file.rotated.is_some() && file.path != path);
    for LogFile { path, .. } in others {
        if let Some((other, _)) = opened(&path)?.filter(|(_, other)| *other == id)
            && other.metadata()?.len() >= least
            && begins_with(&other, &copy)?
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// A file with its identity; None if it is gone, or has no line.
pub(super) fn opened(path: &Path) -> io::Result<Option<(File, FileId)>> {
    match files::open_regular(path) {
        Ok(file) => Ok(FileId::read(&file)?.map(|id| (file, id))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn begins_with(file: &File, copy: &File) -> io::Result<bool> {
    let length = copy.metadata()?.len();
    Ok(file.metadata()?.len() >= length && checksum(file, 0..length, 0)? == checksum(copy, 0..length, 0)?)
}

pub(super) fn put_aside(folder: &dyn LogFolder, copy: &Path, original: &Path, now: Timestamp) -> Result<String, LogError> {
    let dir = copy.parent().unwrap_or(Path::new("."));
    let aside = files::aside_path(dir, &files::name_of(copy), now);
    folder.rename(copy, &aside).map_err(LogError::io("rename", copy))?;
    files::sync_dir(dir)?;
    let (copy, original, aside) = (files::name_of(copy), files::name_of(original), aside.display());
    Ok(format!("{copy} was an older copy of {original}, whose lines would count twice; it is now {aside} and no part of the log"))
}

/// Files that begin with the same line, by their names: a relay that runs puts copies aside.
pub(crate) fn doubles(dir: &Path) -> Result<Vec<(String, String)>, LogError> {
    let (mut known, mut doubles) = (std::collections::HashMap::new(), Vec::new());
    for file in files::list(dir)? {
        let Some((_, id)) = opened(&file.path).map_err(LogError::io("read", &file.path))? else { continue };
        if let Some(other) = known.insert(id, files::name_of(&file.path)) {
            doubles.push((other, files::name_of(&file.path)));
        }
    }
    Ok(doubles)
}

/// Whether the folder may hold other files than at the last look: it has another time of change.
pub(super) fn changed(dir: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(dir).and_then(|dir| dir.modified()).ok()
}
