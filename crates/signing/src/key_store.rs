//! The key store: the successions of keys in `data_dir/dkim/keys.json`, and beside it the private keys that the relay made.

use std::{
    io,
    path::{Path, PathBuf},
};

use posthaste_dkim::{Algorithm, Succession};
use posthaste_host::files;
use serde::{Deserialize, Serialize};

use crate::SigningError;

/// The successions of all domains.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStore {
    /// One for each domain and algorithm whose keys were ever rotated or are to be.
    pub successions: Vec<Succession>,
}

impl KeyStore {
    /// The key store's folder in a relay's data folder.
    pub fn dir(data_dir: &Path) -> PathBuf {
        data_dir.join("dkim")
    }

    /// Reads the store; it is empty if the folder has no such file.
    pub fn read(dir: &Path) -> Result<Self, SigningError> {
        let path = dir.join(FILE);
        let store = match files::read(&path) {
            Ok(text) => of_known_version(&text).and_then(|()| serde_json::from_slice(&text).map_err(io::Error::from)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(e),
        };
        store.map_err(|source| SigningError::ReadStore { path, source })
    }

    /// Writes the store atomically; it is durable when this returns.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        files::replace(&dir.join(FILE), &serde_json::to_vec_pretty(self)?)
    }

    /// The succession of a domain's keys, empty if there is none yet.
    pub fn succession(&mut self, domain: &str, algorithm: Algorithm) -> &mut Succession {
        let at = self.successions.iter().position(|s| s.domain == domain && s.algorithm == algorithm).unwrap_or_else(|| {
            self.successions.push(Succession::new(domain, algorithm));
            self.successions.len() - 1
        });
        &mut self.successions[at]
    }

    /// The successions of a domain.
    pub fn of<'a>(&'a self, domain: &'a str) -> impl Iterator<Item = &'a Succession> {
        self.successions.iter().filter(move |s| s.domain == domain)
    }

    /// Whether this key signs. A key that is in no succession does.
    pub fn signs(&self, domain: &str, selector: &str) -> bool {
        self.of(domain).all(|s| s.signs(selector))
    }
}

/// Refuses a store that names a version: this one writes none, and would write it anew without what it does not know.
fn of_known_version(text: &[u8]) -> io::Result<()> {
    #[derive(Deserialize)]
    struct Any {
        v: Option<serde_json::Value>,
    }
    match serde_json::from_slice(text) {
        Ok(Any { v: Some(v) }) => {
            Err(io::Error::other(format!("it has version {v}, which this posthaste does not know: start the posthaste that wrote it")))
        }
        _ => Ok(()),
    }
}

/// The file of a private key that the relay made.
pub fn key_file(dir: &Path, selector: &str, domain: &str) -> PathBuf {
    dir.join(format!("{selector}.{domain}.pem"))
}

/// Writes a new private key, readable by the owner alone; it is durable when this returns. An existing file is never overwritten.
pub fn keep_key(path: &Path, pem: &str) -> io::Result<()> {
    files::create(path, pem.as_bytes())
}

const FILE: &str = "keys.json";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("dkim");
        assert_eq!(KeyStore::read(&dir).unwrap(), KeyStore::default());
        let mut store = KeyStore::default();
        store.succession("example.com", Algorithm::RsaSha256).adopt(&["s1"], 5);
        store.write(&dir).unwrap();
        assert_eq!(KeyStore::read(&dir).unwrap(), store);
        fs::write(dir.join(FILE), "{").unwrap();
        assert!(KeyStore::read(&dir).unwrap_err().to_string().contains("keys.json"));
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = key_file(dir.path(), "s1", "example.com");
        keep_key(&path, "one").unwrap();
        assert_eq!(keep_key(&path, "two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }
}
