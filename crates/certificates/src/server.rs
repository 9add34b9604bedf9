//! TLS as the server: versions 1.2 and 1.3, and the authorities that clients' certificates are checked against.

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
    server::{ResolvesServerCert, WebPkiClientVerifier},
};

/// Why a server configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is no authority to check clients' certificates against, or it cannot be used.
    #[error("no certificate of an authority that could vouch for clients: {0}")]
    Authority(String),
    /// An error of rustls.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The TLS configuration of a listener. With `client_ca` (PEM) clients are asked for a certificate; they may have none, but not a bad one.
pub fn server_config(certificates: Arc<dyn ResolvesServerCert>, client_ca: Option<&str>) -> Result<Arc<ServerConfig>, ServerError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let authority = |e: &dyn std::fmt::Display| ServerError::Authority(e.to_string());
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                roots.add(certificate.map_err(|e| authority(&e))?)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|e| authority(&e))?)
        }
    };
    Ok(Arc::new(builder.with_cert_resolver(certificates)))
}
