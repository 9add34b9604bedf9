//! Sender addresses allowed to a user.

use std::fmt;

use posthaste_mail::{Address, Domain};

/// Addresses that a user may send from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderPattern {
    /// `*`
    Anybody,
    /// `news@example.com`: this one.
    Address(Address),
    /// `example.com`: all of the domain.
    Domain(Domain),
    /// `.example.com`: all of the domains under it.
    Under(Domain),
}

impl SenderPattern {
    /// Parses the form used in files.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = match text.strip_prefix('.') {
            _ if text == "*" => Some(Self::Anybody),
            // "*@example.com" is an address (RFC 5321 §4.1.2), but never what the operator means.
            _ if text.starts_with('*') => None,
            Some(rest) => Domain::international(rest).ok().map(Self::Under),
            None if text.contains('@') => Address::international(text).ok().map(Self::Address),
            None => Domain::international(text).ok().map(Self::Domain),
        };
        found.ok_or_else(|| {
            r#"expected an address, "news@example.com", a domain, "example.com", all under one, ".example.com", or all, "*""#.into()
        })
    }

    /// Whether the pattern covers `address`. The case of the local part, which only its own domain may interpret (RFC 5321 §2.4), is
    /// ignored here.
    pub fn covers(&self, address: &str) -> bool {
        let Some((_, domain)) = address.rsplit_once('@') else { return *self == Self::Anybody };
        match self {
            Self::Anybody => true,
            Self::Address(own) => own.as_str().eq_ignore_ascii_case(address),
            Self::Domain(own) => own.as_str().eq_ignore_ascii_case(domain),
            Self::Under(own) => domain
                .len()
                .checked_sub(own.as_str().len() + 1)
                .and_then(|at| domain.get(at..))
                .is_some_and(|end| end.starts_with('.') && end[1..].eq_ignore_ascii_case(own.as_str())),
        }
    }
}

impl fmt::Display for SenderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("*"),
            Self::Address(address) => f.write_str(address.as_str()),
            Self::Domain(domain) => f.write_str(domain.as_str()),
            Self::Under(domain) => write!(f, ".{domain}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_says_and_nothing_else() {
        for (pattern, covered, others) in [
            ("*", &["a@b.c", "", "x"][..], &[][..]),
            (
                "news@Example.com",
                &["news@example.com", "NEWS@EXAMPLE.COM"],
                &["a@example.com", "news@sub.example.com", "xnews@example.com", ""],
            ),
            (
                "example.com",
                &["a@example.com", "\"x@y\"@EXAMPLE.com"],
                &["a@sub.example.com", "a@notexample.com", "example.com", "a@example.com.evil"],
            ),
            (
                ".example.com",
                &["a@sub.example.com", "a@x.Y.example.com"],
                &["a@example.com", "a@notexample.com", "a@.example.co", "a@é.example.co"],
            ),
        ] {
            let pattern = SenderPattern::parse(pattern).unwrap();
            covered.iter().for_each(|address| assert!(pattern.covers(address), "{pattern} covers {address}"));
            others.iter().for_each(|address| assert!(!pattern.covers(address), "{pattern} does not cover {address}"));
        }
    }

    #[test]
    fn a_pattern_is_an_address_or_a_domain() {
        for bad in ["", ".", "@example.com", "a b", "*@example.com", "*.example.com", "a@"] {
            assert!(SenderPattern::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["*", "a@b.example", "b.example", ".b.example"] {
            assert_eq!(SenderPattern::parse(good).unwrap().to_string(), good);
        }
    }
}
