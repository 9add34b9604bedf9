//! "did you mean": the nearest of a table's keys.

use std::collections::BTreeSet;

use posthaste_mail::nearest;

/// The message for an unknown key in a table with the keys `known`.
pub(super) fn suggest(word: &str, known: &BTreeSet<String>) -> String {
    match nearest(word, known.iter().map(String::as_str)) {
        Some(key) => format!("no such key; did you mean {key}?"),
        None if known.is_empty() => "no such key; this table has none".into(),
        None => format!("no such key; keys here are: {}", known.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_gets_the_key_that_was_meant_and_a_stranger_the_list() {
        let known: BTreeSet<String> = ["message_size", "recipients"].map(String::from).into();
        assert_eq!(suggest("mesage_size", &known), "no such key; did you mean message_size?");
        assert_eq!(suggest("message", &known), "no such key; did you mean message_size?");
        assert_eq!(suggest("colour", &known), "no such key; keys here are: message_size, recipients");
    }
}
