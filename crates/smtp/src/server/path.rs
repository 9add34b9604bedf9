//! Parses `<path>` and splits the parameters after it (RFC 5321 §4.1.2). A quoted local part may hold `>`, spaces and `@`.

use posthaste_mail::{Address, AddressError, Domain, ReversePath};

/// The recipient that needs no domain (RFC 5321 §4.1.1.3).
const POSTMASTER: &str = "postmaster";

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    #[error("an address stands between < and >")]
    Brackets,
    #[error("a parameter is keyword or keyword=value, after a blank")]
    Parameters,
    #[error("a recipient has a domain")]
    Postmaster,
    #[error("a source route is @domain,@domain:address")]
    Route,
    #[error("{0}")]
    Address(#[from] AddressError),
}

/// A path in its brackets, and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bracketed<'a> {
    /// The text between the brackets, including a source route.
    pub(super) inner: &'a str,
    /// The parameters, including spaces.
    pub(super) rest: &'a str,
}

/// The path of MAIL or RCPT and what follows it. `lenient`: without its brackets, or with blanks inside them, too.
pub(super) fn read(text: &str, lenient: bool) -> Result<Bracketed<'_>, PathError> {
    if !lenient {
        return bracketed(text);
    }
    let Bracketed { inner, rest } = bracketed(text).or_else(|_| unbracketed(text.trim_start_matches(' ')))?;
    Ok(Bracketed { inner: inner.trim_matches(' '), rest })
}

/// An address as far as the next blank, or one in brackets behind a name.
fn unbracketed(text: &str) -> Result<Bracketed<'_>, PathError> {
    let end = outside_quotes(text, b' ').unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    if !first.contains('@') && !first.eq_ignore_ascii_case(POSTMASTER) {
        let at = outside_quotes(text, b'<').ok_or(PathError::Brackets)?;
        return bracketed(&text[at..]);
    }
    let inner = first.strip_prefix('<').unwrap_or(first);
    Ok(Bracketed { inner: inner.strip_suffix('>').unwrap_or(inner), rest })
}

/// Where the first such byte stands that no quotes hold.
fn outside_quotes(text: &str, wanted: u8) -> Option<usize> {
    let mut quoted = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if quoted => drop(bytes.next()),
            b'"' => quoted = !quoted,
            other if other == wanted && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Splits at the first `>` outside quotes. Spaces before `<` are tolerated: many clients write `FROM: <a@b>`.
fn bracketed(text: &str) -> Result<Bracketed<'_>, PathError> {
    let text = text.trim_start_matches(' ').strip_prefix('<').ok_or(PathError::Brackets)?;
    let at = outside_quotes(text, b'>').ok_or(PathError::Brackets)?;
    Ok(Bracketed { inner: &text[..at], rest: &text[at + 1..] })
}

/// The argument of MAIL FROM: an address or nothing.
pub(super) fn reverse(inner: &str) -> Result<ReversePath, PathError> {
    if inner.is_empty() {
        return Ok(ReversePath::Null);
    }
    mailbox(inner).map(ReversePath::Mailbox)
}

/// The argument of RCPT TO: an address. The bare `postmaster` of RFC 5321 §4.1.1.3 is an error of its own, because it has no
/// domain to go to.
pub(super) fn forward(inner: &str) -> Result<Address, PathError> {
    if inner.eq_ignore_ascii_case(POSTMASTER) {
        return Err(PathError::Postmaster);
    }
    mailbox(inner)
}

/// RFC 5321 §4.1.1.3 and appendix F.2: a source route is parsed and ignored.
fn mailbox(inner: &str) -> Result<Address, PathError> {
    let text = if inner.starts_with('@') { after_route(inner)? } else { inner };
    Ok(Address::international(text)?)
}

