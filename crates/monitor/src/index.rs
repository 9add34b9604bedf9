//! Where the lines of a message are: an index from message ids, and from Message-IDs of clients, to places in the log's files.
//!
//! A look-up must neither read the whole log nor trust the order of its times: the clock may have been set back between two lines. So each
//! file has tables in the folder `index`, one for each [`SEGMENT`] bytes of it: hashes of ids with offsets, sorted. The last part of the
//! current file is kept in memory, and what is newer than that is read. A table that is missing is made again from its file; until then that
//! part of the file is read. A table tells where to look and no more: what stands there is compared.

mod keys;
mod table;

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    ops::{ControlFlow, Range},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    LogError,
    log::{
        FileId,
        files::{self, LogFile},
    },
};

pub use keys::Key;
pub(crate) use keys::bare;
use table::{Entry, Table};

/// How many bytes of a file one table is about. With lines of 600 bytes it has 100,000 entries of 16 bytes.
const SEGMENT: u64 = 64 << 20;
/// A line longer than this many bytes is damage.
const LINE_MAX: u64 = 1 << 20;
/// The most lines that one look-up reads at the places of its key: more than any message has, unless lines of others have the same Message-ID.
const LINES_MAX: usize = 200_000;
/// How often the files are opened again because one was rotated meanwhile.
const ROTATIONS_MAX: usize = 10;
/// The folder of the tables, in the log's folder.
pub(crate) const FOLDER: &str = "index";

/// The index of one log. Clones share what is in memory.
#[derive(Clone, Debug)]
pub struct MessageIndex {
    dir: PathBuf,
    live: Arc<Mutex<Option<Live>>>,
}

/// The part of the current file that has no table yet.
#[derive(Clone, Debug)]
struct Live {
    file: FileId,
    start: u64,
    end: u64,
    entries: Vec<Entry>,
}

/// The tables, by file and first byte; each with the byte behind its last one, and its path.
type Covered = BTreeMap<(String, u64), (u64, Table, PathBuf)>;

impl MessageIndex {
    /// The index of the log in this folder. Reads nothing yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), live: Arc::default() }
    }

    /// Takes up what was written since the last call, makes the tables that are missing, and deletes those of deleted files. Blocks on the
    /// disk; the first call reads the files that have no tables.
    ///
    /// # Errors
    /// The disk fails. What has no table is then read at each look-up.
    pub fn catch_up(&self) -> Result<(), LogError> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let (folder, listed) = (self.dir.join(FOLDER), files::list(&self.dir)?);
        let covered = tables(&folder)?;
        let mut known = HashSet::new();
        for listed in &listed {
            let (file, id, length) = match listed.open() {
                Ok(Some(open)) => open,
                Ok(None) => continue,
                // It was rotated or deleted since; the next call sees it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(LogError::io("read", &listed.path)(error)),
            };
            known.insert(id.to_string());
            let mut part = take_live(&mut live, id, end_of_tables(&covered, &id.to_string()));
            while part.end < length {
                let before = part.end;
                part.read(&file, part.start + SEGMENT).map_err(LogError::io("read", &listed.path))?;
                let whole = part.end - part.start >= SEGMENT || listed.rotated.is_some();
                if whole && part.end > part.start {
                    // A power cut must not leave a table of lines that it took.
                    file.sync_data().map_err(LogError::io("sync", &listed.path))?;
                    table::write(&folder, &id.to_string(), part.start..part.end, &mut part.entries)?;
                    part = Live { file: id, start: part.end, end: part.end, entries: Vec::new() };
                }
                if part.end == before {
                    break;
                }
            }
            if listed.rotated.is_none() {
                *live = Some(part);
            }
        }
        for (_, (.., path)) in covered.iter().filter(|((id, _), _)| !known.contains(id)) {
            fs::remove_file(path).map_err(LogError::io("delete", path))?;
        }
        Ok(())
    }

    /// Opens the log's files for look-ups.
    ///
    /// # Errors
    /// The disk fails.
    pub fn open(&self) -> Result<Lookup, LogError> {
        let mut listed = files::list(&self.dir)?;
        for _ in 0..ROTATIONS_MAX {
            let lookup = self.open_files(&listed)?;
            // A file that was rotated meanwhile has been missed, or another one was opened by its name.
            let now = files::list(&self.dir)?;
            if now.iter().map(|file| &file.path).eq(listed.iter().map(|file| &file.path)) {
                return Ok(lookup);
            }
            listed = now;
        }
        self.open_files(&listed)
    }

    fn open_files(&self, listed: &[LogFile]) -> Result<Lookup, LogError> {
        let mut covered = tables(&self.dir.join(FOLDER))?;
        let mut files = Vec::new();
        for listed in listed {
            let file = match File::open(&listed.path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(LogError::io("read", &listed.path)(error)),
            };
            let Some(id) = FileId::read(&file).map_err(LogError::io("read", &listed.path))? else { continue };
            let (name, mut tables, mut end) = (id.to_string(), Vec::new(), 0);
            while let Some((next, table, path)) = covered.remove(&(name.clone(), end)) {
                tables.push(OpenTable { table, path, part: end..next });
                end = next;
            }
            let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            let live = live.as_ref().filter(|live| live.file == id && live.start == end).cloned();
            let indexed = live.as_ref().map_or(end, |live| live.end);
            files.push(OpenFile {
                path: listed.path.clone(),
                file,
                tables,
                live: live.map(|live| live.entries).unwrap_or_default(),
                indexed,
            });
        }
        Ok(Lookup { files })
    }

    /// Like [`Self::open`], after [`Self::catch_up`]: for a process that looks more than once.
    ///
    /// # Errors
    /// The disk fails.
    pub fn caught_up(&self) -> Result<Lookup, LogError> {
        if let Err(error) = self.catch_up() {
            tracing::warn!(%error, "the index of the delivery log; what it lacks is read from the log");
        }
        self.open()
    }
}

