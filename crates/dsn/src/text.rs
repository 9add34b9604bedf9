//! Safe text for notices: folded fields, quoted-printable parts, excerpts of headers.

use std::fmt;

/// How much of one reply is quoted, in characters; receivers may send replies of any length.
pub(super) const QUOTED_MAX: usize = 4000;
/// The longest line of a field or of quoted words, in characters; RFC 5322 §2.1.1 allows 998 bytes.
const LINE_MAX: usize = 200;
/// The longest line that goes out as it is (RFC 5322 §2.1.1).
const RAW_LINE_MAX: usize = 998;
/// The longest line of quoted-printable (RFC 2045 §6.7), with room for the soft break's '='.
const ENCODED_LINE_MAX: usize = 76;

/// Another host's text as lines for people: without control characters, and with limits on each line and on the whole.
pub(super) fn lines(said: &str) -> Vec<String> {
    let cut: String = said.chars().take(QUOTED_MAX).collect();
    let more = if cut.len() < said.len() { "\n[cut here]" } else { "" };
    let cut = cut + more;
    cut.lines().map(|line| printable(line.trim())).filter(|line| !line.is_empty()).flat_map(|line| chop(&line)).collect()
}

/// The same as the value of a field: ASCII, a fold before each further line, and none of them blank (RFC 5322 §3.2.2).
pub(super) fn folded(said: &str) -> String {
    lines(said).iter().map(|line| ascii(line)).collect::<Vec<_>>().join("\r\n ")
}

/// Another host's text on one line, in ASCII.
pub(super) fn ascii_line(said: &str) -> String {
    ascii(&printable(said.trim())).chars().take(LINE_MAX).collect()
}

/// True for `<…>` that may be put into a field as it is.
pub(super) fn is_message_id(id: &str) -> bool {
    let inner = id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or("");
    !inner.is_empty() && id.len() <= RAW_LINE_MAX - 20 && inner.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>')
}

/// The first `max` bytes of a header, cut at the end of a line.
pub(super) fn header_excerpt(header: &[u8], max: usize) -> Vec<u8> {
    if header.len() <= max {
        return header.to_vec();
    }
    let end = memchr::memmem::rfind(&header[..max], b"\r\n").map_or(0, |at| at + 2);
    [&header[..end], b"X-Posthaste-Note: the rest of the header is left out\r\n"].concat()
}

fn printable(line: &str) -> String {
    line.chars().map(|c| if c == '\t' { ' ' } else { c }).map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn ascii(line: &str) -> String {
    line.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

fn chop(line: &str) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    let pieces = characters.chunks(LINE_MAX).map(|piece| piece.iter().collect::<String>().trim().to_owned());
    pieces.filter(|piece| !piece.is_empty()).collect()
}

/// A MIME part with its own header; quoted-printable only if necessary.
pub(super) struct MimePart {
    kind: &'static str,
    encoding: &'static str,
    body: String,
}

impl MimePart {
    pub(super) fn new(kind: &'static str, body: Vec<u8>) -> Self {
        let (encoding, body) = match String::from_utf8(body) {
            Ok(text) if fits_as_it_is(&text) => ("7bit", text),
            Ok(text) => ("quoted-printable", quoted_printable(text.as_bytes())),
            Err(error) => ("quoted-printable", quoted_printable(error.as_bytes())),
        };
        Self { kind, encoding, body }
    }
}

impl fmt::Display for MimePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content-Type: {}\r\nContent-Transfer-Encoding: {}\r\n\r\n{}", self.kind, self.encoding, self.body)
    }
}

/// RFC 2045 §2.7: ASCII without NUL, in lines of CRLF that are not too long.
fn fits_as_it_is(text: &str) -> bool {
    let line = |line: &str| line.len() <= RAW_LINE_MAX && !line.contains(['\r', '\n', '\0']);
    text.is_ascii() && text.split("\r\n").all(line)
}

/// RFC 2045 §6.7. CRLFs stay; every other byte that is not printable ASCII is encoded.
fn quoted_printable(body: &[u8]) -> String {
    let mut out = String::with_capacity(body.len() * 2);
    let mut rest = body;
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\r\n").unwrap_or(rest.len());
        encode_line(&rest[..end], &mut out);
        if end < rest.len() {
            out += "\r\n";
        }
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    out
}

fn encode_line(line: &[u8], out: &mut String) {
    let mut column = 0;
    for (at, &byte) in line.iter().enumerate() {
        let last = at + 1 == line.len();
        let plain = byte.is_ascii_graphic() && byte != b'=' || byte == b' ' && !last;
        let width = if plain { 1 } else { 3 };
        // The line's last character needs no room for a soft break's '='.
        if column + width + usize::from(!last) > ENCODED_LINE_MAX {
            *out += "=\r\n";
            column = 0;
        }
        if plain {
            out.push(char::from(byte));
        } else {
            *out += &format!("={byte:02X}");
        }
        column += width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_cannot_end_a_field() {
        assert_eq!(folded("550 no\r\n\r\nAction: delivered\r\n \t\r\nend"), "550 no\r\n Action: delivered\r\n end");
        assert_eq!(folded("a\rb\0c\u{85}é"), "a?b?c??");
        assert_eq!(ascii_line("host\r\nX: y"), "host??X: y");
    }

    #[test]
    fn what_others_say_has_an_end() {
        let quoted = lines(&"é".repeat(QUOTED_MAX * 2));
        assert!(quoted.iter().all(|line| line.chars().count() <= LINE_MAX));
        assert_eq!(quoted.last().unwrap(), "[cut here]");
        assert_eq!(quoted.concat().chars().count(), QUOTED_MAX + "[cut here]".len());
    }

    #[test]
    fn a_part_is_encoded_only_where_it_must_be() {
        let part = |body: &[u8]| MimePart::new("text/plain", body.to_vec()).to_string();
        assert!(part(b"Hello.\r\n").ends_with("7bit\r\n\r\nHello.\r\n"));
        assert!(part(b"1 = 1, f\xc3\xbcr\r\nblank \r\n").ends_with("quoted-printable\r\n\r\n1 =3D 1, f=C3=BCr\r\nblank=20\r\n"));
        assert!(part(b"a\nb\r\n").ends_with("quoted-printable\r\n\r\na=0Ab\r\n"));
        let long = part("x".repeat(2000).as_bytes());
        assert!(long.contains("quoted-printable") && long.lines().all(|line| line.len() <= 76));
        assert_eq!(long.replace("=\r\n", "").lines().last().unwrap(), "x".repeat(2000));
    }

    #[test]
    fn a_long_header_is_cut_at_a_line() {
        let header = b"A: 1\r\nB: 2\r\n";
        assert_eq!(header_excerpt(header, 12), header);
        assert_eq!(header_excerpt(header, 11), b"A: 1\r\nX-Posthaste-Note: the rest of the header is left out\r\n");
    }

    #[test]
    fn only_what_looks_like_a_message_id_is_referred_to() {
        assert!(is_message_id("<a@b>"));
        for not in ["", "<>", "a@b", "<a b>", "<a@b>\r\nX: y", "<a><b>", "<é@b>"] {
            assert!(!is_message_id(not), "{not:?}");
        }
    }
}
