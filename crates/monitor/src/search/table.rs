//! What is known of the blocks of a stretch of a log file: their times and terms, in a file that is written once.

use std::{
    fs::{self, File},
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::bloom;
use crate::{
    LogError,
    index::FOLDER,
    log::{FileId, files},
};

/// How a file is divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Bytes of a stretch, which has a table. A line belongs to the stretch, and to the block, in which it begins.
    pub(super) stretch: u64,
    /// Bytes of a block: what a search reads at once, or passes over.
    pub(super) block: u64,
}

impl Layout {
    /// With lines of 600 bytes a block holds 1,700 of them. A filter for their terms has 11 KiB, and 16 at most, so that tables make 1 to 1.6 % of
    /// the log.
    pub(super) const REAL: Self = Self { stretch: 64 << 20, block: 1 << 20 };

    /// The most bytes of a block's filter. Where lines are so short or so full of terms that it would have to be larger, it lets more through.
    pub(super) fn filter_max(self) -> usize {
        ((self.block / 64) as usize).max(FILTER_LEAST)
    }

    /// The most bytes of a table.
    pub(super) fn table_max(self) -> u64 {
        let blocks = self.stretch / self.block + 2;
        FIXED as u64 + blocks * (HEAD as u64 + self.filter_max() as u64)
    }
}

/// Smaller filters than this would not be worth their heads.
const FILTER_LEAST: usize = 64;

/// A block of whole lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where its first line begins.
    pub(super) begin: u64,
    /// The earliest and the latest time of its lines, in milliseconds since 1970; the other way round if there is none.
    pub(super) times: (i64, i64),
    /// The filter of its terms.
    pub(super) terms: Vec<u8>,
}

/// The table of a stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// The bytes that it is about: from a line's begin to a line's end.
    pub(super) part: Range<u64>,
    /// Its blocks, in order.
    pub(super) blocks: Vec<Block>,
}

/// What a search asks a block.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// The terms that each of the lines has which are looked for.
    pub(super) terms: Vec<u64>,
    /// The earliest time, inclusive.
    pub(super) since: Option<Timestamp>,
    /// The latest time, exclusive.
    pub(super) until: Option<Timestamp>,
}

impl Block {
    /// False only if none of its lines is looked for.
    pub(super) fn may_match(&self, asked: &Asked) -> bool {
        let (first, last) = self.times;
        asked.since.is_none_or(|since| last >= since.as_millisecond())
            && asked.until.is_none_or(|until| first <= until.as_millisecond())
            && asked.terms.iter().all(|term| bloom::may_hold(&self.terms, *term))
    }
}

/// The first bytes of a table. Another version has others, and is made again.
const MAGIC: &[u8; 16] = b"posthaste seek2\n";
/// Bytes of a table beside its blocks: the first ones, the part, the number of blocks, and the CRC-32 of all before it.
const FIXED: usize = MAGIC.len() + 8 + 8 + 4 + 4;
/// Bytes of a block's head: where it begins, its times, and the bytes of its filter.
const HEAD: usize = 8 + 8 + 8 + 4;

/// The path of a stretch's table.
pub(super) fn path(dir: &Path, file: FileId, stretch: u64) -> PathBuf {
    dir.join(FOLDER).join(format!("{file}-{stretch}.{ENDING}"))
}

/// How the names of tables end.
const ENDING: &str = "seek";

/// The file and the stretch of the table with this name.
pub(super) fn parse_name(path: &Path) -> Option<(FileId, u64)> {
    let (file, stretch) = path.file_name()?.to_str()?.strip_suffix(ENDING)?.strip_suffix('.')?.split_once('-')?;
    Some((file.parse().ok()?, stretch.parse().ok()?))
}

