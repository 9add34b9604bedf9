//! A certificate and its key.

use std::{io, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use rustls::{
    InconsistentKeys,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::FromDer;

use super::names;

/// A certificate chain with its key, ready for handshakes.
#[derive(Debug)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate's file holds no certificate.
    #[error("no PEM certificate is there (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// The key's file holds no key.
    #[error("no PEM private key is there (-----BEGIN PRIVATE KEY-----), or it has a password")]
    NoKey,
    /// TLS cannot use keys of this kind, or the certificate is malformed.
    #[error("not fit for TLS: {0}")]
    Unfit(String),
    /// The key does not belong to the certificate.
    #[error("the key is not that of the first certificate in the file")]
    Mismatch,
}

impl Pair {
    /// Reads PEM: the chain, the certificate itself first, and its private key.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, PairError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(PairError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| PairError::NoKey)?;
        Self::new(chain, &key)
    }

    /// Makes a self-signed certificate for first steps. Clients that check certificates refuse it.
    pub fn self_signed(hostname: &str) -> Result<Self, PairError> {
        let unfit = |error: rcgen::Error| PairError::Unfit(error.to_string());
        let key = rcgen::KeyPair::generate().map_err(unfit)?;
        let mut params = rcgen::CertificateParams::new([hostname.to_owned(), "localhost".to_owned()]).map_err(unfit)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, hostname);
        let certificate = params.self_signed(&key).map_err(unfit)?;
        Self::new(vec![certificate.der().clone()], &PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<Self, PairError> {
        let key = any_supported_type(key).map_err(|e| PairError::Unfit(e.to_string()))?;
        let parsed = x509_parser::certificate::X509Certificate::from_der(&chain[0]).map_err(|e| PairError::Unfit(e.to_string()))?.1;
        let not_before = Timestamp::from_second(parsed.validity().not_before.timestamp()).unwrap_or(Timestamp::MIN);
        let not_after = Timestamp::from_second(parsed.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX);
        let names = names::of(&chain[0]);
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            // The check is skipped for keys whose public half cannot be derived.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Ok(Self { key: Arc::new(key), names, not_before, not_after })
            }
            Err(rustls::Error::InconsistentKeys(_)) => Err(PairError::Mismatch),
            Err(error) => Err(PairError::Unfit(error.to_string())),
        }
    }

    /// The certificate and key for handshakes.
    pub fn key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }

    /// The names that it is for, in lower case.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When it becomes valid.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When it expires.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it is for this host; `*` stands for one label (RFC 9525 §6.3).
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let under = host.split_once('.').map(|(_, rest)| rest);
        self.names.iter().any(|name| *name == host || name.strip_prefix("*.").is_some_and(|rest| under == Some(rest)))
    }
}

/// Shared by tests.
#[cfg(test)]
pub(super) mod testing {
    /// A certificate for these names, and its key.
    pub(crate) fn pem(names: &[&str]) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::pem, *};

    #[test]
    fn a_pair_knows_its_names_and_its_end() {
        let (certificate, key) = pem(&["mx.example.test", "*.in.example.test"]);
        let pair = Pair::from_pem(&certificate, &key).unwrap();
        assert!(pair.is_for("MX.example.test") && pair.is_for("a.in.example.test"));
        assert!(!pair.is_for("in.example.test") && !pair.is_for("a.b.in.example.test") && !pair.is_for("example.test") && !pair.is_for(""));
        // rcgen's certificates last until the year 4096.
        assert_eq!(pair.not_after(), "4096-01-01T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn what_is_no_pair_says_why() {
        let ((certificate, key), (other, _)) = (pem(&["a.test"]), pem(&["b.test"]));
        let error = |certificate: &str, key: &str| Pair::from_pem(certificate, key).unwrap_err();
        assert!(matches!(error("", &key), PairError::NoCertificate));
        assert!(matches!(error(&key, &key), PairError::NoCertificate));
        assert!(matches!(error(&certificate, &certificate), PairError::NoKey));
        assert!(matches!(error(&other, &key), PairError::Mismatch));
        assert!(matches!(error("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key), PairError::Unfit(_)));
    }

    #[test]
    fn one_for_first_steps_is_for_the_relays_name() {
        assert!(Pair::self_signed("mx.example.test").unwrap().is_for("mx.example.test"));
        assert!(Pair::self_signed("localhost").is_ok());
    }
}
