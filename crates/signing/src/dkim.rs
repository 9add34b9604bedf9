//! What is signed with which keys, as the configuration has it.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use posthaste_dkim::{Canonicalization, Key, Schedule};
use posthaste_mail::{ByDomain, Domain};

/// Whose mail is signed, by the domain of its From field, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Dkim {
    /// Signing domains.
    pub domains: ByDomain<Signing>,
    /// The domain that signs all mail besides.
    pub also_sign_as: Option<Domain>,
    /// The domain that seals forwarded mail; None: that of `also_sign_as`.
    pub arc_domain: Option<Domain>,
    /// How long a signature is good for (`x=`, RFC 6376 §3.5); None: it doesn't say.
    pub expire: Option<Duration>,
    /// What may change on the way (`c=`).
    pub canonicalization: Canonicalization,
    /// Header fields that are signed where they stand.
    pub headers: Vec<String>,
    /// Header fields that are signed once more than they stand there.
    pub oversign: Vec<String>,
    /// Threads that sign; None: as many as there are cores.
    pub threads: Option<NonZeroUsize>,
    /// How keys change, for domains that don't say.
    pub rotation: Schedule,
}

/// How the mail of one domain is signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Signing {
    /// Whether mail from below the domain is signed too, in the domain's name.
    pub sign_subdomains: bool,
    /// On whose behalf (`i=`).
    pub identity: Option<String>,
    /// How its keys change.
    pub rotation: Schedule,
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

impl Dkim {
    /// In whose name forwarded mail is sealed.
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
