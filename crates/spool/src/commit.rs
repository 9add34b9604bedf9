//! A batch: written together, made durable together, answered together.
//!
//! Messages take effect (can be read, are answered) only once they are durable. Small records take effect when they are written: their
//! senders do not wait, and the writer keeps them until they are durable, so that it can write them again elsewhere.

use std::{collections::HashSet, io, mem};

use bytes::Bytes;
use posthaste_mail::MessageId;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    StoreError,
    fact::Fact,
    locations::MessageLocation,
    queue::{Done, NewMessage, Op, Receipt, SmallRecord},
    record::{HEADER, ID, Loc, RecordHeader, RecordKind},
    segments::TOMBSTONE,
    writer::Writer,
};

#[derive(Default)]
pub(crate) struct Batch {
    stored: Vec<Stored>,
    smalls: Vec<(SmallRecord, u64, Loc)>,
    waiters: Vec<Done<()>>,
    barriers: Vec<std::sync::mpsc::SyncSender<()>>,
}

struct Stored {
    seq: u64,
    id: MessageId,
    meta: Bytes,
    at: Loc,
    done: Done<Receipt>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Batch {
    fn must_sync(&self) -> bool {
        !self.stored.is_empty() || !self.waiters.is_empty()
    }
}

impl Writer {
    /// Writes the held records if there are any, else the head of the backlog.
    pub(crate) fn commit(&mut self) {
        let mut batch = Batch::default();
        let must_sync = !self.held.is_empty();
        let written = self.make_room().and_then(|()| match must_sync {
            true => self.write_held(&mut batch),
            false => self.write_backlog(&mut batch),
        });
        let written = written.and_then(|()| self.log.flush());
        let synced = must_sync || batch.must_sync();
        match written.and_then(|()| if synced { self.log.sync() } else { Ok(()) }) {
            Ok(()) => self.settle(batch, synced),
            Err(error) => self.give_up(batch, error),
        }
    }

    /// Begins a new segment if the active one is full or spoilt.
    fn make_room(&mut self) -> io::Result<()> {
        if self.log.is_spoilt() || self.log.len() >= self.segment_size {
            self.roll()?;
        }
        Ok(())
    }

    pub(crate) fn roll(&mut self) -> io::Result<()> {
        self.sync()?;
        self.log.roll()?;
        self.table.add(self.log.active(), self.log.len());
        self.look_for_sparse = true;
        Ok(())
    }

    fn write_held(&mut self, batch: &mut Batch) -> io::Result<()> {
        while let Some(small) = self.held.pop_front() {
            self.write_small(small, batch)?;
        }
        Ok(())
    }

    fn write_backlog(&mut self, batch: &mut Batch) -> io::Result<()> {
        let mut room = None;
        let end = self.log.len() + BATCH_MAX.min(self.segment_size.saturating_sub(self.log.len()).max(1));
        while self.log.len() < end {
            match self.backlog.pop_front() {
                Some(Op::Store(message)) => {
                    let taken = room.get_or_insert_with(|| self.room()).take(size(&message));
                    self.is_tight = taken.is_err();
                    match taken {
                        Err(error) => drop(message.done.send(Err(error))),
                        Ok(()) => self.write_message(message, batch)?,
                    }
                }
                Some(Op::Small(small)) => self.write_small(small, batch)?,
                Some(Op::Skip(through)) => self.log.skip(through),
                Some(Op::Sync(done)) => batch.waiters.push(done),
                Some(Op::Barrier(done)) => batch.barriers.push(done),
                None => break,
            }
        }
        Ok(())
    }

    fn write_message(&mut self, message: NewMessage, batch: &mut Batch) -> io::Result<()> {
        let NewMessage { id, meta, body, body_len, body_crc, permit, done } = message;
        if done.is_closed() {
            return Ok(());
        }
        let seq = self.log.take_lsn();
        let head_len = (ID + meta.len()) as u32;
        let header = RecordHeader { kind: RecordKind::Message, lsn: seq, seq, head_len, tail_len: body_len, tail_crc: body_crc };
        let appended = self.log.append(&header, &[&id.to_bytes(), &meta], &body);
        let at = *appended.as_ref().unwrap_or(&Loc::default());
        batch.stored.push(Stored { seq, id, meta, at, done, _permit: permit });
        appended.map(|_| ())
    }

