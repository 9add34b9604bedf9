//! Fields so plain that nobody reads them in two ways.

use memchr::{memchr, memrchr};

/// The longest value that is looked at: longer ones are rare.
const LENGTH_MAX: usize = 400;
/// The longest label of a domain (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// The mailbox of ` local@domain`, ` <local@domain>`, ` Name <local@domain>` or ` "Name" <local@domain>`, in one line of ASCII letters, digits and few
/// signs. None: the value has to be read with care. Most mail is like this, and careful reading took as long as storing it.
pub(crate) fn plain(value: &[u8]) -> Option<&str> {
    let line = value.strip_suffix(b"\r\n").unwrap_or(value);
    if line.len() > LENGTH_MAX {
        return None;
    }
    let line = blanks_off(line);
    let spec = match line.strip_suffix(b">") {
        None => line,
        Some(open) => {
            let at = memrchr(b'<', open)?;
            is_name(blanks_off(&open[..at])).then_some(&open[at + 1..])?
        }
    };
    let at = memchr(b'@', spec)?;
    let (local, domain) = (&spec[..at], &spec[at + 1..]);
    (is_local(local) && domain.split(|b| *b == b'.').all(is_label)).then(|| str::from_utf8(spec).ok())?
}

fn blanks_off(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| *b != b' ').unwrap_or(text.len());
    let end = text.iter().rposition(|b| *b != b' ').map_or(start, |last| last + 1);
    &text[start..end]
}

/// Whether this is no name, or one of words or in quotes in which nothing has a meaning.
fn is_name(name: &[u8]) -> bool {
    let in_words = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'-' | b'\'' | b'_');
    match name.strip_prefix(b"\"").map(|rest| rest.strip_suffix(b"\"")) {
        None => name.iter().all(in_words),
        Some(None | Some([])) => false,
        Some(Some(inner)) => inner.iter().all(|b| in_words(b) || matches!(b, b',' | b'.' | b'&')),
    }
}

fn is_local(local: &[u8]) -> bool {
    let is_edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-');
    is_edge(local.first()) && is_edge(local.last()) && local.iter().all(inner)
}

fn is_label(label: &[u8]) -> bool {
    let inner = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    (1..=LABEL_MAX).contains(&label.len()) && label.iter().all(inner) && !label.starts_with(b"-") && !label.ends_with(b"-")
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::{super::carefully, *};
    use crate::mailboxes::Mailboxes;

    /// Values that are plain, and some that nearly are.
    pub(crate) fn nearly_plain() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            3 => "[A-Za-z0-9 _'-]{0,20}",
            2 => "\"[A-Za-z0-9 _'.,&-]{0,20}\"",
            1 => "[A-Za-z \"@<>().,:;=?\\\\_'-]{0,12}",
        ];
        let local =
            prop_oneof![4 => "[A-Za-z0-9]{1,9}([.+_-][A-Za-z0-9]{1,5}){0,3}", 1 => "[A-Za-z0-9.+_=?'\"-]{1,12}", 1 => "[a-z]{60,70}"];
        let label = prop_oneof![9 => "[A-Za-z0-9]{1,9}", 1 => "[A-Za-z0-9_-]{1,9}", 1 => "[a-z]{62,64}"];
        let domain = (prop::collection::vec(label, 1..6), prop_oneof![9 => Just(""), 1 => Just(".")]);
        let spec = (local, domain).prop_map(|(local, (labels, end))| format!("{local}@{}{end}", labels.join(".")));
        let around = prop_oneof![9 => Just(" "), 2 => Just(""), 1 => Just("  "), 1 => Just("\t"), 1 => Just("\r\n ")];
        let form =
            prop_oneof![2 => Just(("", "")), 8 => Just(("<", ">")), 1 => Just(("<", "")), 1 => Just(("< ", " >")), 1 => Just(("<", ">>"))];
        (around.clone(), name, around.clone(), form, spec, around, prop_oneof![Just("\r\n"), Just(""), Just("\n"), Just("\r\n\r\n")])
            .prop_map(|(before, name, between, (open, close), spec, behind, end)| {
                let (name, between) = if open.is_empty() { ("", "") } else { (&*name, between) };
                format!("{before}{name}{between}{open}{spec}{close}{behind}{end}")
            })
    }

    #[test]
    fn what_mail_programs_write_most_is_plain() {
        for (value, spec) in [
            (" ann@example.com\r\n", "ann@example.com"),
            (" Ann Doe <ann.doe+x@Example.COM>\r\n", "ann.doe+x@Example.COM"),
            (" \"Doe, Ann\" <ann@example.com> \r\n", "ann@example.com"),
            ("<a@b.test>", "a@b.test"),
        ] {
            assert_eq!(plain(value.as_bytes()), Some(spec));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn a_plain_value_is_what_a_careful_reading_finds(value in nearly_plain()) {
            if let Some(spec) = plain(value.as_bytes()) {
                let found = Some(Mailboxes { specs: vec![spec.to_owned()], shown: Vec::new() });
                prop_assert_eq!(carefully(value.as_bytes()), found, "{:?}", value);
            }
        }

        #[test]
        fn bytes_of_any_kind_are_plain_only_as_they_are_read_with_care(value in prop::collection::vec(prop_oneof![9 => b' '..b'\x7f', 1 => any::<u8>()], 0..30)) {
            if let Some(spec) = plain(&value) {
                prop_assert_eq!(carefully(&value).map(|found| found.specs), Some(vec![spec.to_owned()]), "{:?}", value);
            }
        }
    }
}
