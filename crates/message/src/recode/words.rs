//! Text as encoded words (RFC 2047).

use mail_builder::encoders::Base64Encoder;

/// Bytes of text in one encoded word: with its frame and charset it has 75 at most (RFC 2047 §2).
const WORD_MAX: usize = 36;
/// Text as encoded words, one a line.
pub(super) fn encoded_words(text: &[u8], charset: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 2);
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD_MAX);
        // No character is cut in two.
        while charset == "utf-8" && end > 1 && rest.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        let (piece, behind) = rest.split_at(end);
        if !out.is_empty() {
            out.extend_from_slice(b"\r\n ");
        }
        out.extend_from_slice(format!("=?{charset}?B?").as_bytes());
        Base64Encoder::new().encode_into(piece, &mut out);
        out.extend_from_slice(b"?=");
        rest = behind;
    }
    out
}

/// A text whose words from the first outside ASCII to the last are encoded.
pub(super) fn text(value: &[u8], charset: &str) -> Vec<u8> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(first) = value.iter().position(|byte| !byte.is_ascii()) else { return value.to_vec() };
    let last = value.iter().rposition(|byte| !byte.is_ascii()).unwrap_or(first);
    let start = value[..first].iter().rposition(is_blank).map_or(0, |at| at + 1);
    let end = value[last..].iter().position(is_blank).map_or(value.len(), |at| last + at);
    let (before, behind) = (&value[..start], &value[end..]);
    // Blanks between two encoded words are not shown (RFC 2047 §6.2), so they are part of one.
    let mut middle = Vec::new();
    if before.trim_ascii_end().ends_with(b"?=") {
        middle.push(b' ');
    }
    middle.extend_from_slice(&value[start..end]);
    if behind.trim_ascii_start().starts_with(b"=?") {
        middle.push(b' ');
    }
    [before, &encoded_words(&middle, charset), behind].concat()
}
