//! Figures, times and commands as people read them.

use std::{fmt::Write, time::Duration};

use jiff::Timestamp;
use posthaste_mail::Foreign;

use crate::counts::share;

/// `12.3 %`.
pub(crate) fn percent(part: f64) -> String {
    let percent = part * 100.0;
    let digits = if percent >= 10.0 || percent == percent.round() {
        0
    } else if percent >= 1.0 {
        1
    } else {
        2
    };
    format!("{percent:.digits$} %")
}

/// `137 of 151 (91 %)`.
pub(crate) fn part_of(n: u64, of: u64) -> String {
    format!("{n} of {of} ({})", percent(share(n, of)))
}

/// `15m`, `2h`, `3h 20m`, `5d`, `5d 3h`: the two largest units.
pub(crate) fn lasts(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds == 0 {
        return format!("{}ms", time.as_millis());
    }
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let at = units.iter().position(|(unit, _)| seconds >= *unit).expect("it is one second at least");
    let (unit, name) = units[at];
    let rest = units.get(at + 1).map_or(0, |(next, _)| seconds % unit / next);
    match units.get(at + 1) {
        Some((_, next)) if rest > 0 => format!("{}{name} {rest}{next}", seconds / unit),
        _ => format!("{}{name}", seconds / unit),
    }
}

/// How long ago it was; nothing if it lies ahead.
pub(crate) fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// `14:02 UTC`, with the date if it is not today.
pub(crate) fn clock(time: Timestamp, now: Timestamp) -> String {
    let (time, now) = (time.to_zoned_datetime(jiff::tz::TimeZone::UTC), now.to_zoned_datetime(jiff::tz::TimeZone::UTC));
    let form = if time.date() == now.date() { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" };
    time.strftime(form).to_string()
}

/// `1 recipient`, `2 recipients`.
pub(crate) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// The longest text that may come from strangers, in characters.
const MOST: usize = 200;

/// Text that may come from strangers, in one line and not too long: whole words, with an ellipsis where more follows.
pub(crate) fn said(text: &str) -> String {
    let mut shown = Foreign::new(text).first(MOST + 1);
    if let Some((cut, _)) = shown.char_indices().nth(MOST) {
        // A text without blanks is cut anywhere.
        shown.truncate(shown[..cut].rfind(' ').filter(|blank| *blank > cut / 2).unwrap_or(cut));
        shown.push('…');
    }
    shown
}

/// The same as a sentence of its own.
pub(crate) fn sentence(text: &str) -> String {
    let said = said(text.trim_end_matches('.'));
    if said.ends_with('…') { said } else { said + "." }
}

/// The arguments of `posthaste log` that show the lines of an event with these fields.
pub(crate) fn log(filters: &[(&str, &str)]) -> String {
    let mut text = "posthaste log".to_owned();
    for (name, value) in filters {
        let _ = write!(text, " --{name} {}", word(value));
    }
    text
}

/// A word as a shell takes it.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/@+-".contains(c);
    match text {
        text if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        text => format!("'{}'", Foreign::new(text).first(MOST).replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(
            [0.1, 0.123, 0.0123, 0.001, 0.003, 1.0, 0.02].map(percent),
            ["10 %", "12 %", "1.2 %", "0.10 %", "0.30 %", "100 %", "2 %"]
        );
        let times = [0, 59, 60, 900, 3600, 12_000, 86_400, 100_000].map(|s| lasts(Duration::from_secs(s)));
        assert_eq!(times, ["0ms", "59s", "1m", "15m", "1h", "3h 20m", "1d", "1d 3h"]);
        assert_eq!(lasts(Duration::from_millis(120)), "120ms");
        assert_eq!(part_of(137, 151), "137 of 151 (91 %)");
    }

    #[test]
    fn a_word_is_safe_in_a_shell() {
        assert_eq!(log(&[("provider", "google"), ("user", "o'neill; rm")]), r"posthaste log --provider google --user 'o'\''neill; rm'");
    }
}
