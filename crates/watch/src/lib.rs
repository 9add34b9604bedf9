//! Watches over the delivery of mail: counts the delivery log as it grows, and tells what it comes to.
//!
//! A thread of its own reads the log into the tallies ([`Counting`]). It is behind the log, never in its way: the log's writer does not know of
//! it, and if it fails, mail goes on. Whoever asks reads the tallies by a connection of its own ([`Figures`]), after everything that was logged
//! before the question has been counted.
//!
//! It may know `mail`, `monitor`, `tallies`, `findings`, `journal` and `host`. It knows neither the queue nor a door.

mod counting;
mod figures;
mod incidents;
mod metrics;
mod report;
mod scored;
mod sync_times;

pub use counting::{Counting, NotCounted, Settings};
pub use figures::{Figures, FiguresError};
pub use incidents::{Incidents, Shown};
pub use metrics::{Family, Gauge, Labels, MetricsFormat, metrics};
pub use report::{Quantiles, Report, ReportRequest, Row};
pub use scored::Scored;
pub use sync_times::SyncTimes;
