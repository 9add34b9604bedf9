//! The current file: which bytes are durable, written or waiting; and its rotation.

use std::{fs, io, time::Duration};

use jiff::Timestamp;

use super::{
    FileId, LogError, LogOptions, OpenedLog, Position,
    current::{CurrentFile, newest_end, open_current},
    disk::{Wrap, WritableFile},
    files::{self, CURRENT, LogFile},
};

/// The current file. Bytes stay in `waiting` until a sync has made them durable: after a failed sync it is unknown which of them the kernel
/// still holds (it marks the pages clean), so all are written again.
pub(super) struct Appender {
    options: LogOptions,
    clock: fn() -> Timestamp,
    wrap: Wrap,
    disk: Box<dyn WritableFile>,
    /// None while the file is empty.
    file: Option<FileId>,
    /// The time of its first line.
    born: Option<Timestamp>,
    durable: u64,
    waiting: Vec<u8>,
    /// How much of `waiting` is written.
    written: usize,
    /// The durable end of the log.
    end: Option<Position>,
    /// After a failed rotation: no other one before this time.
    rotate_after: Timestamp,
}

impl Appender {
    pub(super) fn open(options: LogOptions, clock: fn() -> Timestamp, wrap: Wrap) -> Result<(Self, OpenedLog), LogError> {
        fs::create_dir_all(&options.dir).map_err(LogError::io("make", &options.dir))?;
        let current = open_current(&options)?;
        files::sync_dir(&options.dir)?;
        let end = match current.file {
            Some(file) => Some(Position { file, offset: current.length }),
            None => newest_end(&files::list(&options.dir)?)?,
        };
        let opened = OpenedLog { end, cut: current.cut };
        let appender = Self {
            clock,
            disk: wrap(current.handle),
            wrap,
            file: current.file,
            born: current.born,
            durable: current.length,
            waiting: Vec::new(),
            written: 0,
            end,
            rotate_after: Timestamp::MIN,
            options,
        };
        Ok((appender, opened))
    }

    pub(super) fn options(&self) -> &LogOptions {
        &self.options
    }

    /// Uses these options from now on, except for the folder, the mode and `queue_max`.
    pub(super) fn keep(&mut self, mut options: LogOptions) {
        std::mem::swap(&mut options.dir, &mut self.options.dir);
        (options.mode, options.queue_max) = (self.options.mode, self.options.queue_max);
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

    /// Writes the waiting bytes. On failure the file is cut back to a whole line, and the bytes still wait.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let from = self.durable + self.written as u64;
        if let Err(error) = self.disk.write_at(&self.waiting[self.written..], from) {
            // If the cut fails too, the next try overwrites the torn part: it begins at the same offset.
            let _ = self.disk.cut(from);
            return Err(error);
        }
        self.written = self.waiting.len();
        Ok(())
    }

    /// Writes the waiting bytes and makes them durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.write()?;
        if let Err(error) = self.disk.sync() {
            let _ = self.disk.cut(self.durable);
            self.written = 0;
            return Err(error);
        }
        self.durable += self.waiting.len() as u64;
        if self.file.is_none() {
            self.file = FileId::of(&self.waiting);
        }
        self.end = self.file.map(|file| Position { file, offset: self.durable });
        self.waiting.clear();
        self.waiting.shrink_to(WAITING_KEPT);
        self.written = 0;
        Ok(())
    }

    /// Whether the next line belongs in a new file.
    pub(super) fn rotation_is_due(&mut self) -> bool {
        let now = (self.clock)();
        let length = self.durable + self.waiting.len() as u64;
        if length == 0 {
            self.born = Some(now);
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
        let (from, number) = (dir.join(CURRENT), files::next_number(&files::list(&dir)?));
        let to = dir.join(files::rotated_name(now, number));
        fs::rename(&from, &to).map_err(LogError::io("rename", &from))?;
        let fresh = match open_current(&self.options) {
            Ok(fresh) => fresh,
            Err(error) => {
                // Go on with the old file under its old name.
                fs::rename(&to, &from).map_err(LogError::io("rename", &to))?;
                return Err(error);
            }
        };
        self.take_up(fresh);
        files::sync_dir(&dir)?;
        self.forget_old(now)
    }

    fn take_up(&mut self, fresh: CurrentFile) {
        self.disk = (self.wrap)(fresh.handle);
        (self.file, self.born, self.durable) = (fresh.file, fresh.born, fresh.length);
    }

    fn forget_old(&self, now: Timestamp) -> Result<(), LogError> {
        let rotated: Vec<LogFile> = files::list(&self.options.dir)?.into_iter().filter(|f| f.rotated.is_some()).collect();
        let surplus = rotated.len().saturating_sub(self.options.keep_files);
        for (i, file) in rotated.iter().enumerate() {
            let old = self.options.keep_age.is_some_and(|age| file.rotated.is_some_and(|time| older_than(time, now, age)));
            if i < surplus || old {
                fs::remove_file(&file.path).map_err(LogError::io("delete", &file.path))?;
            }
        }
        Ok(())
    }
}

/// Bytes of memory kept for the next batch.
const WAITING_KEPT: usize = 1 << 20;
/// How long to wait after a failed rotation.
const ROTATE_AGAIN: Duration = Duration::from_secs(60);

fn older_than(then: Timestamp, now: Timestamp, age: Duration) -> bool {
    Duration::try_from(now.duration_since(then)).is_ok_and(|past| past >= age)
}
