//! Texts to look for: a whole address or id, or a part of one.

use posthaste_mail::{Address, Domain, MessageId};

use crate::index::bare;

/// Of which addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressText {
    /// This one.
    Whole(String),
    /// All at this domain, and no other.
    Domain(String),
    /// All that hold this.
    Part(String),
}

impl AddressText {
    /// `anna@example.org` is a whole address, `@example.org` a domain, anything else a part. What begins or ends with `*` is a part, too. An
    /// internationalised domain becomes its A-labels, as in the log.
    pub fn new(text: &str) -> Self {
        let text = text.trim().trim_start_matches('<').trim_end_matches('>');
        if let Some(part) = starred(text) {
            return Self::Part(part);
        }
        match text.rsplit_once('@') {
            Some(("", domain)) if !domain.is_empty() => Self::Domain(Self::domain(domain)),
            Some((_, domain)) if !domain.is_empty() && text.is_ascii() => Self::Whole(text.to_owned()),
            Some((_, domain)) if !domain.is_empty() => {
                Self::Whole(Address::international(text).map_or_else(|_| text.to_owned(), |address| address.to_string()))
            }
            _ => Self::Part(text.to_owned()),
        }
    }

    /// All at this domain: a name in any alphabet.
    pub(super) fn domain_alone(text: &str) -> Self {
        Self::Domain(Self::domain(text))
    }

    /// A domain as it stands in the log.
    pub(super) fn domain(text: &str) -> String {
        match text.is_ascii() {
            true => text.to_owned(),
            false => Domain::international(text).map_or_else(|_| text.to_owned(), |domain| domain.to_string()),
        }
    }

    /// Whether this address is one of them.
    pub fn is(&self, address: &str) -> bool {
        match self {
            Self::Whole(whole) => same(address, whole),
            Self::Domain(domain) => domain_of(address).is_some_and(|has| same(has, domain)),
            Self::Part(part) => holds(address, part),
        }
    }
}

/// Which ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdText {
    /// This one.
    Whole(String),
    /// All that hold this.
    Part(String),
}

impl IdText {
    /// A message's id, or a part of one.
    pub fn message(text: &str) -> Self {
        let text = text.trim();
        match text.parse::<MessageId>() {
            Ok(id) => Self::Whole(id.to_string()),
            Err(_) => Self::Part(starred(text).unwrap_or_else(|| text.to_owned())),
        }
    }

    /// A Message-ID, or a part of one: whole ones have an `@`, and no `*` at either end.
    pub fn message_id(text: &str) -> Self {
        let bare = bare(text);
        match starred(bare) {
            Some(part) => Self::Part(part),
            None if bare.contains('@') => Self::Whole(bare.to_owned()),
            None => Self::Part(bare.to_owned()),
        }
    }

    /// Whether this id, without angle brackets, is one of them.
    pub fn is(&self, id: &str) -> bool {
        match self {
            Self::Whole(whole) => same(id, whole),
            Self::Part(part) => holds(id, part),
        }
    }
}

/// Which metadata of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaText {
    /// This name with this value: `name=value`.
    Whole(String),
    /// This name, whatever the value is.
    Name(String),
}

impl MetaText {
    /// `order=4711`, or `order`.
    pub fn new(text: &str) -> Self {
        match text.trim().split_once('=') {
            Some((name, "" | "*")) => Self::Name(name.to_owned()),
            Some(_) => Self::Whole(text.trim().to_owned()),
            None => Self::Name(text.trim().to_owned()),
        }
    }

    /// Whether this `name=value` is it.
    pub fn is(&self, fact: &str) -> bool {
        match self {
            Self::Whole(whole) => same(fact, whole),
            Self::Name(name) => name_of(fact).is_some_and(|has| same(has, name)),
        }
    }
}

/// The name in `name=value`.
pub(super) fn name_of(fact: &str) -> Option<&str> {
    fact.split_once('=').map(|(name, _)| name)
}

/// What follows an address's last `@`.
pub(super) fn domain_of(address: &str) -> Option<&str> {
    address.rsplit_once('@').map(|(_, domain)| domain)
}

/// A text without the stars at its ends, if it has any.
fn starred(text: &str) -> Option<String> {
    let part = text.trim_matches('*');
    (part.len() < text.len()).then(|| part.to_owned())
}

pub(super) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn holds(text: &str, part: &str) -> bool {
    text.to_ascii_lowercase().contains(&part.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_whole_is_whole_and_stars_make_it_a_part() {
        let (whole, part) = (|text: &str| AddressText::Whole(text.into()), |text: &str| AddressText::Part(text.into()));
        assert_eq!(AddressText::new(" <anna@example.org> "), whole("anna@example.org"));
        assert_eq!(AddressText::new("anna@bücher.example"), whole("anna@xn--bcher-kva.example"));
        assert_eq!(AddressText::new("@bücher.example"), AddressText::Domain("xn--bcher-kva.example".into()));
        assert_eq!(AddressText::new("anna@"), part("anna@"));
        assert_eq!(AddressText::new("*na@example.org"), part("na@example.org"));
        assert_eq!(IdText::message("01k3abc"), IdText::Part("01k3abc".into()));
        assert_eq!(IdText::message_id("<a@x.org>"), IdText::Whole("a@x.org".into()));
        assert_eq!(IdText::message_id("*@x.org>"), IdText::Part("@x.org".into()));
        assert_eq!(MetaText::new("order=4711"), MetaText::Whole("order=4711".into()));
        assert_eq!([MetaText::new("order"), MetaText::new("order=*")], [MetaText::Name("order".into()), MetaText::Name("order".into())]);
    }

    #[test]
    fn case_makes_no_difference_and_a_domain_is_not_a_part() {
        assert!(AddressText::new("ANNA@example.org").is("anna@Example.org"));
        assert!(AddressText::new("@Example.org").is("anna@example.org"));
        assert!(!AddressText::new("@ample.org").is("anna@example.org"));
        assert!(AddressText::new("*@ex").is("anna@example.org"));
        assert!(MetaText::new("Order").is("order=4711") && !MetaText::new("ord").is("order=4711"));
    }
}
