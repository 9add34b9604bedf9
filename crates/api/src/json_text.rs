//! What a JSON text holds, as far as that shows without reading its values: before serde makes something of them.

/// The memory that the values of a JSON text take at most once they are read, in bytes: it does not depend on their lengths but on their
/// number.
pub(crate) fn cost_of_values(json: &[u8]) -> u64 {
    let (mut cost, mut at) = (0, 0);
    while at < json.len() {
        match json[at] {
            b'"' => at += end_of_text(&json[at + 1..]) + 1,
            b'{' => cost += OBJECT,
            b'[' | b',' | b':' => cost += VALUE,
            _ => {}
        }
        at += 1;
    }
    cost
}

/// A value in a list or an object: what serde keeps of it until its type is known, the value itself, and the room for more of both.
const VALUE: u64 = 256;
/// An object: a node of its map.
const OBJECT: u64 = 1024;

/// How many bytes there are up to the quote that ends a text.
fn end_of_text(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(next) = memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()) {
        at += next;
        if text[at] == b'"' {
            return at;
        }
        at += 2;
    }
    text.len()
}

/// The longest name of a field, in bytes as they stand in the text. The name of a header field has 998 characters at most.
pub(crate) const KEY_MAX: usize = 1024;

/// Whether some object of the text has a longer name of a field. What is no JSON may have any answer.
pub(crate) fn has_long_key(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        let text = &rest[quote + 1..];
        let length = end_of_text(text);
        rest = text.get(length + 1..).unwrap_or_default();
        if length > KEY_MAX && rest.trim_ascii_start().starts_with(b":") {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cost_by_their_number_and_not_by_their_length() {
        assert_eq!(cost_of_values(br#"{"text":"a, long [text] with {all} of \"it\": , \\"}"#), OBJECT + VALUE);
        assert_eq!(cost_of_values(br#"{"to":["","",{"address":""}]}"#), 2 * OBJECT + 5 * VALUE);
        let unclosed = br#"{"a":"b"#;
        assert_eq!(cost_of_values(unclosed), OBJECT + VALUE);
        assert_eq!(cost_of_values(br#""\"#), 0);
    }

    #[test]
    fn a_long_name_of_a_field_is_found_wherever_it_stands_and_a_long_value_is_none() {
        let long = "k".repeat(KEY_MAX + 1);
        for text in
            [format!(r#"{{"{long}":1}}"#), format!(r#"{{"a":[{{"b\"":"\\","{long}" : {{}}}}]}}"#), format!(r#"{{"a":"x","{long}\"":1}}"#)]
        {
            assert!(has_long_key(text.as_bytes()), "{text}");
        }
        let just = &long[1..];
        for text in [format!(r#"{{"{just}":"{long}"}}"#), format!(r#"["{long}","\":"]"#), format!(r#""{long}"#), "\"\\".into(), "{}".into()]
        {
            assert!(!has_long_key(text.as_bytes()), "{text}");
        }
    }
}