impl Table {
    /// Reads a table; None if it is missing.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if it is damaged; other errors of the disk.
    pub(super) fn read(path: &Path, layout: Layout) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(layout.table_max() + 1).read_to_end(&mut bytes)?;
        Self::decode(&bytes).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The part that a table is about, as its first bytes say; None if it is missing or begins otherwise.
    pub(super) fn part_of(path: &Path) -> Option<Range<u64>> {
        let mut head = [0; MAGIC.len() + 16];
        File::open(path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
        let mut bytes = Bytes(head.strip_prefix(MAGIC)?);
        Some(bytes.number()?..bytes.number()?)
    }

    /// The bytes of it on disk.
    pub(super) fn size(&self) -> u64 {
        (FIXED + self.blocks.iter().map(|block| HEAD + block.terms.len()).sum::<usize>()) as u64
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, sum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(bytes).to_be_bytes() != *sum {
            return None;
        }
        let mut bytes = Bytes(bytes.strip_prefix(MAGIC)?);
        let part = bytes.number()?..bytes.number()?;
        let blocks = (0..bytes.short()?).map(|_| bytes.block()).collect::<Option<Vec<_>>>()?;
        let in_order = blocks.is_sorted_by(|a, b| a.begin < b.begin)
            && blocks.iter().all(|block| part.contains(&block.begin))
            && blocks.first().map_or(part.is_empty(), |first| first.begin == part.start);
        (bytes.0.is_empty() && in_order).then_some(Self { part, blocks })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([self.part.start, self.part.end].into_iter().flat_map(u64::to_be_bytes));
        bytes.extend((self.blocks.len() as u32).to_be_bytes());
        for block in &self.blocks {
            bytes.extend(block.begin.to_be_bytes());
            bytes.extend([block.times.0, block.times.1].into_iter().flat_map(i64::to_be_bytes));
            bytes.extend((block.terms.len() as u32).to_be_bytes());
            bytes.extend(&block.terms);
        }
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    /// Writes the table, durably.
    pub(super) fn write(&self, path: &Path) -> Result<(), LogError> {
        files::put(path, |out| out.write_all(&self.encode()))
    }
}

/// Deletes a damaged table: it is made again.
pub(super) fn discard(path: &Path) {
    let gone = fs::remove_file(path);
    tracing::warn!(path = %path.display(), ?gone, "a table of the search's index is damaged; the log is read instead, and it is made again");
}

/// Bytes that are still to be decoded.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn short(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn block(&mut self) -> Option<Block> {
        let begin = self.number()?;
        let times = (self.take().map(i64::from_be_bytes)?, self.take().map(i64::from_be_bytes)?);
        let length = self.short()? as usize;
        let (terms, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        (!terms.is_empty()).then(|| Block { begin, times, terms: terms.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_back_and_a_damaged_one_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), "0abc".parse().unwrap(), 3);
        assert_eq!(parse_name(&path), Some(("0abc".parse().unwrap(), 3)));
        assert_eq!(Table::read(&path, Layout::REAL).unwrap(), None);
        let block = |begin| Block { begin, times: (-5, 5 + begin as i64), terms: vec![begin as u8; 9] };
        let table = Table { part: 10..99, blocks: vec![block(10), block(50)] };
        table.write(&path).unwrap();
        assert_eq!(Table::read(&path, Layout::REAL).unwrap().as_ref(), Some(&table));
        assert_eq!(Table::part_of(&path), Some(10..99));
        let good = fs::read(&path).unwrap();
        assert_eq!(table.size(), good.len() as u64);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(Table::decode(&bad), None, "bit of byte {at}");
            assert_eq!(Table::decode(&good[..at]), None, "cut at {at}");
        }
        fs::write(&path, "").unwrap();
        assert_eq!(Table::read(&path, Layout::REAL).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(Table::part_of(&path), None);
    }

    #[test]
    fn a_block_without_times_matches_no_time() {
        let since = |since: &str| Asked { since: Some(since.parse().unwrap()), ..Asked::default() };
        let block = |times| Block { begin: 0, times, terms: vec![0] };
        assert!(!block((i64::MAX, i64::MIN)).may_match(&since("2026-08-24T10:00:00Z")));
        assert!(block((0, 1_000)).may_match(&since("1970-01-01T00:00:01Z")));
        assert!(!block((0, 999)).may_match(&since("1970-01-01T00:00:01Z")));
        assert!(block((0, 999)).may_match(&Asked::default()));
        assert!(!block((0, 999)).may_match(&Asked { terms: vec![7], ..Asked::default() }));
    }
}
