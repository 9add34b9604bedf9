//! The log on disk: who writes it, who reads it, and how its files are named.
//!
//! `delivery.log` is written; on rotation it becomes `delivery-20260824T101112Z-7.log`. The number only rises and orders the files; the time
//! is that of the rotation. A file is known by its first line, so a [`Position`] stays true through renames, copies and deletions.

mod appender;
mod command;
mod error;
mod files;
mod options;
mod position;
mod reader;
mod worker;
mod writer;

pub use error::LogError;
pub use files::CURRENT;
pub use options::{LogOptions, Opened};
pub use position::{FileId, Position};
pub use reader::{Line, Lines};
pub use writer::EventLog;

#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod writer_tests;
