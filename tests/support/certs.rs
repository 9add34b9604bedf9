//! Certificates for receivers.

use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::mx::Tls;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The authority of all these tests, as a file for `tls.roots`.
pub fn authority_pem() -> &'static str {
    &authority().pem
}

/// TLS with a certificate for `name` by that authority.
pub fn certified(name: &str) -> Tls {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a host name");
    let certificate = params.signed_by(&key, &authority().issuer).expect("a certificate");
    Tls::Good(config(certificate.der().clone(), &key))
}

/// TLS with a certificate for `name` that nobody else vouches for.
pub fn self_signed(name: &str) -> Tls {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a host name");
    let certificate = params.self_signed(&key).expect("a certificate");
    Tls::Good(config(certificate.der().clone(), &key))
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = CertificateParams::new([]).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    })
}

fn config(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("the usual versions");
    Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate], key).expect("the key fits"))
}
