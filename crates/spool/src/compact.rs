//! Frees segments: deletes those in which nothing is needed, and empties those in which little is needed by copying it.
//!
//! Invariant: the tombstone of a dead message outlives every segment that holds a copy of the message. A tombstone names the segment; a
//! message that dies between copy and move gets a second tombstone for the copy. While a segment is being emptied, only segments older than
//! the start of that work may be freed: a younger one may hold the tombstone of a moved copy while the original is still on disk.

use std::{fs, fs::File, io, mem};

use crate::{
    StoreError,
    compaction::{Compaction, Move},
    disk::sync_dir,
    fact::Fact,
    index::to_io,
    queue::SmallRecord,
    record::{Loc, RecordHeader, RecordKind},
    scan::{ScanItem, Scanner, Tail},
    segment::START,
    writer::Writer,
};

impl Writer {
    /// Deletes the segments in which nothing is needed.
    pub(crate) fn free_segments(&mut self) {
        while self.look_for_sparse {
            let before = self.compaction.as_ref().map_or(self.log.active().id, |compaction| compaction.since);
            let spent = |segment: &&crate::segments::SegmentUsage| segment.name.id < before && segment.needed() == 0;
            let source = self.compaction.as_ref().map(|compaction| compaction.source);
            let spent: Vec<u32> = self.table.iter().filter(spent).map(|segment| segment.name.id).filter(|id| Some(*id) != source).collect();
            if spent.is_empty() {
                return;
            }
            if let Err(error) = self.delete(&spent) {
                self.abandon(std::iter::empty(), StoreError::from_io(error));
                return;
            }
        }
    }

