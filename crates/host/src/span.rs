//! Durations as text.

use jiff::Timestamp;

/// The time between two timestamps, in its two largest units.
pub fn span(from: Timestamp, to: Timestamp) -> String {
    let s = to.duration_since(from).as_secs().max(0);
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3600),
    }
}
