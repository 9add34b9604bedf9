//! Mail as seven-bit text: bodies with bytes above 127, or with lines longer than SMTP allows, as quoted-printable or base64
//! (RFC 2045 §6), and header fields as encoded words. That is done before signing, because afterwards it would break the signatures.

mod addresses;
mod bodies;
mod fields;
mod hindrance;
mod plain;
mod words;

pub use hindrance::Hindrance;
pub use plain::{LINE_MAX, has_long_line};

use bytes::Bytes;
use mail_builder::encoders::{Base64Encoder, QuotedPrintableEncoder};
use memchr::memmem;

use self::plain::is_plain;
use crate::header::{Field, Header};

/// Parts within parts, at most.
const DEPTH_MAX: usize = 20;

/// The message with every part in seven bits and in lines of at most 998 bytes. None: it is so already, or it cannot be made so: see
/// [`hindrance`]. Header fields that have no such form stay: addresses outside ASCII (RFC 6531).
pub fn recode(data: &Bytes) -> Option<Bytes> {
    if is_plain(data) {
        return None;
    }
    let mut out = Vec::with_capacity(data.len() + data.len() / 8);
    entity(data, 0, Signatures::Count, &mut out).ok()?;
    (out[..] != data[..]).then(|| out.into())
}

/// Why [`recode`] left a message as it is, or a part of it. The message may have been signed since, by the relay: if nothing else hindered it, a
/// signature did that it came with.
pub fn hindrance(data: &[u8]) -> Hindrance {
    let mut out = Vec::with_capacity(data.len() + data.len() / 8);
    match entity(data, 0, Signatures::AreOurs, &mut out) {
        Err(why) => why,
        Ok(()) if is_plain(&out) => Hindrance::Signed,
        Ok(()) => Hindrance::Field,
    }
}

/// What the signatures in a header are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signatures {
    /// Others', which nothing may break.
    Count,
    /// The relay's, made afterwards.
    AreOurs,
}

/// Writes a part of a message, or all of it: its header, and its body as seven-bit text. Err: it cannot be done.
fn entity(data: &[u8], depth: usize, signatures: Signatures, out: &mut Vec<u8>) -> Result<(), Hindrance> {
    let header = Header::scan(data, data.len()).filter(|_| depth <= DEPTH_MAX).ok_or(Hindrance::Structure)?;
    let body = data[header.end..].strip_prefix(b"\r\n").unwrap_or(&data[header.end..]);
    let field = |name: &str| header.fields.iter().find(|field| field.is(data, name));
    let is_signed = field("DKIM-Signature").is_some() || field("ARC-Seal").is_some();
    if signatures == Signatures::Count && is_signed {
        return Err(Hindrance::Signed);
    }
    let kind = field("Content-Type").map_or_else(|| "text/plain".into(), |field| field.text(data));
    let main = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let encoding = Encoding::of(field("Content-Transfer-Encoding").map(|field| field.text(data)).as_deref());
    let charset = charset(&kind);
    if is_plain(body) {
        // What announces eight bits and has none says so.
        header.fields.iter().for_each(|field| fields::write(data, field, &charset, out));
        out.extend_from_slice(&data[header.end..]);
        return Ok(());
    }
    let mut head = |encoding: Option<&str>| head(data, &header, &charset, encoding, out);
    let seven_bit = Some("7bit").filter(|_| field("Content-Transfer-Encoding").is_some());
    match (&*main, encoding) {
        ("multipart/signed" | "multipart/encrypted", _) => return Err(Hindrance::SignedPart),
        (multipart, _) if multipart.starts_with("multipart/") => {
            head(seven_bit);
            return parts(body, &boundary(&kind).ok_or(Hindrance::NoBoundary)?, depth, out);
        }
        (_, Encoding::Base64) => {
            head(Some("base64"));
            bodies::base64(body, out);
        }
        (_, Encoding::QuotedPrintable) => {
            head(Some("quoted-printable"));
            bodies::quoted_printable(body, out);
        }
        (_, Encoding::Unknown) => return Err(Hindrance::Encoding),
        ("message/rfc822" | "message/global", Encoding::None) => {
            head(seven_bit);
            return entity(body, depth + 1, Signatures::Count, out);
        }
        (text, Encoding::None) if text.starts_with("text/") => {
            head(Some("quoted-printable"));
            QuotedPrintableEncoder::new().preserve_line_breaks().encode_into(body, out);
        }
        (_, Encoding::None) => {
            head(Some("base64"));
            let mut encoded = Vec::with_capacity(body.len() * 3 / 2);
            Base64Encoder::new().wrap_lines().encode_into(body, &mut encoded);
            out.extend_from_slice(encoded.trim_ascii_end());
            out.extend_from_slice(b"\r\n");
        }
    }
    Ok(())
}

