//! What a start does before the relay serves, which may take minutes after a crash, told to whoever started it.

/// A part of a start's work, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done, such as "reading the spool".
    pub what: &'static str,
    /// How much of it is done.
    pub done: u64,
    /// How much there is.
    pub of: u64,
    /// What is counted.
    pub unit: Unit,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of files.
    Bytes,
    /// Messages of the spool.
    Messages,
}

/// Hears of each step again and again.
pub type Hear<'a> = &'a (dyn Fn(Step) + 'a);

/// Every how many messages a step is told.
pub(crate) const MESSAGES_APART: u64 = 1000;

/// Tells of bytes that are read.
pub(crate) fn bytes<'a>(hear: Hear<'a>, what: &'static str) -> impl Fn(u64, u64) + 'a {
    move |done, of| hear(Step { what, done, of, unit: Unit::Bytes })
}
