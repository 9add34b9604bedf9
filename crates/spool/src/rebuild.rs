//! Rebuilds everything from the log: reads each segment once, from front to back; the highest lsn wins.
//!
//! Afterwards the log is in the state that the writer expects: all damage is copied to the quarantine and voided, no live message has a
//! second copy, and every copy of a dead message has a tombstone.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{File, OpenOptions},
    io, mem,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use posthaste_mail::MessageId;

use crate::{
    OpenError, Quarantined, Recovery,
    checkpoint::StopCheckpoint,
    disk::Disk,
    fact::Fact,
    format::refused_record,
    index::Index,
    locations::{Locations, MessageLocation},
    mend::{self, Mend, MendKind, strike_out},
    overlay::Overlay,
    record::{ID, Loc, RecordHeader, RecordKind},
    recovery::{Recovered, Seen},
    scan::{self, Scanner, Tail},
    segment::{self, Listing, START, SegmentName},
    segments::SegmentTable,
};

/// Reads everything, and then mends what was found to be damaged. Until all is read and in the index, nothing in the log is changed: it may turn
/// out to be of a later version, or the index may fail.
///
/// `seen` hears how many bytes of the log have been read, and how many there are.
pub(crate) fn rebuild(dir: &Path, index: Index, disk: &dyn Disk, seen: Seen<'_>) -> Result<Recovered, RebuildError> {
    let log = dir.join("log");
    let Listing { segments, strangers } = segment::list(&log)?;
    let mut rebuild = Rebuild::new(dir, index, disk);
    let last = segments.last().map(|(name, _)| name.id);
    let (mut read, all) = (0, segments.iter().map(|(_, len)| len).sum());
    for (name, len) in segments {
        seen(read, all);
        rebuild.read_segment(name, len, last == Some(name.id))?;
        read += len;
    }
    seen(read, all);
    rebuild.finish(&strangers)
}

/// Why the log cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    /// The log cannot be read or mended.
    #[error("{0}")]
    Log(#[from] io::Error),
    /// The index failed.
    #[error("{0}")]
    Index(#[from] sled::Error),
    /// The log is of a format that is not known.
    #[error("{0}")]
    Unknown(OpenError),
}

struct Rebuild<'a> {
    dir: &'a Path,
    disk: &'a dyn Disk,
    index: Index,
    overlay: Overlay,
    mends: Vec<Mend>,
    /// Messages that died after they were put into the index.
    buried: Vec<u64>,
    table: SegmentTable,
    recovery: Recovery,
    next_lsn: u64,
    /// Every copy of every message, including dead ones, and whether it is whole.
    copies: Vec<(u64, bool, Loc)>,
    /// The newest update of each message.
    updates: HashMap<u64, (u64, Loc)>,
    /// Dead message and the segment that holds it.
    tombstones: BTreeSet<(u64, u32)>,
    /// How many tombstones, by their segment and that of the dead message.
    tombstone_counts: HashMap<(u32, u32), u32>,
}

impl<'a> Rebuild<'a> {
    fn new(dir: &'a Path, index: Index, disk: &'a dyn Disk) -> Self {
        Self {
            dir,
            disk,
            index,
            overlay: Overlay::default(),
            mends: Vec::new(),
            buried: Vec::new(),
            table: SegmentTable::default(),
            recovery: Recovery::new(true),
            next_lsn: 1,
            copies: Vec::new(),
            updates: HashMap::new(),
            tombstones: BTreeSet::new(),
            tombstone_counts: HashMap::new(),
        }
    }

