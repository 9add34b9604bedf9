//! The checkpoint of an orderly stop: where everything is, so that the next open need not read the log.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use crate::{
    disk::sync_dir,
    locations::{Locations, MessageLocation},
    record::Loc,
    segment::SegmentName,
    segments::{SegmentTable, SegmentUsage},
};

pub(crate) struct StopCheckpoint {
    pub(crate) next_lsn: u64,
    /// The index holds the same stamp if it belongs to this checkpoint.
    pub(crate) stamp: u64,
    pub(crate) table: SegmentTable,
    pub(crate) locations: Locations,
}

impl StopCheckpoint {
    pub(crate) fn write(dir: &Path, next_lsn: u64, stamp: u64, table: &SegmentTable, locations: &Locations) -> io::Result<()> {
        let temporary = dir.join("clean.new");
        let mut out =
            ChecksumWriter { file: io::BufWriter::with_capacity(1 << 18, File::create(&temporary)?), crc: crc32fast::Hasher::new() };
        out.write(&MAGIC)?;
        for number in [next_lsn, stamp, table.iter().count() as u64, locations.len() as u64] {
            out.write(&number.to_le_bytes())?;
        }
        for segment in table.iter() {
            out.words(&[segment.name.id, segment.name.salt, u32::from(segment.stuck), segment.tombstones.len() as u32])?;
            out.write(&segment.len.to_le_bytes())?;
            out.write(&segment.live.to_le_bytes())?;
            segment.tombstones.iter().try_for_each(|(holder, count)| out.words(&[*holder, *count]))?;
        }
        for (seq, MessageLocation { at, update }) in locations.iter() {
            out.write(&seq.to_le_bytes())?;
            out.words(&[at.segment, at.offset, at.len, update.segment, update.offset, update.len])?;
        }
        let crc = out.crc.clone().finalize();
        out.words(&[crc])?;
        out.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(temporary, dir.join(NAME))?;
        sync_dir(dir)
    }

    /// Reads the checkpoint; `None` if there is none or it is damaged.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        let bytes = fs::read(dir.join(NAME)).ok()?;
        let (bytes, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(bytes).to_le_bytes() != *crc {
            return None;
        }
        let mut from = ByteReader(bytes.strip_prefix(&MAGIC)?);
        let (next_lsn, stamp, segments, messages) = (from.long()?, from.long()?, from.long()?, from.long()?);
        let mut table = SegmentTable::default();
        for _ in 0..segments {
            let name = SegmentName { id: from.word()?, salt: from.word()? };
            let (stuck, tombstones) = (from.word()? == 1, from.word()?);
            let (len, live) = (from.long()?, from.long()?);
            let tombstones = (0..tombstones).map(|_| Some((from.word()?, from.word()?))).collect::<Option<BTreeMap<_, _>>>()?;
            table.restore(SegmentUsage { name, len, live, tombstones, stuck });
        }
        let mut locations = Locations::default();
        for _ in 0..messages {
            let seq = from.long()?;
            locations.push(seq, MessageLocation { at: from.loc()?, update: from.loc()? });
        }
        from.0.is_empty().then_some(Self { next_lsn, stamp, table, locations })
    }

    /// Removes the checkpoint: from now on, a crash leads to a rebuild.
    pub(crate) fn remove(dir: &Path) -> io::Result<()> {
        match fs::remove_file(dir.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_dir(dir),
        }
    }
}

struct ChecksumWriter {
    file: io::BufWriter<File>,
    crc: crc32fast::Hasher,
}

impl ChecksumWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.file.write_all(bytes)
    }

    fn words(&mut self, words: &[u32]) -> io::Result<()> {
        words.iter().try_for_each(|word| self.write(&word.to_le_bytes()))
    }
}

struct ByteReader<'a>(&'a [u8]);

impl ByteReader<'_> {
    fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*word))
    }

    fn long(&mut self) -> Option<u64> {
        let (long, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*long))
    }

    fn loc(&mut self) -> Option<Loc> {
        Some(Loc { segment: self.word()?, offset: self.word()?, len: self.word()? })
    }
}

const MAGIC: [u8; 8] = *b"PHCLEAN1";
const NAME: &str = "clean";
