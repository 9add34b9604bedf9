//! What a signature covers and how long it holds.

use std::time::Duration;

/// What is signed where present: RFC 6376 §5.4.1, the MIME fields, RFC 8058 §4's List-Unsubscribe-Post, and Feedback-ID,
/// which Gmail counts only where a signature covers it.
pub const SIGNED: &[&str] = &[
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
    "Resent-Date",
    "Resent-From",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
    "Feedback-ID",
    "Auto-Submitted",
];

/// What is signed once more than it is present (RFC 6376 §5.4.2), so that nobody adds a second one that people see instead.
pub const OVERSIGNED: &[&str] = &["From", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "Content-Type"];

/// Fields that every host on the way rewrites or adds: a signature over them breaks (RFC 6376 §5.4).
const NEVER_SIGNED: &[&str] = &["Return-Path", "Received", "DKIM-Signature", "Authentication-Results"];

/// What a signature covers and how long it holds.
#[derive(Clone, Debug)]
pub struct SignerOptions {
    /// Header fields that are signed, all of each name, where present.
    pub headers: Vec<String>,
    /// Header fields that are signed once more than they are present, so that none can be added. Present ones are signed too.
    pub oversign: Vec<String>,
    /// How long the signature holds (`x=`); None for ever.
    pub expire: Option<Duration>,
}

impl Default for SignerOptions {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self { headers: owned(SIGNED), oversign: owned(OVERSIGNED), expire: None }
    }
}

/// Why a signer cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// Not a domain name in ASCII.
    #[error("{0:?} is not a domain name (write non-ASCII ones as xn--…)")]
    Domain(String),
    /// Not one or more labels.
    #[error("{0:?} is not a selector: letters, digits, hyphens and underscores, in parts joined by dots")]
    Selector(String),
    /// Not a header field's name.
    #[error("{0:?} is not the name of a header field")]
    HeaderName(String),
    /// A field that changes on the way.
    #[error("{0:?} changes on the way: a signature over it would break")]
    Volatile(String),
    /// RFC 6376 §5.4: From is always signed.
    #[error("the signed headers must include From (RFC 6376 §5.4)")]
    FromNotSigned,
    /// Nothing would verify.
    #[error("a signature must hold for at least a second")]
    ExpiresAtOnce,
}

/// A header field that is signed, and whether once more than it is present.
#[derive(Clone, Debug)]
pub(crate) struct Covered {
    pub(crate) name: String,
    pub(crate) oversigned: bool,
}

/// Both lists as one, each name once; refuses what would not verify.
pub(crate) fn covered(options: &SignerOptions) -> Result<Vec<Covered>, SignerError> {
    let mut all: Vec<Covered> = Vec::new();
    let names = options.headers.iter().map(|name| (name, false)).chain(options.oversign.iter().map(|name| (name, true)));
    for (name, oversigned) in names {
        check_header_name(name)?;
        match all.iter_mut().find(|header| header.name.eq_ignore_ascii_case(name)) {
            Some(header) => header.oversigned |= oversigned,
            None => all.push(Covered { name: name.clone(), oversigned }),
        }
    }
    if !all.iter().any(|header| header.name.eq_ignore_ascii_case("From")) {
        return Err(SignerError::FromNotSigned);
    }
    Ok(all)
}

fn check_header_name(name: &str) -> Result<(), SignerError> {
    // RFC 5322 §3.6.8, without the ';' that would end the tag (RFC 6376 §2.10).
    let fits = |b: u8| b.is_ascii_graphic() && b != b':' && b != b';';
    if name.is_empty() || name.len() > 76 || !name.bytes().all(fits) {
        return Err(SignerError::HeaderName(name.into()));
    }
    if NEVER_SIGNED.iter().any(|never| never.eq_ignore_ascii_case(name)) {
        return Err(SignerError::Volatile(name.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_signature_is_not_signed() {
        let headers = |names: &[&str]| {
            let names = names.iter().map(|&name| name.into()).collect();
            covered(&SignerOptions { headers: names, oversign: vec![], expire: None }).map(|all| all.len())
        };
        assert_eq!(headers(&["From", "from", "X-A"]), Ok(2));
        assert_eq!(headers(&["To"]), Err(SignerError::FromNotSigned));
        assert!(matches!(headers(&["From", "A;b"]), Err(SignerError::HeaderName(_))));
        assert!(matches!(headers(&["From", "received"]), Err(SignerError::Volatile(_))));
    }

    #[test]
    fn the_defaults_are_fit_to_sign() {
        let all = covered(&SignerOptions::default()).unwrap();
        assert_eq!(all.len(), SIGNED.len());
        assert_eq!(all.iter().filter(|header| header.oversigned).count(), OVERSIGNED.len());
    }
}
