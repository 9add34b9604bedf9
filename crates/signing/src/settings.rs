//! The settings in force for signing.

use std::{collections::HashMap, path::PathBuf, sync::OnceLock};

use arc_swap::ArcSwap;
use posthaste_dkim::Keyring;
use posthaste_mail::{Domain, Name};
use posthaste_route::{Resolver, ResolverError};

use crate::{dkim::Dkim, error::SigningError, key_store::KeyStore, keyring::keyring};

/// Makes a resolver with an empty cache.
pub type NewResolver = Box<dyn Fn() -> Result<Resolver, ResolverError> + Send + Sync>;

/// The settings in force.
pub struct Settings {
    /// Signing domains and their keys.
    pub dkim: Dkim,
    /// Signing settings of the streams.
    pub streams: HashMap<Name, StreamSigning>,
    /// The relay's name.
    pub hostname: Domain,
    /// The folder of the key store and of the keys that the relay made.
    pub key_dir: PathBuf,
    /// The signers of each domain. A key rotation replaces it without a reload.
    pub keyring: ArcSwap<Keyring>,
    /// Makes the resolvers that look up public keys.
    pub new_resolver: NewResolver,
    /// Looks up the keys of forwarded mail, with one cache for all of it; made when the first such message arrives.
    keys: OnceLock<Result<Resolver, ResolverError>>,
}

/// Signing settings of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamSigning {
    /// A domain that signs all of the stream's mail in addition to the authors' domains.
    pub also: Option<Domain>,
    /// Whether the stream carries forwarded mail, which is sealed.
    pub arc: bool,
}

impl Settings {
    /// The settings of a configuration, with the key store in `key_dir`.
    ///
    /// # Errors
    /// A key cannot be read, or a domain would be left without one.
    pub fn new(
        dkim: Dkim,
        streams: HashMap<Name, StreamSigning>,
        hostname: Domain,
        key_dir: PathBuf,
        new_resolver: NewResolver,
    ) -> Result<Self, SigningError> {
        let keyring = ArcSwap::from_pointee(keyring(&dkim, &KeyStore::read(&key_dir)?, &key_dir)?);
        Ok(Self { dkim, streams, hostname, key_dir, keyring, new_resolver, keys: OnceLock::new() })
    }

    /// The resolver for the keys of forwarded mail.
    pub(crate) fn key_resolver(&self) -> Result<&Resolver, &ResolverError> {
        self.keys.get_or_init(|| (self.new_resolver)()).as_ref()
    }
}
