//! The same mail, told apart: a table for each way, in 80 columns.

use std::fmt::{self, Formatter};

use jiff::{Timestamp, tz::TimeZone};
use posthaste_tallies::Counter;

use super::words::{brief_share, duration, short, shortened, thousands};
use crate::Row;

/// What the columns of a table are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Columns {
    /// Of mail that was accepted: accepted, delivered, failed, …
    Taken,
    /// Of mail on its way to a receiver: attempts, delivered, failed, …
    Tried,
    /// What failed, and how.
    Failed,
    /// Refusals at the door.
    Refused,
}

impl Columns {
    fn of(by: &str) -> Self {
        match by {
            "provider" | "source" | "stream_provider" | "source_provider" => Self::Tried,
            "class" | "rule_provider" => Self::Failed,
            "reason" => Self::Refused,
            _ => Self::Taken,
        }
    }
}

/// A table of rows, which are told apart by this.
pub(super) fn table(f: &mut Formatter<'_>, by: &str, rows: &[Row], more: usize, zone: &TimeZone) -> fmt::Result {
    let (columns, title) = (Columns::of(by), title(by));
    match columns {
        Columns::Failed => writeln!(f, "\n  {title:<36}{:>10}{:>10}{:>10}{:>12}", "deferred", "bounced", "expired", "came back")?,
        Columns::Refused => writeln!(f, "\n  {title:<68}{:>10}", "refusals")?,
        Columns::Taken | Columns::Tried => {
            let first = if columns == Columns::Taken { "accepted" } else { "attempts" };
            writeln!(f, "\n  {title:<23}{first:>10}{:>10}{:>10}{:>8}{:>9}{:>8}", "deferred", "delivered", "of fin.", "failed", "95 %")?;
        }
    }
    for row in rows {
        let key = key(row, by, zone);
        let n = |counter| short(row.count(counter));
        match columns {
            Columns::Failed => failed(f, &shortened(&key, 35), row)?,
            Columns::Refused => writeln!(f, "  {:<68}{:>10}", shortened(&key, 67), n(Counter::Rejected))?,
            Columns::Taken | Columns::Tried => {
                let first = if columns == Columns::Taken { Counter::Accepted } else { Counter::Attempts };
                let p95 = row.times.get("delivery").map_or_else(|| "-".into(), |times| duration(times.p95_ms));
                let of_finished = brief_share(row.count(Counter::Delivered), row.finished);
                let failed = short(row.count(Counter::Bounced) + row.count(Counter::Expired));
                let (key, first, delivered) = (shortened(&key, 22), n(first), n(Counter::Delivered));
                writeln!(f, "  {key:<23}{first:>10}{:>10}{delivered:>10}{of_finished:>8}{failed:>9}{p95:>8}", n(Counter::Deferred))?;
            }
        }
    }
    if more > 0 {
        writeln!(f, "  … and {} more; --rows shows more of them", thousands(more as u64))?;
    }
    Ok(())
}

/// Says what the columns of [`Columns::Taken`] and [`Columns::Tried`] mean, once for all tables; nothing if there are none.
pub(super) fn legend<'b>(f: &mut Formatter<'_>, mut tables: impl Iterator<Item = &'b str>) -> fmt::Result {
    if tables.all(|by| matches!(Columns::of(by), Columns::Failed | Columns::Refused)) {
        return Ok(());
    }
    writeln!(
        f,
        "\n  Recipients. of fin.: delivered of finished (delivered, bounced or expired);\n  failed: bounced or expired, not after a delivery; 95 %: of the deliveries took\n  no longer"
    )
}

fn title(by: &str) -> String {
    match by {
        "from_domain" => "By From domain".to_owned(),
        "domain" => "By recipients' domain".to_owned(),
        "rule_provider" => "Reasons: rule, provider".to_owned(),
        "reason" => "Refused at the door".to_owned(),
        by => format!("By {}", by.replace('_', ", ")),
    }
}

/// A row's key; that of an hour or a day as the zone's clock shows it.
fn key(row: &Row, by: &str, zone: &TimeZone) -> String {
    let key = row.key.as_deref().unwrap_or_default();
    let shown = |format: &str| key.parse::<Timestamp>().map(|time| time.to_zoned_datetime(zone.clone()).strftime(format).to_string());
    match by {
        "hour" => shown("%Y-%m-%d %H:%M"),
        "day" => shown("%Y-%m-%d %a"),
        _ => Ok(key.to_owned()),
    }
    .unwrap_or_else(|_| key.to_owned())
}

/// The line of a class of failures, or of a reason.
pub(super) fn failed(f: &mut Formatter<'_>, key: &str, row: &Row) -> fmt::Result {
    let n = |word: &str| match row.classes.values().filter_map(|counts| counts.get(word)).sum::<u64>() {
        0 => "-".to_owned(),
        n => short(n),
    };
    let cells = [n("deferred"), n("bounced"), n("expired"), n("late_bounced")];
    writeln!(f, "  {key:<36}{:>10}{:>10}{:>10}{:>12}", cells[0], cells[1], cells[2], cells[3])
}
