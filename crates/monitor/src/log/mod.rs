//! The log on disk: its writer, its reader, and the names of its files.
//!
//! Lines are appended to `delivery.log`; on rotation it becomes `delivery-20260824T101112Z-7.log`. The number rises with each rotation and
//! orders the files; the time is that of the rotation. The file `delivery.files` lists what each must hold. A file is identified by its first
//! line, so a [`Position`] stays valid through renames, copies and deletions.

mod alarm;
mod appender;
mod backward;
mod command;
mod condition;
mod current;
mod disk;
mod error;
pub(crate) mod files;
pub(crate) mod inventory;
pub(crate) mod json_version;
mod options;
mod position;
mod reader;
mod sums;
mod version;
mod worker;
mod writer;

pub use alarm::LogAlarm;
pub(crate) use appender::doubles;
pub use appender::put_copy_aside;
pub use backward::Backward;
pub(crate) use current::newest_end;
pub use error::LogError;
pub use files::{CURRENT, take_back};
pub use options::{LogOptions, OpenedLog, SyncTimer};
pub use position::{FileId, Position};
pub(crate) use reader::{LINE_MAX, end_of_lines};
pub use reader::{Line, Lines};
pub use version::refuse_newer;
pub use writer::EventLog;

#[cfg(test)]
mod copies_tests;
#[cfg(test)]
mod outside_property;
#[cfg(test)]
mod outside_tests;
#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod rotated_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod writer_tests;