    fn read_segment(&mut self, name: SegmentName, mut len: u64, is_last: bool) -> Result<(), RebuildError> {
        let path = name.path(&self.dir.join("log"));
        let file = File::open(&path)?;
        let mut first = vec![0; START.min(len) as usize];
        file.read_exact_at(&mut first, 0)?;
        let mut mend = |at, len, what| self.mends.push(Mend { name, at, len, what });
        match segment::floor(name, &first) {
            Some(floor) => self.next_lsn = self.next_lsn.max(floor),
            // The segment was being created at the crash: it never held a record.
            None if len <= START => self.recovery.torn_bytes += len,
            None => mend(0, START, MendKind::Header(self.next_lsn)),
        }
        self.table.add(name, len);
        let mut scanner = Scanner::new(file.try_clone()?, name.salt, START, len);
        while let Some(found) = scanner.next()? {
            let mut mend = |at, len, what| self.mends.push(Mend { name, at, len, what });
            match found {
                scan::ScanItem::Record { at, header } => self.replay(name, at, &header, scanner.head(), scanner.tail())?,
                // It may have been under way at the crash; who keeps account of what was acknowledged knows.
                scan::ScanItem::Broken { at, header } => {
                    mend(at, header.record_len(), MendKind::Message(header));
                    self.replay(name, at, &header.damaged(), scanner.head(), scanner.tail())?;
                }
                scan::ScanItem::Torn { at, len: torn } => {
                    mend(at, torn, MendKind::Cut { torn: is_last });
                    len = at;
                }
                scan::ScanItem::Damage { at, len } => mend(at, len, MendKind::Void),
                scan::ScanItem::Unknown { format, .. } => return Err(RebuildError::Unknown(refused_record(&path, format))),
            }
        }
        // What a killed process wrote may be only in the kernel's memory, and nobody will sync this segment again. It must not vanish after
        // someone has read it and acted on it.
        self.disk.sync(&file)?;
        self.table.set_len(name.id, len);
        Ok(())
    }

    fn replay(&mut self, name: SegmentName, at: u64, header: &RecordHeader, head: &[u8], tail: Tail<'_>) -> Result<(), RebuildError> {
        let at = Loc { segment: name.id, offset: at as u32, len: header.record_len() as u32 };
        let seq = header.seq;
        self.next_lsn = self.next_lsn.max(header.lsn + 1);
        match header.kind {
            RecordKind::Void => {}
            RecordKind::Message | RecordKind::Damaged => {
                self.copies.push((seq, header.kind == RecordKind::Message, at));
                if let Some((id, meta)) = head.split_first_chunk::<ID>()
                    && !self.is_dead(seq)
                {
                    self.overlay.store(seq, MessageId::from_bytes(*id), Bytes::copy_from_slice(meta));
                }
            }
            RecordKind::Update => {
                let newest = self.updates.get(&seq).is_none_or(|(lsn, _)| *lsn <= header.lsn);
                if newest && !self.is_dead(seq) {
                    // The state itself stays in the log, where readers find it: writing a million of them to sled would take a minute.
                    self.updates.insert(seq, (header.lsn, at));
                }
            }
            RecordKind::Remove => {
                let holder = head.try_into().map_or(0, u32::from_le_bytes);
                self.tombstones.insert((seq, holder));
                *self.tombstone_counts.entry((name.id, holder)).or_default() += 1;
                self.updates.remove(&seq);
                self.overlay.remove(seq, false);
            }
            RecordKind::Put => self.replay_fact(header.lsn, at, head, Some(tail.to_vec()?))?,
            RecordKind::Delete => self.replay_fact(header.lsn, at, head, None)?,
        }
        if self.overlay.bytes > OVERLAY_MAX {
            let overlay = mem::take(&mut self.overlay);
            self.buried.extend(overlay.gone.keys());
            self.index.apply(&overlay)?;
        }
        Ok(())
    }

    fn is_dead(&self, seq: u64) -> bool {
        self.tombstones.range((seq, 0)..=(seq, u32::MAX)).next().is_some()
    }

    fn replay_fact(&mut self, lsn: u64, at: Loc, key: &[u8], value: Option<Vec<u8>>) -> Result<(), RebuildError> {
        let known = match self.overlay.facts.get(key) {
            Some(known) => known.clone(),
            None => self.index.fact(key)?,
        };
        let fact = match known {
            Some(mut newer) if newer.lsn > lsn => {
                newer.trails(at.segment);
                newer
            }
            older => {
                self.table.live(at);
                let mut fact = Fact { lsn, at, trail: Vec::new(), value };
                if let Some(older) = older {
                    self.table.dead(older.at);
                    older.trail.iter().chain([&older.at.segment]).for_each(|id| fact.trails(*id));
                }
                fact
            }
        };
        self.overlay.fact(key.to_vec(), Some(fact));
        Ok(())
    }

