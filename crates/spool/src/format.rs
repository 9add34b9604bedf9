//! The formats of the spool's files. Each begins with letters and a digit. A file with another digit is refused before anything is touched: an
//! unknown format is no damage.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::{
    OpenError, index_dir,
    segment::{self, Listing},
};

/// The letters before the digit, and the newest digit that this version knows.
struct Format {
    letters: &'static [u8],
    known: u8,
}

const SEGMENT: Format = Format { letters: b"PHSPOOL", known: 1 };
const RECORD: Format = Format { letters: b"PhR", known: 1 };
const CHECKPOINT: Format = Format { letters: b"PHCLEAN", known: 1 };

impl Format {
    /// Refuses a file that begins with the letters and then with another digit than the known one, or a letter. Whether its checksums are right
    /// makes no difference: those of an unknown format cannot be verified.
    fn check(&self, path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
        match bytes.strip_prefix(self.letters).and_then(<[u8]>::first) {
            Some(version) if *version != b'0' + self.known && version.is_ascii_alphanumeric() => Err(self.refused(path, *version)),
            _ => Ok(()),
        }
    }

    fn refused(&self, path: &Path, version: u8) -> OpenError {
        let (path, known) = (path.to_owned(), u32::from(self.known));
        match version.checked_sub(b'0').map(u32::from) {
            Some(found) if found <= 9 && found > known => OpenError::Newer { path, found, known },
            _ => OpenError::Unknown { path, found: format!("{}{}", self.letters.escape_ascii(), version.escape_ascii()) },
        }
    }
}

/// Refuses a spool that another version wrote, by the beginnings of its files. Records amid a segment are looked at when they are read.
pub(crate) fn check(dir: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path, source: io::Error| OpenError::Io { path: path.to_owned(), source };
    let clean = dir.join("clean");
    match beginning(&clean, 8) {
        Ok(bytes) => CHECKPOINT.check(&clean, &bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(&clean, error)),
    }
    check_index(dir)?;
    let log = dir.join("log");
    let Listing { segments, strangers } = segment::list(&log).map_err(|error| failed(&log, error))?;
    // A later version may name its segments otherwise.
    let strangers = strangers.into_iter().filter(|path| path.is_file());
    for path in segments.into_iter().map(|(name, _)| name.path(&log)).chain(strangers) {
        let bytes = beginning(&path, 8).map_err(|error| failed(&path, error))?;
        SEGMENT.check(&path, &bytes)?;
    }
    Ok(())
}

/// Refuses an index whose sled has another version than ours. It could be made again from the log; but whoever wrote it may have written other
/// things too. One flipped bit is damage.
fn check_index(dir: &Path) -> Result<(), OpenError> {
    let path = index_dir::current(dir).map_err(|source| OpenError::Io { path: dir.to_owned(), source })?.join("conf");
    // What cannot be read is made again.
    let Ok(text) = beginning(&path, 1024) else { return Ok(()) };
    let version = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"version: ")).unwrap_or(INDEX);
    let flipped: u32 = version.iter().zip(INDEX).map(|(one, other)| (one ^ other).count_ones()).sum();
    let is_number = version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    match is_number && (version.len() != INDEX.len() || flipped > 1) {
        true => Err(OpenError::Unknown { path, found: format!("sled {}", version.escape_ascii()) }),
        false => Ok(()),
    }
}

/// The version that sled writes into its `conf`.
const INDEX: &[u8] = b"0.34";

/// Refuses a spool that another version wrote, as far as the beginnings of its files tell. Changes nothing; the spool need not exist.
///
/// # Errors
/// Another version wrote it, or it cannot be read.
pub fn refuse_unknown(dir: &Path) -> Result<(), OpenError> {
    match check(dir) {
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        checked => checked,
    }
}

/// The error about a record of an unknown format.
pub(crate) fn refused_record(path: &Path, version: u8) -> OpenError {
    match version == b'0' + RECORD.known {
        true => OpenError::Unknown { path: path.to_owned(), found: "a record of an unknown kind".to_owned() },
        false => RECORD.refused(path, version),
    }
}

/// The first bytes of a file, as far as there are any.
fn beginning(path: &Path, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
