//! How long each stage of an attempt took.

use maud::{Markup, html};
use posthaste_monitor::LogRecord;

use crate::words::milliseconds;

/// The stages of an attempt that took time: number, name, milliseconds.
fn stages(record: &LogRecord<'_>) -> Vec<(usize, &'static str, u32)> {
    let all = [
        ("look-up", record.dns_ms),
        ("connection", record.connect_ms),
        ("TLS", record.tls_ms),
        ("envelope", record.envelope_ms),
        ("message", record.body_ms),
    ];
    all.into_iter().enumerate().filter_map(|(number, (name, ms))| Some((number, name, ms?))).collect()
}

/// A bar with a piece for each stage, and the same in words; nothing where no time was taken.
pub(super) fn draw(record: &LogRecord<'_>) -> Markup {
    let stages = stages(record);
    let all: u64 = stages.iter().map(|(.., ms)| u64::from(*ms)).sum();
    if stages.is_empty() {
        return html! {};
    }
    let share = |ms: u64| ms as f64 * 300.0 / all.max(1) as f64;
    let pieces = stages.iter().scan(0, |before, (number, _, ms)| {
        let begin = *before;
        *before += u64::from(*ms);
        Some((number, share(begin), share((*ms).into())))
    });
    html! {
        div .timing {
            svg viewBox="0 0 300 8" preserveAspectRatio="none" aria-hidden="true" {
                rect .whole width="300" height="8" {}
                @for (number, begin, width) in pieces {
                    rect class=(format!("kind{number}")) x=(format!("{begin:.1}")) width=(format!("{width:.1}")) height="8" {}
                }
            }
            ul .key {
                @for (number, name, ms) in &stages { li {
                    svg .swatch viewBox="0 0 10 10" aria-hidden="true" { rect class=(format!("kind{number}")) width="10" height="10" {} }
                    (name) " " (milliseconds(f64::from(*ms)))
                } }
                li { "together " (milliseconds(all as f64)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_its_piece_of_the_bar_and_says_its_time() {
        let record = LogRecord { connect_ms: Some(100), body_ms: Some(300), ..LogRecord::default() };
        let drawn = draw(&record).0;
        assert!(drawn.contains(r#"<rect class="kind1" x="0.0" width="75.0""#), "{drawn}");
        assert!(drawn.contains(r#"<rect class="kind4" x="75.0" width="225.0""#), "{drawn}");
        assert!(drawn.contains("connection 100 ms") && drawn.contains("message 300 ms") && drawn.contains("together 400 ms"), "{drawn}");
        assert!(!drawn.contains("TLS"));
        assert_eq!(draw(&LogRecord::default()).0, "");
        let none = draw(&LogRecord { dns_ms: Some(0), ..LogRecord::default() }).0;
        assert!(none.contains("look-up 0 ms") && none.contains(r#"width="0.0""#), "{none}");
    }
}
