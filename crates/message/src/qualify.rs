//! Addresses in a header that have no domain. Cron writes `From: root (Cron Daemon)`, scripts write `To: root`, and big receivers refuse what has no
//! domain. RFC 6409 §4.2: whoever changes a submitted message sees to it that the domains in its header are complete.

use bytes::Bytes;
use posthaste_mail::{Address, Domain};

use crate::header::Header;

/// The fields with mailboxes (RFC 5322 §3.6.2, §3.6.3 and §3.6.6), except those that are taken out.
const FIELDS: [&str; 10] =
    ["From", "Sender", "Reply-To", "To", "Cc", "Resent-From", "Resent-Sender", "Resent-Reply-To", "Resent-To", "Resent-Cc"];

/// The message with `@domain` behind each address of its header that has no domain, and with quotes around an author's name that needs them. A
/// header of more than `limit` bytes stays as it is.
pub fn with_domains(data: &Bytes, domain: &Domain, limit: usize) -> Bytes {
    let Some(header) = Header::scan(data, limit) else { return data.clone() };
    if let Some(quoted) = with_quoted_author(data, &header) {
        return with_domains(&quoted, domain, limit);
    }
    let names_mailboxes = |name: &[u8]| FIELDS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    let fields = header.fields.iter().filter(|field| names_mailboxes(field.name(data)));
    let begun = |field: &crate::header::Field| field.end - field.value(data).len();
    let ends: Vec<usize> =
        fields.flat_map(|field| bare_ends(field.value(data), domain).into_iter().map(move |end| begun(field) + end)).collect();
    if ends.is_empty() {
        return data.clone();
    }
    let mut whole = Vec::with_capacity(data.len() + ends.len() * (domain.as_str().len() + 1));
    let mut from = 0;
    for end in ends {
        whole.extend_from_slice(&data[from..end]);
        whole.push(b'@');
        whole.extend_from_slice(domain.as_str().as_bytes());
        from = end;
    }
    whole.extend_from_slice(&data[from..]);
    whole.into()
}

/// The message with quotes around the name in From where it has a comma: `O'Brien, Pat <pat@x.test>` would be two authors, and two need a Sender
/// field (RFC 5322 §3.6.2). None: it needs none.
fn with_quoted_author(data: &Bytes, header: &Header) -> Option<Bytes> {
    let mut froms = header.fields.iter().filter(|field| field.is(data, "From"));
    let (from, None) = (froms.next()?, froms.next()) else { return None };
    if header.fields.iter().any(|field| field.is(data, "Sender")) {
        return None;
    }
    let value = from.value(data);
    let (name, address) = str::from_utf8(value).ok()?.trim().split_once('<')?;
    let is_alone = address.ends_with('>') && address.matches('>').count() == 1 && !address.contains('<');
    // With an @ before it, the comma stands behind an address; the others make words of another kind of these (an encoded word, a group).
    let is_name = name.contains(',') && !name.contains(['@', '"', '(', ')', ':', ';', '\\']) && !name.contains("=?");
    if !is_alone || !is_name {
        return None;
    }
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let begin = from.end - value.len();
    let behind = &data[begin + value.trim_ascii_end().len()..];
    Some([&data[..begin], format!(" \"{name}\" <{address}").as_bytes(), behind].concat().into())
}

/// Where the addresses without a domain end in a field's value, in order; none if something in it is not closed.
fn bare_ends(value: &[u8], domain: &Domain) -> Vec<usize> {
    let Ok(text) = str::from_utf8(value) else { return Vec::new() };
    let mut ends = Vec::new();
    let mut mailbox = Mailbox::default();
    let mut at = 0;
    while at < value.len() {
        let next = match value[at] {
            b'(' => comment_end(value, at),
            b'"' => quoted_end(value, at).inspect(|end| mailbox.word(at, *end)),
            b'<' => angle_end(value, at).inspect(|end| {
                ends.extend(end_of(text, at + 1, end - 1, domain));
                mailbox.is_whole = true;
            }),
            b',' | b';' => {
                ends.extend(mailbox.end(text, domain));
                mailbox = Mailbox::default();
                Some(at + 1)
            }
            // What stands before it is the name of a group.
            b':' => {
                mailbox = Mailbox::default();
                Some(at + 1)
            }
            b' ' | b'\t' | b'\r' | b'\n' => Some(at + 1),
            _ => {
                mailbox.word(at, at + 1);
                Some(at + 1)
            }
        };
        let Some(next) = next else { return Vec::new() };
        at = next;
    }
    ends.extend(mailbox.end(text, domain));
    ends
}

