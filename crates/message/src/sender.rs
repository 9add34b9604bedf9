//! The domains of From, for the choice of the DKIM keys (RFC 5322 §3.4 and §4.4).

use std::collections::HashSet;

use posthaste_mail::Domain;

use crate::mailboxes::plain;

/// The domains of all mailboxes in a From field's value, each once, in the form that DNS uses. Mailboxes in groups count too; comments,
/// display names and old routes are skipped. What is not a domain is left out.
pub(super) fn domains(value: &[u8]) -> Vec<String> {
    if let Some((_, domain)) = plain(value).and_then(|spec| spec.rsplit_once('@')) {
        return vec![domain.to_ascii_lowercase()];
    }
    careful_domains(value)
}

/// The same of a field of any shape.
fn careful_domains(value: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Into::into);
    let mut rest = text.chars();
    let (mut domains, mut seen) = (Vec::new(), HashSet::new());
    while let Some(mailbox) = next_mailbox(&mut rest) {
        let domain = mailbox.rsplit_once('@').and_then(|(_, domain)| in_ascii(domain));
        domains.extend(domain.filter(|domain| seen.insert(domain.clone())));
    }
    domains
}

/// True for a From field with the one mailbox `<>`, which is the null reverse-path in an envelope and no author.
pub(super) fn is_null(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value);
    text.trim_end().ends_with("<>") && next_mailbox(&mut text.chars()).is_some_and(|mailbox| mailbox.is_empty())
}

/// Keys are published under the ASCII form of a name (RFC 8616 §4).
fn in_ascii(domain: &str) -> Option<String> {
    let domain = match domain.is_ascii() {
        true => domain.to_owned(),
        false => idna::domain_to_ascii(domain).ok()?,
    };
    Some(Domain::new(&domain).ok()?.as_str().to_owned())
}

/// The next addr-spec, without comments, blanks and quoted strings: what is left is enough to find the last '@' of it.
fn next_mailbox(rest: &mut std::str::Chars<'_>) -> Option<String> {
    let mut spec = String::new();
    let mut in_angle = false;
    while let Some(c) = rest.next() {
        match c {
            // What is quoted may hold an '@' or a '<' that means nothing.
            '"' => {
                skip_quoted(rest);
                spec.push('"');
            }
            '(' => skip_comment(rest),
            // All before it was a display name.
            '<' => {
                in_angle = true;
                spec.clear();
            }
            '>' => return Some(spec),
            // An address literal may hold a ':'.
            '[' => {
                spec.push('[');
                spec.extend(rest.by_ref().take_while(|&c| c != ']'));
                spec.push(']');
            }
            // The end of a route, or of a group's name.
            ':' => spec.clear(),
            ',' | ';' if !in_angle && spec.contains('@') => return Some(spec),
            ',' | ';' => spec.clear(),
            c if c.is_ascii_whitespace() => {}
            c => spec.push(c),
        }
    }
    // An angle that never closes is no address, but some software will take it for one, so the message is signed for its domain.
    (!spec.is_empty()).then_some(spec)
}

/// Skips the rest of a quoted string.
fn skip_quoted(rest: &mut std::str::Chars<'_>) {
    while let Some(c) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '"' => return,
            _ => {}
        }
    }
}

/// Skips the rest of a comment; comments nest (RFC 5322 §3.2.2).
fn skip_comment(rest: &mut std::str::Chars<'_>) {
    let mut depth = 1;
    while let Some(c) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_found_behind_everything_that_may_stand_around_it() {
        for (value, found) in [
            (" ann@example.com\r\n", &["example.com"][..]),
            (" Ann <ann@Example.COM>\r\n", &["example.com"][..]),
            (" \"Ann, a <b@evil.org>\" <ann@example.com>", &["example.com"][..]),
            (" \"x@evil.org\" <ann@example.com>", &["example.com"][..]),
            (" Ann (or b@evil.org (nested \\) )) <ann@example.com>", &["example.com"][..]),
            (" ann@example.com (Ann <b@evil.org>)", &["example.com"][..]),
            (" a@one.org, b@two.org, c@ONE.org", &["one.org", "two.org"]),
            (" Ann <a@one.org>, b@two.org", &["one.org", "two.org"]),
            (" Team: Ann <ann@example.com>, b@two.org;", &["example.com", "two.org"]),
            (" \"a@b\"@example.com", &["example.com"][..]),
            (" <@relay.org,@two.org:ann@example.com>", &["example.com"][..]),
            (" ann @ example . com", &["example.com"][..]),
            (" Ann\r\n\t<ann@example.com>\r\n", &["example.com"][..]),
            (" =?utf-8?q?J=C3=BCrgen=40evil.org?= <j@example.com>", &["example.com"][..]),
            (" Jürgen <j@example.com>", &["example.com"][..]),
            (" a@[192.0.2.1]", &["[192.0.2.1]"][..]),
            (" a@[IPv6:2001:db8::1]", &["[IPv6:2001:db8::1]"][..]),
            (" j@exämple.com", &["xn--exmple-cua.com"]),
            (" j@\u{2028}.com", &[]),
            (" undisclosed:;", &[]),
            (" Ann <ann@example.com", &["example.com"]),
            (" <>", &[]),
            (" Ann", &[]),
            (" \"never closed <a@example.com>", &[]),
            ("", &[]),
        ] {
            assert_eq!(domains(value.as_bytes()), found, "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_plain_mailbox_has_the_domain_that_a_careful_reading_finds(value in crate::mailboxes::nearly_plain()) {
            proptest::prop_assert_eq!(domains(value.as_bytes()), careful_domains(value.as_bytes()), "{:?}", value);
        }
    }
}
