//! The keyring: the configured signing domains, with those of their keys that sign at present.

use std::path::Path;

use posthaste_dkim::{Key, Keyring, Signer, SignerOptions, Stage};
use posthaste_mail::{Domain, Pattern};

use crate::key_store::{KeyStore, key_file};
use crate::{Dkim, Signing, SigningError};

/// Makes the keyring. A key that cannot be read is an error, and so is a domain that would be left without a key: mail of a domain with
/// keys never goes out unsigned.
pub(crate) fn keyring(dkim: &Dkim, store: &KeyStore, dir: &Path) -> Result<Keyring, SigningError> {
    let mut ring = Keyring::default();
    for (domain, signing) in signing_domains(dkim) {
        let options = options(dkim, signing);
        let mut add = |selector: &str, key: Key, file: &Path| {
            let signer = Signer::new(domain.as_str(), selector, key, &options);
            let signer = signer.map_err(|source| SigningError::Signer { domain: domain.clone(), file: file.to_owned(), source })?;
            ring.add(domain.as_str(), signing.sign_subdomains, signer);
            Ok::<(), SigningError>(())
        };
        for key in signing.keys.iter().filter(|key| store.signs(domain.as_str(), key.selector.as_str())) {
            add(key.selector.as_str(), key.key.clone(), &key.file)?;
        }
        for made in store.of(domain.as_str()).flat_map(|s| &s.keys).filter(|key| key.ours && matches!(key.stage, Stage::Active { .. })) {
            let key = own_key(dir, &made.selector, &domain)?;
            add(&made.selector, key, &key_file(dir, &made.selector, domain.as_str()))?;
        }
        if ring.signers_of(domain.as_str()).is_empty() {
            return Err(SigningError::NoKeyLeft { domain, dir: dir.to_owned() });
        }
    }
    Ok(ring)
}

/// The configured signing domains with their settings.
pub fn signing_domains(dkim: &Dkim) -> Vec<(Domain, &Signing)> {
    let exact = |(pattern, signing)| match pattern {
        Pattern::Exact(domain) => Some((domain, signing)),
        Pattern::Under(_) | Pattern::All => None,
    };
    dkim.domains.iter().filter_map(exact).collect()
}

/// Reads a key that the relay made.
pub fn own_key(dir: &Path, selector: &str, domain: &Domain) -> Result<Key, SigningError> {
    let path = key_file(dir, selector, domain.as_str());
    let pem = posthaste_host::files::read_text(&path).map_err(|source| SigningError::ReadKey { path: path.clone(), source })?;
    Key::from_pem(&pem).map_err(|source| SigningError::BadKey { path, source })
}

/// The domains that `old` has signers for and `new` has none for, in order.
pub fn dropped(old: &Keyring, new: &Keyring) -> Vec<String> {
    let mut gone: Vec<String> = old.domains().filter(|domain| new.signers_of(domain).is_empty()).map(str::to_owned).collect();
    gone.sort();
    gone
}

fn options(dkim: &Dkim, signing: &Signing) -> SignerOptions {
    SignerOptions {
        headers: dkim.headers.clone(),
        oversign: dkim.oversign.clone(),
        expire: dkim.expire,
        canonicalization: dkim.canonicalization,
        identity: signing.identity.clone(),
    }
}