/// How a body is encoded (RFC 2045 §6.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// Not at all.
    None,
    QuotedPrintable,
    Base64,
    Unknown,
}

impl Encoding {
    /// By the Content-Transfer-Encoding. Programs write `8-bit` and `8 bits` too, and comments.
    fn of(value: Option<&str>) -> Self {
        let value = value.unwrap_or_default().to_ascii_lowercase();
        let word: String = value.split(['(', ';']).next().unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
        match &*word {
            "" | "7bit" | "7bits" | "8bit" | "8bits" | "binary" | "none" => Self::None,
            "quotedprintable" => Self::QuotedPrintable,
            "base64" => Self::Base64,
            _ => Self::Unknown,
        }
    }
}

/// Writes a header with this transfer encoding in place of its own, and the empty line.
fn head(data: &[u8], header: &Header, charset: &str, encoding: Option<&str>, out: &mut Vec<u8>) {
    let mime_version = header.fields.iter().any(|field| field.is(data, "MIME-Version"));
    let is_encoding = |field: &&Field| field.is(data, "Content-Transfer-Encoding");
    header.fields.iter().filter(|field| !is_encoding(field)).for_each(|field| fields::write(data, field, charset, out));
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    if let Some(encoding) = encoding {
        if !mime_version && header.fields.iter().any(|field| field.is(data, "From")) {
            out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        }
        out.extend_from_slice(b"Content-Transfer-Encoding: ");
        out.extend_from_slice(encoding.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// What a part's bytes above 127 are if they are no UTF-8, so that its header's may be the same: the charset that it names, or the usual one.
fn charset(kind: &str) -> String {
    let named = kind.to_ascii_lowercase().split_once("charset=").map(|(_, rest)| rest.trim_start_matches('"').to_owned());
    let named = named.map(|rest| rest.split(['"', ';', ' ', '\t']).next().unwrap_or_default().to_owned());
    let is_name =
        |name: &String| (1..20).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    named.filter(is_name).filter(|name| name != "utf-8" && name != "us-ascii").unwrap_or_else(|| "iso-8859-1".to_owned())
}

/// The boundary in a Content-Type (RFC 2046 §5.1.1), with blanks around the '=' (RFC 2045 §5.1 allows them) and longer than 70 characters, as some
/// programs write it. Behind a semicolon first, and else wherever the word stands.
fn boundary(kind: &str) -> Option<String> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let ends = |c: char| {
        let (was_quoted, was_escaped) = (is_quoted, is_escaped);
        is_escaped = c == '\\' && was_quoted && !was_escaped;
        is_quoted ^= c == '"' && !was_escaped;
        c == ';' && !was_quoted
    };
    let named = |part: &str| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().to_owned())
    };
    let anywhere = || kind.to_ascii_lowercase().find("boundary=").map(|at| kind[at + "boundary=".len()..].trim_start().to_owned());
    let value = kind.split(ends).skip(1).find_map(named).or_else(anywhere)?;
    let text = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => value.split([';', ' ', '\t']).next()?,
    };
    (1..=LINE_MAX).contains(&text.len()).then(|| text.to_owned())
}

