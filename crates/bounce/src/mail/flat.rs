//! A mail parsed one level deep: mails inside it stay bytes, whatever encoding they are in.
//!
//! The parser makes a tree of mails inside mails, as deep as the mail says, and lets go of it level by level: 24,000 levels, which fit into
//! 700 KiB, overflow a thread's stack, and that is the end of the program. So types that are mails are renamed before the parser sees them,
//! and the reader opens what they name itself, to the depth that it wants.

use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};

/// A mail's bytes in which no part says that it is a mail.
pub(super) struct Flat<'b> {
    bytes: &'b [u8],
    renamed: Vec<u8>,
}

impl<'b> Flat<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        let mut renamed = bytes.to_vec();
        for (at, _) in bytes.iter().enumerate().filter(|(at, byte)| **byte == b':' && is_after(&bytes[..*at], CONTENT_TYPE)) {
            rename(&mut renamed[at + 1..]);
        }
        Self { bytes, renamed }
    }

    /// The mail, with its header fields as they stand there. None of its parts is a [`PartType::Message`].
    pub(super) fn parse(&self) -> Option<Message<'_>> {
        let mut message = MessageParser::default().parse(&self.renamed)?;
        message.raw_message = self.bytes.into();
        Some(message)
    }
}

/// A part's `type/subtype` in lower case; empty for plain text and if there is no type.
pub(super) fn kind_of(part: &MessagePart<'_>) -> String {
    match part.content_type() {
        Some(kind) if !(kind.ctype().eq_ignore_ascii_case("text") && kind.subtype() == Some("plain")) => {
            let main = kind.ctype().to_ascii_lowercase();
            let main = if main == RENAMED_MESSAGE { "message" } else { &main };
            format!("{main}/{}", kind.subtype().unwrap_or_default().to_ascii_lowercase())
        }
        _ => String::new(),
    }
}

/// The mail in a part that is one, decoded.
pub(super) fn mail_in<'p>(part: &'p MessagePart<'_>) -> Option<&'p [u8]> {
    let is_mail = matches!(kind_of(part).as_str(), "message/rfc822" | "message/global");
    (is_mail && !matches!(part.body, PartType::Multipart(_))).then(|| part.contents())
}

/// Whether these bytes end in the name. The parser reads names in any case, with blanks anywhere, and behind a boundary on the same line.
fn is_after(bytes: &[u8], name: &str) -> bool {
    let mut before = bytes.iter().rev().filter(|byte| !byte.is_ascii_whitespace());
    name.bytes().rev().all(|wanted| before.next().is_some_and(|byte| byte.eq_ignore_ascii_case(&wanted)))
}

/// Renames the type in the field whose value begins here: no type is `message`, and no subtype `digest`, whose parts are mails without saying so.
fn rename(value: &mut [u8]) {
    let folded_on = |at: usize| value.get(at + 1).is_some_and(|next| matches!(next, b' ' | b'\t'));
    let end = (0..value.len()).find(|at| value[*at] == b'\n' && !folded_on(*at)).unwrap_or(value.len());
    let field = &mut value[..end];
    // A type ends at the first semicolon, and behind it is the boundary, which has to stay; unless the semicolon is in a comment, which can be
    // anywhere, and in which nothing is certain.
    let end = if field.contains(&b'(') { field.len() } else { field.iter().position(|byte| *byte == b';').unwrap_or(field.len()) };
    for (word, renamed) in [("message", RENAMED_MESSAGE), ("digest", RENAMED_DIGEST)] {
        let places: Vec<_> = field[..end]
            .windows(word.len())
            .enumerate()
            .filter(|(_, at)| at.eq_ignore_ascii_case(word.as_bytes()))
            .map(|(at, _)| at)
            .collect();
        for at in places {
            field[at..at + word.len()].copy_from_slice(renamed.as_bytes());
        }
    }
}

const CONTENT_TYPE: &str = "content-type";
// As long as the words, so that every place in the mail stays where it was.
const RENAMED_MESSAGE: &str = "xessage";
const RENAMED_DIGEST: &str = "xigest";

#[cfg(test)]
mod tests {
    use super::*;

    /// The types of the parts.
    fn kinds(mail: &str) -> Vec<String> {
        Flat::new(mail.as_bytes()).parse().unwrap().parts.iter().map(kind_of).collect()
    }

    #[test]
    fn no_writing_of_the_type_makes_a_mail_inside_a_mail() {
        let types = [
            "Content-Type: message/rfc822",
            "content-type:MESSAGE/RFC822; x=y",
            "Con tent-Type : \r\n message / \r\n rfc822",
            "Content-Type: (a;b/c) message (d)/(e) global",
            "Content-Type: (=\"; \\( ) message/rfc822",
            "Content-Type: message/rfc822\r\nContent-Type: text/plain",
            "Content-Type: text/plain\r\nContent-Type: message/rfc822",
        ];
        for encoding in ["7bit", "base64", "quoted-printable"] {
            for kind in types {
                let mail = format!("From: a@b\r\n{kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\nSubject: x\r\n\r\ny\r\n");
                let flat = Flat::new(mail.as_bytes());
                let message = flat.parse().unwrap();
                assert!(!message.parts.iter().any(|part| matches!(part.body, PartType::Message(_))), "{mail}: {message:?}");
            }
        }
    }

    #[test]
    fn a_type_right_behind_a_boundary_and_the_parts_of_a_digest_are_no_mails_either() {
        let mails = [
            "From: a@b\nContent-Type: multipart/mixed; boundary=b\n\n--bContent-Type: message/rfc822\n\nSubject: x\n\ny\n--b--\n",
            "From: a@b\nContent-Type: multipart/Digest; boundary=b\n\n--b\n\nSubject: x\n\ny\n--b--\n",
        ];
        for mail in mails {
            let flat = Flat::new(mail.as_bytes());
            let message = flat.parse().unwrap();
            assert!(message.parts.len() > 1 && !message.parts.iter().any(|part| matches!(part.body, PartType::Message(_))), "{message:?}");
        }
    }

    #[test]
    fn types_boundaries_and_header_fields_stay_as_they_are() {
        let mail = "From: a@b\nContent-Type: multipart/report; boundary=\"message-digest\"\n\n--message-digest\n\
                    Content-Type: Message/Delivery-Status\n\nx\n--message-digest\nContent-Type: message/rfc822\n\ny\n--message-digest--\n";
        assert_eq!(kinds(mail), ["multipart/report", "message/delivery-status", "message/rfc822"]);
        let mail = "From: a@b\nContent-Type: message/delivery-status\n\nx";
        let flat = Flat::new(mail.as_bytes());
        assert!(flat.parse().unwrap().headers_raw().any(|(_, value)| value.trim() == "message/delivery-status"));
    }
}
