//! Rebuilds everything from the log: reads each segment once, from front to back; the highest lsn wins.
//!
//! Afterwards the log is in the state that the writer expects: all damage is copied to the quarantine and voided, no live message has a
//! second copy, and every copy of a dead message has a tombstone.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    mem,
    os::unix::fs::FileExt,
    path::Path,
};

use bytes::Bytes;
use posthaste_mail::MessageId;

use crate::{
    OpenError, Quarantined, Recovery,
    checkpoint::StopCheckpoint,
    disk::{Disk, sync_dir},
    fact::Fact,
    holes,
    index::{Index, to_io},
    locations::{Locations, MessageLocation},
    overlay::Overlay,
    record::{HEADER, ID, Loc, RecordHeader, RecordKind},
    recovery::Recovered,
    scan::{self, Scanner, Tail},
    segment::{self, Listing, START, SegmentName},
    segments::SegmentTable,
};

pub(crate) fn rebuild(dir: &Path, index: Index, disk: &dyn Disk) -> Result<Recovered, OpenError> {
    let failed = |source: io::Error| OpenError::Io { path: dir.to_owned(), source };
    let log = dir.join("log");
    let Listing { segments, strangers } = segment::list(&log).map_err(failed)?;
    let mut rebuild = Rebuild::new(dir, index, disk);
    for path in strangers {
        rebuild.set_aside(&path).map_err(failed)?;
    }
    let last = segments.last().map(|(name, _)| name.id);
    for (name, len) in segments {
        rebuild.read_segment(name, len, last == Some(name.id)).map_err(failed)?;
    }
    forget_torn(&dir.join("quarantine")).map_err(failed)?;
    rebuild.finish().map_err(failed)
}

/// Deletes the oldest copies of torn ends: each kill under load leaves one, and they hold what nobody was told is safe.
fn forget_torn(quarantine: &Path) -> io::Result<()> {
    let paths = fs::read_dir(quarantine)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    let mut torn: Vec<_> = paths.into_iter().filter(|path| path.extension().is_some_and(|what| what == "torn")).collect();
    torn.sort();
    let surplus = torn.len().saturating_sub(TORN_KEPT);
    torn.into_iter().take(surplus).try_for_each(fs::remove_file)
}

const TORN_KEPT: usize = 16;

