//! The options of a spool, and the room left for messages.

use crate::StoreError;

/// How much disk a spool may use, and when it compacts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpoolOptions {
    /// Bytes after which a new segment begins. A segment exceeds this by at most one record.
    pub segment_size: u64,
    /// The most bytes of all segments together; 0: no limit.
    pub max_disk: u64,
    /// Bytes of disk that mail must leave free.
    pub min_free: u64,
    /// The size of sled's cache in bytes.
    pub index_cache: u64,
    /// If less than this share of a full segment is needed, the needed records are copied and the segment is deleted.
    pub compact_below: f64,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self { segment_size: 64 << 20, max_disk: 0, min_free: 256 << 20, index_cache: 16 << 20, compact_below: 0.5 }
    }
}

/// [`SpoolOptions`] made consistent.
#[derive(Debug, Clone)]
pub(crate) struct SpoolLimits {
    pub(crate) segment_size: u64,
    pub(crate) compact_below: f64,
    pub(crate) index_cache: u64,
    max_disk: u64,
    min_free: u64,
}

impl SpoolLimits {
    pub(crate) fn new(options: &SpoolOptions) -> Self {
        let SpoolOptions { segment_size, max_disk, min_free, index_cache, compact_below } = *options;
        // Offsets are 32 bits wide. A small spool needs several segments too, because only closed ones can be compacted.
        let most = if max_disk == 0 { u64::MAX } else { (max_disk / 8).max(SEGMENT_MIN) };
        let segment_size = segment_size.clamp(SEGMENT_MIN, SEGMENT_MAX).min(most);
        Self { segment_size, compact_below: compact_below.clamp(0.0, 0.9), index_cache, max_disk, min_free }
    }

    /// The limits of `options`, with the segment size and the index's cache unchanged.
    pub(crate) fn changed(&self, options: &SpoolOptions) -> Self {
        Self { segment_size: self.segment_size, index_cache: self.index_cache, ..Self::new(options) }
    }

    /// Whether so much free disk is far above the floor.
    pub(crate) fn has_plenty(&self, free: u64) -> bool {
        free.saturating_sub(self.min_free) > PLENTY
    }

    /// The room left for messages. Room for small records and for compaction is kept in reserve.
    pub(crate) fn room(&self, free: Option<u64>, used: u64) -> Room {
        let limit = match self.max_disk {
            0 => u64::MAX,
            max_disk => max_disk.saturating_sub(self.segment_size).saturating_sub(used),
        };
        // If the system does not report the free space, a failing write does.
        let free = free.unwrap_or(u64::MAX).saturating_sub(self.min_free);
        match limit < free {
            true => Room { bytes: limit, reason: format!("{used} of at most {} bytes are in use", self.max_disk) },
            false => Room { bytes: free, reason: format!("the disk has less than {} bytes free", self.min_free) },
        }
    }
}

/// The room left for messages, in bytes, and the limit that determines it.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    pub(crate) reason: String,
}

impl Room {
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), StoreError> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| StoreError::Full { reason: self.reason.clone() })?;
        Ok(())
    }
}

/// More than a fast disk takes while [`crate::shared::FREE_HOLDS`].
const PLENTY: u64 = 1 << 30;
const SEGMENT_MIN: u64 = 4096;
const SEGMENT_MAX: u64 = 1 << 30;
