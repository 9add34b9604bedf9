//! TLS towards receivers: two ways to verify a certificate, and a record of the outcome.

use std::{fmt, sync::Arc};

use posthaste_mail::TlsFacts;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, ProtocolVersion, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::TlsPolicy;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// No verifier can be built from the roots: there are none.
    #[error("the trust roots cannot be used: {0}")]
    Roots(#[from] rustls::client::VerifierBuilderError),
    /// The crypto library does not support what is needed.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// The two TLS client configurations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TlsConfigs {
    /// Accepts any certificate (the receiver must still prove that it has the key).
    pub(super) lax: Arc<ClientConfig>,
    /// Accepts only a certificate that is valid for the host's name.
    pub strict: Arc<ClientConfig>,
    /// The strict verifier, also consulted after a lax handshake.
    verifier: Arc<dyn ServerCertVerifier>,
}

impl TlsConfigs {
    /// Trusts these roots.
    pub fn new(roots: RootCertStore) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Self::with_verifier(verifier)
    }

    /// Trusts what this verifier trusts, such as the platform's.
    pub fn with_verifier(verifier: Arc<dyn ServerCertVerifier>) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let lax = config(&provider, Arc::new(AnyCertificate(Arc::clone(&provider))))?;
        let strict = config(&provider, Arc::clone(&verifier))?;
        Ok(Self { lax, strict, verifier })
    }

    /// The facts about a handshake. The certificate is verified after a lax handshake too, so that the log says whether it was valid.
    pub(crate) fn facts(&self, policy: TlsPolicy, host: &str, connection: &ClientConnection) -> TlsFacts {
        TlsFacts {
            tls_version: connection.protocol_version().and_then(version),
            tls_cipher: connection.negotiated_cipher_suite().and_then(|c| iana_name(c.suite())),
            tls_policy: Some(policy.as_str()),
            // The strict handshake fails otherwise.
            tls_verified: Some(policy == TlsPolicy::Verify || self.would_verify(host, connection)),
            tls_fallback: None,
        }
    }

    fn would_verify(&self, host: &str, connection: &ClientConnection) -> bool {
        let Some([leaf, chain @ ..]) = connection.peer_certificates() else { return false };
        let Ok(name) = ServerName::try_from(host) else { return false };
        let Some(now) = self.strict.time_provider.current_time() else { return false };
        self.verifier.verify_server_cert(leaf, chain, &name, &[], now).is_ok()
    }
}

fn config(provider: &Arc<CryptoProvider>, verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

/// Opportunistic TLS (RFC 7435): accepts a certificate of any name, age and issuer, because the alternative is plain text.
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for AnyCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyCertificate")
    }
}

fn version(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        other => other.as_str(),
    }
}

/// rustls has names of its own for TLS 1.3's suites.
fn iana_name(suite: CipherSuite) -> Option<&'static str> {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        other => other.as_str(),
    }
}
