//! Whatever a line says, it can be counted.

use super::*;

/// Every event, and one that nobody knows.
const EVENTS: [&str; 16] = [
    "accepted",
    "rejected",
    "held",
    "suppressed",
    "cancelled",
    "delivered",
    "deferred",
    "bounced",
    "expired",
    "late_bounced",
    "complained",
    "unsubscribed",
    "opened",
    "clicked",
    "unmatched",
    "relay",
];

/// Each field that counting looks at, with a value that counts for the most.
const FIELDS: [&str; 31] = [
    r#""stream":"news""#,
    r#""user":"shop""#,
    r#""from_domain":"x.org""#,
    r#""domain":"y.org""#,
    r#""tags":["may","may","sale"]"#,
    r#""size":18446744073709551615"#,
    r#""age_ms":18446744073709551615"#,
    r#""provider":"google""#,
    r#""source":"ip1""#,
    r#""attempt":1"#,
    r#""not_tried":true"#,
    r#""smtp_code":550"#,
    r#""class":"invalid_recipient""#,
    r#""rule":"code.recipient-refused""#,
    r#""tls_version":"TLSv1.3""#,
    r#""tls_verified":true"#,
    r#""dkim":"aligned""#,
    r#""spf":"pass""#,
    r#""dmarc":"reject""#,
    r#""one_click":true"#,
    r#""machine":true"#,
    r#""again":true"#,
    r#""kind":"bounce""#,
    r#""kind":"feedback""#,
    r#""reason":"rate""#,
    r#""dns_ms":18446744073709551615"#,
    r#""connect_ms":18446744073709551615"#,
    r#""tls_ms":18446744073709551615"#,
    r#""envelope_ms":18446744073709551615"#,
    r#""body_ms":18446744073709551615"#,
    r#""hold_ms":18446744073709551615"#,
];

/// A line with those fields whose bits are set; of two with one name, the first.
fn line_with(event: &str, fields: u32) -> String {
    let mut line = format!(r#"{{"time":"2026-11-29T00:00:10.000Z","event":"{event}""#);
    let mut names = std::collections::HashSet::new();
    for (bit, field) in FIELDS.iter().enumerate() {
        if fields >> bit & 1 == 1 && names.insert(field.split(':').next()) {
            line += &format!(",{field}");
        }
    }
    line + "}"
}

/// What the line counts as, saved and read back.
fn counted_alone(line: &str) -> crate::Cell {
    let dir = tempfile::tempdir().unwrap();
    let mut tallies = tallies(dir.path(), &TimeZone::UTC, Limits::default());
    tallies.add(&delta(&[line.to_owned(), line.to_owned()], &TimeZone::UTC), None).unwrap();
    tallies.sum(Dimension::All, span(DAY, DAY + 60)).unwrap().get("all").cloned().unwrap_or_default()
}

#[test]
fn a_line_may_count_as_everything_that_its_event_can_count_as() {
    let all: u32 = !((1 << 10) | (1 << 21) | (1 << 30));
    for event in EVENTS {
        counted_alone(&line_with(event, all));
    }
    let cell = counted_alone(&line_with("delivered", all));
    // All that a delivery can count as: thirteen at least.
    let counters: Vec<Counter> = Counter::ALL.iter().copied().filter(|counter| cell.get(*counter) > 0).collect();
    assert_eq!(
        counters,
        [
            Counter::Attempts,
            Counter::FirstAttempts,
            Counter::Delivered,
            Counter::BytesDelivered,
            Counter::DeliveredTls,
            Counter::DeliveredTlsVerified,
            Counter::DkimAligned,
            Counter::SpfPassed,
            Counter::SpfKnown,
            Counter::DmarcPublished,
            Counter::DmarcKnown,
            Counter::OneClick,
            Counter::FromKnown,
        ]
    );
    assert_eq!((cell.get(Counter::OneClick), cell.get(Counter::BytesDelivered)), (2, u64::MAX));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// No line stops the counting, whatever it says, and what it comes to can be saved and read back.
    #[test]
    fn any_line_can_be_counted(event in prop::sample::select(&EVENTS[..]), fields: u32) {
        let cell = counted_alone(&line_with(event, fields));
        prop_assert!(cell.finished() <= 2);
    }
}
