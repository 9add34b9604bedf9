//! Which keys have figures of their own where there are more than have a place.

use std::sync::Arc;

use super::*;
use crate::{Cell, Kept};

/// So many small ones before the large one, each with one line.
fn small_first(small: i64, second: i64) -> Vec<String> {
    let of = |key: &str, second: i64| {
        let more = format!(r#","provider":"{key}","user":"{key}","tags":["{key}"],"attempt":1"#);
        line(second, "delivered", 0, &more)
    };
    let mut lines: Vec<String> = (0..small).map(|n| of(&format!("small{n}"), second)).collect();
    lines.extend((0..50).map(|_| of("large", second + 1)));
    lines
}

fn delivered(block: &Block, key: &str) -> Option<u64> {
    block.get(key).map(|cell: &Cell| cell.get(Counter::Delivered))
}

fn whole(block: &Block) -> u64 {
    block.iter().map(|(_, cell)| cell.get(Counter::Delivered)).sum()
}

#[test]
fn the_largest_have_figures_of_their_own_though_others_came_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut tallies = tallies(dir.path(), &TimeZone::UTC, Limits { keys: 10, ..Limits::default() });
    let mut lines = small_first(20, DAY);
    lines.push(line(DAY + 86_400 + 3600, "accepted", 0, ""));
    // Piece by piece, as they come in.
    for piece in lines.chunks(7) {
        tallies.add(&delta(piece, &TimeZone::UTC), None).unwrap();
    }
    let date = jiff::civil::date(2026, 11, 29);
    for dimension in [Dimension::Provider, Dimension::User, Dimension::Tag, Dimension::StreamProvider, Dimension::UserStream] {
        let key = match dimension {
            Dimension::StreamProvider => pair("news", "large"),
            Dimension::UserStream => pair("large", "news"),
            _ => "large".to_owned(),
        };
        for to in [60, 3600, 86_400] {
            let block = tallies.sum(dimension, span(DAY, DAY + to)).unwrap();
            assert_eq!((delivered(&block, &key), whole(&block), block.len()), (Some(50), 70, 10), "{dimension:?} {to}");
        }
        let cohort = &tallies.cohorts(dimension, date, date).unwrap()[0].1;
        assert_eq!((delivered(cohort, &key), whole(cohort)), (Some(50), 70), "{dimension:?}");
    }
}

#[test]
fn what_the_configuration_names_always_has_figures_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let set = |name: &str| std::collections::HashSet::from([name.into()]);
    let kept = Arc::new(Kept { providers: set("large"), streams: set("news"), users: set("large"), sources: set("ip1") });
    let mut tallies = tallies(dir.path(), &TimeZone::UTC, Limits { keys: 10, kept, ..Limits::default() });
    // More than have a place in an open minute, and the one of the configuration is the last and the least.
    let mut lines = small_first(400, DAY);
    lines.truncate(401);
    lines.push(line(DAY + 86_400 + 3600, "accepted", 0, ""));
    for piece in lines.chunks(33) {
        tallies.add(&delta(piece, &TimeZone::UTC), None).unwrap();
    }
    for to in [60, 3600, 86_400] {
        for (dimension, key) in [(Dimension::Provider, "large"), (Dimension::User, "large"), (Dimension::UserStream, "large\tnews")] {
            let block = tallies.sum(dimension, span(DAY, DAY + to)).unwrap();
            assert_eq!((delivered(&block, key), whole(&block), block.len()), (Some(1), 401, 10), "{dimension:?} {to}");
        }
    }
    assert_eq!(delivered(&tallies.ever(Dimension::Provider).unwrap(), "large"), Some(1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Where most keys have no place, the same log gives the same cells, whatever pieces it was counted in.
    #[test]
    fn the_same_keys_have_figures_of_their_own_however_the_log_was_read(
        lines in proptest::collection::vec((0..2 * 86_400_i64, 0..40_u8), 1..200),
        pieces in 1..30_usize,
    ) {
        let mut lines = lines;
        lines.sort_unstable();
        let of = |(second, key): &(i64, u8)| line(DAY + second, "delivered", 1, &format!(r#","provider":"p{key}","user":"u{key}","attempt":1"#));
        let text: Vec<String> = lines.iter().map(of).collect();
        let (dir, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let limits = || Limits { keys: 4, ..Limits::default() };
        let (mut whole, mut pieced) = (tallies(dir.path(), &TimeZone::UTC, limits()), tallies(again.path(), &TimeZone::UTC, limits()));
        whole.add(&delta(&text, &TimeZone::UTC), None).unwrap();
        for piece in text.chunks(text.len().div_ceil(pieces)) {
            pieced.add(&delta(piece, &TimeZone::UTC), None).unwrap();
        }
        for dimension in Dimension::ALL {
            for hours in [1, 24, 48] {
                let asked = span(DAY, DAY + hours * 3600);
                prop_assert_eq!(whole.sum(*dimension, asked).unwrap(), pieced.sum(*dimension, asked).unwrap());
            }
            let date = jiff::civil::date(2026, 11, 28);
            let last = jiff::civil::date(2026, 12, 2);
            prop_assert_eq!(whole.cohorts(*dimension, date, last).unwrap(), pieced.cohorts(*dimension, date, last).unwrap());
        }
    }
}
