//! The domain of From, for the choice of the DKIM key (RFC 5322 §3.4 and §4.4).

use posthaste_mail::Domain;

/// The domain of the first mailbox in a From field's value: inside a group too, past comments, display names and old routes.
/// None if it is not a domain in ASCII.
pub(super) fn first_domain(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Into::into);
    let mailbox = first_mailbox(&text)?;
    let (_, domain) = mailbox.rsplit_once('@')?;
    Some(Domain::new(domain).ok()?.as_str().to_owned())
}

/// The first addr-spec, without comments, blanks and quoted strings: what is left is enough to find the last '@' of it.
fn first_mailbox(text: &str) -> Option<String> {
    let mut rest = text.chars();
    let mut spec = String::new();
    let mut in_angle = false;
    while let Some(c) = rest.next() {
        match c {
            // What is quoted may hold an '@' or a '<' that means nothing.
            '"' => {
                skip_quoted(&mut rest);
                spec.push('"');
            }
            '(' => skip_comment(&mut rest),
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
    // An angle that never closes is no address.
    (!in_angle).then_some(spec)
}

fn skip_quoted(rest: &mut std::str::Chars<'_>) {
    while let Some(c) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '"' => return,
            _ => {}
        }
    }
}

/// Comments nest (RFC 5322 §3.2.2).
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
    fn the_first_mailbox_is_found_behind_everything_that_may_stand_around_it() {
        for (value, domain) in [
            (" ann@example.com\r\n", Some("example.com")),
            (" Ann <ann@Example.COM>\r\n", Some("example.com")),
            (" \"Ann, a <b@evil.org>\" <ann@example.com>", Some("example.com")),
            (" \"x@evil.org\" <ann@example.com>", Some("example.com")),
            (" Ann (or b@evil.org (nested \\) )) <ann@example.com>", Some("example.com")),
            (" ann@example.com (Ann <b@evil.org>)", Some("example.com")),
            (" a@one.org, b@two.org", Some("one.org")),
            (" Ann <a@one.org>, b@two.org", Some("one.org")),
            (" Team: Ann <ann@example.com>, b@two.org;", Some("example.com")),
            (" \"a@b\"@example.com", Some("example.com")),
            (" <@relay.org,@two.org:ann@example.com>", Some("example.com")),
            (" ann @ example . com", Some("example.com")),
            (" Ann\r\n\t<ann@example.com>\r\n", Some("example.com")),
            (" =?utf-8?q?J=C3=BCrgen=40evil.org?= <j@example.com>", Some("example.com")),
            (" Jürgen <j@example.com>", Some("example.com")),
            (" a@[192.0.2.1]", Some("[192.0.2.1]")),
            (" a@[IPv6:2001:db8::1]", Some("[IPv6:2001:db8::1]")),
            (" j@exämple.com", None),
            (" undisclosed:;", None),
            (" Ann <ann@example.com", None),
            (" <>", None),
            (" Ann", None),
            (" \"never closed <a@example.com>", None),
            ("", None),
        ] {
            assert_eq!(first_domain(value.as_bytes()).as_deref(), domain, "{value:?}");
        }
    }
}
