//! A table: entries sorted by key, in a file that is written once.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use crate::{LogError, log::files};

/// A key and where a line with it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) key: u64,
    pub(super) offset: u64,
}

/// Bytes of an entry in a file: key and offset, big-endian.
const ENTRY: u64 = 16;
/// The first bytes of a table. Another version has others, and is made again.
const MAGIC: &[u8; 16] = b"posthaste ids 1\n";

/// A table on disk.
#[derive(Debug)]
pub(super) struct Table {
    file: File,
    entries: u64,
}

impl Table {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0)?;
        let bytes = file.metadata()?.len().saturating_sub(ENTRY);
        if magic != *MAGIC || !bytes.is_multiple_of(ENTRY) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { file, entries: bytes / ENTRY })
    }

    /// Adds the places of a key, in order, at most so many.
    pub(super) fn find(&self, key: u64, most: usize, places: &mut Vec<u64>) -> io::Result<()> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low.midpoint(high);
            if self.entry(middle)?.key < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        for at in (low..self.entries).take(most) {
            let entry = self.entry(at)?;
            if entry.key != key {
                break;
            }
            places.push(entry.offset);
        }
        Ok(())
    }

    fn entry(&self, at: u64) -> io::Result<Entry> {
        let mut bytes = [0; ENTRY as usize];
        self.file.read_exact_at(&mut bytes, ENTRY + at * ENTRY)?;
        let (key, offset) = bytes.split_at(8);
        let number = |half: &[u8]| u64::from_be_bytes(half.try_into().expect("half of an entry"));
        Ok(Entry { key: number(key), offset: number(offset) })
    }
}

/// Writes the table of a part of a file, durably.
pub(super) fn write(folder: &Path, file: &str, range: Range<u64>, entries: &mut Vec<Entry>) -> Result<(), LogError> {
    let path = folder.join(format!("{file}-{}-{}.ids", range.start, range.end));
    let new = path.with_extension("new");
    entries.sort_unstable();
    entries.dedup();
    let put = || -> io::Result<()> {
        if !folder.exists() {
            fs::create_dir(folder)?;
        }
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let mut out = BufWriter::new(&file);
        out.write_all(MAGIC)?;
        for entry in entries.iter() {
            out.write_all(&entry.key.to_be_bytes())?;
            out.write_all(&entry.offset.to_be_bytes())?;
        }
        out.flush()?;
        drop(out);
        file.sync_data()?;
        fs::rename(&new, &path)
    };
    put().map_err(LogError::io("write", &path))?;
    files::sync_dir(folder)
}
