//! Certificates for the tests' servers and clients.

use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
};

use crate::mx::Tls;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The certificate authority of all tests, as a file for `tls.roots`.
pub fn authority_pem() -> &'static str {
    &authority().pem
}

/// TLS with a certificate for `name` from that authority.
pub fn certified(name: &str) -> Tls {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([name.to_owned()]).expect("a host name");
    // Its subject must differ from its issuer's, or it would look self-signed.
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.signed_by(&key, &authority().issuer).expect("a certificate");
    Tls::Good(config(certificate.der().clone(), &key))
}

/// TLS with a self-signed certificate for `name`.
pub fn self_signed(name: &str) -> Tls {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a host name");
    let certificate = params.self_signed(&key).expect("a certificate");
    Tls::Good(config(certificate.der().clone(), &key))
}

/// A certificate for `name` from that authority, and its key, as PEM.
pub fn certified_pem(name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([name.to_owned()]).expect("a host name");
    // Its subject must differ from its issuer's, or it would look self-signed.
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.signed_by(&key, &authority().issuer).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

/// The same, valid between these days (year, month, day).
pub fn dated_pem(name: &str, from: (i32, u8, u8), until: (i32, u8, u8)) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([name.to_owned()]).expect("a host name");
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(from.0, from.1, from.2), date_time_ymd(until.0, until.1, until.2));
    let certificate = params.signed_by(&key, &authority().issuer).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

/// TLS towards a listener, whose certificate must be from that authority. `own` is shown if the listener asks for a certificate.
pub fn trusting(own: Option<&(String, String)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority_pem().as_bytes()).expect("PEM")).expect("an authority");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("the usual versions");
    let builder = builder.with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("the key fits")
        }
    })
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
