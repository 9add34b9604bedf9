//! OAUTHBEARER (RFC 7628) and XOAUTH2: a token in place of a password.

use posthaste_mail::Secret;

use super::{Credentials, Turn};

/// The challenge that reports a refused token before the exchange fails (RFC 7628 §3.2.2).
pub(in super::super) const REFUSED: &[u8] = br#"{"status":"invalid_token"}"#;
/// Ends a key-value pair.
const SEPARATOR: char = '\x01';

/// How the message is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Dialect {
    OAuthBearer,
    XOAuth2,
}

impl Dialect {
    pub(super) fn hear(self, message: &[u8]) -> Turn {
        let read = str::from_utf8(message).ok().and_then(|text| match self {
            Self::OAuthBearer => oauth_bearer(text),
            Self::XOAuth2 => xoauth2(text),
        });
        match read {
            Some((user, token)) => Turn::Ask(Credentials::Bearer { user, token: Secret::new(token) }),
            None => Turn::Malformed("no bearer token is in it"),
        }
    }
}

/// RFC 7628 §3.1: a GS2 header, then keys and values between ^A, ended by ^A^A.
fn oauth_bearer(text: &str) -> Option<(String, &str)> {
    let (header, pairs) = text.split_once(SEPARATOR)?;
    // A token has no channel binding, so the flag is "n" or "y".
    let user = header.strip_prefix("n,").or_else(|| header.strip_prefix("y,"))?.strip_suffix(',')?;
    let user = if user.is_empty() { String::new() } else { super::scram::name(user.strip_prefix("a=")?)? };
    Some((user, token(pairs)?))
}

/// `user=` NAME ^A `auth=Bearer ` TOKEN ^A ^A
fn xoauth2(text: &str) -> Option<(String, &str)> {
    let (user, pairs) = text.split_once(SEPARATOR)?;
    Some((user.strip_prefix("user=")?.to_owned(), token(pairs)?))
}

/// The token in the pair `auth`; the others (host, port) do not matter here.
fn token(pairs: &str) -> Option<&str> {
    let pairs = pairs.strip_suffix(SEPARATOR)?.strip_suffix(SEPARATOR)?;
    let (scheme, token) = pairs.split(SEPARATOR).find_map(|pair| pair.strip_prefix("auth="))?.split_once(' ')?;
    // RFC 6750 §2.1.
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty() && token.bytes().all(fits)).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_in_both_wrappings() {
        let asked = |dialect: Dialect, text: &str| match dialect.hear(text.as_bytes()) {
            Turn::Ask(Credentials::Bearer { user, token }) => Some((user, token.reveal().to_owned())),
            _ => None,
        };
        let is = |user: &str| Some((user.to_owned(), "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==".to_owned()));
        let auth = "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01";
        let bearer = Dialect::OAuthBearer;
        assert_eq!(asked(bearer, &format!("n,a=user@example.com,\x01host=s.example.com\x01port=587\x01{auth}")), is("user@example.com"));
        assert_eq!(asked(bearer, &format!("n,,\x01{auth}")), is(""));
        assert_eq!(asked(Dialect::XOAuth2, &format!("user=user@example.com\x01{auth}")), is("user@example.com"));
        for bad in
            ["", "n,,\x01\x01\x01", "p=x,,\x01auth=Bearer a\x01\x01", "n,,\x01auth=Basic a\x01\x01", "n,,\x01auth=Bearer a b\x01\x01"]
        {
            assert_eq!(asked(bearer, bad), None, "{bad:?}");
            assert_eq!(asked(Dialect::XOAuth2, bad), None, "{bad:?}");
        }
    }
}
