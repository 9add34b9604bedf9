//! Copies of the log's files under names of the log: their lines would count twice. An older copy begins with the same line as the file that it
//! was made of, and holds nothing that this one does not.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    super::{
        FileId, LogAlarm, LogError,
        disk::{Disk, LogFolder},
        files::{self, CURRENT, LogFile},
        inventory::checksum,
    },
    Appender,
    rotated::name_of,
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
    let original = original_of(dir, &current).map_err(LogError::io("read", &current))?;
    original.map(|original| put_aside(folder, &current, &original, now)).transpose()
}

/// The rotated file of which this one is a copy: it begins with all bytes of this one.
pub(super) fn original_of(dir: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let Some((copy, id)) = opened(path)? else { return Ok(None) };
    let others = files::list(dir).map_err(io::Error::other)?.into_iter().filter(|file| file.rotated.is_some() && file.path != path);
    for LogFile { path, .. } in others {
        if let Some((other, _)) = opened(&path)?.filter(|(_, other)| *other == id)
            && begins_with(&other, &copy)?
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// A file with its identity; None if it is gone, or has no line.
fn opened(path: &Path) -> io::Result<Option<(File, FileId)>> {
    match File::open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(FileId::read(&file)?.map(|id| (file, id))),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn begins_with(file: &File, copy: &File) -> io::Result<bool> {
    let length = copy.metadata()?.len();
    Ok(file.metadata()?.len() >= length && checksum(file, 0..length, 0)? == checksum(copy, 0..length, 0)?)
}

fn put_aside(folder: &dyn LogFolder, copy: &Path, original: &Path, now: Timestamp) -> Result<String, LogError> {
    let dir = copy.parent().unwrap_or(Path::new("."));
    let aside = files::aside_path(dir, &name_of(copy), now);
    folder.rename(copy, &aside).map_err(LogError::io("rename", copy))?;
    files::sync_dir(dir)?;
    let (copy, original, aside) = (name_of(copy), name_of(original), aside.display());
    Ok(format!("{copy} was an older copy of {original}, whose lines would count twice; it is now {aside} and no part of the log"))
}

impl Appender {
    /// Whether the open file was overwritten with a copy of a rotated one. What waits of our own lines may stand behind that.
    pub(super) fn holds_a_copy(&self) -> io::Result<bool> {
        let Some(id) = FileId::read(self.disk.file())?.filter(|id| Some(*id) != self.file) else { return Ok(false) };
        Ok(self.inventory.rotated.iter().any(|listed| listed.file == id && self.options.dir.join(&listed.name).is_file()))
    }

    /// Moves the open file, which others have overwritten with a copy of a rotated one, out of the log. All that waits is written anew.
    pub(super) fn drop_copy(&mut self) -> Result<(), LogError> {
        let (current, now) = (self.options.dir.join(CURRENT), (self.clock)());
        let aside = files::aside_path(&self.options.dir, CURRENT, now);
        self.folder.rename(&current, &aside).map_err(LogError::io("rename", &current))?;
        self.alarms.push(LogAlarm::Meddled(format!(
            "another program has written an older copy of a rotated file into {CURRENT}; it is now {} and no part of the log",
            aside.display()
        )));
        Ok(())
    }

    /// Puts a rotated file that is not on the list aside if the current one, or one that is listed, begins with all that it holds. Where it is the
    /// other way round, the listed one is the copy, and leaves the list. Returns whether this one is put aside.
    pub(super) fn is_put_aside(&mut self, path: &Path) -> Result<bool, LogError> {
        let now = (self.clock)();
        let read = |path: &Path| opened(path).map_err(LogError::io("read", path));
        let Some((found, id)) = read(path)? else { return Ok(false) };
        let listed = self.inventory.rotated.iter().filter(|listed| listed.file == id).map(|listed| self.options.dir.join(&listed.name));
        let current = (self.file == Some(id)).then(|| self.options.dir.join(CURRENT));
        for other in listed.chain(current).collect::<Vec<_>>() {
            let Some((file, _)) = read(&other)?.filter(|(_, other)| *other == id) else { continue };
            let begins = |long: &File, short: &File| begins_with(long, short).map_err(LogError::io("read", path));
            if begins(&file, &found)? {
                let said = put_aside(&*self.folder, path, &other, now)?;
                self.alarms.push(LogAlarm::Meddled(said));
                return Ok(true);
            }
            if !other.ends_with(CURRENT) && begins(&found, &file)? {
                let said = put_aside(&*self.folder, &other, path, now)?;
                self.inventory.rotated.retain(|listed| !other.ends_with(&listed.name));
                self.alarms.push(LogAlarm::Meddled(said));
                continue;
            }
            let (one, two) = (name_of(path), name_of(&other));
            self.alarms.push(LogAlarm::Meddled(format!(
                "{one} and {two} begin with the same lines and go on differently: what both hold counts twice, and posthaste audit fails. Only \
                 one of them can be right: move the other out of the folder"
            )));
        }
        Ok(false)
    }
}

/// Files that begin with the same line, by their names: a relay that runs puts copies aside.
pub(crate) fn doubles(dir: &Path) -> Result<Vec<(String, String)>, LogError> {
    let (mut known, mut doubles) = (std::collections::HashMap::new(), Vec::new());
    for file in files::list(dir)? {
        let Some((_, id)) = opened(&file.path).map_err(LogError::io("read", &file.path))? else { continue };
        if let Some(other) = known.insert(id, name_of(&file.path)) {
            doubles.push((other, name_of(&file.path)));
        }
    }
    Ok(doubles)
}

/// Whether the folder may hold other files than at the last look: it has another time of change.
pub(super) fn changed(dir: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(dir).and_then(|dir| dir.modified()).ok()
}
