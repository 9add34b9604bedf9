//! The current file: which bytes are durable, written or waiting; and its rotation.

use std::{io, os::unix::fs::FileExt, time::Duration};

use jiff::Timestamp;
use posthaste_mail::{Event, What};

use super::{
    FileId, LogAlarm, LogError, LogOptions, OpenedLog, Position, SyncTimer,
    condition::Condition,
    current::{CurrentFile, gaps_among, keep_newest, open_current},
    disk::{LogFolder, Seen, WritableFile},
    files::{self, CURRENT, LogFile},
    inventory::{Inventory, checksum},
    sums::Sums,
};

mod copied;
mod copies;
mod listing;
mod outside;
mod rotated;

pub(crate) use copies::doubles;
pub use copies::put_copy_aside;

/// Makes an event of what happened: gives it an id and the node's name.
pub(super) type Stamp = Box<dyn Fn(Timestamp, What) -> Event + Send>;

/// The current file. Bytes stay in `waiting` until a sync has made them durable: after a failed sync it is unknown which of them the kernel
/// still holds (it marks the pages clean), so all are written again.
///
/// Others can change the file behind the writer's back. So bytes count as durable only if, after the sync, the file still has its name and
/// just the length that it must have (`outside.rs` mends what has not).
pub(super) struct Appender {
    options: LogOptions,
    clock: fn() -> Timestamp,
    stamp: Stamp,
    folder: Box<dyn LogFolder>,
    disk: Box<dyn WritableFile>,
    /// None while the file is empty.
    file: Option<FileId>,
    /// The time of its first line.
    born: Option<Timestamp>,
    durable: u64,
    waiting: Vec<u8>,
    /// How much of `waiting` is written.
    written: usize,
    /// The last bytes of the file up to what is written.
    last: Vec<u8>,
    /// The same up to what is durable.
    last_durable: Vec<u8>,
    /// A sync failed after others had changed the file: what it holds of the waiting lines may never reach the disk.
    distrusted: bool,
    /// A write failed halfway, and the torn part could not be cut off yet.
    torn: bool,
    /// The length at opening; the lines up to there are not in `sums`.
    found: u64,
    /// The durable lines that were written since.
    sums: Sums,
    /// The durable `log_gap` lines in the file, the newest first: if it is lost too, the next file begins with them. Those that wait are not
    /// among them, because they may end up in another file.
    gaps: Vec<u8>,
    /// Bytes of somebody else's in this file were reported.
    strangers_reported: bool,
    /// The highest number that a rotated file got, or that is kept free for a missing one.
    highest: u64,
    /// The durable end of the log.
    end: Option<Position>,
    /// After a failed rotation: no other one before this time.
    rotate_after: Timestamp,
    /// The files that there should be.
    inventory: Inventory,
    /// It is older than the newest that was written: what it lists may be gone because the relay deleted it since.
    list_is_old: bool,
    /// The number of the list on disk.
    list_serial: u64,
    /// The list and its twin as they were left, if that is known.
    list_seen: Option<[Option<Seen>; 2]>,
    /// The folder's time of change when its files were compared with the list; None: they are to be compared again.
    folder_seen: Option<std::time::SystemTime>,
    /// The list on disk is another one.
    unsaved: bool,
    /// That it could not be written was said.
    save_failed: bool,
    /// When the list was written last, or that was tried.
    saved: Timestamp,
    /// The CRC-32 of the current file up to what is durable.
    sum: u32,
    /// When the rotated files were looked at last, and which of them is the next in turn.
    looked: Timestamp,
    next_look: usize,
    /// What the operator has to know; taken by [`Self::take_alarms`].
    alarms: Vec<LogAlarm>,
}

