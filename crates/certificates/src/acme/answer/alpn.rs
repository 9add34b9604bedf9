//! tls-alpn-01 (RFC 8737): a certificate that holds the answer, shown only to clients that offer the protocol "acme-tls/1".

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rcgen::{CertificateParams, CustomExtension};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::PrivatePkcs8KeyDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{PairError, server_config};

const PROTOCOL: &[u8] = b"acme-tls/1";

/// The certificates to show, by server name.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl Names {
    /// Makes the certificate for `name`; `digest` is the SHA-256 of the answer.
    pub(super) fn expect(&self, name: &str, digest: &[u8]) -> Result<(), PairError> {
        let unfit = |error: rcgen::Error| PairError::Unfit(error.to_string());
        let key = rcgen::KeyPair::generate().map_err(unfit)?;
        let mut params = CertificateParams::new([name.to_owned()]).map_err(unfit)?;
        params.custom_extensions.push(CustomExtension::new_acme_identifier(digest));
        let certificate = params.self_signed(&key).map_err(unfit)?.der().clone();
        let signer = any_supported_type(&PrivatePkcs8KeyDer::from(key.serialize_der()).into());
        let signer = signer.map_err(|e| PairError::Unfit(e.to_string()))?;
        let shown = Arc::new(CertifiedKey::new(vec![certificate], signer));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_ascii_lowercase(), shown);
        Ok(())
    }

    /// Does a handshake and closes the connection.
    pub(super) async fn converse(self: Arc<Self>, stream: TcpStream) {
        let done = async {
            let mut config = server_config(self, None).map_err(std::io::Error::other)?;
            Arc::make_mut(&mut config).alpn_protocols.push(PROTOCOL.to_vec());
            TlsAcceptor::from(config).accept(stream).await?.shutdown().await
        };
        if let Err(error) = done.await {
            tracing::debug!(%error, "a TLS handshake for tls-alpn-01 failed");
        }
    }

    fn choose<'p>(&self, name: Option<&str>, mut protocols: impl Iterator<Item = &'p [u8]>) -> Option<Arc<CertifiedKey>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        protocols.any(|protocol| protocol == PROTOCOL).then(|| known.get(&name?.to_ascii_lowercase()).cloned()).flatten()
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.alpn().into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_authority_sees_the_answer_and_only_for_a_name_that_is_expected() {
        let names = Names::default();
        names.expect("A.test", &[7; 32]).unwrap();
        let shown = |name, protocol: &'static [u8]| names.choose(name, [b"h2".as_slice(), protocol].into_iter());
        let certificate = shown(Some("a.test"), PROTOCOL).unwrap().cert[0].clone();
        // RFC 8737 §3: id-pe-acmeIdentifier, critical, an OCTET STRING with the digest.
        let extension =
            [[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04, 0x20].as_slice(), &[7; 32]]
                .concat();
        assert!(certificate.windows(extension.len()).any(|window| window == extension));
        assert!(shown(Some("b.test"), PROTOCOL).is_none());
        assert!(shown(Some("a.test"), b"http/1.1").is_none());
        assert!(shown(None, PROTOCOL).is_none());
    }
}