/// What was read of a mailbox.
#[derive(Default)]
struct Mailbox {
    /// Its only word, or the last of several.
    word: Option<(usize, usize)>,
    /// There are several words: they are a name.
    is_name: bool,
    /// It had angle brackets, which hold the address.
    is_whole: bool,
}

impl Mailbox {
    fn word(&mut self, start: usize, end: usize) {
        match &mut self.word {
            Some((_, last)) if *last == start => *last = end,
            Some(_) => self.is_name = true,
            None => self.word = Some((start, end)),
        }
    }

    fn end(&self, text: &str, domain: &Domain) -> Option<usize> {
        let (start, end) = self.word.filter(|_| !self.is_name && !self.is_whole)?;
        end_of(text, start, end, domain)
    }
}

/// Where `@domain` makes an address of this part of the text; None if it has a domain, or is no local part.
fn end_of(text: &str, start: usize, end: usize, domain: &Domain) -> Option<usize> {
    let spec = text.get(start..end)?.trim_end();
    if spec.contains('@') {
        return None;
    }
    // An encoded word (RFC 2047) is a name, whatever its characters.
    let is_local = !spec.trim_start().starts_with("=?") && Address::international(&format!("{}@{domain}", spec.trim_start())).is_ok();
    is_local.then(|| start + spec.len())
}

fn quoted_end(value: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    while at < value.len() {
        match value[at] {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

fn comment_end(value: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0_usize);
    while at < value.len() {
        match value[at] {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

fn angle_end(value: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    while at < value.len() {
        match value[at] {
            b'>' => return Some(at + 1),
            b'"' => at = quoted_end(value, at)?,
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(header: &str) -> String {
        let data = Bytes::from(format!("{header}\r\n\r\nTo: root\r\n"));
        let out = with_domains(&data, &Domain::new("h.test").unwrap(), 10_000);
        let out = String::from_utf8(out.to_vec()).unwrap();
        out.strip_suffix("\r\n\r\nTo: root\r\n").expect("the body stays as it is").to_owned()
    }

    #[test]
    fn an_authors_name_with_a_comma_is_one_author() {
        for (given, whole) in [
            ("From: O'Brien, Pat <p@x.test>", "From: \"O'Brien, Pat\" <p@x.test>"),
            ("From: Shop,\r\n Inc. <shop>\r\nTo: root", "From: \"Shop, Inc.\" <shop@h.test>\r\nTo: root@h.test"),
            ("From: a@b.test, Pat <p@x.test>", "From: a@b.test, Pat <p@x.test>"),
            ("From: root, Pat <p@x.test>\r\nSender: root", "From: root@h.test, Pat <p@x.test>\r\nSender: root@h.test"),
            ("From: Pat <p@x.test>, Ann <a@x.test>", "From: Pat <p@x.test>, Ann <a@x.test>"),
            ("To: root, Pat <p@x.test>", "To: root@h.test, Pat <p@x.test>"),
        ] {
            assert_eq!(completed(given), whole);
        }
    }

    #[test]
    fn addresses_without_a_domain_get_one() {
        for (given, whole) in [
            ("From: \"(Cron Daemon)\" <root>", "From: \"(Cron Daemon)\" <root@h.test>"),
            ("From: root (Cron Daemon)", "From: root@h.test (Cron Daemon)"),
            ("to: root", "to: root@h.test"),
            ("To: root,\r\n admin ,\ta@b.test", "To: root@h.test,\r\n admin@h.test ,\ta@b.test"),
            ("Cc: Team: root, <x y>, <ops>; last", "Cc: Team: root@h.test, <x y>, <ops@h.test>; last@h.test"),
            ("Reply-To: \"a b\"", "Reply-To: \"a b\"@h.test"),
            ("Sender: (a \\) (b)) www-data (c)", "Sender: (a \\) (b)) www-data@h.test (c)"),
            ("Resent-To: < root >", "Resent-To: < root@h.test >"),
            ("Resent-From: jürgen", "Resent-From: jürgen@h.test"),
        ] {
            assert_eq!(completed(given), whole);
            assert_eq!(completed(whole), whole, "and once is enough");
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for header in [
            "From: A <a@b.test>",
            "From: =?utf-8?q?J=C3=BCrgen?= <a@b.test>",
            "To: undisclosed-recipients:;",
            "To: undisclosed-recipients: ;",
            "To: <>",
            "To:",
            "To: Bob Smith",
            "To: =?utf-8?q?root?=",
            "To: \"unclosed",
            "To: (unclosed root",
            "To: root, <unclosed",
            "To: a@b.test (root)",
            "Subject: root",
            "X-To: root",
        ] {
            assert_eq!(completed(header), header);
        }
    }
}
