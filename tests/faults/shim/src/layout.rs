//! What the control file holds, for the library that obeys it and for the harness that writes it: numbers of 64 bits in the machine's order, at
//! these offsets.

/// The kinds of calls that can fail, as bits.
pub(crate) const WRITE: u64 = 1;
pub(crate) const SYNC: u64 = 2;
pub(crate) const READ: u64 = 4;
pub(crate) const OPEN: u64 = 8;
pub(crate) const RENAME: u64 = 16;
pub(crate) const UNLINK: u64 = 32;
pub(crate) const TRUNCATE: u64 = 64;

/// Which kinds of calls fail; 0: none.
pub(crate) const MASK: u64 = 0;
/// The error number; 0: calls are only slow.
pub(crate) const ERROR: u64 = 8;
/// How many calls still fail.
pub(crate) const COUNT: u64 = 16;
/// How many in a thousand of the calls that match.
pub(crate) const PER_MILLE: u64 = 24;
/// Whether every other hit write writes half instead of failing.
pub(crate) const TORN: u64 = 32;
/// How many microseconds a call that matches waits, whether it fails or not.
pub(crate) const DELAY: u64 = 40;
/// What is added to the wall clock, in nanoseconds (signed).
pub(crate) const CLOCK: u64 = 48;
/// How many calls were hit.
pub(crate) const HITS: u64 = 56;
/// What the path must contain, ended by a zero byte.
pub(crate) const PART: u64 = 64;
/// The whole file.
pub(crate) const SIZE: u64 = 256;
