//! The end of the log: the segment that is being written.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    sync::Arc,
};

use crate::{
    disk::Disk,
    manifest::Manifest,
    record::{Loc, RecordHeader, RecordKind},
    scan::Tail,
    segment::{self, START, SegmentName},
};

pub(crate) struct Log {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    active: Active,
    buffer: Vec<u8>,
    next_lsn: u64,
    /// The active segment is not trusted any more.
    spoilt: bool,
    manifest: Manifest,
    /// Segments with surplus bytes that could not be cut off yet.
    stumps: Vec<(File, u64)>,
}

struct Active {
    name: SegmentName,
    file: File,
    /// Bytes written.
    len: u64,
    /// Bytes known durable.
    synced: u64,
}

impl Log {
    pub(crate) fn create(dir: PathBuf, id: u32, next_lsn: u64, disk: Arc<dyn Disk>, mut manifest: Manifest) -> io::Result<Self> {
        let name = SegmentName::new(id);
        let file = segment::create(&dir, name, next_lsn, &*disk)?;
        manifest.begun(id, next_lsn, &*disk)?;
        Ok(Self {
            dir,
            disk,
            active: Active { name, file, len: START, synced: START },
            buffer: Vec::new(),
            next_lsn,
            spoilt: false,
            manifest,
            stumps: Vec::new(),
        })
    }

    pub(crate) fn active(&self) -> SegmentName {
        self.active.name
    }

    pub(crate) fn len(&self) -> u64 {
        self.active.len + self.buffer.len() as u64
    }

    pub(crate) fn next_lsn(&self) -> u64 {
        self.next_lsn
    }

    pub(crate) fn take_lsn(&mut self) -> u64 {
        self.next_lsn += 1;
        self.next_lsn - 1
    }

    /// Gives out no number up to this one any more.
    pub(crate) fn skip(&mut self, through: u64) {
        self.next_lsn = self.next_lsn.max(through.saturating_add(1));
    }

    /// Whether records have been appended since the last sync.
    pub(crate) fn is_dirty(&self) -> bool {
        self.len() > self.active.synced
    }

    /// Appends a record; large parts of a tail are written without a copy.
    pub(crate) fn append<T: AsRef<[u8]>>(&mut self, header: &RecordHeader, head: &[&[u8]], tail: &[T]) -> io::Result<Loc> {
        let offset = u32::try_from(self.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        header.encode(self.active.name.salt, head, &mut self.buffer);
        tail.iter().try_for_each(|part| self.write(part.as_ref()))?;
        if self.buffer.len() > BUFFER {
            self.flush()?;
        }
        Ok(Loc { segment: self.active.name.id, offset, len: header.record_len() as u32 })
    }

    /// Appends a copy of a record of another segment. A long body is read and written piece by piece. After an error, what is there of the
    /// copy has to be cut off.
    pub(crate) fn copy(&mut self, header: &RecordHeader, head: &[u8], tail: Tail<'_>) -> io::Result<Loc> {
        let to = self.append(header, &[head], &[] as &[&[u8]])?;
        let mut crc = crc32fast::Hasher::new();
        tail.for_each_piece(|piece| {
            crc.update(piece);
            self.write(piece)
        })?;
        // A long body is read twice: to verify it, and to copy it.
        if crc.finalize() != header.tail_crc && !matches!(header.kind, RecordKind::Damaged | RecordKind::Void) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message was damaged while it was copied"));
        }
        Ok(to)
    }

    fn write(&mut self, part: &[u8]) -> io::Result<()> {
        if part.len() > DIRECT {
            self.flush()?;
            self.disk.write_at(&self.active.file, part, self.active.len)?;
            self.active.len += part.len() as u64;
        } else {
            self.buffer.extend_from_slice(part);
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.disk.write_at(&self.active.file, &self.buffer, self.active.len)?;
            self.active.len += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        if self.active.len > self.active.synced {
            // After a failed fdatasync the kernel may mark the lost pages clean: what was written since the last one is not durable, but a
            // second fdatasync would report success.
            self.disk.sync(&self.active.file).inspect_err(|_| self.spoilt = true)?;
            self.active.synced = self.active.len;
        }
        Ok(())
    }

    /// Cuts off everything that is not known to be durable; returns the segment's length.
    pub(crate) fn rewind(&mut self) -> u64 {
        self.buffer = Vec::new();
        self.active.len = self.active.synced;
        if self.disk.truncate(&self.active.file, self.active.synced).is_err() {
            self.spoilt = true;
            if let Ok(file) = self.active.file.try_clone() {
                self.stumps.push((file, self.active.synced));
            }
        }
        self.active.synced
    }

    /// Begins a new segment; the old one must be durable.
    pub(crate) fn roll(&mut self) -> io::Result<()> {
        debug_assert!(!self.is_dirty());
        let name = SegmentName::new(self.active.name.id + 1);
        let file = segment::create(&self.dir, name, self.next_lsn, &*self.disk)?;
        let listed = self.manifest.begun(name.id, self.next_lsn, &*self.disk);
        listed.inspect_err(|_| drop(fs::remove_file(name.path(&self.dir))))?;
        self.active = Active { name, file, len: START, synced: START };
        self.spoilt = false;
        Ok(())
    }

    /// Notes that segments are about to be deleted. On a full disk that may fail; the segments are deleted all the same, and
    /// [`Self::note_forgotten`] notes them once that has made room.
    pub(crate) fn forget(&mut self, segments: &[u32]) {
        // The next call says what is wrong.
        let _ = self.manifest.deleted(segments, &*self.disk);
    }

    /// Notes the deletions that could not be noted before.
    pub(crate) fn note_forgotten(&mut self) {
        if let Err(error) = self.manifest.catch_up(&*self.disk) {
            tracing::warn!(%error, "the spool's list of segments cannot be written; a start after a kill would miss a segment that was empty");
        }
    }

    /// Whether [`Self::roll`] has to come before the next append.
    pub(crate) fn is_spoilt(&self) -> bool {
        self.spoilt
    }

    /// Cuts off surplus bytes; returns whether no segment has any left.
    pub(crate) fn mend(&mut self) -> bool {
        self.stumps.retain(|(file, len)| self.disk.truncate(file, *len).is_err());
        self.stumps.is_empty()
    }
}

/// Parts above this many bytes are not copied into the buffer.
const DIRECT: usize = 128 * 1024;
/// The buffer is written when it holds more than this many bytes.
const BUFFER: usize = 1024 * 1024;
