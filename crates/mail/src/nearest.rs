//! "did you mean": the nearest of some words.

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
}
