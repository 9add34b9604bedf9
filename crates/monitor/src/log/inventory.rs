//! The list of the log's files, in the file `delivery.files`: what each of them must hold. So it is noticed if another program deletes, cuts or
//! changes one that is not written any more, even while no relay runs.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    FileId, LogError,
    current::last_record,
    disk::{LogFolder, Seen},
    files, json_version,
};

/// The name of the list.
pub(crate) const LIST: &str = "delivery.files";

/// The list once more: it is not lost, nor an older copy of it taken for the newest, if only one of the two is. The list is written first.
pub(crate) const TWIN: &str = "delivery.files.twin";

/// The files that there should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inventory {
    v: u64,
    /// How many lists were written, this one included; 0: nobody has counted.
    #[serde(default)]
    pub(crate) serial: u64,
    /// When this one was.
    #[serde(default)]
    pub(crate) written: Option<Timestamp>,
    /// The rotated files, the oldest first.
    pub(crate) rotated: Vec<Listed>,
    /// The file that lines are appended to, as it was when the list was written: it may have grown since.
    pub(crate) current: Option<Listed>,
}

/// A file and what it must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) file: FileId,
    /// The time of its first line.
    pub(crate) since: Option<Timestamp>,
    /// When it was rotated: it holds no newer line.
    pub(crate) until: Option<Timestamp>,
    /// How many bytes it must hold; others may have appended to them.
    pub(crate) length: u64,
    /// The CRC-32 of these bytes; None for a file from before there was a list.
    pub(crate) sum: Option<u32>,
    /// The `log_gap` lines in it: if it is lost, they are written again.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) gaps: String,
    /// Its length and the time of its last change when it was found to hold them.
    pub(crate) seen: Option<(u64, i64)>,
}

/// What is left of a listed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Everything, and so many bytes of somebody else's behind it.
    Whole(u64),
    /// The lines up to this byte.
    Part(u64),
    /// Other bytes.
    Other,
}

impl Default for Inventory {
    fn default() -> Self {
        Self { v: Self::VERSION, serial: 0, written: None, rotated: Vec::new(), current: None }
    }
}

impl Inventory {
    const VERSION: u64 = 1;

    /// Reads the list of a folder, or its twin if that is newer; None if neither can be understood. Without a list nothing is listed.
    ///
    /// # Errors
    /// One cannot be read, or another version wrote it.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, LogError> {
        let found = [Found::read(dir, LIST)?, Found::read(dir, TWIN)?];
        let absent = found.iter().all(|found| matches!(found, Found::Nothing));
        Ok(if absent { Some(Self::default()) } else { found.into_iter().filter_map(Found::list).max_by_key(|list| list.serial) })
    }

    /// All files.
    pub(crate) fn into_files(self) -> impl Iterator<Item = Listed> {
        self.rotated.into_iter().chain(self.current)
    }

    /// Writes the list durably, and then its twin.
    pub(super) fn write(&self, dir: &Path, folder: &dyn LogFolder, mode: u32) -> Result<(), LogError> {
        let bytes = serde_json::to_vec_pretty(self).expect("a list is plain data");
        for path in [LIST, TWIN].map(|name| dir.join(name)) {
            let new = path.with_added_extension("new");
            let put = || -> io::Result<()> {
                let file = folder.open(&new, mode)?;
                file.cut(0)?;
                file.append(&bytes)?;
                file.sync()?;
                if fs::symlink_metadata(&path).is_ok_and(|there| there.is_dir()) {
                    // No file takes a folder's place.
                    folder.rename(&path, &files::aside_path(dir, &files::name_of(&path), self.written.unwrap_or_default()))?;
                }
                folder.rename(&new, &path)
            };
            put().map_err(LogError::io("write", &path))?;
            files::sync_dir(dir)?;
        }
        Ok(())
    }

    /// Whether a rotated file of this name is listed.
    pub(super) fn lists(&self, name: &str) -> bool {
        self.rotated.iter().any(|listed| listed.name == name)
    }
}

