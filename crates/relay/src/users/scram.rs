//! What a server keeps for SCRAM-SHA-256 (RFC 5802 §3, RFC 7677): enough to check a proof, not enough to make one.

use std::{fmt, num::NonZeroU32};

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac, pbkdf2,
};
use base64::{Engine, prelude::BASE64_STANDARD};

/// Rounds for new keys. RFC 7677 §4 asks for 4096 at least; the client has to do them for every connection.
const ROUNDS: NonZeroU32 = NonZeroU32::new(16_384).expect("not zero");
/// Rounds that a file may ask of clients.
const ROUNDS_MAX: u32 = 1_000_000;
/// What a line of keys begins with (RFC 5803 §2).
const SCHEME: &str = "SCRAM-SHA-256";

/// The keys of one user.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// `i=`
    pub iterations: NonZeroU32,
    /// `s=`
    pub salt: Vec<u8>,
    /// Checks the client's proof.
    pub stored_key: [u8; 32],
    /// Makes the server's signature.
    pub server_key: [u8; 32],
}

impl ScramKeys {
    /// New keys for a password; None where it would need SASLprep (RFC 4013), which not all clients do alike.
    pub fn of_password(password: &str) -> Option<Self> {
        let plain = !password.is_empty() && password.bytes().all(|b| (32..127).contains(&b));
        plain.then(|| Self::derive(password, &rand::random::<[u8; 16]>(), ROUNDS))
    }

    /// RFC 5802 §3.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
        let stored_key = digest(&SHA256, &hmac_sha256(&salted, b"Client Key"));
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: stored_key.as_ref().try_into().expect("SHA-256 has 32 bytes"),
            server_key: hmac_sha256(&salted, b"Server Key"),
        }
    }

    /// Keys for a user who is not there: the same each time he is asked for, as a real one's are, and no proof fits them.
    pub fn decoy(secret: &[u8; 32], name: &str) -> Self {
        let part = |what: &str| hmac_sha256(secret, format!("{what} {name}").as_bytes());
        Self { iterations: ROUNDS, salt: part("salt")[..16].to_vec(), stored_key: part("stored"), server_key: part("server") }
    }

    /// As it stands in a file: `SCRAM-SHA-256$ROUNDS:SALT$STORED:SERVER`, in base64.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(SCHEME)?.strip_prefix('$')?;
        let (before, after) = rest.split_once('$')?;
        let ((rounds, salt), (stored, server)) = (before.split_once(':')?, after.split_once(':')?);
        let decoded = |text: &str| BASE64_STANDARD.decode(text).ok();
        let key = |text: &str| decoded(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let iterations = rounds.parse().ok().filter(|n: &NonZeroU32| (4096..=ROUNDS_MAX).contains(&n.get()))?;
        let salt = decoded(salt).filter(|salt| (8..=64).contains(&salt.len()))?;
        Some(Self { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
    }
}

impl fmt::Display for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] = [&self.salt[..], &self.stored_key, &self.server_key].map(|bytes| BASE64_STANDARD.encode(bytes));
        write!(f, "{SCHEME}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys(…)")
    }
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677 §3: user "user", password "pencil".
    #[test]
    fn the_keys_are_those_of_the_rfc() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let keys = ScramKeys::derive("pencil", &salt, NonZeroU32::new(4096).unwrap());
        let said = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                    c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        assert_eq!(BASE64_STANDARD.encode(hmac_sha256(&keys.server_key, said.as_bytes())), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        // ClientKey is the proof without the signature; its hash is the stored key.
        let proof = BASE64_STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let signature = hmac_sha256(&keys.stored_key, said.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        assert_eq!(digest(&SHA256, &client_key).as_ref(), keys.stored_key);
    }

    #[test]
    fn keys_survive_the_file() {
        let keys = ScramKeys::of_password("pencil").unwrap();
        assert_eq!(ScramKeys::parse(&keys.to_string()), Some(keys));
    }

    #[test]
    fn keys_of_few_rounds_or_odd_shape_are_none() {
        let good = ScramKeys::of_password("pencil").unwrap().to_string();
        for bad in [
            "",
            "SCRAM-SHA-1$",
            &good.replace("16384", "1000"),
            &good.replace("16384", "0"),
            &good[..good.len() - 4],
            &good.replace('$', ":"),
        ] {
            assert!(ScramKeys::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_that_clients_prepare_differently_gets_no_keys() {
        assert!(ScramKeys::of_password("pässword").is_none() && ScramKeys::of_password("").is_none());
    }

    #[test]
    fn a_decoy_is_the_same_each_time_and_different_for_each_name() {
        let secret = [7; 32];
        assert_eq!(ScramKeys::decoy(&secret, "nobody"), ScramKeys::decoy(&secret, "nobody"));
        assert_ne!(ScramKeys::decoy(&secret, "nobody").salt, ScramKeys::decoy(&secret, "noone").salt);
        let real = ScramKeys::of_password("x").unwrap();
        let decoy = ScramKeys::decoy(&secret, "nobody");
        assert_eq!((decoy.salt.len(), decoy.iterations), (real.salt.len(), real.iterations));
    }
}
