//! Mail as seven-bit text: bodies with bytes above 127, or with lines longer than SMTP allows, as quoted-printable or base64
//! (RFC 2045 §6), and header fields as encoded words. That is done before signing, because afterwards it would break the signatures.

mod addresses;
mod fields;
mod plain;
mod words;

pub use plain::{LINE_MAX, has_long_line};

use bytes::Bytes;
use mail_builder::encoders::{Base64Encoder, QuotedPrintableEncoder};
use memchr::memmem;

use self::plain::is_plain;
use crate::header::{Field, Header};

/// Parts within parts, at most.
const DEPTH_MAX: usize = 20;

/// The message with every part in seven bits and in lines of at most 998 bytes. None: it is so already, or it cannot be made so: it
/// carries a signature that this would break, or its structure cannot be read. Header fields that have no such form stay: addresses outside
/// ASCII (RFC 6531).
pub fn recode(data: &Bytes) -> Option<Bytes> {
    if is_plain(data) {
        return None;
    }
    let mut out = Vec::with_capacity(data.len() + data.len() / 8);
    entity(data, 0, &mut out)?;
    (out[..] != data[..]).then(|| out.into())
}

/// Writes a part of a message, or all of it: its header, and its body as seven-bit text. None: it cannot be done.
fn entity(data: &[u8], depth: usize, out: &mut Vec<u8>) -> Option<()> {
    let header = Header::scan(data, data.len()).filter(|_| depth <= DEPTH_MAX)?;
    let body = data[header.end..].strip_prefix(b"\r\n").unwrap_or(&data[header.end..]);
    let field = |name: &str| header.fields.iter().find(|field| field.is(data, name));
    if field("DKIM-Signature").is_some() || field("ARC-Seal").is_some() {
        return None;
    }
    let kind = field("Content-Type").map_or_else(|| "text/plain".into(), |field| field.text(data));
    let main = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let encoding = field("Content-Transfer-Encoding").map_or_else(|| "7bit".into(), |field| field.text(data).to_ascii_lowercase());
    let charset = charset(&kind);
    if is_plain(body) {
        // What announces eight bits and has none says so.
        header.fields.iter().for_each(|field| fields::write(data, field, &charset, out));
        out.extend_from_slice(&data[header.end..]);
        return Some(());
    }
    match &*main {
        "multipart/signed" | "multipart/encrypted" => None,
        multipart if multipart.starts_with("multipart/") => {
            head(data, &header, &charset, Some("7bit").filter(|_| field("Content-Transfer-Encoding").is_some()), out);
            parts(body, &boundary(&kind)?, depth, out)
        }
        "message/rfc822" | "message/global" => {
            head(data, &header, &charset, Some("7bit").filter(|_| field("Content-Transfer-Encoding").is_some()), out);
            entity(body, depth + 1, out)
        }
        _ if encoding != "7bit" && encoding != "8bit" && encoding != "binary" => None,
        text if text.starts_with("text/") => {
            head(data, &header, &charset, Some("quoted-printable"), out);
            QuotedPrintableEncoder::new().preserve_line_breaks().encode_into(body, out);
            Some(())
        }
        _ => {
            head(data, &header, &charset, Some("base64"), out);
            let mut encoded = Vec::with_capacity(body.len() * 3 / 2);
            Base64Encoder::new().wrap_lines().encode_into(body, &mut encoded);
            out.extend_from_slice(encoded.trim_ascii_end());
            out.extend_from_slice(b"\r\n");
            Some(())
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

/// The boundary in a Content-Type (RFC 2046 §5.1.1).
fn boundary(kind: &str) -> Option<String> {
    let at = kind.to_ascii_lowercase().find("boundary=")?;
    let value = kind[at + "boundary=".len()..].trim_start();
    let text = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => value.split([';', ' ', '\t']).next()?,
    };
    (1..=70).contains(&text.len()).then(|| text.to_owned())
}

/// Writes the parts of a multipart body, with what stands around them.
fn parts(body: &[u8], boundary: &str, depth: usize, out: &mut Vec<u8>) -> Option<()> {
    let delimiter = format!("--{boundary}");
    let mut delimiters = memmem::find_iter(body, delimiter.as_bytes()).filter(|at| *at == 0 || body[..*at].ends_with(b"\r\n"));
    let first = delimiters.next()?;
    let preamble = &body[..first];
    if !is_plain(preamble) {
        return None;
    }
    out.extend_from_slice(preamble);
    let mut start = first;
    loop {
        let line_end = start + memmem::find(&body[start..], b"\r\n").map_or(body.len() - start, |at| at + 2);
        out.extend_from_slice(&body[start..line_end]);
        if body[start + delimiter.len()..].starts_with(b"--") {
            let epilogue = &body[line_end..];
            out.extend_from_slice(epilogue);
            return is_plain(epilogue).then_some(());
        }
        let end = delimiters.next()?;
        // The CRLF before a delimiter belongs to it.
        entity(&body[line_end..end.checked_sub(2)?.max(line_end)], depth + 1, out)?;
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
    fn what_a_signature_covers_is_left_alone() {
        assert_eq!(recoded("DKIM-Signature: v=1\r\nFrom: a@b.c\r\n\r\n\u{fc}\r\n"), None);
        let signed = "From: a@b.c\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u{fc}\r\n--b--\r\n";
        assert_eq!(recoded(signed), None);
        assert_eq!(recoded("From: a@b.c\r\nContent-Type: multipart/mixed\r\n\r\n\u{fc}\r\n"), None, "no boundary");
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