/// The part in memory if it is this file's and begins where its tables end, or an empty one.
fn take_live(live: &mut Option<Live>, file: FileId, start: u64) -> Live {
    match live.take_if(|live| live.file == file) {
        Some(live) if live.start == start => live,
        _ => Live { file, start, end: start, entries: Vec::new() },
    }
}

/// The tables in the folder, by file and first byte.
fn tables(folder: &Path) -> Result<Covered, LogError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Covered::new()),
        Err(error) => return Err(LogError::io("list", folder)(error)),
    };
    let parse = |path: PathBuf| {
        let (file, range) = path.file_name()?.to_str()?.strip_suffix(".ids")?.split_once('-')?;
        let (start, end) = range.split_once('-')?;
        // One that cannot be read, or of another version, is as good as missing.
        let table = Table::open(&path).ok()?;
        Some(((file.to_owned(), start.parse().ok()?), (end.parse().ok()?, table, path.clone())))
    };
    Ok(entries.flatten().filter_map(|entry| parse(entry.path())).collect())
}

/// Up to where the tables of a file reach without a gap.
fn end_of_tables(covered: &Covered, file: &str) -> u64 {
    let mut end = 0;
    while let Some((next, ..)) = covered.get(&(file.to_owned(), end)).filter(|(next, ..)| *next > end) {
        end = *next;
    }
    end
}

impl Live {
    /// Takes up whole lines until one ends at `until` or behind it.
    fn read(&mut self, file: &File, until: u64) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(READ_AHEAD, file);
        reader.seek(SeekFrom::Start(self.end))?;
        let (mut line, mut last) = (Vec::new(), keys::Seen::default());
        while self.end < until && read_line(&mut reader, &mut line)? {
            keys::of(&line, &mut last, |key| self.entries.push(Entry { key, offset: self.end }));
            self.end += line.len() as u64;
        }
        Ok(())
    }
}

const READ_AHEAD: usize = 256 << 10;

/// Reads a line with its end; false at the end of what is complete.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let got = reader.take(LINE_MAX).read_until(b'\n', line)?;
    Ok(line.ends_with(b"\n") || got as u64 == LINE_MAX)
}

/// The log's files, open for look-ups.
#[derive(Debug)]
pub struct Lookup {
    files: Vec<OpenFile>,
}

#[derive(Debug)]
struct OpenTable {
    table: Table,
    path: PathBuf,
    /// The bytes of the file that it is about.
    part: Range<u64>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    file: File,
    tables: Vec<OpenTable>,
    live: Vec<Entry>,
    /// What lies behind has to be read.
    indexed: u64,
}

impl Lookup {
    /// Shows every line with this key to `look`, oldest file first, until it breaks off. A line may be shown that only contains the key's text.
    ///
    /// # Errors
    /// The disk fails.
    pub fn lines(&self, key: &Key, mut look: impl FnMut(&[u8]) -> ControlFlow<()>) -> Result<(), LogError> {
        let mut left = LINES_MAX;
        for file in &self.files {
            if file.lines(key, &mut left, &mut look).map_err(LogError::io("read", &file.path))?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl OpenFile {
    fn lines(&self, key: &Key, left: &mut usize, look: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<ControlFlow<()>> {
        let mut places = Vec::new();
        for OpenTable { table, path, part } in &self.tables {
            match table.find(key.hash(), left.saturating_add(1), &mut places) {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    if self.show_places(&places, key, left, look)?.is_break() || self.show_part(part.clone(), key, look)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    places.clear();
                    discard(path);
                }
                found => found?,
            }
        }
        places.extend(self.live.iter().filter(|entry| entry.key == key.hash()).map(|entry| entry.offset));
        if self.show_places(&places, key, left, look)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.show_part(self.indexed..u64::MAX, key, look)
    }

    /// Shows the lines at these places, which are in order.
    fn show_places(
        &self,
        places: &[u64],
        key: &Key,
        left: &mut usize,
        look: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let (mut line, mut end) = (Vec::new(), 0);
        for place in places {
            if *place < end {
                continue;
            }
            let mut reader = BufReader::with_capacity(NEAR, &self.file);
            reader.seek(SeekFrom::Start(*place))?;
            end = *place;
            // Lines with the same key that follow each other have one entry.
            while end < self.indexed && read_line(&mut reader, &mut line)? && key.is_in(&line) {
                end += line.len() as u64;
                *left = left.saturating_sub(1);
                if *left == 0 || look(line.trim_ascii_end()).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reads a part of the file that no table tells about.
    fn show_part(&self, part: Range<u64>, key: &Key, look: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<ControlFlow<()>> {
        let mut reader = BufReader::with_capacity(READ_AHEAD, &self.file);
        reader.seek(SeekFrom::Start(part.start))?;
        let (mut line, mut at) = (Vec::new(), part.start);
        while at < part.end && read_line(&mut reader, &mut line)? {
            at += line.len() as u64;
            if key.is_in(&line) && look(line.trim_ascii_end()).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Deletes a damaged table: it is made again when the index catches up.
fn discard(path: &Path) {
    let gone = fs::remove_file(path);
    tracing::warn!(path = %path.display(), ?gone, "a table of the delivery log's index is damaged; the log is read instead, and it is made again");
}

/// How much is read at a place at once.
const NEAR: usize = 8 << 10;

#[cfg(test)]
mod tests;
