//! CSV (RFC 4180) as far as an address list needs it: quotes, doubled quotes, line ends inside quotes.

/// What a text begins with.
#[derive(Debug, PartialEq)]
pub(super) enum Record {
    /// A record whose end may still come.
    Partial,
    /// A record of these cells and this many bytes, its line end included.
    Whole(Vec<String>, usize),
    /// A line that cannot be read, and why.
    Bad(&'static str),
}

/// Looks at the first record of a text. `last`: nothing follows the text. An invalid character makes its cell's value invalid, no more.
pub(super) fn first(text: &[u8], last: bool) -> Record {
    let unfinished = |cells, used| if last { Record::Whole(cells, used) } else { Record::Partial };
    let (mut cells, mut at) = (Vec::new(), 0);
    loop {
        let (cell, used) = match text[at..].strip_prefix(b"\"") {
            Some(quoted) => match unquote(quoted) {
                Some((cell, used)) => (cell, used + 1),
                None if last => return Record::Bad(UNCLOSED),
                None => return Record::Partial,
            },
            None => {
                let end = memchr::memchr2(b',', b'\n', &text[at..]).unwrap_or(text.len() - at);
                let cell = &text[at..at + end];
                (cell.strip_suffix(b"\r").unwrap_or(cell).to_vec(), end)
            }
        };
        cells.push(String::from_utf8_lossy(&cell).into_owned());
        at += used;
        match &text[at..] {
            [b',', ..] => at += 1,
            [b'\n', ..] => return Record::Whole(cells, at + 1),
            [b'\r', b'\n', ..] => return Record::Whole(cells, at + 2),
            [] => return unfinished(cells, at),
            [b'\r'] if !last => return Record::Partial,
            _ => return Record::Bad("something stands behind a closing quote"),
        }
    }
}

/// Why a line with a quote is bad that nothing closes.
pub(super) const UNCLOSED: &str = "a quote is not closed";

/// The cell after its opening quote, and the bytes up to and including the closing one. None: there is none yet. A quote at the end of the text
/// may be half of a doubled one; then nothing follows it, and the record is looked at again.
fn unquote(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut cell, mut at) = (Vec::new(), 0);
    loop {
        let quote = memchr::memchr(b'"', &text[at..])?;
        cell.extend_from_slice(&text[at..at + quote]);
        at += quote + 1;
        if text.get(at) != Some(&b'"') {
            return Some((cell, at));
        }
        cell.push(b'"');
        at += 1;
    }
}

/// A record with its line end.
pub(super) fn line(cells: &[String]) -> String {
    let quoted = |c: &String| match c.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", c.replace('"', "\"\"")),
        false => c.clone(),
    };
    cells.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn quotes_hold_commas_quotes_and_line_ends() {
        let text = b"\"x,\"\"y\"\"\r\nz\",\r\nlast";
        assert_eq!(first(text, false), Record::Whole(cells(&["x,\"y\"\r\nz", ""]), text.len() - 4));
        assert_eq!(first(b"last", true), Record::Whole(cells(&["last"]), 4));
    }

    #[test]
    fn what_may_go_on_is_not_read_yet_and_a_stray_quote_is_named() {
        for text in [&b"a"[..], b"a,", b"a\r", b"\"a", b"\"a\"", b"\"a\"\r", b"\"a\"\""] {
            assert_eq!(first(text, false), Record::Partial, "{:?}", String::from_utf8_lossy(text));
        }
        assert_eq!(first(b"\"a\nb", true), Record::Bad(UNCLOSED));
        assert!(matches!(first(b"\"a\"b\n", false), Record::Bad(_)));
    }
}
