//! Which key signs what: by the domain of the From header, so that DMARC finds it aligned.

use std::{borrow::Cow, collections::HashMap};

use crate::Signer;

/// From domain → signers.
#[derive(Debug, Default)]
pub struct Keyring {
    domains: HashMap<String, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    signers: Vec<Signer>,
    sign_subdomains: bool,
}

impl Keyring {
    /// Lets `signer` sign what comes from `from_domain`, and from the domains below it that have no signer of their own if
    /// `sign_subdomains` is set by any signer of the domain. Several signers of one domain all sign (RSA and Ed25519, RFC 8463 §3).
    pub fn add(&mut self, from_domain: &str, sign_subdomains: bool, signer: Signer) {
        let entry = self.domains.entry(lower(from_domain).into_owned()).or_default();
        entry.signers.push(signer);
        entry.sign_subdomains |= sign_subdomains;
    }

    /// Who signs a message from this domain: its own signers, else those of the nearest domain above that sign for subdomains.
    pub fn signers_for(&self, from_domain: &str) -> &[Signer] {
        let name = lower(from_domain);
        if let Some(entry) = self.domains.get(&*name) {
            return &entry.signers;
        }
        let mut rest = &*name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(entry) = self.domains.get(parent).filter(|entry| entry.sign_subdomains) {
                return &entry.signers;
            }
            rest = parent;
        }
        &[]
    }

    /// True if nothing is signed.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }
}

fn lower(domain: &str) -> Cow<'_, str> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.bytes().any(|b| b.is_ascii_uppercase()) { domain.to_ascii_lowercase().into() } else { domain.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, SignerOptions};

    fn ring() -> Keyring {
        let key = Key::from_pem(include_str!("../tests/keys/ed25519.pem")).unwrap();
        let signer = |domain: &str, selector: &str| Signer::new(domain, selector, key.clone(), &SignerOptions::default()).unwrap();
        let mut ring = Keyring::default();
        ring.add("Example.com", true, signer("example.com", "a"));
        ring.add("example.com", false, signer("example.com", "b"));
        ring.add("shop.example.com", false, signer("shop.example.com", "c"));
        ring.add("other.org", false, signer("other.org", "d"));
        ring
    }

    #[test]
    fn the_nearest_domain_signs() {
        let ring = ring();
        let selectors = |domain: &str| ring.signers_for(domain).iter().map(Signer::selector).collect::<Vec<_>>();
        assert_eq!(selectors("example.com"), ["a", "b"]);
        assert_eq!(selectors("EXAMPLE.com."), ["a", "b"]);
        assert_eq!(selectors("news.eu.example.com"), ["a", "b"]);
        assert_eq!(selectors("shop.example.com"), ["c"]);
        // shop signs only for itself: its subdomains fall to the domain above.
        assert_eq!(selectors("eu.shop.example.com"), ["a", "b"]);
        assert_eq!(selectors("other.org"), ["d"]);
        assert!(selectors("www.other.org").is_empty());
        assert!(selectors("badexample.com").is_empty());
        assert!(selectors("com").is_empty());
        assert!(selectors("").is_empty());
    }

    #[test]
    fn a_keyring_is_shared_between_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&ring());
    }
}