/// What is under the name of a list.
pub(super) enum Found {
    Nothing,
    /// Something that cannot be understood.
    Damaged,
    List(Box<Inventory>),
}

impl Found {
    /// Reads it.
    ///
    /// # Errors
    /// It cannot be read, or another version wrote it.
    pub(super) fn read(dir: &Path, name: &str) -> Result<Self, LogError> {
        let path = dir.join(name);
        let mut bytes = Vec::new();
        match files::open_regular(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::Nothing),
            // A folder, or a pipe.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => return Ok(Self::Damaged),
            Err(e) => return Err(LogError::io("read", path)(e)),
        };
        match json_version::of(&bytes) {
            Some(v) if v.as_ref().is_none_or(|v| *v != Inventory::VERSION) => {
                let version = v.map_or_else(|| "none".to_owned(), |v| v.to_string());
                Err(LogError::UnknownList { path, version, known: Inventory::VERSION })
            }
            _ => Ok(serde_json::from_slice(&bytes).map_or(Self::Damaged, |list| Self::List(Box::new(list)))),
        }
    }

    pub(super) fn list(self) -> Option<Inventory> {
        match self {
            Self::List(list) => Some(*list),
            Self::Nothing | Self::Damaged => None,
        }
    }
}

impl Listed {
    /// Whether the file looks as it did when it was found to hold what it must.
    pub(super) fn is_unchanged(&self, seen: Seen) -> bool {
        seen.regular && self.seen == Some((seen.length, seen.modified))
    }

    /// Whether the reader finds what the file must hold, under whatever name.
    pub(crate) fn is_whole(&self, dir: &Path) -> Result<bool, LogError> {
        let left = File::open(dir.join(&self.name)).and_then(|file| self.left_in(&file));
        Ok(matches!(left, Ok(Left::Whole(_))) || holds(dir, self.file, self.length, self.sum)?)
    }

    /// Reads what is left of the file.
    pub(crate) fn left_in(&self, file: &File) -> io::Result<Left> {
        let length = file.metadata()?.len();
        if FileId::read(file)? != Some(self.file) {
            return Ok(Left::Other);
        }
        if length < self.length {
            return Ok(Left::Part(last_record(file, length)?));
        }
        match self.sum {
            Some(sum) if checksum(file, 0..self.length, 0)? != sum => Ok(Left::Other),
            _ => Ok(Left::Whole(length - self.length)),
        }
    }
}

/// Whether the reader finds a file with this identity whose first `length` bytes have this CRC-32 (None: any bytes).
pub(crate) fn holds(dir: &Path, wanted: FileId, length: u64, crc32: Option<u32>) -> Result<bool, LogError> {
    for file in files::list(dir)?.iter().rev() {
        let look = || -> io::Result<bool> {
            let handle = File::open(&file.path)?;
            let is_it = FileId::read(&handle)? == Some(wanted) && handle.metadata()?.len() >= length;
            Ok(is_it && crc32.map_or(Ok(true), |sum| checksum(&handle, 0..length, 0).map(|found| found == sum))?)
        };
        match look() {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            // The writer may have deleted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io("read", &file.path)(error)),
        }
    }
    Ok(false)
}

/// The CRC-32 of a file up to the end of this part, from that up to its start.
pub(super) fn checksum(file: &File, part: std::ops::Range<u64>, before: u32) -> io::Result<u32> {
    let (mut sum, mut at, mut block) = (crc32fast::Hasher::new_with_initial(before), part.start, vec![0; BLOCK]);
    while at < part.end {
        let room = block.len().min(usize::try_from(part.end - at).unwrap_or(usize::MAX));
        match file.read_at(&mut block[..room], at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                sum.update(&block[..n]);
                at += n as u64;
            }
        }
    }
    Ok(sum.finalize())
}

