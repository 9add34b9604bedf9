//! Which certificates are shown and ordered, as the configuration has it.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use posthaste_host::Roots;
use posthaste_mail::{Address, Domain, Name};

use crate::shown::Certificates;

/// What is in force.
pub struct Settings {
    /// Where certificates are ordered.
    pub acme: Acme,
    /// TLS towards the authority, where anything is ordered.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The folder below which they are kept.
    pub data_dir: PathBuf,
    /// The certificates that listeners want ordered.
    pub wanted: BTreeSet<AcmeNames>,
    /// What listeners show.
    pub shown: HashMap<Name, Arc<Certificates>>,
}

/// The names that one certificate is for.
pub type AcmeNames = BTreeSet<Domain>;

/// Whom certificates are ordered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The authority's directory: an https URL.
    pub directory: String,
    /// Whether the operator agrees to its terms of service.
    pub agree_terms: bool,
    /// Whom it may write to.
    pub contact: Vec<Address>,
    /// How it is shown whose the names are.
    pub challenge: Challenge,
    /// Where the authority is answered; not empty.
    pub addresses: Vec<SocketAddr>,
    /// How long before its end a certificate is replaced, as long as it lives at least twice as long.
    pub renew_before: Duration,
    /// Whom the authority's own certificate is checked against.
    pub roots: Roots,
}

/// A proof that a name leads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// The authority fetches a file by HTTP (RFC 8555 §8.3).
    Http01,
    /// It looks at a certificate that is made for it (RFC 8737).
    TlsAlpn01,
}

impl Challenge {
    /// The port that authorities connect to; no other will do.
    pub fn port(self) -> u16 {
        match self {
            Self::Http01 => 80,
            Self::TlsAlpn01 => 443,
        }
    }
}
