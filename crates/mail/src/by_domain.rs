//! Settings by a receiver's domain: for exact names, for everything under a name, or for everything.

use std::{collections::BTreeMap, fmt};

use crate::address::Domain;

/// Which domains a setting is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// `example.com`: this domain.
    Exact(Domain),
    /// `.example.com`: everything under it, but not the domain itself.
    Under(Domain),
    /// `*`: all domains.
    All,
}

impl Pattern {
    /// Reads `example.com`, `.example.com` or `*`; the error says what was expected.
    pub fn new(text: &str) -> Result<Self, String> {
        let (rest, under) = text.strip_prefix('.').map_or((text, false), |rest| (rest, true));
        match Domain::international(rest) {
            _ if text == "*" => Ok(Self::All),
            Ok(domain) if under => Ok(Self::Under(domain)),
            Ok(domain) => Ok(Self::Exact(domain)),
            Err(_) => Err(r#"expected a domain, "example.com", everything under one, ".example.com", or all domains, "*""#.into()),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(domain) => domain.fmt(f),
            Self::Under(domain) => write!(f, ".{domain}"),
            Self::All => f.write_str("*"),
        }
    }
}

/// Settings by domain. The most specific pattern wins: the name itself, then the longest `.suffix`, then `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByDomain<T> {
    exact: BTreeMap<Domain, T>,
    under: BTreeMap<Domain, T>,
    all: Option<T>,
}

impl<T> ByDomain<T> {
    /// The setting for `domain`.
    pub fn find(&self, domain: &Domain) -> Option<&T> {
        let above = std::iter::successors(Some(domain.as_str()), |name| name.split_once('.').map(|(_, rest)| rest)).skip(1);
        self.exact.get(domain).or_else(|| above.into_iter().find_map(|name| self.under.get(name))).or(self.all.as_ref())
    }

    /// The setting for exactly `name`, with its key.
    pub fn exact(&self, name: &str) -> Option<(&Domain, &T)> {
        self.exact.get_key_value(name)
    }

    /// Whether there is no setting at all.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.under.is_empty() && self.all.is_none()
    }

    /// Every pattern with its setting.
    pub fn iter(&self) -> impl Iterator<Item = (Pattern, &T)> {
        let exact = self.exact.iter().map(|(d, t)| (Pattern::Exact(d.clone()), t));
        let under = self.under.iter().map(|(d, t)| (Pattern::Under(d.clone()), t));
        exact.chain(under).chain(self.all.iter().map(|t| (Pattern::All, t)))
    }
}

impl<T> FromIterator<(Pattern, T)> for ByDomain<T> {
    fn from_iter<I: IntoIterator<Item = (Pattern, T)>>(entries: I) -> Self {
        let mut by = Self { exact: BTreeMap::new(), under: BTreeMap::new(), all: None };
        for (pattern, value) in entries {
            match pattern {
                Pattern::Exact(domain) => drop(by.exact.insert(domain, value)),
                Pattern::Under(domain) => drop(by.under.insert(domain, value)),
                Pattern::All => by.all = Some(value),
            }
        }
        by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_pattern_wins() {
        let patterns = ["example.com", ".example.com", ".b.example.com", "*"];
        let by: ByDomain<&str> = patterns.into_iter().map(|p| (Pattern::new(p).unwrap(), p)).collect();
        let find = |name: &str| *by.find(&Domain::new(name).unwrap()).unwrap();
        assert_eq!(find("EXAMPLE.com"), "example.com");
        assert_eq!(find("a.example.com"), ".example.com");
        assert_eq!(find("b.example.com"), ".example.com");
        assert_eq!(find("x.a.b.example.com"), ".b.example.com");
        assert_eq!(find("notexample.com"), "*");
        assert_eq!(find("[192.0.2.1]"), "*");
    }

    #[test]
    fn a_pattern_is_a_domain_with_or_without_a_dot_before_it() {
        for bad in ["", ".", "*.example.com", "a b", "..x"] {
            assert!(Pattern::new(bad).is_err(), "{bad:?}");
        }
    }
}
