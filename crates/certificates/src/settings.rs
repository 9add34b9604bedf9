//! The settings in force: the certificates that listeners show, and those to order.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use posthaste_host::Roots;
use posthaste_mail::{Address, Domain, Name};

use crate::{
    pair::Pair,
    shown::{Certificates, PairFiles},
};

/// The settings in force.
pub struct Settings {
    /// The authority that certificates are ordered from.
    pub acme: Acme,
    /// TLS towards the authority; None if nothing is ordered.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The relay's data folder, which holds ordered certificates.
    pub data_dir: PathBuf,
    /// The certificates that listeners want ordered.
    pub wanted: BTreeSet<AcmeNames>,
    /// The certificates that are shown, by door.
    pub shown: HashMap<Door, Arc<Certificates>>,
}

/// What shows certificates; displayed as the key of its table in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Door {
    /// A listener for mail.
    Listener(Name),
    /// The listener for HTTP.
    Http,
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(name) => write!(f, "listen.{name}"),
            Self::Http => f.write_str("http"),
        }
    }
}

/// The names that one certificate is for.
pub type AcmeNames = BTreeSet<Domain>;

/// The authority that certificates are ordered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The authority's directory: an https URL.
    pub directory: String,
    /// Whether the operator agrees to its terms of service.
    pub agree_terms: bool,
    /// Addresses at which it may contact the operator.
    pub contact: Vec<Address>,
    /// How the authority verifies the names.
    pub challenge: Challenge,
    /// The addresses that answer the authority; not empty.
    pub addresses: Vec<SocketAddr>,
    /// How long before its expiry a certificate is renewed, if it is valid for at least twice as long.
    pub renew_before: Duration,
    /// What the authority's own certificate is verified against.
    pub roots: Roots,
}

/// A certificate with its key, and the files of both.
#[derive(Debug, Clone)]
pub struct ListenCertificate {
    /// The paths of both files.
    pub files: PairFiles,
    /// Their contents.
    pub pair: Arc<Pair>,
}

impl PartialEq for ListenCertificate {
    /// Two pairs are the same when their certificates are.
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files && self.pair.key().cert == other.pair.key().cert
    }
}

impl Eq for ListenCertificate {}

/// A proof that a name leads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// The authority fetches a file by HTTP (RFC 8555 §8.3).
    Http01,
    /// The authority checks a TLS certificate that is made for the challenge (RFC 8737).
    TlsAlpn01,
}

impl Challenge {
    /// The port that authorities connect to. No other port works.
    pub fn port(self) -> u16 {
        match self {
            Self::Http01 => 80,
            Self::TlsAlpn01 => 443,
        }
    }
}
