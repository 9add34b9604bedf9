//! The file that lines are appended to, as it is found on opening.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use jiff::Timestamp;
use memchr::{memchr, memrchr};

use super::{
    FileId, LogError, LogOptions, Position,
    files::{CURRENT, LogFile},
};
use crate::record::LogRecord;

pub(super) struct CurrentFile {
    pub(super) handle: File,
    pub(super) file: Option<FileId>,
    pub(super) born: Option<Timestamp>,
    pub(super) length: u64,
    pub(super) cut: u64,
}

/// Opens `delivery.log`, locks it against a second writer, and cuts a torn last line.
pub(super) fn open_current(options: &LogOptions) -> Result<CurrentFile, LogError> {
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

pub(super) fn newest_end(files: &[LogFile]) -> Result<Option<Position>, LogError> {
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