/// Bytes read at once.
const BLOCK: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::{super::disk::Disk, *};

    #[test]
    fn a_file_is_compared_with_what_it_must_hold() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let line = |n: u32| format!("{{\"time\":\"2026-08-24T10:00:00Z\",\"v\":1,\"event\":\"relay\",\"id\":\"{n}\"}}\n").into_bytes();
        let whole = [line(1), line(2), line(3)].concat();
        let left = |content: &[u8], sum: Option<u32>| {
            fs::write(&path, content).unwrap();
            let file = FileId::of(&whole).unwrap();
            let listed = Listed {
                name: "x".into(),
                file,
                since: None,
                until: None,
                length: whole.len() as u64,
                sum,
                gaps: String::new(),
                seen: None,
            };
            listed.left_in(&File::open(&path).unwrap()).unwrap()
        };
        let sum = Some(crc32fast::hash(&whole));
        assert_eq!(left(&whole, sum), Left::Whole(0));
        assert_eq!(left(&[&whole[..], b"note"].concat(), sum), Left::Whole(4));
        assert_eq!(left(&whole[..whole.len() - 3], sum), Left::Part(2 * line(1).len() as u64));
        assert_eq!(left(b"", sum), Left::Other);
        let mut changed = whole.clone();
        changed[line(1).len() + 40] ^= 1;
        assert_eq!((left(&changed, sum), left(&changed, None)), (Left::Other, Left::Whole(0)));
        let file = File::open(&path).unwrap();
        let half = checksum(&file, 0..100, 0).unwrap();
        assert_eq!(checksum(&file, 100..whole.len() as u64, half).unwrap(), crc32fast::hash(&changed), "it goes on where it stopped");
    }

    #[test]
    fn a_list_is_written_and_read_and_one_of_a_later_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Inventory::read(dir.path()).unwrap(), Some(Inventory::default()));
        let listed = Listed {
            name: "delivery-20260824T101112Z-7.log".into(),
            file: FileId::of(b"{}\n").unwrap(),
            since: Some(Timestamp::UNIX_EPOCH),
            until: None,
            length: 3,
            sum: Some(u32::MAX),
            gaps: "{}\n".into(),
            seen: Some((3, -1)),
        };
        let list = Inventory { rotated: vec![listed.clone()], current: Some(listed), ..Inventory::default() };
        list.write(dir.path(), &Disk, 0o600).unwrap();
        Inventory::default().write(dir.path(), &Disk, 0o600).unwrap();
        list.write(dir.path(), &Disk, 0o600).unwrap();
        assert_eq!(Inventory::read(dir.path()).unwrap(), Some(list.clone()));
        fs::write(dir.path().join(LIST), "{").unwrap();
        assert_eq!(Inventory::read(dir.path()).unwrap(), Some(list.clone()), "its twin is as good");
        let newer = Inventory { serial: 1, ..list };
        newer.write(dir.path(), &Disk, 0o600).unwrap();
        fs::write(dir.path().join(LIST), serde_json::to_vec(&Inventory::default()).unwrap()).unwrap();
        assert_eq!(Inventory::read(dir.path()).unwrap(), Some(newer.clone()), "the newer one counts");
        [LIST, TWIN].iter().for_each(|name| fs::write(dir.path().join(name), "{").unwrap());
        assert_eq!(Inventory::read(dir.path()).unwrap(), None);
        // Folders in their places are put aside, at a start and while it runs.
        for name in [LIST, TWIN] {
            fs::remove_file(dir.path().join(name)).unwrap();
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(Inventory::read(dir.path()).unwrap(), None);
        newer.write(dir.path(), &Disk, 0o600).unwrap();
        assert_eq!(Inventory::read(dir.path()).unwrap(), Some(newer));
        assert_eq!(fs::read_dir(dir.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 2);
        fs::write(dir.path().join(LIST), r#"{"v":2}"#).unwrap();
        assert!(matches!(Inventory::read(dir.path()), Err(LogError::UnknownList { version, .. }) if version == "2"));
    }
}
