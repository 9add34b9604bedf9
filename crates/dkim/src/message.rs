//! A message as the signer sees it: its header fields and its body, whole or without the end that relaxed canonicalization drops.

use memchr::memmem;

/// A header field: its name as written before the colon, and its value with folds and CRLF.
pub(crate) type HeaderField<'a> = (&'a [u8], &'a [u8]);

/// A message, split at the empty line that ends its header.
pub(crate) struct MessageParts<'a> {
    /// The header: each field with its CRLF, without the empty line.
    pub(crate) header: Vec<u8>,
    /// The body, in pieces.
    pub(crate) body: Vec<&'a [u8]>,
}

impl<'a> MessageParts<'a> {
    /// Splits a message whose parts, joined, are `parts`. Without an empty line, all of it is header.
    pub(crate) fn new(parts: &[&'a [u8]]) -> Self {
        let mut header = Vec::with_capacity(parts.first().map_or(0, |part| part.len()));
        let mut parts = parts.iter();
        let mut body = Vec::new();
        while let Some(part) = parts.next() {
            if let Some(end) = header_end(&header, part) {
                header.extend_from_slice(&part[..end]);
                header.truncate(header.len() - 2);
                body.push(&part[end..]);
                body.extend(parts.by_ref());
            } else {
                header.extend_from_slice(part);
            }
        }
        Self { header, body }
    }

    /// The body up to its last byte that is neither a blank nor part of a line end; empty if there is none.
    ///
    /// RFC 6376 §3.4.4 drops blanks at line ends and empty lines at the end of the body; mail-auth 0.13 does not treat a line of only
    /// blanks as empty. Cutting the body here avoids the problem without copying.
    pub(crate) fn relaxed_body(&self) -> Vec<&'a [u8]> {
        let mut body = self.body.clone();
        trim_end(&mut body);
        body
    }

    /// The fields of the header, in order. Lines that are not fields are left out.
    pub(crate) fn fields(&self) -> Vec<HeaderField<'_>> {
        let mut fields = Vec::with_capacity(24);
        let mut rest = &self.header[..];
        while !rest.is_empty() {
            let (field, after) = rest.split_at(field_end(rest));
            if let Some(colon) = memchr::memchr(b':', field) {
                fields.push((&field[..colon], &field[colon + 1..]));
            }
            rest = after;
        }
        fields
    }
}

/// Where the header ends in `part`, after the empty line, if it ends in this part. `before` is the header so far.
fn header_end(before: &[u8], part: &[u8]) -> Option<usize> {
    // The four bytes of CRLF CRLF may be split between two parts.
    let tail = &before[before.len().saturating_sub(3)..];
    let seam = [tail, &part[..part.len().min(3)]].concat();
    // A message that begins with an empty line has no header.
    let at_start = before.is_empty() && part.starts_with(b"\r\n");
    let in_seam = || memmem::find(&seam, b"\r\n\r\n").map(|at| at + 4 - tail.len());
    if at_start { Some(2) } else { in_seam().or_else(|| memmem::find(part, b"\r\n\r\n").map(|at| at + 4)) }
}

/// The length of the first field with its continuation lines (RFC 5322 §2.2.3).
fn field_end(header: &[u8]) -> usize {
    memmem::find_iter(header, b"\r\n").map(|at| at + 2).find(|&end| !matches!(header.get(end), Some(b' ' | b'\t'))).unwrap_or(header.len())
}

fn trim_end(body: &mut Vec<&[u8]>) {
    while let Some(last) = body.pop() {
        let kept = last.iter().rposition(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n')).map_or(0, |at| at + 1);
        if kept > 0 {
            body.push(&last[..kept]);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cut_is_found_wherever_the_parts_meet() {
        let text = b"A: 1\r\nB: 2\r\n 3\r\n\r\nbody\r\n\r\n";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let parts = [&text[..first], &text[first..second], &text[second..]];
                let message = MessageParts::new(&parts);
                assert_eq!(message.header, b"A: 1\r\nB: 2\r\n 3\r\n", "{first} {second}");
                assert_eq!(message.body.concat(), b"body\r\n\r\n", "{first} {second}");
                assert_eq!(message.relaxed_body().concat(), b"body", "{first} {second}");
            }
        }
    }

    #[test]
    fn a_message_without_header_or_body_is_cut_too() {
        assert_eq!(MessageParts::new(&[b"\r\nbody"]).body.concat(), b"body");
        assert!(MessageParts::new(&[b"\r\nbody"]).header.is_empty());
        assert_eq!(MessageParts::new(&[b"A: 1\r\n"]).header, b"A: 1\r\n");
        assert!(MessageParts::new(&[b"A: 1\r\n\r\n", b" \r\n", b"\t"]).relaxed_body().is_empty());
    }

    #[test]
    fn a_field_keeps_its_folds() {
        let message = MessageParts::new(&[b"A: 1\r\nB : 2\r\n\t3\r\nnonsense\r\nC:\r\n\r\n"]);
        let fields: [(&[u8], &[u8]); 3] = [(b"A", b" 1\r\n"), (b"B ", b" 2\r\n\t3\r\n"), (b"C", b"\r\n")];
        assert_eq!(message.fields(), fields);
    }
}
