//! Errors of keys and their rotation.

use std::{io, path::PathBuf};

use posthaste_dkim::{KeyError, SignerError};
use posthaste_mail::Domain;
use posthaste_queue::Stopping;
use posthaste_route::ResolverError;

/// Why keys cannot be read or rotated.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The key store on disk.
    #[error("{}: {source}", path.display())]
    ReadStore {
        /// Its file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The key store cannot be written.
    #[error("cannot write the key store in {}: {source}", dir.display())]
    WriteStore {
        /// Its folder.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of a private key that the relay made.
    #[error("cannot read {}: {source}", path.display())]
    ReadKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of a private key that the relay made holds no such key.
    #[error("{}: {source}", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// A new private key cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    WriteKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A new key cannot be made.
    #[error(transparent)]
    NewKey(#[from] KeyError),
    /// No unused selector was found for a new key.
    #[error("{count} keys of {domain} were made today")]
    TooManyKeys {
        /// The signing domain.
        domain: Domain,
        /// Selectors that were tried.
        count: usize,
    },
    /// A key and its options make no signer.
    #[error("dkim.domain.\"{domain}\": {}: {source}", file.display())]
    Signer {
        /// The signing domain.
        domain: Domain,
        /// The file of the private key.
        file: PathBuf,
        /// Why.
        source: SignerError,
    },
    /// No key of a signing domain signs.
    #[error(
        "dkim.domain.\"{domain}\": every key that the configuration gives has retired, and the key that replaced them is missing; look into {}",
        dir.display()
    )]
    NoKeyLeft {
        /// The signing domain.
        domain: Domain,
        /// The folder of the key store.
        dir: PathBuf,
    },
    /// Mail of a domain is not signed.
    #[error("{0} has no keys: the configuration needs [dkim.domain.\"{0}\"]")]
    NoKeys(Domain),
    /// No resolver for public keys could be made.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// The queue cannot be asked.
    #[error(transparent)]
    Queue(#[from] Stopping),
}
