//! Finds the end of a command line: CRLF and nothing else (RFC 5321 §2.3.8), unless line ends are fixed.

use bytes::{Buf, BytesMut};

/// How many bytes of an overlong line are discarded before the connection is closed.
const DISCARD_MAX: usize = 64 << 10;

/// The longest line of a SASL exchange including CRLF, the AUTH command itself too (RFC 4954 §4).
pub(super) const AUTH_LINE_MAX: usize = 12_288;

/// What the input begins with. Depends only on the bytes, not on how they arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line whose end has not arrived yet.
    Partial,
    /// A line.
    Whole {
        /// Its bytes.
        length: usize,
        /// The same with its end.
        whole: usize,
    },
    /// More bytes than the limit without a line end.
    TooLong,
    /// An LF that no CR precedes.
    BareLf,
    /// A CR that no LF follows.
    BareCr,
}

/// Looks for the first line; `limit` includes its CRLF. `fixes`: an LF alone, or behind several CRs, ends it too.
pub(super) fn look(input: &[u8], limit: usize, fixes: bool) -> Line {
    let room = limit.saturating_sub(2);
    let window = &input[..input.len().min(room + 1)];
    match memchr::memchr2(b'\r', b'\n', window) {
        None if input.len() > room => Line::TooLong,
        None => Line::Partial,
        Some(at) => end_at(input, at, fixes),
    }
}

/// An overlong line that is being discarded.
#[derive(Debug, Default)]
pub(super) struct Discard {
    dropped: usize,
}

impl Discard {
    /// Discards what it can: `Whole` once the line end is discarded too, `TooLong` if the line exceeds [`DISCARD_MAX`].
    pub(super) fn drop_from(&mut self, input: &mut BytesMut, fixes: bool) -> Line {
        let found = memchr::memchr2(b'\r', b'\n', input);
        let content = found.unwrap_or(input.len());
        if self.dropped + content > DISCARD_MAX {
            return Line::TooLong;
        }
        let line = found.map_or(Line::Partial, |at| end_at(input, at, fixes));
        self.dropped += content;
        input.advance(match line {
            Line::Whole { whole, .. } => whole,
            _ => content,
        });
        line
    }
}

/// What the CR or LF at `at`, the first in the input, means.
fn end_at(input: &[u8], at: usize, fixes: bool) -> Line {
    let ends = |whole| Line::Whole { length: at, whole };
    match (input[at], input.get(at + 1)) {
        (b'\n', _) if fixes => ends(at + 1),
        (b'\n', _) => Line::BareLf,
        (_, None) => Line::Partial,
        (_, Some(b'\n')) => ends(at + 2),
        // Windows libraries that translate line ends make CR CR LF of CRLF.
        (_, Some(b'\r')) if fixes => match input.get(at + 2) {
            None => Line::Partial,
            Some(b'\n') => ends(at + 3),
            Some(_) => Line::BareCr,
        },
        (_, Some(_)) => Line::BareCr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crlf_ends_a_line() {
        for (input, line) in [
            (&b"NOOP"[..], Line::Partial),
            (b"NOOP\r", Line::Partial),
            (b"NOOP\r\nQUIT\r\n", Line::Whole { length: 4, whole: 6 }),
            (b"\r\n", Line::Whole { length: 0, whole: 2 }),
            (b"NOOP\n", Line::BareLf),
            (b"NOOP\rX\r\n", Line::BareCr),
            (b"NOOP\r\r\n", Line::BareCr),
            (b"", Line::Partial),
        ] {
            assert_eq!(look(input, 64, false), line, "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn an_lf_ends_a_line_too_where_line_ends_are_fixed_and_a_cr_does_not() {
        for (input, line) in [
            (&b"NOOP\r\nQUIT\n"[..], Line::Whole { length: 4, whole: 6 }),
            (b"NOOP\nQUIT\n", Line::Whole { length: 4, whole: 5 }),
            (b"NOOP\r\r\n", Line::Whole { length: 4, whole: 7 }),
            (b"\n", Line::Whole { length: 0, whole: 1 }),
            (b"NOOP", Line::Partial),
            (b"NOOP\r", Line::Partial),
            (b"NOOP\r\r", Line::Partial),
            (b"NOOP\rX\n", Line::BareCr),
            (b"NOOP\r\rX\n", Line::BareCr),
        ] {
            assert_eq!(look(input, 64, true), line, "{:?}", String::from_utf8_lossy(input));
        }
        let mut input = BytesMut::from(&b"xxxx\nNOOP\r\n"[..]);
        assert_eq!(Discard::default().drop_from(&mut input, true), Line::Whole { length: 4, whole: 5 });
        assert_eq!(&input[..], b"NOOP\r\n");
    }

    #[test]
    fn the_limit_counts_the_crlf() {
        assert_eq!(look(b"12345678\r\n", 10, false), Line::Whole { length: 8, whole: 10 });
        assert_eq!(look(b"123456789\r\n", 10, false), Line::TooLong);
        assert_eq!(look(b"12345678", 10, false), Line::Partial);
        assert_eq!(look(b"123456789", 10, false), Line::TooLong);
    }

    #[test]
    fn a_long_line_is_dropped_to_its_end_and_an_endless_one_is_given_up() {
        let mut input = BytesMut::from(&b"xxxx\r\nNOOP\r\n"[..]);
        assert_eq!(Discard::default().drop_from(&mut input, false), Line::Whole { length: 4, whole: 6 });
        assert_eq!(&input[..], b"NOOP\r\n");

        let mut discard = Discard::default();
        let drops = (0..100).take_while(|_| discard.drop_from(&mut BytesMut::from(&[b'x'; 1024][..]), false) == Line::Partial).count();
        assert_eq!(drops, 64);
    }
}
