//! Reads lines across rotations, also while the log grows.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use memchr::memrchr;

use super::{
    FileId, LogError, Position,
    files::{self, LogFile},
};

/// One line.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The line without its line end.
    pub bytes: &'a [u8],
    /// The position of the next line.
    pub end: Position,
}

/// The lines of the log, oldest first, from rotated files and the current one.
///
/// At the end of the log [`Self::next_line`] returns None; called again later it returns what was written since, across any number of
/// rotations. It never waits.
pub struct Lines {
    dir: PathBuf,
    open: Option<OpenFile>,
    /// Files rotated before this time are skipped.
    since: Option<Timestamp>,
    line: Vec<u8>,
}

pub(super) struct OpenFile {
    reader: BufReader<File>,
    path: PathBuf,
    inode: u64,
    number: u64,
    /// None until the first line has been read.
    id: Option<FileId>,
    /// The offset of the next line.
    offset: u64,
}

/// A line longer than this many bytes is damage; it is returned in pieces.
pub(crate) const LINE_MAX: u64 = 1 << 20;
const READ_AHEAD: usize = 256 << 10;

impl Lines {
    /// All lines that are kept.
    pub fn all(dir: &Path) -> Self {
        Self { dir: dir.into(), open: None, since: None, line: Vec::new() }
    }

    /// Like [`Self::all`] without the files rotated before `time`: some earlier lines may come too, no later line is missing.
    pub fn since(dir: &Path, time: Timestamp) -> Self {
        Self { since: Some(time), ..Self::all(dir) }
    }

    /// The lines after a position. [`LogError::Gone`] if its file was deleted.
    ///
    /// # Errors
    /// Its file was deleted, or the disk fails.
    pub fn from(dir: &Path, position: Position) -> Result<Self, LogError> {
        for file in files::list(dir)?.iter().rev() {
            let Some(mut open) = OpenFile::open(file)? else { continue };
            if open.id == Some(position.file) && position.offset <= open.length()? {
                open.seek(position.offset)?;
                return Ok(Self { open: Some(open), ..Self::all(dir) });
            }
        }
        Err(LogError::Gone(position))
    }

    /// What follows the place to which this file was read.
    pub(super) fn behind(dir: &Path, open: Option<OpenFile>) -> Self {
        Self { open, ..Self::all(dir) }
    }

    /// The next line; None at the end of the log, for now. A line without its line end is not returned yet.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, LogError> {
        loop {
            if self.open.is_none() {
                self.open = self.first()?;
            }
            let Some(open) = &mut self.open else { return Ok(None) };
            if open.read_line(&mut self.line, false)? {
                break;
            }
            let Some(next) = open.successor(&self.dir)? else { return Ok(None) };
            // The last lines may have been written between the read at the end of the file and its rotation. It is complete now.
            if open.read_line(&mut self.line, true)? {
                break;
            }
            self.open = Some(next);
        }
        let end = self.open.as_ref().and_then(OpenFile::position).expect("a line was read from it");
        Ok(Some(Line { bytes: self.line.strip_suffix(b"\n").unwrap_or(&self.line), end }))
    }

    /// The position after the last line returned; None before the first line of an empty or missing file.
    pub fn position(&self) -> Option<Position> {
        self.open.as_ref().and_then(OpenFile::position)
    }

    /// The file that is being read; None before the first line of an empty or missing file.
    pub fn file(&self) -> Option<&Path> {
        self.open.as_ref().map(|open| &*open.path)
    }

    /// The bytes that are still to be read, as far as the log reaches now.
    pub fn left(&self) -> Result<u64, LogError> {
        let (number, offset) = self.open.as_ref().map_or((0, 0), |open| (open.number, open.offset));
        let length = |file: &LogFile| file.path.metadata().map_or(0, |meta| meta.len());
        let left = files::list(&self.dir)?.iter().filter(|file| file.number >= number).map(length).sum::<u64>();
        Ok(left.saturating_sub(offset))
    }

    fn first(&self) -> Result<Option<OpenFile>, LogError> {
        let wanted = |f: &LogFile| match (f.rotated, self.since) {
            (Some(rotated), Some(since)) => rotated.as_second() + 1 >= since.as_second(),
            _ => true,
        };
        open_first(&self.dir, |files| files.into_iter().find(wanted))
    }
}

