//! The body as it goes over the wire (RFC 5321 §4.5.2): leading dots doubled, ended by a line that is one dot. No I/O.

use bytes::Bytes;
use memchr::{memchr2, memmem};

/// A body that has been checked: every line ends in CRLF, except perhaps the last.
pub(crate) struct CheckedBody<'a> {
    parts: &'a [Bytes],
    /// Whether a line begins with a dot.
    has_dots: bool,
    /// Whether it ends in CRLF or is empty, so that the final dot can follow without another CRLF.
    ends_a_line: bool,
}

/// The body holds a bare CR or LF; the number is its byte offset.
///
/// Two receivers could read such a body in two ways (RFC 5321 §2.3.8, §4.1.1.4; "SMTP smuggling"), so it is never sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body has a bare CR or LF at byte {0}")]
pub(crate) struct BareLineEnd(pub(crate) usize);

impl<'a> CheckedBody<'a> {
    /// Checks a body given in one or more parts.
    pub(crate) fn new(parts: &'a [Bytes]) -> Result<Self, BareLineEnd> {
        let mut body = Self { parts, has_dots: false, ends_a_line: true };
        let mut last = b'\n';
        let mut at = 0;
        for part in parts.iter().filter(|p| !p.is_empty()) {
            if last == b'\r' && part[0] != b'\n' {
                return Err(BareLineEnd(at - 1));
            }
            body.has_dots |= survey(part, last).map_err(|within| BareLineEnd(at + within))?;
            at += part.len();
            last = part[part.len() - 1];
            body.ends_a_line = last == b'\n';
        }
        if last == b'\r' { Err(BareLineEnd(at - 1)) } else { Ok(body) }
    }

    /// The pieces to write, including the line with the final dot. Long pieces borrow the body and are not copied.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let end: &'static [u8] = if self.ends_a_line { b".\r\n" } else { b"\r\n.\r\n" };
        let (parts, plain) = (self.parts, !self.has_dots);
        Stuffed { parts: parts.iter(), rest: &[], plain, line_start: true, tail: [b'\r', b'\n'] }.chain(std::iter::once(end))
    }
}

/// Whether a line that begins in a part has a leading dot; the part follows the byte `last`. Err is the offset of the first bare CR or LF.
fn survey(part: &[u8], last: u8) -> Result<bool, usize> {
    // The part may begin within a line end.
    let mut at = usize::from(last == b'\r' && part[0] == b'\n');
    let mut has_dots = (at == 1 || last == b'\n') && part.get(at) == Some(&b'.');
    while let Some(next) = memchr2(b'\r', b'\n', &part[at..]) {
        at += next;
        match part[at..] {
            [b'\r', b'\n', ..] => at += 2,
            // It may end within one.
            [b'\r'] => break,
            _ => return Err(at),
        }
        has_dots |= part.get(at) == Some(&b'.');
    }
    Ok(has_dots)
}

/// Splits the body before each leading dot and inserts another dot.
struct Stuffed<'a> {
    parts: std::slice::Iter<'a, Bytes>,
    rest: &'a [u8],
    plain: bool,
    line_start: bool,
    /// The last two bytes returned.
    tail: [u8; 2],
}

impl<'a> Iterator for Stuffed<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while self.rest.is_empty() {
            self.rest = self.parts.next()?;
        }
        if self.plain {
            return Some(std::mem::take(&mut self.rest));
        }
        if self.line_start && self.rest[0] == b'.' {
            self.line_start = false;
            return Some(b".");
        }
        self.line_start = false;
        let cut = self.next_cut();
        let (piece, rest) = self.rest.split_at(cut);
        self.rest = rest;
        self.tail = match piece {
            [.., a, b] => [*a, *b],
            [b] => [self.tail[1], *b],
            [] => self.tail,
        };
        self.line_start = self.tail == *b"\r\n";
        Some(piece)
    }
}

