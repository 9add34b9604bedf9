//! The keyring that the configuration asks for, with those of its keys that sign at present.

use std::{fmt::Display, path::Path};

use posthaste_dkim::{Key, Keyring, Signer, SignerOptions, Stage};
use posthaste_mail::{Domain, Pattern};

use crate::key_store::{KeyStore, key_file};
use crate::{Dkim, Signing};

/// The keyring. A key that cannot be read is an error, and so is a domain that would be left without one: mail of a domain with keys
/// never goes out unsigned.
pub fn keyring(dkim: &Dkim, book: &KeyStore, dir: &Path) -> Result<Keyring, String> {
    let mut ring = Keyring::default();
    for (domain, signing) in signing_domains(dkim) {
        let options = options(dkim, signing);
        let mut add = |selector: &str, key: Key, file: &dyn Display| {
            let signer =
                Signer::new(domain.as_str(), selector, key, &options).map_err(|e| format!("dkim.domain.\"{domain}\": {file}: {e}"))?;
            ring.add(domain.as_str(), signing.sign_subdomains, signer);
            Ok::<(), String>(())
        };
        for key in signing.keys.iter().filter(|key| book.signs(domain.as_str(), key.selector.as_str())) {
            add(key.selector.as_str(), key.key.clone(), &key.file.display())?;
        }
        for heir in book.of(domain.as_str()).flat_map(|s| &s.keys).filter(|key| key.ours && matches!(key.stage, Stage::Active { .. })) {
            let key = own_key(dir, &heir.selector, &domain)?;
            add(&heir.selector, key, &key_file(dir, &heir.selector, domain.as_str()).display())?;
        }
        if ring.signers_of(domain.as_str()).is_empty() {
            let why = "every key that the configuration gives has retired, and the one that followed is not there";
            return Err(format!("dkim.domain.\"{domain}\": {why}; look into {}", dir.display()));
        }
    }
    Ok(ring)
}

/// The configured domains, with how their mail is signed.
pub fn signing_domains(dkim: &Dkim) -> Vec<(Domain, &Signing)> {
    let exact = |(pattern, signing)| match pattern {
        Pattern::Exact(domain) => Some((domain, signing)),
        Pattern::Under(_) | Pattern::All => None,
    };
    dkim.domains.iter().filter_map(exact).collect()
}

/// A key that the relay made.
pub fn own_key(dir: &Path, selector: &str, domain: &Domain) -> Result<Key, String> {
    let path = key_file(dir, selector, domain.as_str());
    let pem = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    Key::from_pem(&pem).map_err(|e| format!("{}: {e}", path.display()))
}

/// The domains that were signed for and are no more.
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
