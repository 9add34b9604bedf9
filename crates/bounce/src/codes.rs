//! Status codes in running text: `(#5.1.1)`, `550-5.7.1`, but not a part of an IP address or of a version number.

use posthaste_mail::EnhancedCode;

/// The first enhanced status code anywhere in `text` (of the form of RFC 3463, class 4 or 5).
pub(crate) fn enhanced_in(text: &str) -> Option<EnhancedCode> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|b| matches!(b, b'4' | b'5')).map(|i| i + at) {
        let fresh = found == 0 || !(bytes[found - 1].is_ascii_alphanumeric() || matches!(bytes[found - 1], b'.' | b'_'));
        if fresh && let Some(code) = enhanced_at(&text[found..]) {
            return Some(code);
        }
        at = found + 1;
    }
    None
}

/// A code at the very start of `text` that is not part of a longer number or word.
fn enhanced_at(text: &str) -> Option<EnhancedCode> {
    let end = text.bytes().position(|b| !(b.is_ascii_digit() || b == b'.')).unwrap_or(text.len());
    if text.as_bytes().get(end).is_some_and(u8::is_ascii_alphabetic) {
        return None;
    }
    let code: EnhancedCode = text[..end].trim_end_matches('.').parse().ok()?;
    (code.class != 2 && code.subject <= 7).then_some(code)
}

/// The basic code (400 to 599, or 0 if there is none) and the enhanced code of a quoted reply, anywhere in the text.
pub fn codes_in(text: &str) -> (u16, Option<EnhancedCode>) {
    let basic = basic_at(text).and_then(|at| text.get(at..at + 3)?.parse().ok());
    (basic.unwrap_or(0), enhanced_in(text))
}

/// The place of the first number 4xx or 5xx that is delimited like a reply code: followed by a blank, a hyphen, punctuation or the end.
pub(crate) fn basic_at(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let opens =
        |i: usize| i == 0 || matches!(bytes[i - 1], b' ' | b'\n' | b'\t' | b':' | b'(' | b'[' | b'"' | b'\'' | b'<' | b';' | b'#' | b'=');
    let closes =
        |i: usize| matches!(bytes.get(i), None | Some(b' ' | b'\n' | b'\r' | b'-' | b':' | b',' | b')' | b']' | b'\'' | b'"' | b';'));
    (0..bytes.len().saturating_sub(2))
        .find(|&i| matches!(bytes[i], b'4' | b'5') && opens(i) && closes(i + 3) && is_reply_code(&bytes[i..i + 3]))
}

/// RFC 5321 §4.2: the second digit is 0 to 5 (7 occurs too: 571 of Exchange and Cisco).
fn is_reply_code(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_digit) && matches!(digits[1], b'0'..=b'5' | b'7')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_are_found_where_they_stand() {
        let found = |t: &str| enhanced_in(t).map(|c| c.to_string());
        assert_eq!(found("550 sorry, no mailbox here by that name (#5.1.1)").as_deref(), Some("5.1.1"));
        assert_eq!(found("550-5.7.1 blocked").as_deref(), Some("5.7.1"));
        assert_eq!(found("550 5.7.511 Access denied").as_deref(), Some("5.7.511"));
        assert_eq!(found("from 5.1.1.9 and 10.5.1.1"), None);
        assert_eq!(found("version 4.5.6beta"), None);
    }

    #[test]
    fn basic_codes_are_found_behind_what_hosts_write_before_them() {
        let basic = |t: &str| codes_in(t).0;
        assert_eq!(basic("host mx.example.org [192.0.2.5]: 550 no"), 550);
        assert_eq!(basic("did not like our RCPT TO:554 5.7.1 no"), 554);
        assert_eq!(basic("[452 4.2.2 full]"), 452);
        assert_eq!(basic("size 5000, port 465x, 499999"), 0);
    }
}