impl Stuffed<'_> {
    /// How much of `rest` comes before the next leading dot in it, or all of it.
    fn next_cut(&self) -> usize {
        // The line end spans two parts: `tail` holds its CR.
        if self.tail[1] == b'\r' && self.rest.starts_with(b"\n.") {
            return 1;
        }
        memmem::find(self.rest, b"\r\n.").map_or(self.rest.len(), |at| at + 2)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(parts: &[Bytes]) -> Result<Vec<u8>, BareLineEnd> {
        Ok(CheckedBody::new(parts)?.pieces().flatten().copied().collect())
    }

    fn one(body: &'static [u8]) -> Result<Vec<u8>, BareLineEnd> {
        wire(&[Bytes::from_static(body)])
    }

    /// RFC 5321 §4.5.2, from the receiver's side: lines up to the lone dot, with one leading dot removed.
    fn read_back(wire: &[u8]) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        let mut rest = wire;
        loop {
            let end = rest.windows(2).position(|w| w == b"\r\n")? + 2;
            let (line, after) = rest.split_at(end);
            match line {
                b".\r\n" => return after.is_empty().then_some(body),
                [b'.', line @ ..] => body.extend_from_slice(line),
                line => body.extend_from_slice(line),
            }
            rest = after;
        }
    }

    #[test]
    fn leading_dots_are_doubled_at_the_very_start_too() {
        assert_eq!(one(b".\r\nMAIL FROM:<x@y.z>\r\n").unwrap(), b"..\r\nMAIL FROM:<x@y.z>\r\n.\r\n");
        assert_eq!(one(b"a.\r\n..b\r\n.\r\n").unwrap(), b"a.\r\n...b\r\n..\r\n.\r\n");
        assert_eq!(one(b".").unwrap(), b"..\r\n.\r\n");
        assert_eq!(one(b"").unwrap(), b".\r\n");
        assert_eq!(one(b"\r\n").unwrap(), b"\r\n.\r\n");
    }

    #[test]
    fn a_missing_last_line_end_is_added() {
        assert_eq!(one(b"a").unwrap(), b"a\r\n.\r\n");
        assert_eq!(one(b"a\r\n").unwrap(), b"a\r\n.\r\n");
    }

    #[test]
    fn a_bare_line_end_is_found_where_it_is() {
        for (bad, at) in [
            (&b"\n"[..], 0),
            (b"a\n.\r\n", 1),
            (b"a\r.\r\n", 1),
            (b"a\r\r\n", 1),
            (b"a\r\n\n", 3),
            (b"a\r", 1),
            (b"\r", 0),
            (b"\ra\r\n", 0),
            (b"a\r\nb\rc\r\n", 4),
        ] {
            let whole = [Bytes::copy_from_slice(bad)];
            assert_eq!(wire(&whole), Err(BareLineEnd(at)), "{bad:?}");
            let bytes: Vec<_> = bad.iter().map(|b| Bytes::copy_from_slice(&[*b])).collect();
            assert_eq!(wire(&bytes), Err(BareLineEnd(at)), "{bad:?}, byte by byte");
        }
    }

    #[test]
    fn a_body_without_leading_dots_is_not_cut() {
        let parts = [Bytes::from_static(b"a: b\r\n"), Bytes::from_static(b"\r\nc.d\r\n")];
        assert_eq!(CheckedBody::new(&parts).unwrap().pieces().count(), 3);
    }

    proptest! {
        #[test]
        fn a_receiver_reads_back_what_was_given(
            body in "([.ab]{0,3}\r\n){0,6}[.ab]{0,2}",
            cuts in prop::collection::vec(0_usize..6, 0..12),
        ) {
            let mut rest = Bytes::from(body.clone());
            let mut parts: Vec<_> = cuts.iter().map(|cut| { let n = rest.len().min(*cut); rest.split_to(n) }).collect();
            parts.push(rest);
            let mut expected = body.into_bytes();
            if !expected.is_empty() && !expected.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(read_back(&wire(&parts).unwrap()), Some(expected));
        }

        #[test]
        fn bare_line_ends_are_refused_and_nothing_else(body in "[.a\r\n]{0,14}", cut in 0_usize..14) {
            let stripped = body.replace("\r\n", "");
            let mut rest = Bytes::from(body);
            let first = rest.split_to(rest.len().min(cut));
            prop_assert_eq!(wire(&[first, rest]).is_err(), stripped.contains(['\r', '\n']));
        }
    }
}
