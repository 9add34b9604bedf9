//! SCRAM keys (RFC 5802 §3, RFC 7677) as files keep them: `SCRAM-SHA-256$ROUNDS:SALT$STORED:SERVER`, in base64.

use base64::{Engine, prelude::BASE64_STANDARD};
use posthaste_smtp::server::sasl::ScramKeys;

/// Rounds for new keys. RFC 7677 §4 asks for at least 4096; the client has to compute them for every connection.
pub const ROUNDS: u32 = 16_384;
/// Bytes of a new salt.
pub(super) const SALT: usize = 16;
/// Rounds that a file may demand of clients.
const ROUNDS_TAKEN: std::ops::RangeInclusive<u32> = 4096..=1_000_000;
/// What a line of keys begins with (RFC 5803 §2).
const SCHEME: &str = "SCRAM-SHA-256";

/// Makes new keys for a password, with a fresh salt.
pub fn of_password(password: &str) -> ScramKeys {
    ScramKeys::derive(password, &rand::random::<[u8; SALT]>(), ROUNDS)
}

/// Parses the form used in files.
pub fn parse(text: &str) -> Option<ScramKeys> {
    let rest = text.strip_prefix(SCHEME)?.strip_prefix('$')?;
    let (before, after) = rest.split_once('$')?;
    let ((rounds, salt), (stored, server)) = (before.split_once(':')?, after.split_once(':')?);
    let decoded = |text: &str| BASE64_STANDARD.decode(text).ok();
    let key = |text: &str| decoded(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let iterations = rounds.parse().ok().filter(|n| ROUNDS_TAKEN.contains(n))?;
    let salt = decoded(salt).filter(|salt| (8..=64).contains(&salt.len()))?;
    Some(ScramKeys { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
}

/// Writes the form used in files.
pub fn format(keys: &ScramKeys) -> String {
    let [salt, stored, server] = [&keys.salt[..], &keys.stored_key, &keys.server_key].map(|bytes| BASE64_STANDARD.encode(bytes));
    format!("{SCHEME}${}:{salt}${stored}:{server}", keys.iterations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_file() {
        let keys = of_password("pencil");
        assert_eq!(parse(&format(&keys)), Some(keys));
    }

    /// User "user", password "pencil", as in RFC 7677 §3.
    #[test]
    fn keys_of_other_programs_are_understood() {
        let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        assert_eq!(parse(text), Some(ScramKeys::derive("pencil", &salt, 4096)));
    }

    #[test]
    fn keys_of_few_rounds_or_odd_shape_are_none() {
        let good = format(&of_password("pencil"));
        let (few, none) = (good.replace("16384", "1000"), good.replace("16384", "0"));
        for bad in ["", "SCRAM-SHA-1$", &few, &none, &good[..good.len() - 4], &good.replace('$', ":")] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }
}
