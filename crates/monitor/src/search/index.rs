//! Makes the tables of the search, a little at a time.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{
    bloom,
    table::{self, Block, Layout, Table},
    terms::Termed,
};
use crate::{
    FileId, LogError,
    index::FOLDER,
    log::{
        LINE_MAX,
        files::{self, LogFile},
    },
};

/// The tables of the search: which are there, and which are to be made. One process makes them, beside the log's files; they are made again where
/// they are missing or damaged. They take so much room and no more: the newest parts of the log have them.
#[derive(Debug)]
pub struct SearchIndex {
    dir: PathBuf,
    most: u64,
    layout: Layout,
    making: Option<Making>,
}

impl SearchIndex {
    /// The tables of the log in this folder, of at most so many bytes in all. Reads nothing yet.
    pub fn new(log: &Path, most: u64) -> Self {
        Self::new_in(log, most, Layout::REAL)
    }

    pub(super) fn new_in(log: &Path, most: u64, layout: Layout) -> Self {
        Self { dir: log.to_owned(), most, layout, making: None }
    }

    /// From now on the tables take at most so many bytes.
    pub fn keep(&mut self, most: u64) {
        self.most = most;
    }

    /// Reads about so many bytes of a part of the log that has no table yet, the newest first, and writes its table when it is through. Deletes the
    /// tables of deleted files, and the oldest ones where there are too many. Returns false if there is nothing to do for now. Blocks on the disk.
    ///
    /// # Errors
    /// The disk fails. What has no table is then read by each search.
    pub fn work(&mut self, bytes: u64) -> Result<bool, LogError> {
        let Some(mut making) = self.making.take().map_or_else(|| self.next(), |making| Ok(Some(making)))? else { return Ok(false) };
        let done = making.read(bytes, self.layout).map_err(LogError::io("read", &making.log))?;
        match done {
            Done::Part => self.making = Some(making),
            Done::Whole => making.write(&self.dir)?,
            // Its last line is still being written.
            Done::Unfinished => return Ok(false),
        }
        Ok(true)
    }

    /// The newest stretch that has no table but should have one. Deletes the tables that should not be.
    fn next(&self) -> Result<Option<Making>, LogError> {
        let (mut kept, mut room, mut next) = (HashSet::new(), self.most, None);
        let listed = files::list(&self.dir)?;
        for listed in listed.iter().rev() {
            let (file, id, length) = match listed.open() {
                Ok(Some(open)) => open,
                Ok(None) => continue,
                // It was rotated or deleted since; the next call sees it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(LogError::io("read", &listed.path)(error)),
            };
            // The last stretch of the current file still grows.
            let stretches = if listed.rotated.is_some() { length.div_ceil(self.layout.stretch) } else { length / self.layout.stretch };
            for stretch in (0..stretches).rev() {
                let (path, end) = (table::path(&self.dir, id, stretch), length.min((stretch + 1) * self.layout.stretch));
                match Table::part_of(&path).filter(|part| part.end >= end).and_then(|_| fs::metadata(&path).ok()) {
                    Some(meta) if meta.len() <= room => {
                        room -= meta.len();
                        kept.insert((id, stretch));
                    }
                    // Older tables are not kept where a newer one has no room.
                    Some(_) => room = 0,
                    None if next.is_none() && room >= self.layout.table_max() => {
                        room -= self.layout.table_max();
                        next = Some((listed, file.try_clone().map_err(LogError::io("read", &listed.path))?, id, stretch));
                    }
                    None => {}
                }
            }
        }
        self.delete_all_but(&kept)?;
        let begin = |(listed, file, id, stretch): (&LogFile, File, FileId, u64)| {
            Making::begin(file, listed, id, stretch, self.layout).map_err(LogError::io("read", &listed.path))
        };
        next.map(begin).transpose()
    }

