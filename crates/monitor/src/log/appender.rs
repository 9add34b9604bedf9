//! The current file: which bytes are durable, written or waiting; and its rotation.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use jiff::Timestamp;
use memchr::{memchr, memrchr};

use super::{
    FileId, LogError, LogOptions, OpenedLog, Position,
    files::{self, CURRENT, LogFile},
};
use crate::record::LogRecord;

/// A file as the writer uses it; tests substitute one that fails.
pub(super) trait WritableFile: Send {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    fn cut(&self, length: u64) -> io::Result<()>;
}

impl WritableFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Wraps an opened file.
pub(super) type Wrap = Box<dyn Fn(File) -> Box<dyn WritableFile> + Send>;

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

struct CurrentFile {
    handle: File,
    file: Option<FileId>,
    born: Option<Timestamp>,
    length: u64,
    cut: u64,
}

/// Opens `delivery.log`, locks it against a second writer, and cuts a torn last line.
fn open_current(options: &LogOptions) -> Result<CurrentFile, LogError> {
    let path = options.dir.join(CURRENT);
    let handle = open_file(&path, options.mode)?;
    match handle.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(LogError::InUse(path)),
        Err(fs::TryLockError::Error(e)) => return Err(LogError::io("lock", path)(e)),
    }
    examine(handle, &path)
}

fn open_file(path: &Path, mode: u32) -> Result<File, LogError> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).create(true).truncate(false).mode(mode);
    how.open(path).map_err(LogError::io("open", path))
}

fn examine(handle: File, path: &Path) -> Result<CurrentFile, LogError> {
    let look = || -> io::Result<_> {
        let found = handle.metadata()?.len();
        let length = whole_lines(&handle, found)?;
        if length < found {
            handle.set_len(length)?;
        }
        // Lines of a killed writer may be only in the kernel's memory. They must not vanish after someone has read them and acted on them.
        handle.sync_data()?;
        Ok((length, found - length, FileId::read(&handle)?, first_time(&handle)?))
    };
    let (length, cut, file, born) = look().map_err(LogError::io("read", path))?;
    Ok(CurrentFile { file, born, length, cut, handle })
}

/// The length up to the end of the last line.
fn whole_lines(file: &File, length: u64) -> io::Result<u64> {
    let (mut end, mut block) = (length, vec![0; 64 << 10]);
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let piece = &mut block[..(end - start) as usize];
        file.read_exact_at(piece, start)?;
        if let Some(at) = memrchr(b'\n', piece) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn first_time(file: &File) -> io::Result<Option<Timestamp>> {
    let mut head = vec![0; 16 << 10];
    let have = file.read_at(&mut head, 0)?;
    let line = memchr(b'\n', &head[..have]).map(|end| &head[..end]);
    Ok(line.and_then(LogRecord::parse).and_then(|record| record.time()))
}

fn newest_end(files: &[LogFile]) -> Result<Option<Position>, LogError> {
    for found in files.iter().rev() {
        let look = || -> io::Result<_> {
            let file = File::open(&found.path)?;
            Ok(FileId::read(&file)?.map(|id| Position { file: id, offset: 0 }).zip(Some(file.metadata()?.len())))
        };
        if let Some((position, offset)) = look().map_err(LogError::io("read", &found.path))? {
            return Ok(Some(Position { offset, ..position }));
        }
    }
    Ok(None)
}