/// Opens the file that `choose` picks; None if it picks none. Tries again if that file was renamed or deleted before it was open.
fn open_first(dir: &Path, choose: impl Fn(Vec<LogFile>) -> Option<LogFile>) -> Result<Option<OpenFile>, LogError> {
    for _ in 0..OPEN_TRIES {
        let Some(file) = choose(files::list(dir)?) else { return Ok(None) };
        if let Some(open) = OpenFile::open(&file)? {
            return Ok(Some(open));
        }
    }
    Err(LogError::io("open a file in", dir)(io::Error::from(io::ErrorKind::NotFound)))
}

/// The most tries; nobody rotates that often between listing and opening.
const OPEN_TRIES: usize = 100;

impl OpenFile {
    /// None if the file under that name is not the one that was listed.
    pub(super) fn open(file: &LogFile) -> Result<Option<Self>, LogError> {
        let look = || -> io::Result<_> {
            let handle = File::open(&file.path)?;
            Ok((handle.metadata()?.ino(), FileId::read(&handle)?, handle))
        };
        match look() {
            Ok((inode, id, handle)) if inode == file.inode => {
                let reader = BufReader::with_capacity(READ_AHEAD, handle);
                Ok(Some(Self { reader, path: file.path.clone(), inode, number: file.number, id, offset: 0 }))
            }
            Ok(_) => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(LogError::io("read", &file.path)(e)),
        }
    }

    fn position(&self) -> Option<Position> {
        self.id.map(|file| Position { file, offset: self.offset })
    }

    fn length(&self) -> Result<u64, LogError> {
        self.reader.get_ref().metadata().map(|m| m.len()).map_err(LogError::io("read", &self.path))
    }

    pub(super) fn seek(&mut self, offset: u64) -> Result<(), LogError> {
        self.reader.seek(SeekFrom::Start(offset)).map_err(LogError::io("read", &self.path))?;
        self.offset = offset;
        Ok(())
    }

    /// Reads the next line; false if there is none. In a file that is `complete`, bytes without a line end count as a (damaged) line.
    fn read_line(&mut self, line: &mut Vec<u8>, complete: bool) -> Result<bool, LogError> {
        line.clear();
        let got = (&mut self.reader).take(LINE_MAX).read_until(b'\n', line).map_err(LogError::io("read", &self.path))?;
        let whole = line.ends_with(b"\n") || got as u64 == LINE_MAX;
        if !(whole || complete && got > 0) {
            // An incomplete line may be cut off and rewritten, so nothing of it is kept.
            if got > 0 {
                self.seek(self.offset)?;
            }
            return Ok(false);
        }
        if self.id.is_none() {
            self.id = FileId::read(self.reader.get_ref()).map_err(LogError::io("read", &self.path))?;
        }
        self.offset += got as u64;
        Ok(self.id.is_some())
    }

    /// The file that follows this one; None while this is the current one.
    fn successor(&self, dir: &Path) -> Result<Option<Self>, LogError> {
        open_first(dir, |files| match files.iter().position(|f| f.inode == self.inode) {
            Some(here) => files.into_iter().nth(here + 1),
            // Deleted since: continue with the oldest file after it. A current file has the number of the one that it replaces, or a lower
            // one if somebody deleted the rotated files too.
            None => files.iter().position(|f| f.number >= self.number || f.rotated.is_none()).and_then(|next| files.into_iter().nth(next)),
        })
    }

    /// The end of the last line that is complete.
    pub(super) fn end_of_lines(&self) -> Result<u64, LogError> {
        end_of_lines(self.reader.get_ref(), self.length()?).map_err(LogError::io("read", &self.path))
    }
}

/// The end of the last line that is complete in the first `end` bytes of a file.
pub(crate) fn end_of_lines(file: &File, mut end: u64) -> io::Result<u64> {
    let mut block = vec![0; READ_AHEAD];
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
