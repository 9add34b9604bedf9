//! Bodies that are encoded already, but not for SMTP: base64 in one long line, quoted-printable with long lines or bytes above 127. They say the
//! same afterwards.

/// The longest line of an encoded body (RFC 2045 §6.7 rule 5, §6.8).
const ENCODED_LINE: usize = 76;

/// Writes base64 in lines of the usual length. What is not of its alphabet is no part of it (RFC 2045 §6.8).
pub(super) fn base64(body: &[u8], out: &mut Vec<u8>) {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let digits: Vec<u8> = body.iter().copied().filter(is_digit).collect();
    for line in digits.chunks(ENCODED_LINE) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes quoted-printable with soft line breaks in its long lines, and with bytes above 127 as `=XX`. Other lines stay as they are.
pub(super) fn quoted_printable(body: &[u8], out: &mut Vec<u8>) {
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").map_or(line, |text| text.strip_suffix(b"\r").unwrap_or(text));
        if text.is_ascii() && text.len() <= ENCODED_LINE {
            out.extend_from_slice(line);
            continue;
        }
        let (mut rest, mut column) = (text, 0);
        while let Some(first) = rest.first() {
            let is_pair = *first == b'=' && rest.len() >= 3 && rest[1..3].iter().all(u8::is_ascii_hexdigit);
            let (taken, token) = match first {
                _ if is_pair => (3, rest[..3].to_vec()),
                byte if byte.is_ascii() => (1, vec![*byte]),
                byte => (1, format!("={byte:02X}").into_bytes()),
            };
            rest = &rest[taken..];
            // Room for the soft break, which the last word of the line does not need.
            if column + token.len() > ENCODED_LINE - usize::from(!rest.is_empty()) {
                out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            column += token.len();
            out.extend_from_slice(&token);
        }
        out.extend_from_slice(&line[text.len()..]);
    }
}

/// Writes what stands around the parts of a multipart body, which nobody is shown (RFC 2046 §5.1.1): in short lines, without bytes above 127.
pub(super) fn around(text: &[u8], out: &mut Vec<u8>) {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let words = line.strip_suffix(b"\n").map_or(line, |text| text.strip_suffix(b"\r").unwrap_or(text));
        let short: Vec<Vec<u8>> = words
            .chunks(super::LINE_MAX)
            .map(|piece| piece.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }).collect())
            .collect();
        out.extend_from_slice(&short.join(&b"\r\n"[..]));
        out.extend_from_slice(&line[words.len()..]);
    }
}

#[cfg(test)]
mod tests {
    use mail_parser::decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode};
    use proptest::prelude::*;

    use super::*;

    fn by(write: fn(&[u8], &mut Vec<u8>), body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(body, &mut out);
        out
    }

    #[test]
    fn soft_breaks_and_codes_say_the_same() {
        let long = "a=3D".repeat(500);
        let out = by(quoted_printable, format!("short =\r\n{long}\r\nend").as_bytes());
        assert!(out.starts_with(b"short =\r\na=3D") && out.ends_with(b"\r\nend"));
        assert!(out.split(|byte| *byte == b'\n').all(|line| line.len() <= ENCODED_LINE + 1));
        assert_eq!(quoted_printable_decode(&out).unwrap(), format!("short {}\r\nend", "a=".repeat(500)).into_bytes());
        assert_eq!(by(quoted_printable, "Gr\u{fc}\u{df}e\r\n".as_bytes()), b"Gr=C3=BC=C3=9Fe\r\n");
    }

    #[test]
    fn what_nobody_is_shown_is_cut_and_loses_its_letters_alone() {
        assert_eq!(by(around, "f\u{fc}r\r\nx\r\n".as_bytes()), b"f??r\r\nx\r\n");
        let long = by(around, &[b'x'; 2500]);
        assert_eq!(long.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end().len()).collect::<Vec<_>>(), [998, 998, 504]);
    }

    proptest! {
        #[test]
        fn base64_is_the_same_in_short_lines(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut encoded = Vec::new();
            mail_builder::encoders::Base64Encoder::new().encode_into(&bytes, &mut encoded);
            let out = by(base64, &encoded);
            prop_assert!(out.split(|byte| *byte == b'\n').all(|line| line.len() <= ENCODED_LINE + 1));
            prop_assert_eq!(base64_decode(&out).unwrap_or_default(), bytes);
        }
    }
}
