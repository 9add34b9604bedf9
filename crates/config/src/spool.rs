//! `[spool]`: the store of queued messages.

use std::path::{Path, PathBuf};

use super::{
    reader::Table,
    value::{GIB, MIB, TIB, fraction, path, size, zero_is_none},
};

/// The spool's place and limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Spool {
    /// The folder.
    pub dir: PathBuf,
    /// Bytes of one segment of its log.
    pub segment_size: u64,
    /// Bytes of disk it may use before mail is deferred; None: no such limit.
    pub max_disk: Option<u64>,
    /// Bytes of disk to keep free: mail is deferred before less is left.
    pub min_free: u64,
    /// Memory for its index, in bytes.
    pub index_cache: u64,
    /// When less than this share of a full segment is still needed, that part is copied and the segment is deleted.
    pub compact_below: f64,
}

impl Spool {
    pub(super) fn read(t: &Table<'_>, data_dir: &Path) -> Self {
        let spool = Self {
            dir: data_dir.join(t.get("dir", path)),
            segment_size: t.get("segment_size", size(MIB..=2 * GIB)),
            max_disk: t.get("max_disk", zero_is_none(size(MIB..=1024 * TIB))),
            min_free: t.get("min_free", size(MIB..=TIB)),
            index_cache: t.get("index_cache", size(MIB..=64 * GIB)),
            compact_below: t.get("compact_below", fraction(0.1..=0.9)),
        };
        if spool.max_disk.is_some_and(|max| max < 4 * spool.segment_size) {
            t.object_to(&["max_disk", "segment_size"], "max_disk must be at least four times segment_size (or 0: no limit of its own)");
        }
        spool
    }
}
