//! The names that an operator gives: to streams, sources, pools, providers and nodes.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

/// The name of a stream, source, pool, provider or node: 1 to 128 bytes of `[A-Za-z0-9._:-]`.
///
/// Cheap to clone. The name of an unnamed provider is the registrable domain of its MX, which is a valid name too.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(Arc<str>);

/// The error for a text that is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name: names are 1 to {max} letters, digits, '.', '_', ':' or '-'", max = Name::MAX)]
pub struct NameError(String);

impl Name {
    /// The longest name, in bytes.
    pub const MAX: usize = 128;

    /// Checks a name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
        if text.is_empty() || text.len() > Self::MAX || !text.bytes().all(fits) {
            return Err(NameError(text.chars().take(Self::MAX).collect()));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        assert_eq!(Name::new("ip1").unwrap().as_str(), "ip1");
        assert!(Name::new("mx.example.co.uk").is_ok());
        for bad in ["", "a b", "é", "a/b", &"x".repeat(129)] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }
}
