//! Private keys: reading and generating them, and their public half for DNS.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use mail_auth::common::crypto::{DkimKey, Ed25519Key, RsaKey};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};

/// RFC 8301 §3.2: signers use at least 1024 bits and should use 2048; the crypto library accepts no fewer than 2048.
const RSA_BITS_MIN: usize = 2048;
/// RFC 8301 §3.2: verifiers need not support longer keys.
const RSA_BITS_MAX: usize = 4096;

/// The signature algorithm: the `a=` tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSA PKCS#1 v1.5 over SHA-256 (RFC 6376 §3.3.1). New keys have 2048 bits.
    #[serde(rename = "rsa-sha256")]
    RsaSha256,
    /// Ed25519 over SHA-256 (RFC 8463). Not every receiver supports it: sign with an RSA key too.
    #[serde(rename = "ed25519-sha256")]
    Ed25519Sha256,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        })
    }
}

/// Why a text is not a usable signing key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not PEM, or not of a private key.
    #[error("no private key in it: expected PEM with -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----")]
    NoKey,
    /// The key is protected by a passphrase.
    #[error("the key is encrypted; decrypt it with: openssl pkey -in KEY -out KEY.plain")]
    Encrypted,
    /// It is neither an RSA nor an Ed25519 key, or it is damaged or too short.
    #[error("neither an RSA key of {RSA_BITS_MIN} bits or more nor an Ed25519 key: {0}")]
    Unfit(String),
    /// It is longer than receivers support.
    #[error("the RSA key has {0} bits; receivers need to support at most {RSA_BITS_MAX} (RFC 8301)")]
    TooLong(usize),
    /// The crypto library failed to generate a key.
    #[error("the crypto library failed to generate a key")]
    Generate,
}

/// A private key, ready to sign. Cheap to clone; never printed.
#[derive(Clone)]
pub struct Key(Arc<KeyParts>);

struct KeyParts {
    signing: DkimKey,
    algorithm: Algorithm,
    bits: usize,
    /// RSA: SubjectPublicKeyInfo; Ed25519: the 32 bytes (RFC 8463 §4).
    public: Vec<u8>,
}

impl Key {
    /// Reads the first private key of a PEM text: PKCS#8 (RSA or Ed25519) or PKCS#1 (RSA).
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| match text.contains("ENCRYPTED") {
            true => KeyError::Encrypted,
            false => KeyError::NoKey,
        })?;
        match &der {
            // Some tools keep the PKCS#1 header and encrypt the contents.
            PrivateKeyDer::Pkcs1(_) if text.contains("ENCRYPTED") => Err(KeyError::Encrypted),
            PrivateKeyDer::Pkcs1(pkcs1) => {
                rsa::KeyPair::from_der(pkcs1.secret_pkcs1_der()).map_err(unfit).and_then(|pair| from_rsa(&pair, der))
            }
            PrivateKeyDer::Pkcs8(pkcs8) => match Ed25519KeyPair::from_pkcs8(pkcs8.secret_pkcs8_der()) {
                Ok(pair) => from_ed25519(&pair, pkcs8.secret_pkcs8_der()),
                Err(_) => rsa::KeyPair::from_pkcs8(pkcs8.secret_pkcs8_der()).map_err(unfit).and_then(|pair| from_rsa(&pair, der)),
            },
            _ => Err(KeyError::Unfit("it is an elliptic-curve key of another kind".into())),
        }
    }

    /// Generates a key (an RSA key gets 2048 bits). Also returns its PKCS#8 PEM, for a file that only the relay may read.
    pub fn generate(algorithm: Algorithm) -> Result<(Self, String), KeyError> {
        Self::generate_sized(algorithm, RSA_BITS_MIN)
    }

    /// Like [`Self::generate`]; an RSA key gets 2048, 3072 or 4096 bits, whichever is the next size for `bits`.
    pub fn generate_sized(algorithm: Algorithm, bits: usize) -> Result<(Self, String), KeyError> {
        let generate = |_| KeyError::Generate;
        let der = match algorithm {
            Algorithm::RsaSha256 => {
                let size = match bits {
                    0..=2048 => rsa::KeySize::Rsa2048,
                    2049..=3072 => rsa::KeySize::Rsa3072,
                    _ => rsa::KeySize::Rsa4096,
                };
                let pair = rsa::KeyPair::generate(size).map_err(generate)?;
                AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(generate)?.as_ref().to_vec()
            }
            // Version 1 of PKCS#8, as OpenSSL 3.0 does not read version 2.
            Algorithm::Ed25519Sha256 => Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(generate)?.as_ref().to_vec(),
        };
        let pem = pem("PRIVATE KEY", &der);
        Ok((Self::from_pem(&pem)?, pem))
    }

    /// Its signature algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    /// The length of the key in bits: that of the RSA modulus, or 256 for Ed25519.
    pub fn bits(&self) -> usize {
        self.0.bits
    }

    /// The TXT record that publishes the public half (RFC 6376 §3.6.1), as one line: `v=DKIM1; k=rsa; p=…`.
    pub fn public_record(&self) -> String {
        let kind = match self.0.algorithm {
            Algorithm::RsaSha256 => "rsa",
            Algorithm::Ed25519Sha256 => "ed25519",
        };
        format!("v=DKIM1; k={kind}; p={}", BASE64_STANDARD.encode(&self.0.public))
    }

    /// The public half, as in `p=` of the DNS record.
    pub(crate) fn public(&self) -> &[u8] {
        &self.0.public
    }

    pub(crate) fn signing(&self) -> &DkimKey {
        &self.0.signing
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {} bits)", self.0.algorithm, self.0.bits)
    }
}

