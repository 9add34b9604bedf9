//! TLS settings of listeners and of outgoing connections.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use posthaste_certificates::{AcmeNames, AcmeStore, Certificates, Door, ListenCertificate, Pair, server_config};
use posthaste_config::Config;
use posthaste_host::Roots;
use posthaste_mail::Name;
use posthaste_smtp::client::TlsConfigs;
use posthaste_submission::{ListenTlsMode, Listener};
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

/// What a door that speaks TLS shows, by the configuration.
pub(crate) struct Shows<'c> {
    pub(crate) door: Door,
    certificates: &'c [ListenCertificate],
    acme: &'c AcmeNames,
}

impl Shows<'_> {
    /// Whether the relay orders the certificate.
    pub(crate) fn is_ordered(&self) -> bool {
        self.certificates.is_empty() && !self.acme.is_empty()
    }

    /// Whether the relay has to make the certificate itself.
    pub(crate) fn is_made_up(&self) -> bool {
        self.certificates.is_empty() && self.acme.is_empty()
    }
}

/// The doors that speak TLS.
pub(crate) fn doors(config: &Config) -> impl Iterator<Item = Shows<'_>> {
    let listeners = config.listeners.iter().filter(|(_, listener)| listener.tls.mode != ListenTlsMode::None);
    let listeners = listeners.map(|(name, Listener { tls, .. })| Shows {
        door: Door::Listener(name.clone()),
        certificates: &tls.certificates,
        acme: &tls.acme,
    });
    let tls = &config.http.tls;
    let http = Shows { door: Door::Http, certificates: &tls.certificates, acme: &tls.acme };
    listeners.chain(Some(http).filter(|_| tls.on && !config.http.addresses.is_empty()))
}

/// The certificates that are ordered, by their names.
pub(super) fn wanted(config: &Config) -> BTreeSet<AcmeNames> {
    doors(config).map(|shows| shows.acme.clone()).filter(|names| !names.is_empty()).collect()
}

pub(super) fn certificates(config: &Config) -> Result<HashMap<Door, Arc<Certificates>>, SettingsError> {
    let mut all = HashMap::new();
    for Shows { door, certificates, acme } in doors(config) {
        let given: Vec<_> = certificates.iter().map(|c| (c.files.clone(), c.pair.clone())).collect();
        let made_up = || Pair::self_signed(config.hostname.as_str());
        let shown = match (given.is_empty(), acme) {
            (false, _) => Ok(Certificates::new(given)),
            (true, names) if names.is_empty() => made_up().map(Certificates::fixed),
            (true, names) => Certificates::awaited(AcmeStore::new(&config.data_dir, &config.acme.directory).files(names), made_up),
        };
        all.insert(door, Arc::new(shown?));
    }
    Ok(all)
}

pub(super) fn tls_servers(
    config: &Config,
    shown: &HashMap<Door, Arc<Certificates>>,
) -> Result<HashMap<Name, Arc<rustls::ServerConfig>>, SettingsError> {
    let server = |name: &Name, shown: &Arc<Certificates>| {
        let client_ca = config.listeners.get(name).and_then(|l| l.tls.client_ca.as_ref());
        let server = server_config(shown.clone(), client_ca.map(|(_, pem)| pem.as_str()));
        let refused = |source| SettingsError::Door { door: Door::Listener(name.clone()), source };
        server.map(|server| (name.clone(), server)).map_err(refused)
    };
    let listeners = shown.iter().filter_map(|(door, shown)| match door {
        Door::Listener(name) => Some((name, shown)),
        Door::Http => None,
    });
    listeners.map(|(name, shown)| server(name, shown)).collect()
}

/// TLS of the HTTP doors; None: they are plain.
pub(super) fn http_server(shown: &HashMap<Door, Arc<Certificates>>) -> Result<Option<Arc<rustls::ServerConfig>>, SettingsError> {
    let Some(shown) = shown.get(&Door::Http) else { return Ok(None) };
    let server = server_config(shown.clone(), None).map_err(|source| SettingsError::Door { door: Door::Http, source })?;
    let mut server = Arc::unwrap_or_clone(server);
    server.alpn_protocols = vec![posthaste_http::ALPN.to_vec()];
    Ok(Some(Arc::new(server)))
}
