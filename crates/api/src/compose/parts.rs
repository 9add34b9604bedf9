//! The body of a composed message: text, HTML with its images, attachments.

use std::borrow::Cow;

use mail_builder::{
    encoders::base64::Base64Encoder,
    headers::content_type::ContentType,
    mime::{BodyPart, MimePart},
};

use super::common::{Flaws, decoded};
use crate::draft::{Attachment, Draft};

/// The most attachments of one message.
const ATTACHMENTS_MAX: usize = 200;
/// The longest file name, in bytes: the limit of common file systems.
const FILENAME_MAX: usize = 255;

/// Writes the content's header fields, an empty line and the content.
pub(super) fn body(draft: &Draft<'_>, flaws: &mut Flaws, out: &mut Vec<u8>) {
    if draft.attachments.len() > ATTACHMENTS_MAX {
        return flaws.field("/attachments", format!("at most {ATTACHMENTS_MAX}"));
    }
    let files = draft.attachments.iter().enumerate();
    let read: Vec<_> = files.filter_map(|(i, a)| part(a, draft.html.is_some(), &format!("/attachments/{i}"), flaws)).collect();
    let (inline, attached): (Vec<_>, Vec<_>) = read.into_iter().partition(|(is_inline, _)| *is_inline);
    let contents = draft.attachments.iter().map(|attachment| attachment.content.len());
    let texts = [&draft.text, &draft.html].into_iter().flatten().map(|text| text.len());
    let size: usize = contents.chain(texts).sum();
    let [inline, attached] = [inline, attached].map(|parts| parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>());
    let text = draft.text.as_deref().map(|t| written("text/plain", t, "/text", flaws));
    let html = draft.html.as_deref().map(|h| related(written("text/html", h, "/html", flaws), inline));
    let content = match (text, html) {
        (Some(text), Some(html)) => MimePart::new("multipart/alternative", vec![text, html]),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => written("text/plain", "", "/text", flaws),
    };
    let whole = match attached.is_empty() {
        true => content,
        false => MimePart::new("multipart/mixed", std::iter::once(content).chain(attached).collect::<Vec<_>>()),
    };
    // Room for the encoded files at once: a buffer that doubles takes twice as much.
    out.reserve(size + size / 64 + (4 << 10));
    whole.write_part(out);
}

/// RFC 2387: the images are in one multipart/related with the HTML that shows them.
fn related<'a>(html: MimePart<'a>, inline: Vec<MimePart<'a>>) -> MimePart<'a> {
    match inline.is_empty() {
        true => html,
        false => MimePart::new(
            ContentType::new("multipart/related").attribute("type", "text/html"),
            std::iter::once(html).chain(inline).collect::<Vec<_>>(),
        ),
    }
}

fn written<'a>(kind: &'static str, text: &'a str, field: &str, flaws: &mut Flaws) -> MimePart<'a> {
    if text.contains('\0') {
        flaws.field(field, "a text holds no NUL");
    }
    // One kind of line end, so that no bare CR or LF remains.
    let text: Cow<'a, str> = if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text.into() };
    MimePart::new(kind, BodyPart::Text(text))
}

/// An attachment as a MIME part, and whether the HTML shows it inline.
fn part(attachment: &Attachment<'_>, has_html: bool, field: &str, flaws: &mut Flaws) -> Option<(bool, MimePart<'static>)> {
    let content = decoded(&attachment.content).map_err(|why| flaws.field(format!("{field}/content"), why));
    let kind = kind(attachment.content_type.as_deref()).map_err(|why| flaws.field(format!("{field}/content_type"), why));
    let filename = attachment.filename.clone().filter(|n| !n.is_empty());
    if filename.as_ref().is_some_and(|n| n.len() > FILENAME_MAX || n.chars().any(char::is_control)) {
        flaws.field(format!("{field}/filename"), format!("at most {FILENAME_MAX} bytes, and no control characters"));
    }
    let cid = attachment.cid.as_deref().map(|c| c.trim_start_matches('<').trim_end_matches('>'));
    if cid.is_some_and(|c| c.is_empty() || c.len() > 200 || !c.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\".contains(&b))) {
        flaws.field(format!("{field}/cid"), "1 to 200 letters, digits and signs, without blanks");
    }
    let mut part = MimePart::new(kind.ok()?, BodyPart::Binary(content.ok()?.into()));
    let is_inline = cid.is_some() && has_html;
    let disposition = ContentType::new(if is_inline { "inline" } else { "attachment" });
    let disposition = match filename {
        Some(name) => disposition.attribute("filename", name),
        None => disposition,
    };
    part = part.header("Content-Disposition", disposition);
    if let Some(cid) = cid {
        part = part.cid(cid.to_owned());
    }
    // Never as text, whatever its type: a file must arrive byte for byte.
    Some((is_inline, base64(part)))
}

/// Sets the encoding explicitly: mail-builder would rewrite the line ends of text.
fn base64(part: MimePart<'static>) -> MimePart<'static> {
    let BodyPart::Binary(content) = &part.contents else { return part };
    let mut encoded = Vec::new();
    Base64Encoder::new().wrap_lines().encode_into(content, &mut encoded);
    MimePart { contents: BodyPart::Binary(encoded.into()), ..part }.transfer_encoding("base64")
}

/// `type/subtype`, with parameters if need be (RFC 2045 §5.1).
fn kind(given: Option<&str>) -> Result<ContentType<'static>, &'static str> {
    const WRONG: &str = "a media type is type/subtype, such as application/pdf";
    let is_token =
        |t: &str| !t.is_empty() && t.len() <= 127 && t.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b));
    let Some(given) = given else { return Ok(ContentType::new("application/octet-stream")) };
    let mut pieces = given.split(';').map(str::trim);
    let kind = pieces.next().unwrap_or_default().to_ascii_lowercase();
    let (main, sub) = kind.split_once('/').ok_or(WRONG)?;
    if !is_token(main) || !is_token(sub) {
        return Err(WRONG);
    }
    // RFC 2046 §5.1 and §5.2.1: these types must not be encoded in base64.
    if main == "multipart" || main == "message" {
        return Err("mail inside of mail goes as application/octet-stream, or build the whole message yourself and give it as `raw`");
    }
    let mut kind = ContentType::new(kind.clone());
    for piece in pieces.filter(|p| !p.is_empty()) {
        let (name, value) = piece.split_once('=').ok_or(WRONG)?;
        let value = value.trim_matches('"');
        if !is_token(name) || value.is_empty() || value.len() > 200 || value.chars().any(char::is_control) {
            return Err(WRONG);
        }
        kind = kind.attribute(name.to_ascii_lowercase(), value.to_owned());
    }
    Ok(kind)
}
