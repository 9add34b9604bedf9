//! The keyring: which key signs a message. Keys are chosen by the domain of the From field, so that DMARC finds the signature aligned;
//! other domains can sign in addition.

use std::{borrow::Cow, collections::HashMap};

use crate::Signer;

/// The signers of each From domain.
#[derive(Debug, Default)]
pub struct Keyring {
    domains: HashMap<String, DomainSigners>,
}

#[derive(Debug, Default)]
struct DomainSigners {
    signers: Vec<Signer>,
    sign_subdomains: bool,
}

impl Keyring {
    /// Adds a signer for mail from `from_domain`. If any signer of the domain is added with `sign_subdomains`, they also sign for its
    /// subdomains without signers of their own. All signers of a domain sign each message (RSA and Ed25519, RFC 8463 §3).
    pub fn add(&mut self, from_domain: &str, sign_subdomains: bool, signer: Signer) {
        let entry = self.domains.entry(lower(from_domain).into_owned()).or_default();
        entry.signers.push(signer);
        entry.sign_subdomains |= sign_subdomains;
    }

    /// The signers of a message from this domain: its own, else those of the nearest parent domain that signs for subdomains.
    pub(crate) fn signers_for(&self, from_domain: &str) -> &[Signer] {
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

    /// The signers of exactly this domain.
    pub fn signers_of(&self, domain: &str) -> &[Signer] {
        self.domains.get(&*lower(domain)).map_or(&[], |entry| &entry.signers)
    }

    /// All signers of a message, each once: those for the domains of its From field, then those of the domains in `also`.
    pub fn choose<'a>(&self, from: impl IntoIterator<Item = &'a str>, also: impl IntoIterator<Item = &'a str>) -> Vec<&Signer> {
        let authors = from.into_iter().flat_map(|domain| self.signers_for(domain));
        let all = authors.chain(also.into_iter().flat_map(|domain| self.signers_of(domain)));
        let mut chosen: Vec<&Signer> = Vec::new();
        for signer in all {
            let twin = |other: &&Signer| (other.domain(), other.selector()) == (signer.domain(), signer.selector());
            if !chosen.iter().any(twin) {
                chosen.push(signer);
            }
        }
        chosen
    }

    /// The domains that have signers, in no particular order.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.keys().map(String::as_str)
    }

    /// True if there are no signers.
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
    fn authors_come_first_and_nobody_signs_twice() {
        let ring = ring();
        let chosen = |from: &[&str], also: &[&str]| {
            let chosen = ring.choose(from.iter().copied(), also.iter().copied());
            chosen.into_iter().map(Signer::selector).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&["shop.example.com"], &["other.org"]), ["c", "d"]);
        assert_eq!(chosen(&["unknown.org"], &["other.org"]), ["d"]);
        assert_eq!(chosen(&["other.org", "news.example.com"], &["other.org"]), ["d", "a", "b"]);
        // A domain signs besides by its own name only.
        assert!(chosen(&[], &["news.example.com"]).is_empty());
    }

    #[test]
    fn a_keyring_is_shared_between_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&ring());
    }
}
