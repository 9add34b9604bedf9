//! `[monitor]`: what is counted of the delivery log, and how long the figures are kept.

use std::{path::Path, sync::Arc, time::Duration};

use jiff::{SignedDuration, tz::TimeZone};
use posthaste_tallies::Limits;
use posthaste_watch::Settings;

use super::{
    document::{Item, Parsed, fault},
    reader::Table,
    value::{boolean, duration, number, string},
};

/// Whether the log is counted, and how. The relay counts into `tallies.db` in the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// None: it is not counted. Which keys always have figures of their own is for the relay to say, which knows the providers.
    pub counting: Option<Settings>,
    /// Whether DNS is asked for the SPF and DMARC records of senders.
    pub sender_records: bool,
}

impl Monitor {
    pub(super) fn read(t: &Table<'_>, data_dir: &Path, log: &Path) -> Self {
        let day = Duration::from_hours(24);
        let kept = |key: &str, least: Duration, most: u32| signed(t.get(key, duration(least..=most * day)));
        let settings = Settings {
            path: data_dir.join("tallies.db"),
            log: log.into(),
            zone: t.get("time_zone", zone),
            limits: Limits {
                minutes: kept("keep_minutes", 2 * day, 31),
                hours: kept("keep_hours", 15 * day, 1100),
                days: kept("keep_days", 15 * day, 3660),
                keys: t.get("keys", number(10..=10_000)),
                kept: Arc::default(),
            },
        };
        Self { counting: t.get("enabled", boolean).then_some(settings), sender_records: t.get("sender_records", boolean) }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).expect("it was read with a bound of years")
}

fn zone(item: Item<'_>) -> Parsed<TimeZone> {
    let name = string(item)?;
    let unknown = || format!("no time zone {name:?} in this system's database; write it as \"Europe/Berlin\" or \"UTC\"");
    TimeZone::get(name).or_else(|_| fault(item, unknown()))
}
