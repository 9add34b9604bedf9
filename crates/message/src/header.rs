//! The positions of the header's fields in a message (RFC 5322 §2.2).

use std::ops::Range;

use memchr::{memchr, memchr_iter};

/// A header: its fields in order, and where it ends.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) fields: Vec<Field>,
    /// Where the empty line stands, or the first line that is no field; the message's end if neither comes.
    pub(super) end: usize,
    /// True if the header ends in an empty line.
    pub(super) has_empty_line: bool,
}

/// A field from its name to the CRLF behind its last continuation line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) start: usize,
    pub(super) end: usize,
    colon: usize,
}

impl Header {
    /// None if the header is larger than `limit` bytes.
    pub(super) fn scan(data: &[u8], limit: usize) -> Option<Self> {
        let mut header = Self::default();
        while header.end < data.len() {
            if data[header.end..].starts_with(b"\r\n") {
                header.has_empty_line = true;
                break;
            }
            let Some(field) = Field::at(data, header.end) else { break };
            header.end = field.end;
            header.fields.push(field);
            if header.end > limit {
                return None;
            }
        }
        Some(header)
    }

    /// Whether a field begins at `start`.
    pub(super) fn begins(data: &[u8], start: usize) -> bool {
        Field::at(data, start).is_some()
    }

    /// Where the last field ends.
    pub(super) fn fields_end(&self) -> usize {
        self.fields.last().map_or(0, |field| field.end)
    }
}

impl Field {
    /// The field that begins at `start`, if one does.
    fn at(data: &[u8], start: usize) -> Option<Self> {
        let first = line_end(data, start);
        let colon = start + memchr(b':', &data[start..first])?;
        // RFC 5322 §3.6.8: printable ASCII; §4.5 allowed blanks before the colon.
        let name = data[start..colon].trim_ascii_end();
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut end = first;
        while matches!(data.get(end), Some(b' ' | b'\t')) {
            end = line_end(data, end);
        }
        Some(Self { start, end, colon })
    }

    /// The name.
    pub(super) fn name<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        data[self.start..self.colon].trim_ascii_end()
    }

    /// True if the name is this one, whatever its case.
    pub(super) fn is(&self, data: &[u8], name: &str) -> bool {
        self.name(data).eq_ignore_ascii_case(name.as_bytes())
    }

    /// The rest of the name after `prefix`, if it begins with that, whatever its case.
    pub(super) fn name_behind<'a>(&self, data: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
        let (start, rest) = self.name(data).split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix.as_bytes()).then_some(rest)
    }

    /// The blanks between the name and the colon, if there are any.
    pub(super) fn blanks_before_the_colon(&self, data: &[u8]) -> Option<Range<usize>> {
        let end = self.start + self.name(data).len();
        (end < self.colon).then_some(end..self.colon)
    }

    /// The bytes behind the colon, with folds and CRLF.
    pub(super) fn value<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        &data[self.colon + 1..self.end]
    }

    /// True if there is nothing to read behind the colon.
    pub(super) fn is_blank(&self, data: &[u8]) -> bool {
        self.value(data).trim_ascii().is_empty()
    }

    /// The value unfolded (RFC 5322 §2.2.3), without blanks around it; bytes that are not UTF-8 replaced.
    pub(super) fn text(&self, data: &[u8]) -> String {
        String::from_utf8_lossy(self.value(data).trim_ascii()).replace("\r\n", "")
    }
}

/// Where the line ends that begins at `start` or before: behind its CRLF, or where the message breaks off.
fn line_end(data: &[u8], start: usize) -> usize {
    let line_feeds = memchr_iter(b'\n', &data[start..]);
    line_feeds.map(|at| start + at).find(|at| *at > start && data[at - 1] == b'\r').map_or(data.len(), |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(data: &[u8]) -> (Vec<String>, usize, bool) {
        let header = Header::scan(data, 1000).unwrap();
        let name = |f: &Field| String::from_utf8_lossy(&data[f.start..f.colon]).into_owned();
        (header.fields.iter().map(name).collect(), header.end, header.has_empty_line)
    }

    #[test]
    fn a_header_ends_at_the_empty_line_or_at_what_is_no_field() {
        assert_eq!(names(b"A: 1\r\nB : 2\r\n 3\r\n\r\nC: 4\r\n"), (vec!["A".into(), "B ".into()], 17, true));
        assert_eq!(names(b"A: 1\r\nno field\r\nC: 4\r\n"), (vec!["A".into()], 6, false));
        assert_eq!(names(b"Hello, world.\r\nB: 1\r\n"), (vec![], 0, false));
        assert_eq!(names(b" A: 1\r\n"), (vec![], 0, false));
        assert_eq!(names(b": 1\r\n"), (vec![], 0, false));
        assert_eq!(names(b"\r\nA: 1\r\n"), (vec![], 0, true));
        assert_eq!(names(b"A: 1"), (vec!["A".into()], 4, false));
        assert_eq!(names(b""), (vec![], 0, false));
    }

    #[test]
    fn a_header_past_the_limit_is_none_wherever_it_passes_it() {
        let data = format!("A: {}\r\nB: 2\r\n {}\r\n\r\nbody", "x".repeat(20), "y".repeat(20));
        let whole = data.len() - "\r\nbody".len();
        for limit in 0..whole {
            assert!(Header::scan(data.as_bytes(), limit).is_none(), "{limit}");
        }
        assert_eq!(Header::scan(data.as_bytes(), whole).unwrap().fields.len(), 2);
    }

    #[test]
    fn a_long_body_without_header_is_no_large_header() {
        assert_eq!(Header::scan(&[b'x'; 5000], 100).unwrap().end, 0);
    }

    proptest::proptest! {
        #[test]
        fn a_line_ends_behind_the_next_crlf(text in "[ab\r\n]{0,20}", start in 0..20_usize) {
            let start = start.min(text.len());
            let crlf = memchr::memmem::find(&text.as_bytes()[start..], b"\r\n");
            proptest::prop_assert_eq!(line_end(text.as_bytes(), start), crlf.map_or(text.len(), |at| start + at + 2));
        }
    }
}
