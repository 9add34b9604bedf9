//! The database of the tallies: blocks by grain, span and dimension, and what is known beside them.

use std::{io, path::Path};

use posthaste_monitor::LogError;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, config::DbConfig, params};

use crate::{Block, Damaged, Dimension};

/// Why the tallies cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TalliesError {
    /// The database's own word.
    #[error("the database of the tallies: {0}")]
    Database(#[from] rusqlite::Error),
    /// A block of it is damaged.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// Another version wrote it. It is left alone.
    #[error("the tallies have version {0}, and this posthaste knows {known}: start the posthaste that wrote them, or move their file away", known = VERSION)]
    Version(String),
    /// Its file cannot be made or opened.
    #[error("cannot open the file of the tallies: {0}")]
    File(#[from] io::Error),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl TalliesError {
    /// Whether there is no room on the disk.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Database(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    }

    /// Whether the database is damaged, so that it has to be made again.
    pub fn is_corrupt(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Database(error) => matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)),
            Self::Damaged(_) => true,
            _ => false,
        }
    }
}

/// The version of what stands in the database.
pub(crate) const VERSION: &str = "1";

/// What a block's row begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Start: minutes since 1970.
    Minute = 0,
    /// Start: hours since 1970.
    Hour = 1,
    /// Start: the day's number (see [`crate::span`]).
    Day = 2,
    /// The same, by the day of acceptance.
    Cohort = 3,
    /// Start: 0. Everything that was ever counted, with histograms.
    Ever = 4,
}

/// The database, opened for writing.
pub(crate) fn create(path: &Path) -> Result<Connection, TalliesError> {
    must_be_a_file(path)?;
    let db = Connection::open(path)?;
    // A power cut may take the last seconds: they are read from the log again.
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    prepare(&db)?;
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS known (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS block (
             grain INTEGER NOT NULL, start INTEGER NOT NULL, dimension INTEGER NOT NULL, cells BLOB NOT NULL,
             PRIMARY KEY (grain, dimension, start)
         ) WITHOUT ROWID;",
    )?;
    Ok(db)
}

/// The database, opened to look.
pub(crate) fn open(path: &Path) -> Result<Connection, TalliesError> {
    must_be_a_file(path)?;
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    prepare(&db)?;
    Ok(db)
}

/// The version in the database's file, read without locks and without what stands in its journal: nothing is made beside it. The version was
/// written into the file when it was made.
pub(crate) fn version_as_it_lies(path: &Path) -> Result<Option<String>, TalliesError> {
    must_be_a_file(path)?;
    let name: String = path.as_os_str().as_encoded_bytes().iter().map(|byte| format!("%{byte:02x}")).collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(format!("file:{name}?immutable=1"), flags)?;
    // A later version may use SQLite's own number.
    let number: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if number != 0 { Ok(Some(number.to_string())) } else { known(&db, "version") }
}

/// Nobody waits for a pipe. A file that is missing may come.
fn must_be_a_file(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(there) if !there.is_file() => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a file", path.display()))),
        _ => Ok(()),
    }
}

fn prepare(db: &Connection) -> Result<(), TalliesError> {
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // A statement's plan does not depend on what is asked for: it is made once.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Memory that one connection may take for pages, in KiB.
const CACHE_KIB: i64 = 4096;

pub(crate) fn known(db: &Connection, name: &str) -> Result<Option<String>, TalliesError> {
    Ok(db.prepare_cached("SELECT value FROM known WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()?)
}

pub(crate) fn know(db: &Connection, name: &str, value: &str) -> Result<(), TalliesError> {
    db.prepare_cached("INSERT OR REPLACE INTO known VALUES (?1, ?2)")?.execute([name, value])?;
    Ok(())
}

/// The block of one span; empty if there is none.
pub(crate) fn block(db: &Connection, table: Table, start: i64, dimension: Dimension) -> Result<Block, TalliesError> {
    Ok(bytes(db, table, start, dimension)?.map(|bytes| Block::from_bytes(&bytes)).transpose()?.unwrap_or_default())
}

/// The block of one span as it is saved, if there is one.
pub(crate) fn bytes(db: &Connection, table: Table, start: i64, dimension: Dimension) -> Result<Option<Vec<u8>>, TalliesError> {
    let mut statement = db.prepare_cached("SELECT cells FROM block WHERE grain = ?1 AND start = ?2 AND dimension = ?3")?;
    Ok(statement.query_row(params![table as i64, start, dimension as i64], |row| row.get(0)).optional()?)
}

/// The first start from `start` on of which there are blocks: whatever else there is, there is one of all.
pub(crate) fn next(db: &Connection, table: Table, start: i64) -> Result<Option<i64>, TalliesError> {
    let mut statement = db.prepare_cached("SELECT min(start) FROM block WHERE grain = ?1 AND dimension = ?2 AND start >= ?3")?;
    Ok(statement.query_row(params![table as i64, Dimension::All as i64, start], |row| row.get(0))?)
}

/// Calls back for each block of a dimension with a start in `from..to`, in their order, as they are saved.
pub(crate) fn blocks(
    db: &Connection,
    table: Table,
    (from, to): (i64, i64),
    dimension: Dimension,
    mut each: impl FnMut(i64, &[u8]) -> Result<(), Damaged>,
) -> Result<(), TalliesError> {
    let mut statement = db.prepare_cached(
        "SELECT start, cells FROM block WHERE grain = ?1 AND start >= ?2 AND start < ?3 AND dimension = ?4 ORDER BY start",
    )?;
    let mut rows = statement.query(params![table as i64, from, to, dimension as i64])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
    }
    Ok(())
}

pub(crate) fn put(db: &Transaction<'_>, table: Table, start: i64, dimension: Dimension, block: &[u8]) -> Result<(), TalliesError> {
    let mut statement = db.prepare_cached("INSERT OR REPLACE INTO block VALUES (?1, ?2, ?3, ?4)")?;
    statement.execute(params![table as i64, start, dimension as i64, block])?;
    Ok(())
}

/// Deletes the blocks of spans that began before `start`.
pub(crate) fn forget(db: &Transaction<'_>, table: Table, start: i64) -> Result<(), TalliesError> {
    let mut statement = db.prepare_cached("DELETE FROM block WHERE grain = ?1 AND dimension = ?2 AND start < ?3")?;
    for dimension in Dimension::ALL {
        statement.execute(params![table as i64, *dimension as i64, start])?;
    }
    Ok(())
}
