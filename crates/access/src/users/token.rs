//! Bearer tokens: 256 random bits, of which only the SHA-256 hash is kept.

use std::{fmt, fmt::Write};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

/// The prefix of tokens, by which a token leaked into a repository can be found.
const TOKEN_PREFIX: &str = "posthaste_";
/// The prefix of a token's hash in the file.
const HASH_PREFIX: &str = "sha256:";

/// SHA-256 of a token. Passwords need a slow hash; 256 random bits cannot be guessed however fast the hash is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token as the client sends it.
    pub fn of(token: &str) -> Self {
        Self(digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Parses the form used in files: `sha256:` and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(HASH_PREFIX)?.as_bytes();
        let digit = |at: usize| digits.get(at).and_then(|d| char::from(*d).to_digit(16));
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from(digit(2 * i)? << 4 | digit(2 * i + 1)?).ok()?;
        }
        (digits.len() == 64).then_some(Self(bytes))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes all");
            text
        });
        write!(f, "{HASH_PREFIX}{digits}")
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes a new token, to be shown once, and its hash, to be stored.
pub fn generate() -> (String, TokenHash) {
    let token = format!("{TOKEN_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let hash = TokenHash::of(&token);
    (token, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_survives_the_file_and_no_two_tokens_are_the_same() {
        let ((token, hash), (other, _)) = (generate(), generate());
        assert_ne!(token, other);
        assert_eq!(TokenHash::parse(&hash.to_string()), Some(TokenHash::of(&token)));
        // The SHA-256 of "abc" (FIPS 180-2).
        assert_eq!(TokenHash::of("abc").to_string(), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn what_is_no_hash_is_none() {
        let digits = "0".repeat(64);
        for bad in [
            "",
            "sha256:",
            &digits,
            &format!("sha256:{}", &digits[1..]),
            &format!("sha256:{digits}0"),
            &format!("sha256:g{}", &digits[1..]),
        ] {
            assert!(TokenHash::parse(bad).is_none(), "{bad:?}");
        }
    }
}
