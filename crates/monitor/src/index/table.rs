//! A table: entries sorted by key, in a file that is written once.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::Path};

use crate::{LogError, log::files};

/// A key and where a line with it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) key: u64,
    pub(super) offset: u64,
}

/// Bytes of an entry in a file: key and offset, big-endian.
const ENTRY: usize = 16;
/// The first bytes of a table. Another version has others, and is made again.
const MAGIC: &[u8; 16] = b"posthaste ids 2\n";
/// Entries of a block; the last one has fewer.
const ENTRIES: usize = 255;
/// Bytes of a block's sum: the CRC-32 of its entries, big-endian.
const SUM: usize = 4;
/// A table is read block by block. Each ends with its sum, so that damage is noticed and not taken for "there is no such line".
const BLOCK: usize = ENTRIES * ENTRY + SUM;

/// A table on disk: blocks of sorted entries.
#[derive(Debug)]
pub(super) struct Table {
    file: File,
    /// The length of all blocks, in bytes.
    length: u64,
}

impl Table {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0)?;
        let length = file.metadata()?.len().saturating_sub(MAGIC.len() as u64);
        if magic != *MAGIC || !(length % BLOCK as u64).saturating_sub(SUM as u64).is_multiple_of(ENTRY as u64) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { file, length })
    }

    /// Adds the places of a key, in order, at most so many.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if what it reads is damaged; then nothing is known of the key.
    pub(super) fn find(&self, key: u64, most: usize, places: &mut Vec<u64>) -> io::Result<()> {
        let blocks = self.length.div_ceil(BLOCK as u64);
        // The first block whose last key is not less.
        let (mut low, mut high) = (0, blocks);
        while low < high {
            let middle = low.midpoint(high);
            if self.block(middle)?.last().is_some_and(|entry| entry.key < key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let most = places.len().saturating_add(most);
        for number in low..blocks {
            let block = self.block(number)?;
            let from = block.partition_point(|entry| entry.key < key);
            let found = block[from..].iter().take_while(|entry| entry.key == key);
            places.extend(found.take(most - places.len()).map(|entry| entry.offset));
            if places.len() == most || block.last().is_none_or(|entry| entry.key > key) {
                break;
            }
        }
        Ok(())
    }

    /// The entries of a block.
    fn block(&self, number: u64) -> io::Result<Vec<Entry>> {
        let start = number * BLOCK as u64;
        let length = usize::try_from((self.length - start).min(BLOCK as u64)).expect("at most a block");
        let mut bytes = [0; BLOCK];
        let bytes = &mut bytes[..length];
        self.file.read_exact_at(bytes, MAGIC.len() as u64 + start)?;
        let (entries, sum) = bytes.split_last_chunk::<SUM>().ok_or(io::ErrorKind::InvalidData)?;
        if !entries.len().is_multiple_of(ENTRY) || entries.is_empty() || crc32fast::hash(entries).to_be_bytes() != *sum {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let number = |half: &[u8]| u64::from_be_bytes(half.try_into().expect("half of an entry"));
        Ok(entries.chunks_exact(ENTRY).map(|entry| Entry { key: number(&entry[..8]), offset: number(&entry[8..]) }).collect())
    }
}

/// Writes the table of a part of a file, durably.
pub(super) fn write(folder: &Path, file: &str, range: Range<u64>, entries: &mut Vec<Entry>) -> Result<(), LogError> {
    let path = folder.join(format!("{file}-{}-{}.ids", range.start, range.end));
    entries.sort_unstable();
    entries.dedup();
    files::put(&path, |out| {
        out.write_all(MAGIC)?;
        for block in entries.chunks(ENTRIES) {
            let bytes: Vec<u8> = block.iter().flat_map(|entry| [entry.key, entry.offset]).flat_map(u64::to_be_bytes).collect();
            out.write_all(&bytes)?;
            out.write_all(&crc32fast::hash(&bytes).to_be_bytes())?;
        }
        Ok(())
    })
}
