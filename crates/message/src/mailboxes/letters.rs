//! Characters that mean something in a field with addresses, and those that only look so.

use posthaste_mail::Foreign;

/// An '@', or what some programs take for one (Unicode's compatibility forms).
pub(super) fn is_at(c: char) -> bool {
    matches!(c, '@' | '\u{ff20}' | '\u{fe6b}')
}

/// An angle bracket, or what looks like one.
pub(super) fn is_angle(c: char) -> bool {
    matches!(
        c,
        '<' | '>'
            | '\u{2039}'
            | '\u{203a}'
            | '\u{ff1c}'
            | '\u{ff1e}'
            | '\u{2329}'
            | '\u{232a}'
            | '\u{3008}'
            | '\u{3009}'
            | '\u{27e8}'
            | '\u{27e9}'
    )
}

/// Full stops that become a dot in a domain name (RFC 3490 §3.1).
pub(super) const DOTS: [char; 3] = ['\u{3002}', '\u{ff0e}', '\u{ff61}'];
/// Characters that look like a dot, beside those.
const LIKE_DOTS: [char; 15] = [
    '\u{b7}', '\u{387}', '\u{6d4}', '\u{660}', '\u{66b}', '\u{6f0}', '\u{701}', '\u{702}', '\u{16eb}', '\u{2022}', '\u{2024}', '\u{2027}',
    '\u{2219}', '\u{22c5}', '\u{a4f8}',
];
/// Characters that look like an '@', beside its compatibility forms.
const LIKE_ATS: [char; 2] = ['\u{24b6}', '\u{24d0}'];
/// Characters of no width beside those of [`Foreign::is_obeyed`].
pub(super) const HIDDEN: [char; 6] = ['\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{fffd}'];

/// Whether readers show nothing for a character, or a mark in the place of bytes that they cannot read.
pub(super) fn is_unseen(c: char) -> bool {
    HIDDEN.contains(&c) || (Foreign::is_obeyed(c) && !c.is_control())
}

/// The character that people take it for, of those that make an address.
pub(super) fn letter(c: char) -> char {
    if is_at(c) || LIKE_ATS.contains(&c) {
        '@'
    } else if DOTS.contains(&c) || LIKE_DOTS.contains(&c) {
        '.'
    } else {
        c
    }
}

/// The value as the reader wants it, with a line end.
pub(super) fn ended(value: &[u8]) -> Vec<u8> {
    let mut line = value.trim_ascii_end().to_vec();
    line.extend_from_slice(b"\r\n");
    line
}
