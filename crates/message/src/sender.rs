//! The domains of From, for the choice of the DKIM keys (RFC 5322 §3.4 and §4.4).

use posthaste_mail::{Address, Domain};

/// The domains of all mailboxes in a From field's value, each once, in the form that DNS uses. Mailboxes in groups count too; comments,
/// display names and old routes are skipped. What is not a domain is left out.
pub(super) fn domains(value: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Into::into);
    let mut rest = text.chars();
    let mut domains = Vec::new();
    while let Some(mailbox) = next_mailbox(&mut rest) {
        let domain = mailbox.rsplit_once('@').and_then(|(_, domain)| in_ascii(domain));
        domains.extend(domain.filter(|domain| !domains.contains(domain)));
    }
    domains
}

/// Every mailbox in a From field's value; None if something in it is no address, or could be read as another address by other software.
pub(super) fn mailboxes(value: &[u8]) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(value);
    let mut rest = text.chars();
    let (mut found, mut spec) = (Vec::new(), String::new());
    let (mut in_angle, mut is_whole) = (false, false);
    while let Some(c) = rest.next() {
        match c {
            '(' if !skip_comment(&mut rest) => return None,
            '(' => {}
            c if c.is_ascii_whitespace() => {}
            ',' | ';' if !in_angle => {
                found.extend((!spec.is_empty()).then(|| std::mem::take(&mut spec)));
                is_whole = false;
            }
            // Behind an angle comes the next mailbox or nothing.
            _ if is_whole => return None,
            '"' if !skip_quoted(&mut rest) => return None,
            '"' => spec.push('"'),
            // Display names and names of groups hold an '@' only in quotes; old routes are no longer in use.
            '<' | ':' if in_angle || spec.contains('@') => return None,
            '<' | ':' => {
                in_angle = c == '<';
                spec.clear();
            }
            '>' if !in_angle => return None,
            '>' => {
                found.push(std::mem::take(&mut spec));
                (in_angle, is_whole) = (false, true);
            }
            c => spec.push(c),
        }
    }
    found.extend((!spec.is_empty()).then_some(spec));
    (!in_angle && found.iter().all(|spec| Address::international(spec).is_ok())).then_some(found)
}

/// Whether a field with mailboxes can be read in two ways: it holds an address, as it stands or once its encoded words are decoded, and yet not
/// every part of it is one. One reader takes an unclosed quote or comment for the rest of the line, another passes over it.
pub(super) fn is_ambiguous(value: &[u8]) -> bool {
    let holds = |found: &Option<Vec<String>>| found.as_ref().is_some_and(|all| !all.is_empty());
    let has_address = |text: &[u8]| text.contains(&b'@');
    let encoded = memchr::memmem::find(value, b"=?").is_some() && is_at_encoded(value);
    (has_address(value) || encoded) && !holds(&mailboxes(value))
}

/// Whether an '@' may stand in an encoded word (RFC 2047): in Q as `=40`, or as anything in B, which is not decoded here.
fn is_at_encoded(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    memchr::memmem::find(&lower, b"=40").is_some() || memchr::memmem::find(&lower, b"?b?").is_some()
}

/// True for a From field with the one mailbox `<>`, which is the null reverse-path in an envelope and no author.
pub(super) fn is_null(value: &[u8]) -> bool {
    next_mailbox(&mut String::from_utf8_lossy(value).chars()).is_some_and(|mailbox| mailbox.is_empty())
        && String::from_utf8_lossy(value).trim_end().ends_with("<>")
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
            '(' => {
                skip_comment(rest);
            }
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

/// Skips the rest of a quoted string. False: it never ends.
fn skip_quoted(rest: &mut std::str::Chars<'_>) -> bool {
    while let Some(c) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '"' => return true,
            _ => {}
        }
    }
    false
}

/// Skips the rest of a comment; comments nest (RFC 5322 §3.2.2). False: it never ends.
fn skip_comment(rest: &mut std::str::Chars<'_>) -> bool {
    let mut depth = 1;
    while let Some(c) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return true;
        }
    }
    false
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

    #[test]
    fn every_mailbox_is_found_or_none() {
        for (value, found) in [
            (" ann@example.com\r\n", Some(&["ann@example.com"][..])),
            (" \"Ann, a <b@evil.org>\" <ann@example.com>", Some(&["ann@example.com"])),
            (" a@one.org, Bob (b@evil.org) <b@two.org>,\r\n c@three.org", Some(&["a@one.org", "b@two.org", "c@three.org"])),
            (" Team: Ann <ann@example.com>, b@two.org;", Some(&["ann@example.com", "b@two.org"])),
            (" J\u{fc}rgen <j@example.com>", Some(&["j@example.com"])),
            (" undisclosed:;", Some(&[])),
            ("", Some(&[])),
            (" a@one.org <b@two.org>", None),
            (" <a@one.org> b@two.org", None),
            (" <a@one.org><b@two.org>", None),
            (" <@relay.org:ann@example.com>", None),
            (" Ann <ann@example.com", None),
            (" ann@example.com>", None),
            (" \"a@b\"@example.com", None),
            (" Ann", None),
            (" \"never closed <a@example.com>", None),
        ] {
            let mailboxes = mailboxes(value.as_bytes());
            assert_eq!(mailboxes.as_ref().map(|all| all.iter().map(String::as_str).collect::<Vec<_>>()).as_deref(), found, "{value:?}");
        }
    }

    #[test]
    fn what_two_readers_read_differently_is_ambiguous() {
        assert!(!is_ambiguous("Ann <ann@ex\u{e4}mple.test>".as_bytes()), "one address, in UTF-8 (RFC 6531)");
        for value in [
            " \"Doe <a@sender.test>",
            " x@bob.test (unclosed <ceo@alice.test>",
            " x@bob.test (a\\) <ceo@alice.test>",
            " x@bob.test \"",
            " =?UTF-8?Q?Shop_=3Ca=40sender=2Etest=3E?=",
            " =?utf-8?b?U2hvcCA8YUBzZW5kZXIudGVzdD4=?=",
            " a@one.org <b@two.org>",
            " Ann <ann@example.com",
        ] {
            assert!(is_ambiguous(value.as_bytes()), "{value:?}");
        }
        for value in [
            " Ann",
            " undisclosed:;",
            " \"x@evil.org\" <ann@example.com>",
            " =?utf-8?q?J=C3=BCrgen=40evil.org?= <j@example.com>",
            " a@b.org, c@d.org",
        ] {
            assert!(!is_ambiguous(value.as_bytes()), "{value:?}");
        }
    }
}
