//! TLS settings of listeners and of outgoing connections.

use std::{collections::HashMap, sync::Arc};

use posthaste_certificates::{AcmeStore, Certificates, Pair, server_config};
use posthaste_config::Config;
use posthaste_host::Roots;
use posthaste_mail::Name;
use posthaste_smtp::client::TlsConfigs;
use posthaste_submission::ListenTlsMode;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::SettingsError;

/// TLS that trusts these roots; `key` is the configuration key that names them.
pub(super) fn tls_configs(roots: &Roots, key: &'static str) -> Result<TlsConfigs, SettingsError> {
    match roots {
        Roots::System => {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            match rustls_platform_verifier::Verifier::new(provider) {
                Ok(verifier) => Ok(TlsConfigs::with_verifier(Arc::new(verifier))?),
                Err(source) => Err(SettingsError::SystemRoots { source, key }),
            }
        }
        Roots::File { path, pem } => {
            let unfit = |why| SettingsError::Roots { path: path.clone(), why };
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let added = certificate.map_err(|e| e.to_string()).and_then(|c| roots.add(c).map_err(|e| e.to_string()));
                added.map_err(unfit)?;
            }
            TlsConfigs::new(roots).map_err(|e| unfit(e.to_string()))
        }
    }
}

pub(super) fn certificates(config: &Config) -> Result<HashMap<Name, Arc<Certificates>>, SettingsError> {
    let mut all = HashMap::new();
    for (name, listener) in config.listeners.iter().filter(|(_, l)| l.tls.mode != ListenTlsMode::None) {
        let given: Vec<_> = listener.tls.certificates.iter().map(|c| (c.files.clone(), c.pair.clone())).collect();
        let made_up = || Pair::self_signed(config.hostname.as_str());
        let shown = match (given.is_empty(), &listener.tls.acme) {
            (false, _) => Ok(Certificates::new(given)),
            (true, names) if names.is_empty() => made_up().map(Certificates::fixed),
            (true, names) => Certificates::awaited(AcmeStore::new(&config.data_dir, &config.acme.directory).files(names), made_up),
        };
        all.insert(name.clone(), Arc::new(shown?));
    }
    Ok(all)
}

pub(super) fn tls_servers(
    config: &Config,
    shown: &HashMap<Name, Arc<Certificates>>,
) -> Result<HashMap<Name, Arc<rustls::ServerConfig>>, SettingsError> {
    let server = |(name, shown): (&Name, &Arc<Certificates>)| {
        let client_ca = config.listeners.get(name).and_then(|l| l.tls.client_ca.as_ref());
        let server = server_config(shown.clone(), client_ca.map(|(_, pem)| pem.as_str()));
        server.map(|server| (name.clone(), server)).map_err(|source| SettingsError::Listener { name: name.clone(), source })
    };
    shown.iter().map(server).collect()
}
