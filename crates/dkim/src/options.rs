//! The options of a signer: the fields that a signature covers, its form, and how long it is valid.

use std::{fmt, str::FromStr, time::Duration};

/// The fields that are signed if present: those of RFC 6376 §5.4.1, the MIME fields, List-Unsubscribe-Post (RFC 8058 §4), and
/// Feedback-ID, which Gmail uses only if a signature covers it.
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

/// The fields that are signed once more than they occur (RFC 6376 §5.4.2), so that nobody can add another one that people or programs use
/// instead: sender, recipients and date, how the body is read (a second Content-Type shows another body), and where a click unsubscribes.
pub(crate) const OVERSIGNED: &[&str] = &[
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
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
];

/// Fields that hosts on the way rewrite or add: a signature over them breaks (RFC 6376 §5.4).
const NEVER_SIGNED: &[&str] = &["Return-Path", "Received", "DKIM-Signature", "Authentication-Results"];

/// Which changes on the way a signature survives (RFC 6376 §3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Changes of white space.
    #[default]
    Relaxed,
    /// None.
    Simple,
}

/// The canonicalization of header and body: the `c=` tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Canonicalization {
    /// The form of the signed fields.
    pub header: Form,
    /// The form of the body.
    pub body: Form,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relaxed => "relaxed",
            Self::Simple => "simple",
        })
    }
}

impl fmt::Display for Canonicalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.header, self.body)
    }
}

impl FromStr for Canonicalization {
    type Err = SignerError;

    /// Reads both parts, as written in `c=`.
    fn from_str(text: &str) -> Result<Self, SignerError> {
        let form = |word: &str| [Form::Relaxed, Form::Simple].into_iter().find(|form| form.to_string() == word);
        let both = text.split_once('/').and_then(|(header, body)| Some(Self { header: form(header)?, body: form(body)? }));
        both.ok_or_else(|| SignerError::Canonicalization(text.into()))
    }
}

/// The longest `i=`, in bytes: that of a path (RFC 5321 §4.5.3.1.3).
const IDENTITY_MAX: usize = 254;

/// The fields that a signature covers, its form, and how long it is valid.
#[derive(Clone, Debug)]
pub struct SignerOptions {
    /// Header fields that are signed if present, each occurrence of a name.
    pub headers: Vec<String>,
    /// Header fields that are signed once more than they occur, so that none can be added. Those present are signed too.
    pub oversign: Vec<String>,
    /// How long the signature is valid (`x=`); `None` for ever.
    pub expire: Option<Duration>,
    /// Which changes on the way the signature survives (`c=`).
    pub canonicalization: Canonicalization,
    /// The identity on whose behalf it signs (`i=`): an address, or `@` and a domain, at or below the signing domain.
    /// `None` leaves `i=` out.
    pub identity: Option<String>,
}

impl SignerOptions {
    /// Checks that these fields can be signed.
    pub fn check(&self) -> Result<(), SignerError> {
        covered(self).map(drop)
    }
}

impl Default for SignerOptions {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let (headers, oversign) = (owned(SIGNED), owned(OVERSIGNED));
        Self { headers, oversign, expire: None, canonicalization: Canonicalization::default(), identity: None }
    }
}

/// Why a signer cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// The domain is not a name in ASCII.
    #[error("{0:?} is not a domain name (write non-ASCII ones as xn--…)")]
    Domain(String),
    /// The selector does not consist of labels.
    #[error("{0:?} is not a selector: letters, digits, hyphens and underscores, in parts joined by dots")]
    Selector(String),
    /// It is not the name of a header field.
    #[error("{0:?} is not the name of a header field")]
    HeaderName(String),
    /// The field changes on the way.
    #[error("{0:?} changes on the way: a signature over it would break")]
    Volatile(String),
    /// RFC 6376 §5.4: From is always signed.
    #[error("the signed headers must include From (RFC 6376 §5.4)")]
    FromNotSigned,
    /// RFC 6376 §3.5: the domain of `i=` is the signing domain or below it.
    #[error("{identity:?} is no identity of {domain}: write \"name@{domain}\", \"@{domain}\", or a domain below it behind the @")]
    Identity {
        /// The identity, as given.
        identity: String,
        /// The signing domain.
        domain: String,
    },
    /// The canonicalization does not consist of two forms.
    #[error("{0:?} is no canonicalization: relaxed/relaxed, relaxed/simple, simple/relaxed or simple/simple")]
    Canonicalization(String),
    /// The signature would expire at once.
    #[error("a signature has to be valid for at least one second")]
    ExpiresAtOnce,
}

/// A header field that is signed, and whether once more than it occurs.
#[derive(Clone, Debug)]
pub(crate) struct Covered {
    pub(crate) name: String,
    pub(crate) oversigned: bool,
}

/// Both lists as one, each name once; an error if a signature over these fields would not verify.
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

/// Checks that `identity` is allowed in `i=` beside `domain` (in lower case) in `d=`. RFC 6376 §3.5: an optional local part, and the
/// signing domain or one below it.
pub fn check_identity(identity: &str, domain: &str) -> Result<(), SignerError> {
    let below = |of: &str| of == domain || of.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1);
    let fits = identity.bytes().all(|b| b.is_ascii_graphic()) && identity.len() <= IDENTITY_MAX;
    match identity.rsplit_once('@') {
        Some((_, of)) if fits && below(&of.to_ascii_lowercase()) => Ok(()),
        _ => Err(SignerError::Identity { identity: identity.into(), domain: domain.into() }),
    }
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
            covered(&SignerOptions { headers: names, oversign: vec![], ..SignerOptions::default() }).map(|all| all.len())
        };
        assert_eq!(headers(&["From", "from", "X-A"]), Ok(2));
        assert_eq!(headers(&["To"]), Err(SignerError::FromNotSigned));
        assert!(matches!(headers(&["From", "A;b"]), Err(SignerError::HeaderName(_))));
        assert!(matches!(headers(&["From", "received"]), Err(SignerError::Volatile(_))));
    }

    #[test]
    fn an_identity_is_the_domain_or_below_it() {
        for good in ["@example.com", "news@example.com", "news@eu.Example.com", "a@b@example.com"] {
            assert_eq!(check_identity(good, "example.com"), Ok(()), "{good}");
        }
        for bad in ["", "example.com", "@example.org", "@badexample.com", "@.example.com", "a b@example.com", "a@example.com.evil.org"] {
            assert!(matches!(check_identity(bad, "example.com"), Err(SignerError::Identity { .. })), "{bad}");
        }
    }

    #[test]
    fn a_canonicalization_reads_what_it_writes() {
        for text in ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"] {
            assert_eq!(text.parse::<Canonicalization>().unwrap().to_string(), text);
        }
        assert!("relaxed".parse::<Canonicalization>().is_err() && "strict/simple".parse::<Canonicalization>().is_err());
    }

    #[test]
    fn the_defaults_are_fit_to_sign() {
        let all = covered(&SignerOptions::default()).unwrap();
        assert_eq!(all.len(), SIGNED.len());
        assert_eq!(all.iter().filter(|header| header.oversigned).count(), OVERSIGNED.len());
    }
}