    fn finish(mut self, strangers: &[PathBuf]) -> Result<Recovered, RebuildError> {
        let mut surplus = Vec::new();
        let locations = self.settle_messages(&mut surplus);
        for ((segment, holder), count) in mem::take(&mut self.tombstone_counts) {
            (0..count).for_each(|_| self.table.tombstone(segment, holder));
        }
        self.buried.extend(self.overlay.gone.keys());
        self.overlay.find_spent(self.buried.drain(..), &locations);
        self.index.apply(&self.overlay).and_then(|()| self.index.flush())?;
        self.mend(strangers)?;
        self.strike_out_all(&mut surplus)?;
        let Self { index, table, recovery, next_lsn, .. } = self;
        Ok(Recovered { index, checkpoint: StopCheckpoint { next_lsn, stamp: 0, table, locations }, recovery })
    }

    fn mend(&mut self, strangers: &[PathBuf]) -> io::Result<()> {
        for path in strangers {
            let aside = mend::set_aside(self.dir, path)?;
            self.report(aside);
        }
        for mend in mem::take(&mut self.mends) {
            match mend.carry_out(self.dir)? {
                Some(damage) => self.report(damage),
                None => self.recovery.torn_bytes += mend.len,
            }
        }
        mend::forget_torn(self.dir)
    }

    fn report(&mut self, damage: Quarantined) {
        let Quarantined { segment, offset, len, reason, .. } = &damage;
        tracing::error!(segment, offset, len, reason, "damaged bytes of the spool were copied to its quarantine");
        self.recovery.quarantined.push(damage);
    }

    /// Finds the location of each live message: its last whole copy, and if none is whole the last one. What compaction was copying at a power cut
    /// may have reached the disk in part, and what it was copied from is still there. `surplus` gets the copies that have to be voided.
    fn settle_messages(&mut self, surplus: &mut Vec<(u64, Loc)>) -> Locations {
        let mut locations = Locations::default();
        let mut copies = mem::take(&mut self.copies);
        copies.sort_unstable();
        for same in copies.chunk_by(|one, other| one.0 == other.0) {
            let (seq, whole, at) = same[same.len() - 1];
            let places = |same: &[(u64, bool, Loc)]| same.iter().map(|(seq, _, at)| (*seq, *at)).collect::<Vec<_>>();
            if self.is_dead(seq) {
                surplus.extend(places(same).into_iter().filter(|(seq, at)| !self.tombstones.contains(&(*seq, at.segment))));
                continue;
            }
            surplus.extend(places(&same[..same.len() - 1]));
            self.recovery.damaged.extend((!whole).then_some(seq));
            let update = self.updates.remove(&seq).map_or(Loc::default(), |(_, at)| at);
            self.table.live(at);
            self.table.live(update);
            locations.push(seq, MessageLocation { at, update });
        }
        // Drop the updates of messages that are damaged or gone.
        self.updates.clear();
        locations
    }

    fn strike_out_all(&self, surplus: &mut [(u64, Loc)]) -> io::Result<()> {
        surplus.sort_unstable_by_key(|(_, at)| *at);
        for same in surplus.chunk_by(|one, other| one.1.segment == other.1.segment) {
            let Some(segment) = self.table.get(same[0].1.segment) else { continue };
            let file = OpenOptions::new().write(true).open(segment.name.path(&self.dir.join("log")))?;
            for (_, at) in same {
                strike_out(&file, segment.name, u64::from(at.offset), u64::from(at.len))?;
            }
            file.sync_data()?;
        }
        Ok(())
    }
}

const OVERLAY_MAX: usize = 16 * 1024 * 1024;
