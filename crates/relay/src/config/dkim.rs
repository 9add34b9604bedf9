//! `[dkim]`: what is signed with which keys.

use std::{path::PathBuf, time::Duration};

use posthaste_dkim::Key;
use posthaste_mail::Domain;

use super::{
    Place,
    domains::{ByDomain, Pattern},
    reader::{Item, Parsed, Table, fault},
    value::{boolean, duration, from_text, items, zero_is_none},
};

/// Whose mail is signed, by the domain of its From field.
#[derive(Debug, Clone, PartialEq)]
pub struct Dkim {
    /// Signing domains.
    pub domains: ByDomain<Signing>,
    /// How long a signature is good for (`x=`, RFC 6376 §3.5); None: it doesn't say.
    pub expire: Option<Duration>,
}

/// How the mail of one domain is signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Signing {
    /// Whether mail from below the domain is signed too, in the domain's name.
    pub sign_subdomains: bool,
    /// A signature by each of these. At least one.
    pub keys: Vec<DkimKey>,
}

/// A key with the name that receivers look it up by.
#[derive(Debug, Clone)]
pub struct DkimKey {
    /// `s=`: the public key stands at `SELECTOR._domainkey.DOMAIN`.
    pub selector: Domain,
    /// Where the private key lies.
    pub file: PathBuf,
    /// The private key.
    pub key: Key,
}

impl PartialEq for DkimKey {
    /// Two private keys are the same when their public halves are.
    fn eq(&self, other: &Self) -> bool {
        let parts = |k: &Self| (k.selector.clone(), k.file.clone(), k.key.public_record());
        parts(self) == parts(other)
    }
}

impl Dkim {
    pub(super) fn read(t: &Table<'_>, place: &Place<'_>) -> Self {
        let day = Duration::from_hours(24);
        let expire = t.get("expire", zero_is_none(duration(Duration::from_hours(1)..=365 * day)));
        let domains = t.table("domain", |t| {
            let domains = t.entries(signing_domain, |t, word| t.entry(word, |t| Signing::read(t, place)));
            domains.into_iter().collect()
        });
        Self { domains, expire }
    }

    /// The signing domain of mail From `domain`, and how it is signed; None: unsigned.
    pub fn signing(&self, domain: &Domain) -> Option<(&Domain, &Signing)> {
        let mut name = domain.as_str();
        loop {
            match self.domains.exact(name) {
                Some((signer, signing)) if signing.sign_subdomains || signer == domain => return Some((signer, signing)),
                _ => name = name.split_once('.')?.1,
            }
        }
    }
}

impl Signing {
    fn read(t: &Table<'_>, place: &Place<'_>) -> Option<Self> {
        let sign_subdomains = t.given("sign_subdomains", boolean).unwrap_or(true);
        let items = t.need("keys", items)?;
        let keys: Vec<_> = items.into_iter().filter_map(|item| t.inline("keys", item, |t| DkimKey::read(t, place)).flatten()).collect();
        (!keys.is_empty()).then_some(Self { sign_subdomains, keys })
    }
}

impl DkimKey {
    fn read(t: &Table<'_>, place: &Place<'_>) -> Option<Self> {
        let selector = t.need("selector", from_text::<Domain>);
        let key = t.need("file", |item| private_key(item, place));
        let (file, key) = key?;
        Some(Self { selector: selector?, file, key })
    }
}

fn private_key(item: Item<'_>, place: &Place<'_>) -> Parsed<(PathBuf, Key)> {
    let (path, pem) = place.text_file(item)?;
    match Key::from_pem(&pem) {
        Ok(key) => Ok((path, key)),
        Err(error) => fault(item, format!("{}: {error}; `posthaste dkim new DOMAIN SELECTOR` makes a key", path.display())),
    }
}

fn signing_domain(text: &str) -> Result<Pattern, String> {
    match Domain::new(text) {
        Ok(domain) if domain.literal().is_none() && domain.as_str().contains('.') => Ok(Pattern::Exact(domain)),
        _ => Err("expected the domain of From fields, such as \"example.com\"".into()),
    }
}
