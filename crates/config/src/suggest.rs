//! "did you mean": the nearest of a table's keys.

use std::collections::BTreeSet;

/// The message for an unknown key in a table with the keys `known`.
pub(super) fn suggest(word: &str, known: &BTreeSet<String>) -> String {
    match nearest(word, known.iter().map(String::as_str)) {
        Some(key) => format!("no such key; did you mean {key}?"),
        None if known.is_empty() => "no such key; this table has none".into(),
        None => format!("no such key; keys here are: {}", known.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
    }
}

/// The one of `known` that `word` was probably meant to be, without regard to case.
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_ascii_lowercase();
    let known: Vec<&str> = known.collect();
    let (steps, key) = known.iter().map(|key| (distance(&word, &key.to_ascii_lowercase()), *key)).min()?;
    // `password` for `password_file`.
    let longer = || known.into_iter().find(|key| word.len() >= WHOLE_WORD && key.to_ascii_lowercase().starts_with(&word));
    if steps <= 1 + key.len() / 4 { Some(key) } else { longer() }
}

/// From this length on a word may be the beginning of the one that was meant.
const WHOLE_WORD: usize = 4;

/// The number of letters to add, drop or change to turn one word into the other (Levenshtein distance).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters() {
        assert_eq!([distance("", "abc"), distance("kitten", "sitting"), distance("same", "same")], [3, 3, 0]);
    }

    #[test]
    fn a_slip_gets_the_key_that_was_meant_and_a_stranger_the_list() {
        let known: BTreeSet<String> = ["message_size", "recipients"].map(String::from).into();
        assert_eq!(suggest("mesage_size", &known), "no such key; did you mean message_size?");
        assert_eq!(suggest("message", &known), "no such key; did you mean message_size?");
        assert_eq!(suggest("colour", &known), "no such key; keys here are: message_size, recipients");
    }
}
