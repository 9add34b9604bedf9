//! Names and order of the log's files.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use rustix::fs::OFlags;

use super::{FileId, LogError, Position};

/// The name of the file that lines are appended to.
pub const CURRENT: &str = "delivery.log";

/// The name of a file that becomes the current one once the lost one is out of its way.
pub(super) const NEXT: &str = "delivery.log.next";

/// One file of the log as found in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    /// The number in its name; the current file has the number that it will get when rotated.
    pub(crate) number: u64,
    /// When it was rotated; None for the current file.
    pub(crate) rotated: Option<Timestamp>,
    pub(crate) inode: u64,
}

impl LogFile {
    /// Opens it: the file, its identity and its length; None until its first line is complete.
    pub(crate) fn open(&self) -> io::Result<Option<(File, FileId, u64)>> {
        let file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        Ok(FileId::read(&file)?.map(|id| (file, id, length)))
    }
}

/// Opens a file to read it. Anything else of its name is an error: nobody waits for a pipe.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")) }
}

/// All files, oldest first. A rotation during the scan would hide or double a file, so the folder is scanned until two scans agree.
pub(crate) fn list(dir: &Path) -> Result<Vec<LogFile>, LogError> {
    let mut seen = scan(dir).map_err(LogError::io("list", dir))?;
    for _ in 0..LOOKS_MAX {
        let again = scan(dir).map_err(LogError::io("list", dir))?;
        if again == seen {
            break;
        }
        seen = again;
    }
    Ok(seen)
}

/// The most scans; nobody rotates that often.
const LOOKS_MAX: usize = 100;

fn scan(dir: &Path) -> io::Result<Vec<LogFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Some((number, rotated)) = entry.file_name().to_str().and_then(parse_name) else { continue };
        match fs::metadata(entry.path()) {
            // A folder of such a name is none of ours, nor is a pipe, which would keep a reader waiting.
            Ok(meta) if !meta.is_file() => {}
            Ok(meta) => files.push(LogFile { path: entry.path(), number, rotated, inode: meta.ino() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    files.sort_by_key(|f| f.number);
    let next = next_number(&files);
    if let Some(current) = files.last_mut().filter(|f| f.rotated.is_none()) {
        current.number = next;
    }
    Ok(files)
}

/// The number after that of the newest rotated file.
pub(crate) fn next_number(files: &[LogFile]) -> u64 {
    files.iter().filter(|f| f.rotated.is_some()).map(|f| f.number).max().unwrap_or(0) + 1
}

fn parse_name(name: &str) -> Option<(u64, Option<Timestamp>)> {
    if name == CURRENT {
        return Some((u64::MAX, None));
    }
    let (time, number) = name.strip_prefix("delivery-")?.strip_suffix(".log")?.split_once('-')?;
    let time = TimeZone::UTC.to_timestamp(DateTime::strptime(NAME_TIME, time).ok()?).ok()?;
    Some((number.parse().ok().filter(|n| *n < u64::MAX)?, Some(time)))
}

pub(crate) fn rotated_name(now: Timestamp, number: u64) -> String {
    format!("delivery-{}-{number}.log", now.strftime(NAME_TIME))
}

/// The length of the file with this identity, if the reader finds it.
pub(crate) fn length_of(dir: &Path, wanted: FileId) -> Result<Option<u64>, LogError> {
    Ok(find(dir, wanted)?.map(|(_, length)| length))
}

/// The file with this identity and its length, if the reader finds it.
pub(crate) fn find(dir: &Path, wanted: FileId) -> Result<Option<(PathBuf, u64)>, LogError> {
    for file in list(dir)?.into_iter().rev() {
        let look = || -> io::Result<_> {
            let handle = File::open(&file.path)?;
            Ok((FileId::read(&handle)? == Some(wanted)).then_some(handle.metadata()?.len()))
        };
        if let Some(length) = look().map_err(LogError::io("read", &file.path))? {
            return Ok(Some((file.path, length)));
        }
    }
    Ok(None)
}

/// Finds the file of this position under a name that the reader does not know, and gives it one that it does. Returns the old name and the
/// new one; None if there is no such file, or if the reader finds it anyway.
pub fn take_back(dir: &Path, position: &Position, now: Timestamp) -> Result<Option<(PathBuf, PathBuf)>, LogError> {
    if length_of(dir, position.file)?.is_some_and(|length| length >= position.offset) {
        return Ok(None);
    }
    let is_it = |path: &Path| -> io::Result<bool> {
        let regular = fs::symlink_metadata(path)?.is_file();
        let file = if regular { File::open(path)? } else { return Ok(false) };
        Ok(file.metadata()?.len() >= position.offset && FileId::read(&file)? == Some(position.file))
    };
    for entry in fs::read_dir(dir).map_err(LogError::io("list", dir))?.flatten() {
        let path = entry.path();
        // Whatever cannot be read is none of ours.
        if path.ends_with(CURRENT) || is_rotated(&path) || !is_it(&path).unwrap_or(false) {
            continue;
        }
        let name = dir.join(rotated_name(now, next_number(&list(dir)?)));
        fs::rename(&path, &name).map_err(LogError::io("rename", &path))?;
        sync_dir(dir)?;
        return Ok(Some((path, name)));
    }
    Ok(None)
}

/// Whether the path has the name of a rotated file.
pub(crate) fn is_rotated(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).and_then(parse_name).is_some_and(|(_, rotated)| rotated.is_some())
}

/// A free name for a file that is not the log's; the reader does not know it.
pub(crate) fn aside_path(dir: &Path, of: &str, now: Timestamp) -> PathBuf {
    let name = |n: u64| dir.join(format!("{of}.not-ours-{}-{n}", now.strftime(NAME_TIME)));
    (1..).map(name).find(|path| fs::symlink_metadata(path).is_err()).expect("one of the names is free")
}

const NAME_TIME: &str = "%Y%m%dT%H%M%SZ";

/// Makes renames, creations and deletions in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), LogError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(LogError::io("sync", dir))
}

/// Writes a file that is made of the log, durably, in place of one of that name. Its folder is made if it is missing.
pub(crate) fn put(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), LogError> {
    let (folder, new) = (path.parent().unwrap_or(Path::new(".")), path.with_extension("new"));
    let put = || -> io::Result<()> {
        // Another table may be written at the same time.
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let mut out = BufWriter::new(&file);
        fill(&mut out)?;
        out.flush()?;
        drop(out);
        file.sync_data()?;
        fs::rename(&new, path)
    };
    put().map_err(LogError::io("write", path))?;
    sync_dir(folder)
}

/// The name of a file of the log.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_strangers_are_left_alone() {
        let time: Timestamp = "2026-08-24T10:11:12Z".parse().unwrap();
        assert_eq!(rotated_name(time, 7), "delivery-20260824T101112Z-7.log");
        assert_eq!(parse_name("delivery-20260824T101112Z-7.log"), Some((7, Some(time))));
        assert_eq!(parse_name(CURRENT), Some((u64::MAX, None)));
        for stranger in ["delivery.log.gz", "delivery-7.log", "delivery-20260824T101112Z-x.log", "other.log", "delivery-2026-7.log"] {
            assert_eq!(parse_name(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn files_are_ordered_by_number_and_not_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["delivery-20260824T101112Z-10.log", "delivery-20260825T101112Z-9.log", CURRENT, "README"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let numbers: Vec<_> = list(dir.path()).unwrap().iter().map(|f| (f.number, f.rotated.is_none())).collect();
        assert_eq!(numbers, [(9, false), (10, false), (11, true)]);
    }
}
