//! Segment files: their names, their 64-byte headers, and their listing.

use std::{
    fs::{self, File, OpenOptions},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    path::{Path, PathBuf},
};

use crate::disk::{Disk, sync_dir};

/// Bytes before the first record.
pub(crate) const START: u64 = 64;
const MAGIC: [u8; 8] = *b"PHSPOOL1";

/// A segment's name: its number, which is never used again, and the salt of its checksums (in the name, so that damage to the file's header
/// costs nothing else).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentName {
    pub(crate) id: u32,
    pub(crate) salt: u32,
}

impl SegmentName {
    pub(crate) fn new(id: u32) -> Self {
        // The standard library seeds this from the system's randomness.
        let random = RandomState::new().build_hasher().finish();
        Self { id, salt: (random ^ (random >> 32)) as u32 }
    }

    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:08x}-{:08x}.log", self.id, self.salt))
    }

    fn parse(name: &str) -> Option<Self> {
        let (id, salt) = name.strip_suffix(".log")?.split_once('-')?;
        let number = |text: &str| (text.len() == 8).then(|| u32::from_str_radix(text, 16).ok()).flatten();
        Some(Self { id: number(id).filter(|id| *id != 0)?, salt: number(salt)? })
    }
}

/// Creates a segment with a durable header and directory entry. `next_lsn` is the floor of all lsns given out later.
pub(crate) fn create(dir: &Path, name: SegmentName, next_lsn: u64, disk: &dyn Disk) -> io::Result<File> {
    let path = name.path(dir);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    let made = disk.write_at(&file, &header(name, next_lsn), 0).and_then(|()| disk.sync(&file)).and_then(|()| sync_dir(dir));
    if made.is_err() {
        // If it stays, it is found as a segment without records: harmless, but its number is taken.
        let _ = fs::remove_file(&path);
    }
    made.map(|()| file)
}

/// The header of a segment.
pub(crate) fn header(name: SegmentName, next_lsn: u64) -> [u8; START as usize] {
    let mut bytes = [0; START as usize];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&name.id.to_le_bytes());
    bytes[16..24].copy_from_slice(&next_lsn.to_le_bytes());
    let crc = checksum(name, &bytes);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The lsn floor in a segment's header; `None` if the header is damaged.
pub(crate) fn floor(name: SegmentName, bytes: &[u8]) -> Option<u64> {
    let bytes: &[u8; START as usize] = bytes.get(..START as usize)?.try_into().ok()?;
    let whole = bytes[..8] == MAGIC && bytes[8..12] == name.id.to_le_bytes() && bytes[60..] == checksum(name, bytes).to_le_bytes();
    whole.then(|| u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes")))
}

fn checksum(name: SegmentName, bytes: &[u8; START as usize]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(name.salt);
    crc.update(&bytes[..60]);
    crc.finalize()
}

/// The contents of the log's folder.
#[derive(Default)]
pub(crate) struct Listing {
    /// The segments with their lengths, by rising number.
    pub(crate) segments: Vec<(SegmentName, u64)>,
    /// Files that are no segments.
    pub(crate) strangers: Vec<PathBuf>,
}

pub(crate) fn list(dir: &Path) -> io::Result<Listing> {
    let Listing { mut segments, mut strangers } = Listing::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_name().to_str().and_then(SegmentName::parse) {
            Some(name) if entry.file_type()?.is_file() => segments.push((name, entry.metadata()?.len())),
            _ => strangers.push(entry.path()),
        }
    }
    segments.sort_by_key(|(name, _)| name.id);
    Ok(Listing { segments, strangers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_others_are_strangers() {
        let name = SegmentName { id: 10, salt: 0xdead_beef };
        assert_eq!(name.path(Path::new("")).to_str(), Some("0000000a-deadbeef.log"));
        assert_eq!(SegmentName::parse("0000000a-deadbeef.log"), Some(name));
        for stranger in ["", "a-b.log", "00000000-00000000.log", "0000000a-deadbeef", "0000000g-deadbeef.log"] {
            assert_eq!(SegmentName::parse(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn a_header_holds_the_floor_and_notices_damage() {
        let name = SegmentName { id: 3, salt: 4 };
        let mut bytes = header(name, 99);
        assert_eq!(floor(name, &bytes), Some(99));
        assert_eq!(floor(SegmentName { id: 2, salt: 4 }, &bytes), None);
        bytes[17] ^= 1;
        assert_eq!(floor(name, &bytes), None);
        assert_eq!(floor(name, &bytes[..20]), None);
    }
}
