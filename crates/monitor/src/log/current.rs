//! The file that lines are appended to, as it is found on opening.

use std::{
    fs::{File, TryLockError},
    io::{self, BufRead},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use memchr::{memchr, memmem, memrchr};

use super::{
    FileId, LogError, LogOptions, Position,
    disk::{LogFolder, WritableFile},
    end_of_lines,
    files::{CURRENT, LogFile, NEXT},
};
use crate::record::{LogRecord, event_word};

pub(super) struct CurrentFile {
    pub(super) disk: Box<dyn WritableFile>,
    pub(super) file: Option<FileId>,
    pub(super) born: Option<Timestamp>,
    /// The `log_gap` lines that it begins with.
    pub(super) gaps: Vec<u8>,
    pub(super) length: u64,
    pub(super) cut: u64,
}

/// Opens `delivery.log`, locks it against a second writer, and cuts a torn last line.
pub(super) fn open_current(folder: &dyn LogFolder, options: &LogOptions) -> Result<CurrentFile, LogError> {
    open_named(folder, options, options.dir.join(CURRENT))
}

/// Opens a file that is to become `delivery.log`; the caller renames it.
pub(super) fn open_next(folder: &dyn LogFolder, options: &LogOptions) -> Result<CurrentFile, LogError> {
    open_named(folder, options, options.dir.join(NEXT))
}

fn open_named(folder: &dyn LogFolder, options: &LogOptions, path: PathBuf) -> Result<CurrentFile, LogError> {
    let disk = folder.open(&path, options.mode).map_err(LogError::io("open", &path))?;
    match disk.file().try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(LogError::InUse(path)),
        Err(TryLockError::Error(e)) => return Err(LogError::io("lock", path)(e)),
    }
    examine(disk, &path)
}

fn examine(disk: Box<dyn WritableFile>, path: &Path) -> Result<CurrentFile, LogError> {
    let look = || -> io::Result<_> {
        let found = disk.seen()?.length;
        let length = end_of_lines(disk.file(), found)?;
        if length < found {
            disk.cut(length)?;
        }
        // Lines of a killed writer may be only in the kernel's memory. They must not vanish after someone has read them and acted on them.
        disk.sync()?;
        Ok((length, found - length, FileId::read(disk.file())?, first_time(disk.file())?, first_gaps(disk.file())?))
    };
    let (length, cut, file, born, gaps) = look().map_err(LogError::io("read", path))?;
    Ok(CurrentFile { file, born, gaps, length, cut, disk })
}

/// The end of the last line before `length` that is a record of the log. What follows it is torn, or somebody else's.
pub(super) fn last_record(file: &File, length: u64) -> io::Result<u64> {
    let mut end = end_of_lines(file, length)?;
    while end > 0 {
        let start = end_of_lines(file, end - 1)?;
        let mut line = vec![0; (end - start) as usize];
        file.read_exact_at(&mut line, start)?;
        if LogRecord::parse(&line).is_some() {
            break;
        }
        end = start;
    }
    Ok(end)
}

/// The time of a file's first line; None if that is no line of a log.
pub(super) fn first_time(file: &File) -> io::Result<Option<Timestamp>> {
    let mut head = vec![0; 16 << 10];
    let have = file.read_at(&mut head, 0)?;
    let line = memchr(b'\n', &head[..have]).map(|end| &head[..end]);
    Ok(line.and_then(LogRecord::parse).and_then(|record| record.time()))
}

/// The `log_gap` lines that a file begins with.
pub(super) fn first_gaps(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; GAPS_MAX];
    let have = file.read_at(&mut head, 0)?;
    let gaps =
        head[..have].split_inclusive(|b| *b == b'\n').take_while(|line| event_word(line) == Some("log_gap") && line.ends_with(b"\n"));
    let length = gaps.map(<[u8]>::len).sum();
    head.truncate(length);
    Ok(head)
}

/// The `log_gap` lines among these lines.
pub(super) fn gaps_among(lines: &[u8]) -> Vec<u8> {
    // Hardly ever is there one, and this runs over all that is written.
    if memmem::find(lines, br#""log_gap""#).is_none() {
        return Vec::new();
    }
    lines.split_inclusive(|b| *b == b'\n').filter(|line| event_word(line) == Some("log_gap")).flatten().copied().collect()
}

/// All `log_gap` lines of a file.
pub(super) fn all_gaps(file: &File) -> io::Result<Vec<u8>> {
    let (mut reader, mut line, mut gaps) = (io::BufReader::with_capacity(256 << 10, file), Vec::new(), Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        if event_word(&line) == Some("log_gap") && line.ends_with(b"\n") {
            gaps.extend_from_slice(&line);
        }
        line.clear();
    }
    Ok(gaps)
}

/// Leaves out the oldest lines, which come last, if there are too many.
pub(super) fn keep_newest(lines: &mut Vec<u8>) {
    while lines.len() > GAPS_MAX
        && let Some(end) = memrchr(b'\n', &lines[..lines.len() - 1])
    {
        lines.truncate(end + 1);
    }
}

/// The most bytes of `log_gap` lines that are carried from a lost file into the next one. A line has half a kilobyte.
const GAPS_MAX: usize = 64 << 10;

/// The end of the newest file that has a line.
pub(crate) fn newest_end(files: &[LogFile]) -> Result<Option<Position>, LogError> {
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