    fn delete_all_but(&self, kept: &HashSet<(FileId, u64)>) -> Result<(), LogError> {
        let folder = self.dir.join(FOLDER);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(LogError::io("list", &folder))?,
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if table::parse_name(&path).is_some_and(|name| !kept.contains(&name)) {
                fs::remove_file(&path).map_err(LogError::io("delete", &path))?;
            }
        }
        Ok(())
    }
}

/// A table that is being made.
#[derive(Debug)]
struct Making {
    reader: BufReader<File>,
    /// The log's file.
    log: PathBuf,
    id: FileId,
    stretch: u64,
    /// Where the stretch ends: the last line is the first that ends here or behind.
    until: u64,
    is_rotated: bool,
    /// Where the first line begins.
    start: u64,
    /// Where the next line begins.
    at: u64,
    blocks: Vec<Block>,
    open: Option<OpenBlock>,
    line: Vec<u8>,
}

/// A block that lines are added to.
#[derive(Debug)]
struct OpenBlock {
    begin: u64,
    times: (i64, i64),
    terms: HashSet<u64>,
}

/// How far a table has come.
enum Done {
    Part,
    Whole,
    /// The file ends before the stretch does.
    Unfinished,
}

/// How much is read at once.
const READ_AHEAD: usize = 256 << 10;

impl Making {
    fn begin(file: File, listed: &LogFile, id: FileId, stretch: u64, layout: Layout) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(READ_AHEAD, file);
        let mut start = stretch * layout.stretch;
        if let Some(before) = start.checked_sub(1) {
            // The first line begins behind the first line end from here on.
            reader.seek(SeekFrom::Start(before))?;
            start = before + (&mut reader).take(LINE_MAX).read_until(b'\n', &mut Vec::new())? as u64;
        }
        let (log, is_rotated, until) = (listed.path.clone(), listed.rotated.is_some(), (stretch + 1) * layout.stretch);
        Ok(Self { reader, log, id, stretch, until, is_rotated, start, at: start, blocks: Vec::new(), open: None, line: Vec::new() })
    }

    /// Takes up lines until about so many bytes are read.
    fn read(&mut self, bytes: u64, layout: Layout) -> io::Result<Done> {
        let enough = self.at.saturating_add(bytes.max(1));
        while self.at < self.until {
            if self.at >= enough {
                return Ok(Done::Part);
            }
            self.line.clear();
            let got = (&mut self.reader).take(LINE_MAX).read_until(b'\n', &mut self.line)? as u64;
            if got == 0 && self.is_rotated {
                break;
            }
            let is_whole = self.line.ends_with(b"\n") || got == LINE_MAX || self.is_rotated;
            if !is_whole {
                return Ok(Done::Unfinished);
            }
            self.add(got, layout);
        }
        self.close_block(layout);
        Ok(Done::Whole)
    }

    /// Adds the line that was read.
    fn add(&mut self, length: u64, layout: Layout) {
        let block = self.open.get_or_insert_with(|| OpenBlock { begin: self.at, times: (i64::MAX, i64::MIN), terms: HashSet::new() });
        if let Some(line) = Termed::parse(self.line.trim_ascii_end()) {
            line.each(|term| {
                block.terms.insert(term);
            });
            if let Some(time) = line.time().map(|time| time.as_millisecond()) {
                block.times = (block.times.0.min(time), block.times.1.max(time));
            }
        }
        self.at += length;
        if self.at - block.begin >= layout.block {
            self.close_block(layout);
        }
    }

    fn close_block(&mut self, layout: Layout) {
        if let Some(OpenBlock { begin, times, terms }) = self.open.take() {
            self.blocks.push(Block { begin, times, terms: bloom::of(&terms, layout.filter_max()) });
        }
    }

    /// Writes the table. A power cut must not leave one of lines that it took.
    fn write(self, dir: &Path) -> Result<(), LogError> {
        self.reader.get_ref().sync_data().map_err(LogError::io("sync", &self.log))?;
        let table = Table { part: self.start..self.at, blocks: self.blocks };
        table.write(&table::path(dir, self.id, self.stretch))
    }
}
