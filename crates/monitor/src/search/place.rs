//! A place in a file of the log, from which a search goes backwards.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use memchr::memchr;

use super::{
    Cursor,
    table::{self, Asked, Layout, Table},
};
use crate::{
    FileId, LogError, Position,
    log::{LINE_MAX, end_of_lines, files::LogFile},
};

/// A place between two lines of an open file. What follows it is done.
#[derive(Debug)]
pub(super) struct Place {
    file: File,
    path: PathBuf,
    id: FileId,
    /// The file's number when it was opened: older files have lower ones.
    pub(super) number: u64,
    pub(super) offset: u64,
    /// The stretch whose table was read last, and that table, unless it is missing.
    table: Option<(u64, Option<Table>)>,
}

/// What lies before a place.
#[derive(Debug)]
pub(super) enum Before {
    /// Nothing that is looked for: the place is before it now. With the earliest time in it, if that is known.
    Passed(Option<Timestamp>),
    /// Whole lines from here up to the place, in the first so many bytes of the buffer.
    Lines(u64, usize),
}

/// How a file was found.
pub(super) enum Opened {
    Open(Place),
    /// It holds no line.
    Empty,
    /// Its name is another file's now, or nobody's.
    Moved,
}

impl Place {
    /// The end of a file.
    pub(super) fn open(listed: &LogFile) -> Result<Opened, LogError> {
        let open = || -> io::Result<Opened> {
            let file = File::open(&listed.path)?;
            let meta = file.metadata()?;
            if meta.ino() != listed.inode {
                return Ok(Opened::Moved);
            }
            let Some(id) = FileId::read(&file)? else { return Ok(Opened::Empty) };
            // The last line of the current file may be half written. That of a rotated file is as whole as it will ever be.
            let offset = if listed.rotated.is_some() { meta.len() } else { end_of_lines(&file, meta.len())? };
            Ok(Opened::Open(Self { file, path: listed.path.clone(), id, number: listed.number, offset, table: None }))
        };
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Opened::Moved),
            opened => opened.map_err(LogError::io("read", &listed.path)),
        }
    }

    /// This position, if it is in this file.
    pub(super) fn back_to(self, position: Position) -> Option<Self> {
        (self.id == position.file && position.offset <= self.offset).then_some(Self { offset: position.offset, ..self })
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor { position: self.position(self.offset), number: self.number }
    }

    pub(super) fn position(&self, offset: u64) -> Position {
        Position { file: self.id, offset }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the block before the place, or passes over it. Counts the bytes that it reads.
    pub(super) fn before(&mut self, dir: &Path, asked: &Asked, layout: Layout, buffer: &mut Vec<u8>, read: &mut u64) -> io::Result<Before> {
        let (offset, mut floor) = (self.offset, 0);
        if let Some(table) = self.table_before(dir, layout, read) {
            floor = table.part.end;
            let block = table.blocks.iter().rev().find(|block| block.begin < offset).filter(|_| offset <= floor);
            if let Some((begin, earliest, may_match)) = block.map(|block| (block.begin, block.times.0, block.may_match(asked))) {
                if may_match {
                    return Ok(Before::Lines(begin, self.read(begin, buffer, read)?));
                }
                self.offset = begin;
                return Ok(Before::Passed(Timestamp::from_millisecond(earliest).ok()));
            }
        }
        self.lines_before(floor, layout, buffer, read)
    }

    /// The table of the stretch in which the line before the place begins, or that ends before it in the same stretch.
    fn table_before(&mut self, dir: &Path, layout: Layout, read: &mut u64) -> Option<&Table> {
        let stretch = (self.offset - 1) / layout.stretch;
        // The line may have begun in the stretch before.
        for stretch in [Some(stretch), stretch.checked_sub(1)].into_iter().flatten() {
            if self.table.as_ref().is_none_or(|(known, _)| *known != stretch) {
                self.table = Some((stretch, self.read_table(dir, stretch, layout, read)));
            }
            let (_, table) = self.table.as_ref()?;
            if table.as_ref()?.part.start < self.offset {
                break;
            }
        }
        self.table.as_ref()?.1.as_ref().filter(|table| table.part.start < self.offset)
    }

    fn read_table(&self, dir: &Path, stretch: u64, layout: Layout, read: &mut u64) -> Option<Table> {
        let path = table::path(dir, self.id, stretch);
        match Table::read(&path, layout) {
            Ok(table) => {
                *read += table.as_ref().map_or(0, Table::size);
                table
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    table::discard(&path);
                }
                None
            }
        }
    }

    /// Reads about a block of whole lines that end at the place, and begin at `floor` or behind it, where a line begins.
    fn lines_before(&mut self, floor: u64, layout: Layout, buffer: &mut Vec<u8>, read: &mut u64) -> io::Result<Before> {
        let mut size = layout.block;
        loop {
            let start = self.offset.saturating_sub(size).max(floor);
            let length = self.read(start, buffer, read)?;
            if start == floor {
                return Ok(Before::Lines(start, length));
            }
            match memchr(b'\n', &buffer[..length - 1]) {
                Some(end) => {
                    buffer.copy_within(end + 1..length, 0);
                    return Ok(Before::Lines(start + end as u64 + 1, length - end - 1));
                }
                // A line longer than this is damage, and is shown in pieces.
                None if size >= LINE_MAX => return Ok(Before::Lines(start, length)),
                None => size = (size * 2).min(LINE_MAX),
            }
        }
    }

    /// Reads what is between `start` and the place, and says how much that is. The buffer grows as needed, and is not cleared.
    fn read(&self, start: u64, buffer: &mut Vec<u8>, read: &mut u64) -> io::Result<usize> {
        let length = usize::try_from(self.offset - start).map_err(io::Error::other)?;
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        self.file.read_exact_at(&mut buffer[..length], start)?;
        *read += length as u64;
        Ok(length)
    }

    /// Goes back to where the file ends now, if somebody has cut it. False if it is as long as it was.
    pub(super) fn is_cut(&mut self) -> io::Result<bool> {
        let length = self.file.metadata()?.len();
        if length >= self.offset {
            return Ok(false);
        }
        self.offset = end_of_lines(&self.file, length)?;
        self.table = None;
        Ok(true)
    }
}
