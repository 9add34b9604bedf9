//! The segment that is being emptied, and the copies that are not durable yet.

use crate::{record::Loc, scan::Scanner};

/// A segment that is being emptied.
pub(crate) struct Compaction {
    pub(crate) source: u32,
    /// The active segment at the start: copies are in this one and in later ones.
    pub(crate) since: u32,
    pub(crate) scanner: Scanner,
}

/// A live record that has been copied.
pub(crate) enum Move {
    Message { seq: u64, from: Loc, to: Loc },
    Update { seq: u64, from: Loc, to: Loc },
    Fact { key: Vec<u8>, from: Loc, to: Loc },
}