    /// Puts the record into the batch even if the write failed, so that it is not lost.
    fn write_small(&mut self, mut small: SmallRecord, batch: &mut Batch) -> io::Result<()> {
        let (lsn, appended) = match &mut small {
            SmallRecord::Update { seq, state } => {
                if self.shared.view().locations.get(*seq).is_none() {
                    return Ok(());
                }
                self.append(RecordKind::Update, *seq, state, &[])
            }
            SmallRecord::Remove { seq, holder } => {
                let found = || self.shared.view().locations.get(*seq).map(|entry| entry.at.segment);
                *holder = holder.or_else(found);
                let Some(holder) = *holder else {
                    self.shared.queue.settle([&small].into_iter());
                    return Ok(());
                };
                self.bury_old_copies(*seq, holder, batch)?;
                self.append(RecordKind::Remove, *seq, &holder.to_le_bytes(), &[])
            }
            SmallRecord::Put { key, value: Some(value), .. } => self.append(RecordKind::Put, 0, key, value),
            SmallRecord::Put { key, value: None, .. } => self.append(RecordKind::Delete, 0, key, &[]),
        };
        let at = *appended.as_ref().unwrap_or(&Loc::default());
        batch.smalls.push((small, lsn, at));
        appended.map(|_| ())
    }

    /// Writes tombstones for the copies of a message that compaction left in other segments than `holder`. Without them such a copy would
    /// count as alive again once the tombstone for `holder` is gone with that segment.
    fn bury_old_copies(&mut self, seq: u64, holder: u32, batch: &mut Batch) -> io::Result<()> {
        let holds = |(segment, moved): (&u32, &HashSet<u64>)| (*segment != holder && moved.contains(&seq)).then_some(*segment);
        let segments: Vec<u32> = self.left_behind.iter().filter_map(holds).collect();
        for segment in segments {
            let (lsn, appended) = self.append(RecordKind::Remove, seq, &segment.to_le_bytes(), &[]);
            let at = *appended.as_ref().unwrap_or(&Loc::default());
            batch.smalls.push((SmallRecord::Remove { seq, holder: Some(segment) }, lsn, at));
            appended?;
        }
        Ok(())
    }

    fn append(&mut self, kind: RecordKind, seq: u64, head: &[u8], tail: &[u8]) -> (u64, io::Result<Loc>) {
        let lsn = self.log.take_lsn();
        let (head_len, tail_len) = (head.len() as u32, tail.len() as u32);
        let header = RecordHeader { kind, lsn, seq, head_len, tail_len, tail_crc: crc32fast::hash(tail) };
        (lsn, self.log.append(&header, &[head], &[tail]))
    }

    /// The batch is on disk: applies it and answers the waiters.
    fn settle(&mut self, batch: Batch, synced: bool) {
        self.table.set_len(self.log.active().id, self.log.len());
        self.apply(&batch);
        if synced {
            self.unsynced.clear();
            self.durable();
        } else if self.log.is_dirty() {
            self.dirty_since.get_or_insert_with(self.clock);
        }
        self.shared.queue.settle(batch.smalls.iter().map(|(small, ..)| small));
        if !synced {
            self.unsynced.extend(batch.smalls.into_iter().map(|(small, ..)| small));
        }
        self.shared.index_has_work();
        self.publish();
        for stored in batch.stored {
            drop(stored.done.send(Ok(Receipt::new(stored.seq, self.shared.queue.clone()))));
        }
        batch.waiters.into_iter().for_each(|done| drop(done.send(Ok(()))));
        batch.barriers.into_iter().for_each(|done| done.send(()).unwrap_or_default());
    }