fn from_rsa(pair: &rsa::KeyPair, der: PrivateKeyDer<'_>) -> Result<Key, KeyError> {
    let bits = pair.public_modulus_len() * 8;
    if bits > RSA_BITS_MAX {
        return Err(KeyError::TooLong(bits));
    }
    // RFC 6376 §3.6.1 asks for RSAPublicKey; its erratum 3017, and every verifier, take SubjectPublicKeyInfo.
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map_err(unfit)?.as_ref().to_vec();
    let signing = DkimKey::Rsa(RsaKey::from_key_der(der).map_err(unfit)?);
    Ok(Key(Arc::new(KeyParts { signing, algorithm: Algorithm::RsaSha256, bits, public })))
}

fn from_ed25519(pair: &Ed25519KeyPair, pkcs8: &[u8]) -> Result<Key, KeyError> {
    let signing = DkimKey::Ed25519(Ed25519Key::from_pkcs8_der(pkcs8).map_err(unfit)?);
    let public = pair.public_key().as_ref().to_vec();
    Ok(Key(Arc::new(KeyParts { signing, algorithm: Algorithm::Ed25519Sha256, bits: 256, public })))
}

fn unfit(error: impl fmt::Display) -> KeyError {
    KeyError::Unfit(error.to_string())
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for at in (0..text.len()).step_by(64) {
        pem.push_str(&text[at..text.len().min(at + 64)]);
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made for these tests by `openssl genrsa -traditional 2048`, `openssl genpkey`; they sign nothing else.
    const PKCS1: &str = include_str!("../tests/keys/rsa-pkcs1.pem");
    const PKCS8: &str = include_str!("../tests/keys/rsa-pkcs8.pem");
    const ED25519: &str = include_str!("../tests/keys/ed25519.pem");

    #[test]
    fn both_forms_of_an_rsa_key_are_the_same_key() {
        let (a, b) = (Key::from_pem(PKCS1).unwrap(), Key::from_pem(PKCS8).unwrap());
        assert_eq!((a.algorithm(), a.bits()), (Algorithm::RsaSha256, 2048));
        assert_eq!(a.public_record(), b.public_record());
        assert_eq!(a.public_record(), format!("v=DKIM1; k=rsa; p={}", include_str!("../tests/keys/rsa-public.b64").trim()));
    }

    #[test]
    fn an_ed25519_key_of_openssl_is_read() {
        let key = Key::from_pem(ED25519).unwrap();
        assert_eq!((key.algorithm(), key.bits()), (Algorithm::Ed25519Sha256, 256));
        assert_eq!(key.public_record(), format!("v=DKIM1; k=ed25519; p={}", include_str!("../tests/keys/ed25519-public.b64").trim()));
    }

    #[test]
    fn a_generated_key_is_read_back_from_its_pem() {
        for algorithm in [Algorithm::RsaSha256, Algorithm::Ed25519Sha256] {
            let (key, pem) = Key::generate(algorithm).unwrap();
            assert_eq!(Key::from_pem(&pem).unwrap().public_record(), key.public_record());
            assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n") && pem.lines().all(|line| line.len() <= 64));
        }
    }

    #[test]
    fn a_key_is_as_long_as_was_asked() {
        assert_eq!(Key::generate_sized(Algorithm::RsaSha256, 3072).unwrap().0.bits(), 3072);
        assert_eq!(Key::generate_sized(Algorithm::Ed25519Sha256, 3072).unwrap().0.bits(), 256);
    }

    #[test]
    fn what_cannot_sign_is_refused_with_its_reason() {
        assert_eq!(Key::from_pem("").unwrap_err(), KeyError::NoKey);
        assert_eq!(Key::from_pem(include_str!("../tests/keys/encrypted.pem")).unwrap_err(), KeyError::Encrypted);
        assert_eq!(Key::from_pem(include_str!("../tests/keys/encrypted-pkcs1.pem")).unwrap_err(), KeyError::Encrypted);
        assert!(matches!(Key::from_pem(include_str!("../tests/keys/ec-p256.pem")), Err(KeyError::Unfit(_))));
        assert!(matches!(Key::from_pem(include_str!("../tests/keys/rsa-1024.pem")), Err(KeyError::Unfit(_))));
    }

    #[test]
    fn a_key_is_not_printed() {
        let debug = format!("{:?}", Key::from_pem(ED25519).unwrap());
        assert_eq!(debug, "Key(ed25519-sha256, 256 bits)");
    }

    #[test]
    fn pem_armour_survives_a_reader() {
        let der = rustls_pki_types::PrivatePkcs8KeyDer::from_pem_slice(PKCS8.as_bytes()).unwrap();
        assert_eq!(pem("PRIVATE KEY", der.secret_pkcs8_der()).trim(), PKCS8.trim());
    }
}
