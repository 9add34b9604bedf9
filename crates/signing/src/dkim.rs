//! Signing domains and their keys, as configured.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use posthaste_dkim::{Canonicalization, Key, Schedule};
use posthaste_mail::{ByDomain, Domain};

/// Signing settings, by the domain in a message's From field.
#[derive(Debug, Clone, PartialEq)]
pub struct Dkim {
    /// Signing domains.
    pub domains: ByDomain<Signing>,
    /// The domain that signs all mail in addition.
    pub also_sign_as: Option<Domain>,
    /// The domain that seals forwarded mail; None: `also_sign_as` seals it.
    pub arc_domain: Option<Domain>,
    /// How long a signature is valid (`x=`, RFC 6376 §3.5); None: no expiry is given.
    pub expire: Option<Duration>,
    /// How much a message may change in transit (`c=`).
    pub canonicalization: Canonicalization,
    /// Header fields that are signed if present.
    pub headers: Vec<String>,
    /// Header fields that are signed once more than they occur.
    pub oversign: Vec<String>,
    /// Signer threads; None: one per core.
    pub threads: Option<NonZeroUsize>,
    /// Key rotation, for domains without settings of their own.
    pub rotation: Schedule,
}

/// How the mail of one domain is signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Signing {
    /// Whether mail from subdomains is signed too, in the domain's name.
    pub sign_subdomains: bool,
    /// The agent or user identifier (`i=`).
    pub identity: Option<String>,
    /// The domain's key rotation.
    pub rotation: Schedule,
    /// Keys; each makes one signature. Never empty.
    pub keys: Vec<DkimKey>,
}

/// A key with its selector.
#[derive(Debug, Clone)]
pub struct DkimKey {
    /// `s=`: the public key is published at `SELECTOR._domainkey.DOMAIN`.
    pub selector: Domain,
    /// The file of the private key.
    pub file: PathBuf,
    /// The private key.
    pub key: Key,
}

impl Dkim {
    /// The domain that seals forwarded mail.
    pub fn sealer(&self) -> Option<&Domain> {
        self.arc_domain.as_ref().or(self.also_sign_as.as_ref())
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

impl PartialEq for DkimKey {
    /// Two private keys are the same when their public halves are.
    fn eq(&self, other: &Self) -> bool {
        let parts = |k: &Self| (k.selector.clone(), k.file.clone(), k.key.public_record());
        parts(self) == parts(other)
    }
}
