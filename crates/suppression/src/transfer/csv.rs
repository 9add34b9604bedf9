//! CSV (RFC 4180) as far as an address list needs it: quotes, doubled quotes, line ends inside quotes.

/// One record: the line it begins on, from 1, and its cells, or why they cannot be read.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    pub(super) line: usize,
    pub(super) cells: Result<Vec<String>, String>,
}

/// The records of a text; empty lines are skipped.
pub(super) struct Records<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Records<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1 }
    }

    fn advance(&mut self, bytes: usize) {
        let (done, rest) = self.rest.split_at(bytes);
        self.line += done.bytes().filter(|b| *b == b'\n').count();
        self.rest = rest;
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            let end = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
            if end == 0 {
                return None;
            }
            if self.rest[..end].trim().is_empty() {
                self.advance(end);
                continue;
            }
            let line = self.line;
            let (cells, used) = match record(self.rest) {
                Ok((cells, used)) => (Ok(cells), used),
                // A stray quote must not swallow the lines after it.
                Err(why) => (Err(why), end),
            };
            self.advance(used);
            return Some(Record { line, cells });
        }
    }
}

/// The cells of the first record, and its length in bytes with the line end.
fn record(text: &str) -> Result<(Vec<String>, usize), String> {
    let mut cells = Vec::new();
    let mut at = 0;
    loop {
        let (cell, used) = match text[at..].strip_prefix('"') {
            Some(quoted) => unquote(quoted).map(|(cell, used)| (cell, used + 1))?,
            None => {
                let end = text[at..].find([',', '\n']).unwrap_or(text.len() - at);
                (text[at..at + end].trim_end_matches('\r').to_owned(), end)
            }
        };
        cells.push(cell);
        at += used;
        let rest = &text[at..];
        if let Some(more) = rest.strip_prefix(',') {
            at = text.len() - more.len();
        } else if let Some(more) = rest.strip_prefix("\r\n").or(rest.strip_prefix('\n')) {
            return Ok((cells, text.len() - more.len()));
        } else if rest.is_empty() {
            return Ok((cells, at));
        } else {
            return Err("something stands behind a closing quote".to_owned());
        }
    }
}

/// The cell after its opening quote, and the bytes up to and including the closing one.
fn unquote(text: &str) -> Result<(String, usize), String> {
    let mut cell = String::new();
    let mut at = 0;
    loop {
        let quote = text[at..].find('"').ok_or("a quote is not closed")?;
        cell += &text[at..at + quote];
        at += quote + 1;
        if !text[at..].starts_with('"') {
            return Ok((cell, at));
        }
        cell.push('"');
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
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(usize, Result<Vec<String>, String>)> {
        Records::new(text).map(|r| (r.line, r.cells)).collect()
    }

    fn cells(cells: &[&str]) -> Result<Vec<String>, String> {
        Ok(cells.iter().map(|c| (*c).to_owned()).collect())
    }

    #[test]
    fn quotes_hold_commas_quotes_and_line_ends() {
        let text = "a,b\r\n\r\n\"x,\"\"y\"\"\r\nz\",\nlast";
        assert_eq!(read(text), [(1, cells(&["a", "b"])), (3, cells(&["x,\"y\"\r\nz", ""])), (5, cells(&["last"]))]);
    }

    #[test]
    fn a_stray_quote_costs_its_line_only() {
        let found = read("a\n\"b\nc\n\"d\"e\nf");
        assert_eq!(
            found.iter().map(|(line, c)| (*line, c.is_ok())).collect::<Vec<_>>(),
            [(1, true), (2, false), (3, true), (4, false), (5, true)]
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(row in proptest::collection::vec("[a-z,\"\r\n;é ]{0,8}", 1..5)) {
            let mut row: Vec<String> = row;
            row.insert(0, "first".into());
            prop_assert_eq!(read(&(line(&row) + "next")), [(1, Ok(row.clone())), (1 + line(&row).matches('\n').count(), Ok(vec!["next".into()]))]);
        }

        #[test]
        fn no_text_is_too_odd(text in "[a,\"\r\n]{0,30}") {
            let lines: Vec<usize> = Records::new(&text).map(|r| r.line).collect();
            prop_assert!(lines.is_sorted() && lines.iter().all(|l| *l <= text.matches('\n').count() + 1));
        }
    }
}
