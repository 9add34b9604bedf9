//! Watches over the delivery of mail: counts the delivery log as it grows, and tells what it comes to.
//!
//! A thread of its own reads the log into the tallies ([`Counting`]). It is behind the log, never in its way: the log's writer does not know of
//! it, and if it fails, mail goes on. Whoever asks reads the tallies by a connection of its own ([`Figures`]), after everything that was logged
//! before the question has been counted. [`Incidents`] are what the rules found, shared by those who look and those who show, mute or close
//! them.
//!
//! It may know `mail`, `monitor`, `tallies`, `findings`, `journal` and `host`. It knows neither the queue nor a door.

mod by;
mod counting;
mod daily;
mod figures;
mod incidents;
mod metrics;
mod reloads;
mod report;
mod scored;
mod sync_times;
mod text;

/// What stands for the provider of mail that has none, because its domain leads to no host.
const NO_PROVIDER: &str = "none";

pub use by::By;
pub use counting::{Counting, NotCounted, Settings};
pub use daily::{Schedule, SentReports, UnreadableReports};
pub use figures::{Figures, FiguresError, OFF};
pub use incidents::{Incidents, Shown, ShownFinding, StoppedLanes, Told, kept_in, open_in};
pub use metrics::{Buckets, Counted, Family, Gauge, Labels, MetricsFormat, Sorted, metrics};
pub use prometheus_client::registry::Unit;
pub use reloads::{LastReload, Reloads};
pub use report::{Breakdown, Quantiles, Report, ReportRequest, Row};
pub use scored::{Scored, lasting, scores_at};
pub use sync_times::SyncTimes;
pub use text::words::thousands;