    /// Deletes segments. Their records may have been superseded by records that are not durable yet, so a sync comes first.
    fn delete(&mut self, segments: &[u32]) -> io::Result<()> {
        self.sync()?;
        self.log.forget(segments);
        let dir = self.shared.dir.join("log");
        for id in segments {
            let Some(segment) = self.table.get(*id) else { continue };
            match fs::remove_file(segment.name.path(&dir)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        sync_dir(&dir)?;
        self.log.note_forgotten();
        for id in segments {
            self.table.forget(*id);
            self.left_behind.remove(id);
            self.shared.files.forget(*id);
        }
        self.publish();
        Ok(())
    }

    /// Does one small step of compaction, so that messages never wait long for it.
    pub(crate) fn compact(&mut self) {
        if self.compaction.is_none() && !self.begin() {
            return;
        }
        let stepped = self.step().and_then(|more| if more { Ok(()) } else { self.end() });
        if let Err(error) = stepped {
            tracing::error!(%error, "the spool cannot compact; it will try again");
            self.abandon(std::iter::empty(), StoreError::from_io(error));
        }
    }

    fn begin(&mut self) -> bool {
        if !mem::take(&mut self.look_for_sparse) || !self.log.mend() {
            return false;
        }
        let Some(id) = self.find_sparse() else { return false };
        let Some(segment) = self.table.get(id) else { return false };
        let (name, len) = (segment.name, segment.len);
        match File::open(name.path(&self.shared.dir.join("log"))) {
            Ok(file) => {
                let scanner = Scanner::new(file, name.salt, START, len);
                self.compaction = Some(Compaction { source: id, since: self.log.active().id, scanner });
                true
            }
            Err(error) => {
                tracing::error!(%error, segment = id, "a segment of the spool cannot be opened");
                self.table.stick(id);
                self.publish();
                false
            }
        }
    }

    /// A segment worth emptying: less than the configured share of it is needed, or it is one of the short segments that restarts leave.
    /// The active segment is considered only if the spool is full, and is closed first.
    fn find_sparse(&mut self) -> Option<u32> {
        let share = self.shared.limits().compact_below;
        let active = self.log.active().id;
        let short = self.segment_size / 8;
        let sparse = |segment: &crate::segments::SegmentUsage| (segment.needed() as f64) < share * segment.len as f64;
        if self.is_tight && self.table.get(active).is_some_and(|segment| segment.len > short && sparse(segment)) {
            self.roll().ok()?;
        }
        let active = self.log.active().id;
        let candidates = self.table.iter().filter(|segment| segment.name.id != active && !segment.stuck);
        let wanted = candidates.filter(|segment| sparse(segment) || segment.len < short);
        wanted.min_by_key(|segment| segment.needed()).map(|segment| segment.name.id)
    }

    /// Copies up to [`COPY`] bytes and reads up to [`READ`]. `Ok(false)`: the whole source has been read.
    fn step(&mut self) -> io::Result<bool> {
        if self.log.is_spoilt() || self.log.len() >= self.segment_size {
            self.roll()?;
        }
        let Some(mut compaction) = self.compaction.take() else { return Ok(false) };
        let (copy_end, read_end) = (self.log.len() + COPY, compaction.scanner.position() + READ);
        let more = loop {
            match compaction.scanner.next()? {
                None => break false,
                Some(ScanItem::Record { at, header }) => self.copy_if_needed(&compaction, at, &header)?,
                // A message keeps what is left of it, and the segment can be emptied.
                Some(ScanItem::Broken { at, header }) => self.copy_if_needed(&compaction, at, &header.damaged())?,
                Some(ScanItem::Damage { .. } | ScanItem::Torn { .. } | ScanItem::Unknown { .. }) => {}
            }
            if self.log.len() >= copy_end || compaction.scanner.position() >= read_end {
                break true;
            }
        };
        self.compaction = Some(compaction);
        self.log.flush()?;
        self.table.set_len(self.log.active().id, self.log.len());
        if self.log.is_dirty() {
            self.dirty_since.get_or_insert_with(self.clock);
        }
        Ok(more)
    }

    fn copy_if_needed(&mut self, compaction: &Compaction, at: u64, header: &RecordHeader) -> io::Result<()> {
        let from = Loc { segment: compaction.source, offset: at as u32, len: header.record_len() as u32 };
        let (head, tail) = (compaction.scanner.head(), compaction.scanner.tail());
        let seq = header.seq;
        let entry = self.shared.view().locations.get(seq);
        match header.kind {
            RecordKind::Message | RecordKind::Damaged if entry.is_some_and(|entry| entry.at == from) => {
                if header.kind == RecordKind::Damaged {
                    self.shared.note_damage(seq);
                }
                let to = self.log.copy(header, head, tail)?;
                self.moves.push(Move::Message { seq, from, to });
            }
            RecordKind::Update if entry.is_some_and(|entry| entry.update == from) => {
                let to = self.log.copy(header, head, tail)?;
                self.moves.push(Move::Update { seq, from, to });
            }
            RecordKind::Remove => {
                let holder = head.try_into().map_or(0, u32::from_le_bytes);
                if holder != compaction.source && self.table.has(holder) {
                    let to = self.log.copy(header, head, tail)?;
                    self.table.tombstone(to.segment, holder);
                }
            }
            RecordKind::Put | RecordKind::Delete => self.copy_fact(header, from, head, tail)?,
            RecordKind::Message | RecordKind::Damaged | RecordKind::Update | RecordKind::Void => {}
        }
        Ok(())
    }

    fn copy_fact(&mut self, header: &RecordHeader, from: Loc, key: &[u8], value: Tail<'_>) -> io::Result<()> {
        // If the index cannot be read the record is not known to be surplus, and the segment stays.
        let Some(fact) = self.shared.known_fact(key).map_err(to_io)?.filter(|fact| fact.at == from) else { return Ok(()) };
        if fact.value.is_none() && !fact.trail.iter().any(|id| *id != from.segment && self.table.has(*id)) {
            // No segment holds an older version any more, so the deletion is dropped with its segment.
            self.table.dead(from);
            self.shared.view().overlay.fact(key.to_vec(), None);
            return Ok(());
        }
        let to = self.log.copy(header, key, value)?;
        self.moves.push(Move::Fact { key: key.to_vec(), from, to });
        Ok(())
    }

    /// The copies are durable: moves each location to the copy, unless it has changed since.
    pub(crate) fn apply_moves(&mut self) {
        for step in mem::take(&mut self.moves) {
            match step {
                Move::Message { seq, from, to } => self.move_message(seq, from, to),
                Move::Update { seq, from, to } => {
                    let shared = self.shared.clone();
                    let mut view = shared.view();
                    if let Some(entry) = view.locations.get_mut(seq).filter(|entry| entry.update == from) {
                        entry.update = to;
                        self.table.dead(from);
                        self.table.live(to);
                    }
                }
                Move::Fact { key, from, to } => self.move_fact(key, from, to),
            }
        }
    }

    fn move_message(&mut self, seq: u64, from: Loc, to: Loc) {
        let shared = self.shared.clone();
        let mut view = shared.view();
        match view.locations.get_mut(seq) {
            Some(entry) => {
                debug_assert_eq!(entry.at, from);
                entry.at = to;
                self.table.dead(from);
                self.table.live(to);
                self.left_behind.entry(from.segment).or_default().insert(seq);
            }
            None => self.held.push_back(SmallRecord::Remove { seq, holder: Some(to.segment) }),
        }
    }

    fn move_fact(&mut self, key: Vec<u8>, from: Loc, to: Loc) {
        let Ok(Some(fact)) = self.shared.known_fact(&key) else { return };
        let mut moved = Fact { at: fact.at, ..fact };
        if moved.at == from {
            moved.at = to;
            moved.trail.retain(|id| *id != to.segment && self.table.has(*id));
            moved.trails(from.segment);
            self.table.dead(from);
            self.table.live(to);
        } else {
            moved.trails(to.segment);
        }
        self.shared.view().overlay.fact(key, Some(moved));
    }

    /// Ends the work on the source: it may be deleted once the copies and their tombstones are durable.
    fn end(&mut self) -> io::Result<()> {
        self.sync()?;
        if self.shared.index_has_failed() {
            // Which facts were moved is not known: the rebuild finds out.
            self.compaction = None;
            return Ok(());
        }
        if !self.held.is_empty() {
            // The next batch writes the tombstones; this is called again after it.
            return Ok(());
        }
        let Some(Compaction { source, .. }) = self.compaction.take() else { return Ok(()) };
        self.look_for_sparse = true;
        if self.table.get(source).is_some_and(|segment| segment.live > 0) {
            tracing::error!(segment = source, "a segment of the spool is damaged and stays as it is");
            self.table.stick(source);
            self.publish();
            return Ok(());
        }
        self.delete(&[source])?;
        self.shared.index_has_work();
        Ok(())
    }
}

/// The most bytes that one step copies and reads. Tests take many small steps, so that other operations fall between them.
const COPY: u64 = if cfg!(test) { 300 } else { 256 * 1024 };
const READ: u64 = if cfg!(test) { 1000 } else { 1024 * 1024 };