struct Rebuild<'a> {
    dir: &'a Path,
    disk: &'a dyn Disk,
    index: Index,
    overlay: Overlay,
    /// Messages that died after they were put into the index.
    buried: Vec<u64>,
    table: SegmentTable,
    recovery: Recovery,
    next_lsn: u64,
    /// Every copy of every message, including dead ones.
    copies: Vec<(u64, Loc)>,
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

    /// Moves a file that is no segment to the quarantine.
    fn set_aside(&mut self, path: &Path) -> io::Result<()> {
        let len = fs::symlink_metadata(path)?.len();
        let name = path.file_name().unwrap_or_default();
        let mut target = self.dir.join("quarantine").join(name);
        for n in 1.. {
            if !target.exists() {
                break;
            }
            target.set_file_name(format!("{}.{n}", name.to_string_lossy()));
        }
        holes::note(self.dir)?;
        fs::rename(path, target)?;
        sync_dir(&self.dir.join("log"))?;
        self.report((0, 0, len), None, &format!("{} is no segment", name.to_string_lossy()));
        Ok(())
    }

    fn report(&mut self, (segment, offset, len): (u32, u64, u64), message: Option<u64>, reason: &str) {
        tracing::error!(segment, offset, len, reason, "damaged bytes of the spool were copied to its quarantine");
        self.recovery.quarantined.push(Quarantined { segment, offset, len, message, reason: reason.to_owned() });
    }

    fn read_segment(&mut self, name: SegmentName, mut len: u64, is_last: bool) -> io::Result<()> {
        let path = name.path(&self.dir.join("log"));
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let mut first = vec![0; START.min(len) as usize];
        file.read_exact_at(&mut first, 0)?;
        match segment::floor(name, &first) {
            Some(floor) => self.next_lsn = self.next_lsn.max(floor),
            // The segment was being created at the crash: it never held a record.
            None if len <= START => self.recovery.torn_bytes += len,
            None => self.quarantine(&file, name, 0, START, "the segment's header is damaged")?,
        }
        self.table.add(name, len);
        let mut scanner = Scanner::new(file.try_clone()?, name.salt, START, len);
        while let Some(found) = scanner.next()? {
            match found {
                scan::ScanItem::Record { at, header } => self.replay(name, at, &header, scanner.head(), scanner.tail())?,
                // It may have been under way at the crash; who keeps account of what was acknowledged knows.
                scan::ScanItem::Broken { at, header } => {
                    self.mark_damaged(&file, name, at, &header, scanner.head())?;
                    self.replay(name, at, &header.damaged(), scanner.head(), scanner.tail())?;
                }
                scan::ScanItem::Torn { at, len: torn } => {
                    match is_last {
                        true => {
                            self.copy_to_quarantine(&file, name, at, torn, "torn")?;
                            self.recovery.torn_bytes += torn;
                        }
                        false => self.quarantine(&file, name, at, torn, "the segment's end is no record")?,
                    }
                    file.set_len(at)?;
                    file.sync_all()?;
                    len = at;
                }
                scan::ScanItem::Damage { at, len } => self.quarantine(&file, name, at, len, "no record has this checksum")?,
            }
        }
        // What a killed process wrote may be only in the kernel's memory, and nobody will sync this segment again. It must not vanish after
        // someone has read it and acted on it.
        self.disk.sync(&file)?;
        self.table.set_len(name.id, len);
        Ok(())
    }

    /// Copies a message whose body is damaged to the quarantine, and marks its record, so that it is reported only once. The message stays
    /// in the spool: its sender hears of it when it expires, if not before.
    fn mark_damaged(&mut self, file: &File, name: SegmentName, at: u64, header: &RecordHeader, head: &[u8]) -> io::Result<()> {
        self.copy_to_quarantine(file, name, at, header.record_len(), "damaged")?;
        let mut marked = Vec::with_capacity(HEADER + head.len());
        header.damaged().encode(name.salt, &[head], &mut marked);
        file.write_all_at(&marked, at)?;
        file.sync_data()?;
        let reason = "the body of a message has another checksum; the message stays in the spool";
        self.report((name.id, at, header.record_len()), Some(header.seq), reason);
        Ok(())
    }

    /// Copies damage to the quarantine, then voids it in place, so that it is reported only once.
    fn quarantine(&mut self, file: &File, name: SegmentName, at: u64, len: u64, reason: &str) -> io::Result<()> {
        holes::note(self.dir)?;
        self.copy_to_quarantine(file, name, at, len, "damaged")?;
        if at < START {
            file.write_all_at(&segment::header(name, self.next_lsn), 0)?;
            file.sync_data()?;
        } else if len >= HEADER as u64 {
            strike_out(file, name, at, len)?;
            file.sync_data()?;
        }
        self.report((name.id, at, len), None, reason);
        Ok(())
    }

    /// Copies bytes of a segment to the quarantine, before anything is done about them. `what` ends the copy's name: `damaged` or `torn`.
    fn copy_to_quarantine(&self, file: &File, name: SegmentName, at: u64, len: u64, what: &str) -> io::Result<()> {
        let folder = self.dir.join("quarantine");
        let mut copy = File::create(folder.join(format!("{:08x}-{at:08x}.{what}", name.id)))?;
        let mut bytes = vec![0; len.min(1 << 20) as usize];
        for from in (0..len).step_by(1 << 20) {
            let part = &mut bytes[..(len - from).min(1 << 20) as usize];
            file.read_exact_at(part, at + from)?;
            copy.write_all(part)?;
        }
        copy.sync_all()?;
        sync_dir(&folder)
    }

    fn replay(&mut self, name: SegmentName, at: u64, header: &RecordHeader, head: &[u8], tail: Tail<'_>) -> io::Result<()> {
        let at = Loc { segment: name.id, offset: at as u32, len: header.record_len() as u32 };
        let seq = header.seq;
        self.next_lsn = self.next_lsn.max(header.lsn + 1);
        match header.kind {
            RecordKind::Void => {}
            RecordKind::Message | RecordKind::Damaged => {
                if header.kind == RecordKind::Damaged {
                    self.recovery.damaged.push(seq);
                }
                self.copies.push((seq, at));
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
            self.index.apply(&overlay).map_err(to_io)?;
        }
        Ok(())
    }

    fn is_dead(&self, seq: u64) -> bool {
        self.tombstones.range((seq, 0)..=(seq, u32::MAX)).next().is_some()
    }

    fn replay_fact(&mut self, lsn: u64, at: Loc, key: &[u8], value: Option<Vec<u8>>) -> io::Result<()> {
        let known = match self.overlay.facts.get(key) {
            Some(known) => known.clone(),
            None => self.index.fact(key).map_err(to_io)?,
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

    fn finish(mut self) -> io::Result<Recovered> {
        let mut surplus = Vec::new();
        let locations = self.settle_messages(&mut surplus);
        self.strike_out_all(&mut surplus)?;
        for ((segment, holder), count) in mem::take(&mut self.tombstone_counts) {
            (0..count).for_each(|_| self.table.tombstone(segment, holder));
        }
        self.buried.extend(self.overlay.gone.keys());
        self.overlay.find_spent(self.buried.drain(..), &locations);
        self.index.apply(&self.overlay).and_then(|()| self.index.flush()).map_err(to_io)?;
        let Self { index, table, mut recovery, next_lsn, .. } = self;
        recovery.damaged.sort_unstable();
        recovery.damaged.dedup();
        recovery.damaged.retain(|seq| locations.get(*seq).is_some());
        Ok(Recovered { index, checkpoint: StopCheckpoint { next_lsn, stamp: 0, table, locations }, recovery })
    }

    /// Finds the location of each live message: its last copy. `surplus` gets the copies that have to be voided.
    fn settle_messages(&mut self, surplus: &mut Vec<(u64, Loc)>) -> Locations {
        let mut locations = Locations::default();
        let mut copies = mem::take(&mut self.copies);
        copies.sort_unstable();
        for same in copies.chunk_by(|one, other| one.0 == other.0) {
            let (seq, at) = same[same.len() - 1];
            if self.is_dead(seq) {
                surplus.extend(same.iter().filter(|(seq, at)| !self.tombstones.contains(&(*seq, at.segment))));
                continue;
            }
            surplus.extend(&same[..same.len() - 1]);
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

fn strike_out(file: &File, name: SegmentName, at: u64, len: u64) -> io::Result<()> {
    let mut header = Vec::with_capacity(HEADER);
    RecordHeader::void(len).encode(name.salt, &[], &mut header);
    file.write_all_at(&header, at)
}

const OVERLAY_MAX: usize = 16 * 1024 * 1024;