impl Appender {
    pub(super) fn open(
        options: LogOptions,
        clock: fn() -> Timestamp,
        stamp: Stamp,
        folder: Box<dyn LogFolder>,
    ) -> Result<(Self, OpenedLog), LogError> {
        folder.make(&options.dir).map_err(LogError::io("make", &options.dir))?;
        let mut before = folder.seen(&options.dir.join(CURRENT)).ok().flatten();
        let mut current = open_current(&*folder, &options)?;
        // Whoever reads the log first has done this before.
        let copy = copies::put_current_aside(&*folder, &options.dir, clock())?;
        if copy.is_some() {
            (current, before) = (open_current(&*folder, &options)?, None);
        }
        files::sync_dir(&options.dir)?;
        let end = current.file.map(|file| Position { file, offset: current.length });
        let cut = current.cut;
        let mut appender = Self {
            clock,
            stamp,
            folder,
            disk: current.disk,
            file: current.file,
            born: current.born,
            durable: current.length,
            waiting: Vec::new(),
            written: 0,
            last: Vec::new(),
            last_durable: Vec::new(),
            distrusted: false,
            torn: false,
            found: current.length,
            sums: Sums::default(),
            gaps: current.gaps,
            strangers_reported: false,
            highest: 0,
            end,
            rotate_after: Timestamp::MIN,
            inventory: Inventory::default(),
            list_is_old: false,
            list_serial: 0,
            list_seen: None,
            folder_seen: None,
            unsaved: false,
            save_failed: false,
            saved: Timestamp::MIN,
            sum: 0,
            looked: Timestamp::MIN,
            next_look: 0,
            alarms: copy.map(LogAlarm::Meddled).into_iter().collect(),
            options,
        };
        appender.read_last().map_err(LogError::io("read", appender.options.dir.join(CURRENT)))?;
        appender.compare_with_list(before, appender.options.told)?;
        let opened = OpenedLog { end: appender.end, cut };
        Ok((appender, opened))
    }

    pub(super) fn options(&self) -> &LogOptions {
        &self.options
    }

    /// Uses these options from now on, except for the folder, the mode and `queue_max`.
    pub(super) fn keep(&mut self, mut options: LogOptions) {
        std::mem::swap(&mut options.dir, &mut self.options.dir);
        (options.mode, options.queue_max) = (self.options.mode, self.options.queue_max);
        options.timer = self.options.timer.take();
        self.options = options;
    }

    /// The buffer for whole lines; [`Self::write`] takes them from there.
    pub(super) fn waiting(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }

    /// The durable end of the log.
    pub(super) fn end(&self) -> Option<Position> {
        self.end
    }

    /// What the operator has to know since the last call.
    pub(super) fn take_alarms(&mut self) -> Vec<LogAlarm> {
        std::mem::take(&mut self.alarms)
    }

    /// Writes the waiting bytes. On failure the file is cut back to a whole line, and the bytes still wait.
    pub(super) fn write(&mut self) -> io::Result<()> {
        self.look()?;
        self.append()
    }

