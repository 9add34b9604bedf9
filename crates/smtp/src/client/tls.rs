//! TLS towards receivers: two ways to verifier a certificate, and the truth about what was had.

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
    /// The roots make no verifier: there are none.
    #[error("the trust roots cannot be used: {0}")]
    Roots(#[from] rustls::client::VerifierBuilderError),
    /// The crypto library offers nothing fitting.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// The two ways of TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TlsConfigs {
    /// Takes any certificate (its owner must still prove to have the key).
    pub lax: Arc<ClientConfig>,
    /// Takes a certificate that is valid for the host's name only.
    pub strict: Arc<ClientConfig>,
    /// The strict verifier, asked for its opinion after a lax handshake too.
    verifier: Arc<dyn ServerCertVerifier>,
}

impl TlsConfigs {
    /// Trusts these roots.
    pub fn new(roots: RootCertStore) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Self::with_verifier(verifier)
    }

    /// Trusts what this verifier trusts: the platform's, say.
    pub fn with_verifier(verifier: Arc<dyn ServerCertVerifier>) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let lax = config(&provider, Arc::new(AnyCertificate(Arc::clone(&provider))))?;
        let strict = config(&provider, Arc::clone(&verifier))?;
        Ok(Self { lax, strict, verifier })
    }

    /// What the handshake brought. Under the lax way the certificate is judged all the same, so that the log tells the truth.
    pub(crate) fn facts(&self, policy: TlsPolicy, host: &str, connection: &ClientConnection) -> TlsFacts {
        TlsFacts {
            tls_version: connection.protocol_version().and_then(version),
            tls_cipher: connection.negotiated_cipher_suite().and_then(|c| iana_name(c.suite())),
            tls_policy: Some(policy.as_str()),
            // The strict handshake would not have ended otherwise.
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

/// Opportunistic TLS (RFC 7435): a certificate of any name, age and issuer, because plain text would be the alternative.
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

/// rustls calls TLS 1.3's suites by names of its own.
fn iana_name(suite: CipherSuite) -> Option<&'static str> {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        other => other.as_str(),
    }
}
