//! Reads lines across rotations, and goes on reading while the log grows.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use memchr::memrchr_iter;

use super::{
    FileId, LogError, Position,
    files::{self, LogFile},
};
use crate::Story;

/// One line.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The line without its end.
    pub bytes: &'a [u8],
    /// Where the next line begins.
    pub end: Position,
}

/// The log's lines, oldest first, over rotated files and the current one.
///
/// At the log's end [`Self::next_line`] gives None; asked again later it gives what came in the meantime, over any number of rotations. It
/// never waits.
pub struct Lines {
    dir: PathBuf,
    open: Option<OpenFile>,
    /// Rotated files that ended before this are passed over.
    since: Option<Timestamp>,
    line: Vec<u8>,
}

struct OpenFile {
    reader: BufReader<File>,
    path: PathBuf,
    inode: u64,
    number: u64,
    /// None until the first line was seen.
    id: Option<FileId>,
    /// Where the next line begins.
    offset: u64,
}

/// A longer line is damage; it is given in pieces.
const LINE_MAX: u64 = 1 << 20;
const READ_AHEAD: usize = 256 << 10;

impl Lines {
    /// Everything that is kept.
    pub fn all(dir: &Path) -> Self {
        Self { dir: dir.into(), open: None, since: None, line: Vec::new() }
    }

    /// As [`Self::all`] without the files that were rotated before `time`: earlier lines may come, later ones are all there.
    pub fn since(dir: &Path, time: Timestamp) -> Self {
        Self { since: Some(time), ..Self::all(dir) }
    }

    /// As [`Self::since`], and of the first file only about what was written from `time` on: lines stand in the order of their times, give or
    /// take a batch, so that a place can be found by halving. Who cares about a minute subtracts one.
    pub fn near(dir: &Path, time: Timestamp) -> Result<Self, LogError> {
        let mut lines = Self::since(dir, time);
        lines.open = lines.first()?;
        if let Some(open) = &mut lines.open {
            let start = open.start_near(time)?;
            open.seek(start)?;
        }
        Ok(lines)
    }

    /// What follows a position. [`LogError::Gone`] when its file was deleted.
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

    /// The last `lines` lines of the current file, and what follows.
    pub fn tail(dir: &Path, lines: usize) -> Result<Self, LogError> {
        let mut open = match files::list(dir)?.pop() {
            Some(newest) => OpenFile::open(&newest)?,
            None => None,
        };
        if let Some(open) = &mut open {
            let start = open.start_of_last(lines)?;
            open.seek(start)?;
        }
        Ok(Self { open, ..Self::all(dir) })
    }

    /// The next line; None at the log's end, for now. A line that has no end yet is not given.
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
            // The last lines may have been written between the look at the file's end and its rotation. It is complete now.
            if open.read_line(&mut self.line, true)? {
                break;
            }
            self.open = Some(next);
        }
        let end = self.open.as_ref().and_then(OpenFile::position).expect("a line was read from it");
        Ok(Some(Line { bytes: self.line.strip_suffix(b"\n").unwrap_or(&self.line), end }))
    }

    /// Behind the last line given; None before the first one of a file that was empty or not begun.
    pub fn position(&self) -> Option<Position> {
        self.open.as_ref().and_then(OpenFile::position)
    }

    fn first(&self) -> Result<Option<OpenFile>, LogError> {
        let wanted = |f: &LogFile| match (f.rotated, self.since) {
            (Some(rotated), Some(since)) => rotated.as_second() + 1 >= since.as_second(),
            _ => true,
        };
        open_first(&self.dir, |files| files.into_iter().find(wanted))
    }
}

/// Opens the file that `choose` picks; None where it picks none. Looks again when that file was renamed or deleted before it was open.
fn open_first(dir: &Path, choose: impl Fn(Vec<LogFile>) -> Option<LogFile>) -> Result<Option<OpenFile>, LogError> {
    for _ in 0..OPEN_TRIES {
        let Some(file) = choose(files::list(dir)?) else { return Ok(None) };
        if let Some(open) = OpenFile::open(&file)? {
            return Ok(Some(open));
        }
    }
    Err(LogError::io("open a file in", dir)(io::Error::from(io::ErrorKind::NotFound)))
}

/// Nobody rotates that often between a look and an open.
const OPEN_TRIES: usize = 100;

impl OpenFile {
    /// None when the file under that name is not the one that was listed.
    fn open(file: &LogFile) -> Result<Option<Self>, LogError> {
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

    fn seek(&mut self, offset: u64) -> Result<(), LogError> {
        self.reader.seek(SeekFrom::Start(offset)).map_err(LogError::io("read", &self.path))?;
        self.offset = offset;
        Ok(())
    }

    /// Reads the next line; false where there is none. In a file that is `complete`, bytes without a line end count as a (damaged) line.
    fn read_line(&mut self, line: &mut Vec<u8>, complete: bool) -> Result<bool, LogError> {
        line.clear();
        let got = (&mut self.reader).take(LINE_MAX).read_until(b'\n', line).map_err(LogError::io("read", &self.path))?;
        let whole = line.ends_with(b"\n") || got as u64 == LINE_MAX;
        if !(whole || complete && got > 0) {
            // Half a line may be cut off and written anew, so nothing of it is kept.
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
            // Deleted since: go on with the oldest that came after it.
            None => files.into_iter().find(|f| f.number > self.number),
        })
    }

    /// The start of a line behind which all those from `time` on stand, and not many before.
    fn start_near(&mut self, time: Timestamp) -> Result<u64, LogError> {
        let (mut before, mut behind) = (0, self.length()?);
        let mut line = Vec::new();
        while behind - before > READ_AHEAD as u64 {
            let middle = before + (behind - before) / 2;
            self.seek(middle)?;
            // The rest of a line, then a whole one. What cannot be read counts as late: then more is read than needed.
            let start = self.read_line(&mut line, false)?.then_some(self.offset);
            let early = start.is_some()
                && self.read_line(&mut line, false)?
                && Story::parse(&line).and_then(|s| s.time()).is_some_and(|t| t < time);
            match start.filter(|_| early) {
                Some(start) => before = start,
                None => behind = middle,
            }
        }
        Ok(before)
    }

    fn start_of_last(&self, lines: usize) -> Result<u64, LogError> {
        use std::os::unix::fs::FileExt;
        let (mut end, mut ends, mut block) = (self.length()?, 0, vec![0; READ_AHEAD]);
        while end > 0 {
            let start = end.saturating_sub(block.len() as u64);
            let piece = &mut block[..(end - start) as usize];
            self.reader.get_ref().read_exact_at(piece, start).map_err(LogError::io("read", &self.path))?;
            for at in memrchr_iter(b'\n', piece) {
                // The last line's own end is the first to be met.
                ends += 1;
                if ends > lines {
                    return Ok(start + at as u64 + 1);
                }
            }
            end = start;
        }
        Ok(0)
    }
}
