//! Numbers, shares and sentences as people read them.

use std::fmt::{self, Formatter};

/// Below this many, a share says nothing: it is written as "3 of 40".
const ENOUGH: u64 = 100;

/// `1,234,567`: a number that people can read.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

/// The same in nine columns at most: `1,234,567`, `12.3 M`, `1,234.5 M`.
pub(super) fn short(n: u64) -> String {
    match n {
        0..10_000_000 => thousands(n),
        _ => format!("{}.{} M", thousands(n / 1_000_000), n % 1_000_000 / 100_000),
    }
}

/// `98.5 % of 12,180 finished`, or `63 of 90 finished` while that says nothing.
pub(super) fn share(n: u64, of: u64, noun: &str) -> String {
    match of {
        0 => String::new(),
        1..ENOUGH => format!("{} of {} {noun}", thousands(n), thousands(of)),
        _ => format!("{} of {} {noun}", percent(n, of), thousands(of)),
    }
}

/// `98.5 %`. What is not all is never `100.0 %`, and what is something never `0.0 %`.
fn percent(n: u64, of: u64) -> String {
    let exact = 100.0 * n as f64 / of as f64;
    match format!("{exact:.1} %") {
        all if all == "100.0 %" && n < of => "99.9 %".to_owned(),
        none if none == "0.0 %" && n > 0 => "< 0.1 %".to_owned(),
        text => text,
    }
}

/// A share for a column whose heading says of what: `98.5 %`, `3/40`, or `-` of nothing.
pub(super) fn brief_share(n: u64, of: u64) -> String {
    match of {
        0 => "-".to_owned(),
        1..ENOUGH => format!("{n}/{of}"),
        _ => percent(n, of),
    }
}

/// `1.2 GiB`.
pub(super) fn bytes(n: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut size, mut unit) = (n as f64, "bytes");
    for larger in units {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if unit == "bytes" { format!("{n} bytes") } else { format!("{size:.1} {unit}") }
}

/// A sentence in as many lines as it needs, indented. Words longer than a line stay whole.
pub(super) fn sentence(f: &mut Formatter<'_>, indent: usize, text: &str) -> fmt::Result {
    let (mut at, mut gap) = (0, "");
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if at > 0 && at + 1 + length > WIDTH {
            writeln!(f)?;
            at = 0;
        }
        if at == 0 {
            // Further lines hang.
            at = indent + if gap.is_empty() { 0 } else { 2 };
            write!(f, "{:at$}{word}", "")?;
        } else {
            write!(f, "{gap}{word}")?;
            at += 1;
        }
        (at, gap) = (at + length, " ");
    }
    if at > 0 { writeln!(f) } else { Ok(()) }
}

/// The columns of a report.
const WIDTH: usize = 78;

/// A text as long as its column.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// `840 ms`, `12.0 s`, `7 min`, `3.2 h`.
pub(super) fn duration(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 120_000.0 => format!("{:.1} s", ms / 1_000.0),
        ms if ms < 7_200_000.0 => format!("{:.0} min", ms / 60_000.0),
        ms => format!("{:.1} h", ms / 3_600_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_not_a_share() {
        assert_eq!(share(3, 40, "delivered"), "3 of 40 delivered");
        assert_eq!(share(12_001, 12_180, "finished"), "98.5 % of 12,180 finished");
        assert_eq!(share(0, 0, "finished"), "");
        assert_eq!([brief_share(3, 40), brief_share(0, 0), brief_share(1, 100)], ["3/40", "-", "1.0 %"]);
    }

    #[test]
    fn a_share_that_is_not_all_is_not_rounded_to_all_and_something_is_not_nothing() {
        assert_eq!(share(99_999, 100_000, "finished"), "99.9 % of 100,000 finished");
        assert_eq!(share(1, 100_000, "finished"), "< 0.1 % of 100,000 finished");
        assert_eq!([brief_share(100_000, 100_000), brief_share(0, 100_000)], ["100.0 %", "0.0 %"]);
    }

    #[test]
    fn durations_and_sizes_have_the_unit_that_fits() {
        assert_eq!([12.4, 1_500.0, 300_000.0, 8_000_000.0].map(duration), ["12 ms", "1.5 s", "5 min", "2.2 h"]);
        assert_eq!([0, 1023, 1024, 5_000_000_000].map(bytes), ["0 bytes", "1023 bytes", "1.0 KiB", "4.7 GiB"]);
    }

    #[test]
    fn sentences_keep_to_the_width_and_hang() {
        struct Said(String);
        impl std::fmt::Display for Said {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                sentence(f, 4, &self.0)
            }
        }
        let said = Said("some words of seven letters ".repeat(6)).to_string();
        assert!(said.lines().all(|line| line.chars().count() <= WIDTH) && said.lines().count() == 3, "{said}");
        assert!(said.starts_with("    some words") && said.lines().skip(1).all(|line| line.starts_with("      ")), "{said}");
        assert_eq!(
            [Said(String::new()).to_string(), Said("x".repeat(90)).to_string()],
            [String::new(), format!("    {}\n", "x".repeat(90))]
        );
    }

    #[test]
    fn large_numbers_keep_to_their_columns() {
        assert_eq!([0, 9_999_999, 10_000_000, 1_234_567_890].map(short), ["0", "9,999,999", "10.0 M", "1,234.5 M"]);
        assert_eq!(shortened("abcdef", 4), "abc…");
    }
}