    /// Writes the waiting bytes and makes them durable. Looks at the files even if nothing waits.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.look_at_rotated();
        let is_idle = self.waiting.is_empty();
        self.sync_lines()?;
        if self.unsaved || self.list_is_behind(is_idle) {
            // A failure was reported; the lines do not depend on it.
            let _ = self.save_list();
        }
        Ok(())
    }

    /// Whether the list is to be written again because the file has grown: when that has ended, and now and then meanwhile. A start after a kill
    /// knows of the file what the list says.
    fn list_is_behind(&self, is_idle: bool) -> bool {
        let (now, listed) = ((self.clock)(), self.inventory.current.as_ref().map_or(0, |listed| listed.length));
        self.durable != listed && (is_idle || now < self.saved || older_than(self.saved, now, LIST_EVERY))
    }

    fn sync_lines(&mut self) -> io::Result<()> {
        for _ in 0..SYNC_TRIES {
            self.look()?;
            if self.waiting.is_empty() {
                return Ok(());
            }
            self.append()?;
            if let Err(error) = SyncTimer::time(self.options.timer.as_ref(), || self.disk.sync()) {
                self.forget_unsynced();
                return Err(error);
            }
            // Not before this look is it certain that the bytes are where a reader finds them.
            if self.condition()? == Condition::SOUND {
                self.settle(self.waiting.len());
                return Ok(());
            }
        }
        Err(io::Error::other("other programs change delivery.log all the time"))
    }

    /// After a failed sync: cuts off what was written since the last good one, unless the file is not as it was left: the next look sees to it.
    fn forget_unsynced(&mut self) {
        if self.condition().is_ok_and(Condition::is_complete) {
            self.torn = self.cut_back(self.durable).is_err();
            self.written = 0;
            self.last.clone_from(&self.last_durable);
        } else {
            self.distrusted = true;
        }
    }

    fn append(&mut self) -> io::Result<()> {
        let new = &self.waiting[self.written..];
        if new.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.disk.append(new) {
            self.torn = self.cut_back(self.length()).is_err();
            return Err(error);
        }
        self.last.extend_from_slice(&new[new.len().saturating_sub(LAST)..]);
        self.last.drain(..self.last.len().saturating_sub(LAST));
        self.written = self.waiting.len();
        Ok(())
    }

    /// Counts so many of the waiting bytes as durable.
    fn settle(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        if self.file.is_none() {
            self.file = match self.durable {
                0 => FileId::of(&self.waiting[..bytes]),
                _ => FileId::read(self.disk.file()).ok().flatten(),
            };
            // From now on a start knows that there was such a file.
            self.unsaved = true;
        }
        self.sums.add(&self.waiting[..bytes]);
        let mut gaps = gaps_among(&self.waiting[..bytes]);
        gaps.append(&mut self.gaps);
        keep_newest(&mut gaps);
        self.gaps = gaps;
        let mut sum = crc32fast::Hasher::new_with_initial(self.sum);
        sum.update(&self.waiting[..bytes]);
        self.sum = sum.finalize();
        self.durable += bytes as u64;
        self.end = self.file.map(|file| Position { file, offset: self.durable }).or(self.end);
        self.waiting.drain(..bytes);
        self.waiting.shrink_to(WAITING_KEPT);
        self.written = self.written.saturating_sub(bytes);
        if self.written == 0 {
            self.last_durable.clone_from(&self.last);
        }
    }

    /// The file's length if only this writer has written into it.
    fn length(&self) -> u64 {
        self.durable + self.written as u64
    }

    /// Never makes a file longer: that would be a hole.
    fn cut_back(&self, to: u64) -> io::Result<()> {
        if self.disk.seen()?.length > to { self.disk.cut(to) } else { Ok(()) }
    }

    fn condition(&self) -> io::Result<Condition> {
        let held = self.disk.seen()?;
        // A folder that may not be looked into tells nothing, and the open file can still be written.
        let named = self.folder.seen(&self.options.dir.join(CURRENT)).unwrap_or(Some(held));
        let mut last = vec![0; self.last.len()];
        let start = self.length() - last.len() as u64;
        let end_holds = self.disk.file().read_exact_at(&mut last, start).is_ok() && last == self.last;
        Ok(Condition::judge(named, held, self.length(), end_holds))
    }

    /// Reads anew which bytes are the last before the end of what is written, all of which is durable.
    fn read_last(&mut self) -> io::Result<()> {
        let (end, held) = (self.length(), self.disk.seen()?.length);
        if held < end {
            // The next look finds that out, whatever stands here.
            return Ok(());
        }
        let start = end.saturating_sub(LAST as u64);
        self.last.resize((end - start) as usize, 0);
        self.disk.file().read_exact_at(&mut self.last, start)?;
        self.last_durable.clone_from(&self.last);
        Ok(())
    }

    /// Whether the next line belongs in a new file.
    pub(super) fn rotation_is_due(&mut self) -> bool {
        let now = (self.clock)();
        let length = self.durable + self.waiting.len() as u64;
        if length == 0 || self.born.is_none() {
            self.born = Some(now);
        }
        if length == 0 {
            return false;
        }
        let old = self.born.is_some_and(|born| older_than(born, now, self.options.rotate_age));
        now >= self.rotate_after && (old || length >= self.options.rotate_size)
    }

    /// Begins a new file; everything must be durable.
    pub(super) fn rotate(&mut self) -> Result<(), LogError> {
        debug_assert!(self.waiting.is_empty(), "a rotation follows a sync");
        if self.durable == 0 {
            return Ok(());
        }
        let now = (self.clock)();
        let rotated = self.begin_new_file(now);
        if rotated.is_err() {
            self.rotate_after = now.saturating_add(ROTATE_AGAIN).unwrap_or(now);
        }
        rotated
    }

    fn begin_new_file(&mut self, now: Timestamp) -> Result<(), LogError> {
        let dir = self.options.dir.clone();
        let from = dir.join(CURRENT);
        let to = dir.join(files::rotated_name(now, self.next_number()?));
        self.folder.rename(&from, &to).map_err(LogError::io("rename", &from))?;
        let fresh = match open_current(&*self.folder, &self.options) {
            Ok(fresh) => fresh,
            Err(error) => {
                // Go on with the old file under its old name.
                self.folder.rename(&to, &from).map_err(LogError::io("rename", &to))?;
                return Err(error);
            }
        };
        self.list_rotated(&to);
        self.take_up(fresh)?;
        files::sync_dir(&dir)?;
        self.forget_old(now)
    }

    /// The number for the next file that is rotated. It rises even if somebody deletes the files with the highest numbers.
    fn next_number(&mut self) -> Result<u64, LogError> {
        self.highest = files::next_number(&files::list(&self.options.dir)?).max(self.highest + 1);
        Ok(self.highest)
    }

    fn take_up(&mut self, fresh: CurrentFile) -> Result<(), LogError> {
        self.disk = fresh.disk;
        (self.file, self.born, self.durable, self.found) = (fresh.file, fresh.born, fresh.length, fresh.length);
        (self.written, self.torn, self.distrusted, self.sums) = (0, false, false, Sums::default());
        self.strangers_reported = false;
        self.gaps = fresh.gaps;
        self.last.clear();
        let read = || LogError::io("read", self.options.dir.join(CURRENT));
        self.sum = checksum(self.disk.file(), 0..self.durable, 0).map_err(read())?;
        self.read_last().map_err(LogError::io("read", self.options.dir.join(CURRENT)))
    }

    /// Deletes the oldest files. They leave the list first: else a crash in between would make them look lost.
    fn forget_old(&mut self, now: Timestamp) -> Result<(), LogError> {
        let rotated: Vec<LogFile> = files::list(&self.options.dir)?.into_iter().filter(|f| f.rotated.is_some()).collect();
        let surplus = rotated.len().saturating_sub(self.options.keep_files);
        let is_old = |file: &LogFile| self.options.keep_age.is_some_and(|age| file.rotated.is_some_and(|time| older_than(time, now, age)));
        let old: Vec<&LogFile> =
            rotated.iter().enumerate().filter(|(i, file)| *i < surplus || is_old(file)).map(|(_, file)| file).collect();
        self.inventory.rotated.retain(|listed| !old.iter().any(|file| file.path.ends_with(&listed.name)));
        // On a full disk it is the deletion that makes room for the list.
        let saved = self.save_list();
        for file in old {
            self.folder.remove(&file.path).map_err(LogError::io("delete", &file.path))?;
        }
        saved.or_else(|_| self.save_list())
    }
}

/// How often the list of files is written while lines are.
const LIST_EVERY: Duration = Duration::from_secs(10);
/// How often a sync is begun again because the file was changed meanwhile.
const SYNC_TRIES: usize = 3;
/// How many of the last bytes are compared, to notice that a file was overwritten in place.
const LAST: usize = 64;
/// Bytes of memory kept for the next batch.
const WAITING_KEPT: usize = 1 << 20;
/// How long to wait after a failed rotation.
const ROTATE_AGAIN: Duration = Duration::from_secs(60);

fn older_than(then: Timestamp, now: Timestamp, age: Duration) -> bool {
    Duration::try_from(now.duration_since(then)).is_ok_and(|past| past >= age)
}
