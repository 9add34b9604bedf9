//! What is in force of signing.

use std::{collections::HashMap, path::PathBuf, sync::OnceLock};

use arc_swap::ArcSwap;
use posthaste_dkim::Keyring;
use posthaste_mail::{Domain, Name};
use posthaste_route::Resolver;

use crate::{dkim::Dkim, key_store::KeyStore, keyring::keyring};

/// Makes a resolver that remembers nothing yet.
pub type NewResolver = Box<dyn Fn() -> Result<Resolver, String> + Send + Sync>;

/// What is in force.
pub struct Settings {
    /// What is signed with which keys.
    pub dkim: Dkim,
    /// What streams ask for.
    pub streams: HashMap<Name, StreamSigning>,
    /// The relay's name.
    pub hostname: Domain,
    /// Where the relay keeps keys that it made.
    pub key_dir: PathBuf,
    /// Who signs for which domain. It changes by itself when one key follows another.
    pub keyring: ArcSwap<Keyring>,
    /// For what DNS says of keys.
    pub new_resolver: NewResolver,
    /// For the keys of forwarded mail, with one memory for all of it; made when there is some.
    keys: OnceLock<Result<Resolver, String>>,
}

/// What a stream asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamSigning {
    /// A domain that signs all of its mail besides the authors'.
    pub also: Option<Domain>,
    /// Whether its mail is forwarded mail, and sealed.
    pub arc: bool,
}

impl Settings {
    /// What the configuration asks for, with the keys in `key_dir` where some were made.
    ///
    /// # Errors
    /// A key cannot be read, or a domain would be left without one; one line for people.
    pub fn new(
        dkim: Dkim,
        streams: HashMap<Name, StreamSigning>,
        hostname: Domain,
        key_dir: PathBuf,
        new_resolver: NewResolver,
    ) -> Result<Self, String> {
        let keyring = ArcSwap::from_pointee(keyring(&dkim, &KeyStore::read(&key_dir)?, &key_dir)?);
        Ok(Self { dkim, streams, hostname, key_dir, keyring, new_resolver, keys: OnceLock::new() })
    }

    /// The resolver for the keys of forwarded mail.
    pub(crate) fn key_resolver(&self) -> Result<&Resolver, String> {
        self.keys.get_or_init(|| (self.new_resolver)()).as_ref().map_err(Clone::clone)
    }
}
