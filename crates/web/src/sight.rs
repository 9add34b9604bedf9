//! How much of people's addresses a viewer sees.

use serde_json::Value;

use crate::words::{foreign, masked};

/// How much of people's addresses a viewer sees, in whatever text they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Local parts are hidden.
    pub(crate) masks: bool,
}

impl Sight {
    /// An address; the null sender as `<>`.
    pub(crate) fn address(self, address: &str) -> String {
        match address {
            "" => "<>".into(),
            address if self.masks => foreign(&masked(address)),
            address => foreign(address),
        }
    }

    /// A line that somebody else wrote.
    pub(crate) fn line(self, text: &str) -> String {
        if self.masks { foreign(&masked_in(text)) } else { foreign(text) }
    }

    /// A text of several lines that somebody else wrote.
    pub(crate) fn text(self, text: &str) -> String {
        text.split('\n').map(|line| self.line(line.trim_end_matches('\r'))).collect::<Vec<_>>().join("\n")
    }

    /// The beginning of a line that somebody else wrote.
    pub(crate) fn beginning(self, text: &str, most: usize) -> String {
        let line = self.line(text.lines().next().unwrap_or_default());
        match line.char_indices().nth(most) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }

    /// Data for machines. A Message-ID looks like an address and names nobody.
    pub(crate) fn json(self, value: Value) -> Value {
        match value {
            Value::String(text) if self.masks => Value::String(masked_in(&text)),
            Value::Array(values) if self.masks => values.into_iter().map(|value| self.json(value)).collect(),
            Value::Object(fields) if self.masks => {
                let field = |(name, value): (String, Value)| if name == "message_id" { (name, value) } else { (name, self.json(value)) };
                Value::Object(fields.into_iter().map(field).collect())
            }
            value => value,
        }
    }
}

/// A text with the local part of each address in it hidden.
fn masked_in(text: &str) -> String {
    let (mut out, mut done) = (String::with_capacity(text.len()), 0);
    for (at, _) in text.match_indices('@') {
        let before = &text[done..at];
        let begin = match before.strip_suffix('"').and_then(|quoted| quoted.rfind('"')) {
            Some(quote) => quote,
            None => before
                .rfind(|c: char| c.is_whitespace() || c.is_control() || "<>()[],;:@\"'".contains(c))
                .map_or(0, |end| end + before[end..].chars().next().map_or(0, char::len_utf8)),
        };
        let is_address = text[at + 1..].starts_with(|c: char| c.is_alphanumeric() || c == '[');
        let Some(first) = before[begin..].chars().next().filter(|_| is_address) else { continue };
        out += &before[..begin];
        out.push(first);
        out.push('…');
        done = at;
    }
    out + &text[done..]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MASKED: Sight = Sight { masks: true };
    const WHOLE: Sight = Sight { masks: false };

    #[test]
    fn every_address_in_a_text_is_hidden_from_those_who_may_not_see_it() {
        for (text, seen) in [
            ("550 5.1.1 <ann@example.com>: no such user", "550 5.1.1 <a…@example.com>: no such user"),
            ("ann@a.test, bob@b.test", "a…@a.test, b…@b.test"),
            ("\"ann lee\"@a.test is unknown", "\"…@a.test is unknown"),
            ("mailto:ann@a.test", "mailto:a…@a.test"),
            ("RCPT TO:<ünï@bücher.test>", "RCPT TO:<ü…@bücher.test>"),
            ("b+ann=a.test@bounce.test", "b…@bounce.test"),
            ("a@b@c.test", "a…@b…@c.test"),
            ("@ alone, and a @ b", "@ alone, and a @ b"),
            ("@example.com", "@example.com"),
            ("", ""),
        ] {
            assert_eq!(MASKED.line(text), seen, "{text}");
            assert_eq!(WHOLE.line(text), text);
        }
    }

    #[test]
    fn a_message_id_is_no_address() {
        let line = json!({"message_id": "<1@x.org>", "rcpt": "ann@x.org", "tags": ["of ann@x.org"], "size": 1});
        assert_eq!(MASKED.json(line.clone()), json!({"message_id": "<1@x.org>", "rcpt": "a…@x.org", "tags": ["of a…@x.org"], "size": 1}));
        assert_eq!(WHOLE.json(line.clone()), line);
    }

    #[test]
    fn lines_stay_lines_and_nothing_in_them_is_obeyed() {
        assert_eq!(WHOLE.text("one\r\ntwo"), "one\ntwo");
        assert!(!WHOLE.text("a\u{1b}[31mb\u{202e}c").contains(['\u{1b}', '\u{202e}']));
        assert_eq!(WHOLE.beginning("abcdef\nghi", 3), "abc…");
        assert_eq!((WHOLE.address(""), MASKED.address("ann@x.org")), ("<>".into(), "a…@x.org".into()));
    }
}
