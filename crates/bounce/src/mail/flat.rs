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
        // A field may name itself again and again: what was looked at is not looked at once more, so that a mail costs what its length costs.
        let (mut field, mut done) = (Field::default(), 0);
        for at in bytes.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at) {
            let value = at + 1;
            if value < done || !is_after(&bytes[..at], CONTENT_TYPE) {
                continue;
            }
            if value >= field.end {
                field = Field::around(bytes, value);
            }
            done = field.end_of_type(bytes, value);
            rename(&mut renamed[value..done]);
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

/// Where a field ends, and where in it a comment may begin for the last time.
#[derive(Default)]
struct Field {
    end: usize,
    last_comment: Option<usize>,
}

impl Field {
    /// The field that this place is in.
    fn around(bytes: &[u8], at: usize) -> Self {
        let folded_on = |at: usize| bytes.get(at + 1).is_some_and(|next| matches!(next, b' ' | b'\t'));
        let end = (at..bytes.len()).find(|at| bytes[*at] == b'\n' && !folded_on(*at)).unwrap_or(bytes.len());
        Self { end, last_comment: bytes[at..end].iter().rposition(|byte| *byte == b'(').map(|place| at + place) }
    }

    /// Where the type of the value that begins here ends: at the first semicolon, behind which is the boundary, which has to stay; unless the
    /// semicolon is in a comment, which can be anywhere, and in which nothing is certain.
    fn end_of_type(&self, bytes: &[u8], value: usize) -> usize {
        if self.last_comment.is_some_and(|comment| comment >= value) {
            return self.end;
        }
        bytes[value..self.end].iter().position(|byte| *byte == b';').map_or(self.end, |place| value + place)
    }
}

/// Renames the types in a value: no type is `message`, and no subtype `digest`, whose parts are mails without saying so.
fn rename(value: &mut [u8]) {
    for (word, renamed) in [("message", RENAMED_MESSAGE), ("digest", RENAMED_DIGEST)] {
        let places: Vec<_> =
            value.windows(word.len()).enumerate().filter(|(_, at)| at.eq_ignore_ascii_case(word.as_bytes())).map(|(at, _)| at).collect();
        for at in places {
            value[at..at + word.len()].copy_from_slice(renamed.as_bytes());
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
    fn a_field_that_names_itself_again_and_again_costs_what_its_length_costs() {
        // Looked at anew for each name, one of these would take hours.
        for name in ["Content-Type:", "Content-Type:;", "(Content-Type:", "Content-Type:\n ", "Content-Type: message/rfc822 "] {
            let mail = format!("From: a@b\n\n{}\n", name.repeat((4 << 20) / name.len()));
            let flat = Flat::new(mail.as_bytes());
            assert!(!String::from_utf8_lossy(&flat.renamed).contains("message/"), "{name}");
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