fn after_route(mut text: &str) -> Result<&str, PathError> {
    loop {
        text = text.strip_prefix('@').ok_or(PathError::Route)?;
        // An address literal may contain colons.
        let skip = if text.starts_with('[') { text.find(']').ok_or(PathError::Route)? } else { 0 };
        let end = skip + text[skip..].find([',', ':']).ok_or(PathError::Route)?;
        Domain::new(&text[..end]).map_err(|_| PathError::Route)?;
        let last = text.as_bytes()[end] == b':';
        text = &text[end + 1..];
        if last {
            return Ok(text);
        }
    }
}

/// The parameters, each `keyword` or `keyword=value`, separated by spaces.
pub(super) fn parameters(rest: &str) -> Result<Vec<(&str, Option<&str>)>, PathError> {
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(PathError::Parameters);
    }
    rest.split(' ').filter(|p| !p.is_empty()).map(parameter).collect()
}

fn parameter(text: &str) -> Result<(&str, Option<&str>), PathError> {
    let (keyword, value) = text.split_once('=').map_or((text, None), |(k, v)| (k, Some(v)));
    let keyword_fits =
        keyword.starts_with(|c: char| c.is_ascii_alphanumeric()) && keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let value_fits = value.is_none_or(|v| !v.is_empty() && v.bytes().all(|b| matches!(b, 33..=126 | 128..) && b != b'='));
    if keyword_fits && value_fits { Ok((keyword, value)) } else { Err(PathError::Parameters) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward_text(text: &str) -> Result<(String, String), PathError> {
        let path = bracketed(text)?;
        Ok((forward(path.inner)?.as_str().to_owned(), path.rest.to_owned()))
    }

    #[test]
    fn a_quoted_local_part_keeps_what_looks_like_syntax() {
        for (text, address, rest) in [
            ("<a@b.c>", "a@b.c", ""),
            (" <a@b.c> SIZE=1", "a@b.c", " SIZE=1"),
            (r#"<"x> NOTIFY=NEVER"@c.d> SIZE=2"#, r#""x> NOTIFY=NEVER"@c.d"#, " SIZE=2"),
            (r#"<"a@b"@c.d>"#, r#""a@b"@c.d"#, ""),
            (r#"<"a\">b"@c.d>x"#, r#""a\">b"@c.d"#, "x"),
            (r#"<"a\\"@c.d>"#, r#""a\\"@c.d"#, ""),
        ] {
            assert_eq!(forward_text(text), Ok((address.to_owned(), rest.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in
            ["a@b.c", "<a@b.c", "", "<>", "<a>", r#"<"a@b.c>"#, r#"<"a"b@c.d>"#, "<<a@b.c>>", "<a@b.c\"> \">", "<a b@c.d>", "< a@b.c>"]
        {
            assert!(forward_text(text).is_err(), "{text}");
        }
        assert_eq!(forward("Postmaster"), Err(PathError::Postmaster));
        assert_eq!(reverse(""), Ok(ReversePath::Null));
    }

    #[test]
    fn a_source_route_is_read_and_forgotten() {
        for (inner, address) in
            [("@x.org:a@b.c", "a@b.c"), ("@x.org,@y.org:a@b.c", "a@b.c"), ("@[IPv6:::1],@y.org:\"a:b\"@b.c", "\"a:b\"@b.c")]
        {
            assert_eq!(forward(inner).unwrap().as_str(), address);
        }
        for inner in
            ["@x.org", "@x.org,a@b.c", "@x.org,@y.org", "@x..org:a@b.c", "@:a@b.c", "@[::1:a@b.c", "@x.org:", "@x.org:@y.org:a@b.c"]
        {
            assert!(forward(inner).is_err(), "{inner}");
        }
    }

    #[test]
    fn parameters_are_keywords_with_or_without_values() {
        assert_eq!(parameters(" SIZE=10  BODY=8BITMIME X"), Ok(vec![("SIZE", Some("10")), ("BODY", Some("8BITMIME")), ("X", None)]));
        assert_eq!(parameters("  "), Ok(vec![]));
        for rest in ["SIZE=1", " =1", " SIZE=", " SIZE=1=2", " -A", " A_B", ">"] {
            assert_eq!(parameters(rest), Err(PathError::Parameters), "{rest:?}");
        }
    }
}
