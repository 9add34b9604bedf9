//! `[log]`: the delivery log.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    reader::Table,
    value::{KIB, TIB, duration, number, path, size, zero_is_none},
};

/// Where events are written and how long they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The folder.
    pub dir: PathBuf,
    /// A new file once the current one has this many bytes.
    pub rotate_size: u64,
    /// A new file once the current one is this old.
    pub rotate_age: Duration,
    /// Files kept besides the current one; None: all.
    pub keep_files: Option<usize>,
    /// How long files are kept; None: for ever.
    pub keep_age: Option<Duration>,
    /// How long events are collected before they are written.
    pub gather: Duration,
    /// How long written events may wait before they are made durable.
    pub sync: Duration,
    /// Lines a minute about refused strangers.
    pub refusals: u32,
    /// Bytes of the tables by which searches pass over what cannot match; 0: there are none.
    pub search_index: u64,
}

impl Log {
    pub(super) fn read(t: &Table<'_>, data_dir: &Path) -> Self {
        let day = Duration::from_hours(24);
        Self {
            dir: data_dir.join(t.get("dir", path)),
            rotate_size: t.get("rotate_size", size(64 * KIB..=TIB)),
            rotate_age: t.get("rotate_age", duration(Duration::from_secs(60)..=366 * day)),
            keep_files: t.get("keep_files", zero_is_none(number(1..=1_000_000))),
            keep_age: t.get("keep_age", zero_is_none(duration(Duration::from_hours(1)..=3660 * day))),
            gather: t.get("gather", duration(Duration::ZERO..=Duration::from_secs(1))),
            sync: t.get("sync", duration(Duration::ZERO..=Duration::from_secs(10))),
            refusals: t.get("refusals", number(0..=100_000)),
            search_index: t.get("search_index", size(0..=TIB)),
        }
    }
}