/// Writes the parts of a multipart body, with what stands around them. Where the last part lacks the
/// delimiter behind it, as some programs write it, it gets one.
fn parts(body: &[u8], boundary: &str, depth: usize, out: &mut Vec<u8>) -> Result<(), Hindrance> {
    let delimiter = format!("--{boundary}");
    let mut delimiters = memmem::find_iter(body, delimiter.as_bytes()).filter(|at| *at == 0 || body[..*at].ends_with(b"\r\n"));
    let first = delimiters.next().ok_or(Hindrance::NoBoundary)?;
    bodies::around(&body[..first], out);
    let mut start = first;
    loop {
        let line_end = start + memmem::find(&body[start..], b"\r\n").map_or(body.len() - start, |at| at + 2);
        bodies::around(&body[start..line_end], out);
        if body[start + delimiter.len()..].starts_with(b"--") {
            bodies::around(&body[line_end..], out);
            return Ok(());
        }
        let Some(end) = delimiters.next() else {
            entity(&body[line_end..], depth + 1, Signatures::Count, out)?;
            if !out.ends_with(b"\r\n") {
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(format!("{delimiter}--\r\n").as_bytes());
            return Ok(());
        };
        // The CRLF before a delimiter belongs to it.
        entity(&body[line_end..end.saturating_sub(2).max(line_end)], depth + 1, Signatures::Count, out)?;
        if !out.ends_with(b"\r\n") || end >= line_end + 2 {
            out.extend_from_slice(b"\r\n");
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use mail_parser::{MessageParser, MimeHeaders, PartType};
    use proptest::prelude::*;

    use super::*;

    fn recoded(text: &str) -> Option<String> {
        recode(&Bytes::copy_from_slice(text.as_bytes())).map(|out| String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn what_is_seven_bit_in_short_lines_stays_as_it_is() {
        assert_eq!(recoded(&format!("From: a@b.c\r\n\r\n{}\r\n", "x".repeat(LINE_MAX))), None);
        assert!(!has_long_line(&["x".repeat(900).into(), format!("{}\r\n", "x".repeat(98)).into()]));
        assert!(has_long_line(&["x".repeat(900).into(), format!("{}\r\n", "x".repeat(99)).into()]));
    }

    #[test]
    fn long_lines_and_eight_bits_arrive_as_they_were() {
        let body = format!("Gr\u{fc}\u{df}e, 1=1 \r\n.\r\n{}\r\nend", "long ".repeat(500));
        let out =
            recoded(&format!("From: a@b.c\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}"))
                .unwrap();
        assert!(
            is_plain(out.as_bytes()) && out.contains("MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"),
            "{out}"
        );
        let parsed = MessageParser::new().parse(out.as_bytes()).unwrap();
        assert_eq!(parsed.body_text(0).unwrap(), body);
    }

    #[test]
    fn each_part_is_encoded_by_its_kind_and_what_needs_nothing_stays() {
        let text = format!(
            "From: a@b.c\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b 1\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
             --b 1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nf\u{fc}r dich\r\n\
             --b 1\r\n\r\nplain\r\n\
             --b 1\r\nContent-Type: application/json\r\n\r\n{{\"a\": \"{}\"}}\r\n--b 1--\r\n",
            "y".repeat(2000)
        );
        let out = recoded(&text).unwrap();
        assert!(is_plain(out.as_bytes()) && !out.contains("8bit"), "{out}");
        assert!(out.contains("--b 1\r\n\r\nplain\r\n--b 1\r\n"), "{out}");
        let parsed = MessageParser::new().parse(out.as_bytes()).unwrap();
        assert_eq!(parsed.body_text(0).unwrap().trim_end(), "f\u{fc}r dich");
        let last = parsed.parts.last().unwrap();
        assert_eq!(last.content_type().unwrap().subtype(), Some("json"));
        let (PartType::Binary(bytes) | PartType::InlineBinary(bytes)) = &last.body else { panic!("{last:?}") };
        assert_eq!(bytes.len(), 2000 + "{\"a\": \"\"}".len());
    }

    #[test]
    fn headers_are_encoded_with_the_bodies_they_belong_to_and_without() {
        assert_eq!(
            recoded("From: a@b.c\r\nSubject: \u{fc}\r\n\r\nplain\r\n").unwrap(),
            "From: a@b.c\r\nSubject: =?utf-8?B?w7w=?=\r\n\r\nplain\r\n"
        );
        let parts = "From: a@b.c\r\nSubject: \u{fc}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
                     Content-Disposition: attachment; filename=\"\u{fc}.txt\"\r\n\r\nplain\r\n--b--\r\n";
        let out = recoded(parts).unwrap();
        assert!(is_plain(out.as_bytes()) && out.contains("filename*=utf-8''%C3%BC.txt\r\n\r\nplain\r\n--b--"), "{out}");
        let addressed = "From: a@b.c\r\nTo: <\u{fc}@b.c>\r\n\r\nplain\r\n";
        assert_eq!(recoded(addressed), None, "an address stays");
        assert_eq!(charset("text/plain; charset=\"KOI8-R\"; x=y"), "koi8-r");
    }

    #[test]
    fn a_boundary_is_found_however_it_is_written() {
        let long = "b".repeat(200);
        for (given, boundary) in [
            ("boundary=b", "b"),
            ("Boundary = \"b\"", "b"),
            ("x=\"; boundary=c\"; BOUNDARY=\"b\"", "b"),
            ("x=\"\\\"; boundary=c\"; boundary=b; y=z", "b"),
            ("x-boundary=c; boundary=b", "b"),
            (&format!("boundary={long}"), &*long),
        ] {
            assert_eq!(super::boundary(&format!("multipart/mixed; {given}")).as_deref(), Some(boundary), "{given}");
        }
        assert_eq!(super::boundary("multipart/mixed boundary=b").as_deref(), Some("b"), "as some write it");
        for none in ["multipart/mixed", "multipart/mixed; boundary=", "multipart/mixed; boundary=\"\"", "multipart/mixed; charset=utf-8"] {
            assert_eq!(super::boundary(none), None, "{none}");
        }
    }

    #[test]
    fn a_multipart_message_without_a_boundary_is_hindered_only_by_what_has_to_be_encoded() {
        let bare = "From: a@b.c\r\nContent-Type: multipart/mixed\r\n\r\n--b\r\n\r\nplain\r\n--b--\r\n";
        assert_eq!(recoded(bare), None);
        let header = bare.replace("a@b.c\r\n", "a@b.c\r\nSubject: \u{fc}\r\n");
        assert!(recoded(&header).unwrap().ends_with("multipart/mixed\r\n\r\n--b\r\n\r\nplain\r\n--b--\r\n"));
        let within = one_part("Content-Type: multipart/alternative", "--c\r\n\r\nplain\r\n--c--")
            .replace("\r\n--b--", "\r\n--b\r\n\r\n\u{fc}\r\n--b--");
        assert!(recoded(&within).unwrap().contains("multipart/alternative\r\n\r\n--c\r\n\r\nplain\r\n--c--\r\n--b\r\n"));
        let body = bare.replace("plain", "\u{fc}");
        assert_eq!((recoded(&body), hindrance(body.as_bytes())), (None, Hindrance::NoBoundary));
    }

    #[test]
    fn what_a_signature_covers_is_left_alone() {
        assert_eq!(recoded("DKIM-Signature: v=1\r\nFrom: a@b.c\r\n\r\n\u{fc}\r\n"), None);
        let signed = "From: a@b.c\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u{fc}\r\n--b--\r\n";
        assert_eq!(recoded(signed), None);
    }

    /// A message whose only part has this header and this body.
    fn one_part(header: &str, body: &str) -> String {
        format!("From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{header}\r\n\r\n{body}\r\n--b--\r\n")
    }

    #[test]
    fn what_is_encoded_in_long_lines_or_with_raw_bytes_is_encoded_rightly_and_says_the_same() {
        let long = "QUJD".repeat(600);
        let soft = format!("{}=\r\n{}", "x".repeat(1500), "y=3D".repeat(400));
        for (encoding, body, said) in [
            ("base64", &*long, "ABC".repeat(600)),
            ("BASE64", &format!("{long}\r\n"), "ABC".repeat(600)),
            ("quoted-printable", &soft, format!("{}{}", "x".repeat(1500), "y=".repeat(400))),
            ("Quoted-Printable", "gr=C3=BC\u{df} =\r\nend", "gr\u{fc}\u{df} end".into()),
            ("8-bit", "gr\u{fc}n", "gr\u{fc}n".into()),
            ("8bit (as it is)", "gr\u{fc}n", "gr\u{fc}n".into()),
        ] {
            let header = format!("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}");
            for text in [format!("From: a@b.c\r\n{header}\r\n\r\n{body}"), one_part(&header, body)] {
                let out = recoded(&text).unwrap();
                assert!(is_plain(out.as_bytes()), "{encoding}: {out}");
                let parsed = MessageParser::new().parse(out.as_bytes()).unwrap();
                assert_eq!(parsed.body_text(0).unwrap().trim_end(), said, "{encoding}");
            }
        }
    }

    #[test]
    fn what_stands_around_the_parts_hinders_nothing() {
        let long = "z".repeat(3000);
        let part = "Content-Type: text/plain; charset=utf-8\r\n\r\nf\u{fc}r dich";
        let start = "From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
        for text in [
            format!("{start}f\u{fc}r alte Programme\r\n--b\r\n{part}\r\n--b--\r\n"),
            format!("{start}--b\r\n{part}\r\n--b--\r\n{long}\r\n"),
            format!("{start}--b\r\n{part}\r\n"),
            format!("{start}--b\r\n\r\none\r\n--b\r\n{part}"),
        ] {
            let out = recoded(&text).unwrap();
            assert!(is_plain(out.as_bytes()), "{out}");
            let parsed = MessageParser::new().parse(out.as_bytes()).unwrap();
            let texts: Vec<_> = (0..parsed.text_body_count()).filter_map(|n| parsed.body_text(n)).collect();
            assert!(texts.iter().any(|text| text.trim_end() == "f\u{fc}r dich"), "{texts:?} {out}");
        }
    }

    #[test]
    fn what_cannot_be_encoded_has_its_own_reason() {
        let eight = "\u{fc}\r\n";
        for (why, text) in [
            (Hindrance::NoBoundary, format!("From: a@b.c\r\nContent-Type: multipart/mixed\r\n\r\n{eight}")),
            (Hindrance::NoBoundary, format!("From: a@b.c\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{eight}")),
            (Hindrance::SignedPart, format!("From: a@b.c\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n{eight}--b--")),
            (Hindrance::Encoding, one_part("Content-Transfer-Encoding: x-uuencode", "\u{fc}")),
            (Hindrance::Signed, format!("DKIM-Signature: v=1\r\nFrom: a@b.c\r\n\r\n{eight}")),
        ] {
            assert_eq!((hindrance(text.as_bytes()), recoded(&text)), (why, None), "{text}");
        }
        assert_eq!(hindrance("DKIM-Signature: v=1\r\nFrom: a@b.c\r\nTo: <\u{fc}@b.c>\r\n\r\nplain\r\n".as_bytes()), Hindrance::Field);
        let inner = one_part("Content-Type: message/rfc822", "DKIM-Signature: v=1\r\nFrom: a@b.c\r\n\r\n\u{fc}");
        assert_eq!(hindrance(inner.as_bytes()), Hindrance::Signed);
    }

    /// Looks at every line.
    fn has_long_line_plainly(text: &[u8]) -> bool {
        let mut lines = text.split(|byte| *byte == b'\n').peekable();
        std::iter::from_fn(|| lines.next().map(|line| (line, lines.peek().is_some())))
            .any(|(line, is_ended)| line.len() > LINE_MAX + usize::from(is_ended))
    }

    proptest! {
        #[test]
        fn the_longest_line_counts_however_the_text_is_cut(
            lines in prop::collection::vec(prop_oneof![0..90_usize, 990..1003_usize, 0..2100_usize], 0..8),
            ends in prop::collection::vec(prop_oneof![9 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")], 8),
            last in prop_oneof![Just(0_usize), 0..90_usize, 996..1001_usize],
            cuts in prop::collection::vec(prop_oneof![0..9_usize, 0..1100_usize], 0..12),
        ) {
            let lines: String = lines.iter().zip(&ends).map(|(length, end)| "x".repeat(*length) + end).collect();
            let text = Bytes::from(lines + &"x".repeat(last));
            let mut rest = text.clone();
            let mut parts: Vec<_> = cuts.iter().map(|cut| rest.split_to(rest.len().min(*cut))).collect();
            parts.push(rest);
            prop_assert_eq!(has_long_line(&parts), has_long_line_plainly(&text));
        }
    }
}