    fn apply(&mut self, batch: &Batch) {
        let old: Vec<_> = batch.smalls.iter().map(|(small, ..)| self.older_fact(small)).collect();
        let shared = self.shared.clone();
        let mut view = shared.view();
        for stored in &batch.stored {
            view.locations.push(stored.seq, MessageLocation { at: stored.at, update: Loc::default() });
            view.overlay.store(stored.seq, stored.id, stored.meta.clone());
            self.table.live(stored.at);
        }
        for ((small, lsn, at), old) in batch.smalls.iter().zip(old) {
            match small {
                SmallRecord::Update { seq, state } => {
                    let Some(entry) = view.locations.get_mut(*seq) else { continue };
                    self.table.dead(mem::replace(&mut entry.update, *at));
                    self.table.live(*at);
                    view.overlay.state(*seq, state.clone());
                }
                SmallRecord::Remove { seq, holder } => {
                    self.table.tombstone(at.segment, holder.expect("a tombstone was written with its holder"));
                    let Some(entry) = view.locations.remove(*seq) else { continue };
                    self.table.dead(entry.at);
                    self.table.dead(entry.update);
                    view.overlay.remove(*seq, entry.update.is_some());
                    self.look_for_sparse |= self.is_tight || entry.at.segment != at.segment;
                }
                SmallRecord::Put { key, value, .. } => {
                    // An earlier record in the same batch is newer than the version looked up before.
                    let old = view.overlay.facts.get(key).cloned().unwrap_or(old);
                    if let Some(fact) = self.supersede(old, *lsn, *at, value.clone()) {
                        view.overlay.fact(key.clone(), Some(fact));
                    }
                }
            }
        }
    }

    /// The previous version of a fact, looked up before the view is locked.
    fn older_fact(&self, small: &SmallRecord) -> Option<Fact> {
        let SmallRecord::Put { key, .. } = small else { return None };
        // If the index cannot be read, the rebuild finds the older versions.
        self.shared.known_fact(key).unwrap_or(None)
    }

    fn supersede(&mut self, old: Option<Fact>, lsn: u64, at: Loc, value: Option<Vec<u8>>) -> Option<Fact> {
        if old.is_none() && value.is_none() {
            return None;
        }
        let mut fact = Fact { lsn, at, trail: Vec::new(), value };
        if let Some(old) = old {
            self.table.dead(old.at);
            old.trail.iter().chain([&old.at.segment]).filter(|id| self.table.has(**id)).for_each(|id| fact.trails(*id));
            self.look_for_sparse = true;
        }
        self.table.live(at);
        Some(fact)
    }

    /// The batch is not on disk: refuses its messages and keeps its small records for later.
    fn give_up(&mut self, batch: Batch, error: io::Error) {
        tracing::error!(%error, "the spool cannot write; new mail is refused until it can");
        let error = StoreError::from_io(error);
        self.abandon(batch.smalls.into_iter().map(|(small, ..)| small), error.clone());
        for stored in batch.stored {
            drop(stored.done.send(Err(error.clone())));
        }
        batch.waiters.into_iter().for_each(|done| drop(done.send(Err(error.clone()))));
        batch.barriers.into_iter().for_each(|done| done.send(()).unwrap_or_default());
        // Who came behind this batch is told too, and does not wait until the disk is well again.
        self.refuse_backlog();
    }

    /// Cuts off what is not durable, and holds its small records to write them again.
    pub(crate) fn abandon(&mut self, smalls: impl Iterator<Item = SmallRecord>, error: StoreError) {
        let len = self.log.rewind();
        self.table.set_len(self.log.active().id, len);
        let later = mem::take(&mut self.held);
        self.held.extend(self.unsynced.drain(..));
        self.held.extend(smalls);
        self.held.extend(later);
        self.dirty_since = None;
        self.compaction = None;
        self.moves.clear();
        self.look_for_sparse = true;
        self.trouble = Some(error);
        self.retry_at = Some((self.clock)() + RETRY);
        self.publish();
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.log.sync()?;
        self.unsynced.clear();
        self.durable();
        Ok(())
    }

    fn durable(&mut self) {
        self.dirty_since = None;
        self.trouble = None;
        self.retry_at = None;
        self.apply_moves();
    }
}

/// The bytes that a message needs until it is gone: its record and its tombstone.
fn size(message: &NewMessage) -> u64 {
    (HEADER + ID + message.meta.len()) as u64 + u64::from(message.body_len) + TOMBSTONE
}

/// The most bytes of a batch, plus one record.
const BATCH_MAX: u64 = 4 * 1024 * 1024;
/// How soon a disk that failed is tried again. Tests do not wait for it.
const RETRY: std::time::Duration = std::time::Duration::from_millis(if cfg!(test) { 5 } else { 1000 });
