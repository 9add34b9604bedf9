//! `[run]`: how the program stops, and which diagnostics it prints.

use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::{
    reader::Table,
    value::{duration, one_of},
};

/// Settings of the program itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// How long open connections may take to finish when the program is told to stop.
    pub drain: Duration,
    /// Which diagnostics are printed. The delivery log is separate.
    pub log_level: LevelFilter,
}

impl Run {
    pub(super) fn read(t: &Table<'_>) -> Self {
        let levels = [
            ("off", LevelFilter::OFF),
            ("error", LevelFilter::ERROR),
            ("warn", LevelFilter::WARN),
            ("info", LevelFilter::INFO),
            ("debug", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
        ];
        Self { drain: t.get("drain", duration(Duration::ZERO..=Duration::from_hours(1))), log_level: t.get("log_level", one_of(&levels)) }
    }
}
