//! How much of people's addresses a viewer sees.

use posthaste_mail::masked_in;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MASKED: Sight = Sight { masks: true };
    const WHOLE: Sight = Sight { masks: false };

    #[test]
    fn addresses_are_hidden_from_those_who_may_not_see_them() {
        let text = "550 5.1.1 <ann@example.com>: no such user";
        assert_eq!(MASKED.line(text), "550 5.1.1 <a…@example.com>: no such user");
        assert_eq!(WHOLE.line(text), text);
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
