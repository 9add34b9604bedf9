//! What fits into SMTP without any extension.

use bytes::Bytes;
use memchr::memrchr;

/// The longest line of a message, in bytes without its CRLF (RFC 5321 §4.5.3.1.6).
pub const LINE_MAX: usize = 998;
const WITH_CRLF: usize = LINE_MAX + 2;

/// Whether the longest line of these parts of a message is longer than SMTP allows. A delivery asks this each time, so most of the text is
/// not looked at: of a window as long as a line may be, only the last line end counts, because what stands before it are shorter lines.
pub fn has_long_line(parts: &[Bytes]) -> bool {
    // Bytes of a line that began in an earlier part.
    let mut length = 0;
    for part in parts {
        let mut rest = &part[..];
        loop {
            let Some(room) = WITH_CRLF.checked_sub(length) else { return true };
            match memrchr(b'\n', &rest[..rest.len().min(room)]) {
                Some(at) => (length, rest) = (0, &rest[at + 1..]),
                None if rest.len() <= room => break,
                None => return true,
            }
        }
        length += rest.len();
    }
    length > LINE_MAX
}

/// Whether a text is in seven bits and in lines that SMTP has.
pub(super) fn is_plain(text: &[u8]) -> bool {
    text.is_ascii() && text.split(|byte| *byte == b'\n').all(|line| line.strip_suffix(b"\r").unwrap_or(line).len() <= LINE_MAX)
}
