//! The envelope: the reverse-path and the recipients of a message (RFC 5321 §2.3.1).

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::{Address, EsmtpParameters};

/// Where failure notices go: an address, or nowhere (`<>`, RFC 5321 §4.5.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum ReversePath {
    /// `MAIL FROM:<>`, so that a notice is never answered with a notice.
    Null,
    /// A mailbox.
    Mailbox(Address),
}

impl ReversePath {
    /// The address; empty for the null reverse-path.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Mailbox(a) => a.as_str(),
        }
    }

    /// The mailbox's domain; None for the null reverse-path.
    pub fn domain(&self) -> Option<&str> {
        match self {
            Self::Null => None,
            Self::Mailbox(a) => Some(a.domain()),
        }
    }

    /// True for `<>`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ReversePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl From<ReversePath> for String {
    fn from(path: ReversePath) -> Self {
        path.as_str().to_owned()
    }
}

impl TryFrom<String> for ReversePath {
    type Error = crate::AddressError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        // As `Address`: what was accepted under SMTPUTF8 is read back from the spool.
        if text.is_empty() { Ok(Self::Null) } else { Address::try_from(text).map(Self::Mailbox) }
    }
}

/// The body type that the client declared (RFC 6152).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyKind {
    /// `BODY=7BIT`, or not declared.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
    /// `BODY=BINARYMIME` (RFC 3030): any bytes, with or without lines.
    BinaryMime,
}

/// The envelope of a message. `recipients` is never empty; a recipient is identified by its place in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Where failure notices go.
    pub reverse_path: ReversePath,
    /// The recipients in the order of the RCPT commands, each address once.
    pub recipients: Vec<Address>,
    /// The body type that the client declared.
    #[serde(default)]
    pub body: BodyKind,
    /// The other ESMTP parameters.
    #[serde(rename = "asks", default, skip_serializing_if = "EsmtpParameters::is_none")]
    pub parameters: EsmtpParameters,
}

impl Envelope {
    /// An envelope without ESMTP parameters.
    pub fn new(reverse_path: ReversePath, recipients: Vec<Address>) -> Self {
        Self { reverse_path, recipients, body: BodyKind::default(), parameters: EsmtpParameters::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_that_was_stored_before_there_were_parameters_is_read() {
        let old = r#"{"reverse_path":"a@b.c","recipients":["d@e.f"],"body":"sevenbit"}"#;
        let envelope: Envelope = serde_json::from_str(old).unwrap();
        assert_eq!(envelope, Envelope::new("a@b.c".to_owned().try_into().unwrap(), vec!["d@e.f".parse().unwrap()]));
        assert_eq!(serde_json::to_string(&envelope).unwrap(), old);
    }

    #[test]
    fn stored_parameters_keep_their_key() {
        let stored = r#"{"reverse_path":"a@b.c","recipients":["d@e.f"],"body":"sevenbit","asks":{"smtputf8":true,"envid":"QQ314"}}"#;
        let envelope: Envelope = serde_json::from_str(stored).unwrap();
        assert!(envelope.parameters.smtputf8);
        assert_eq!(envelope.parameters.envid.as_deref(), Some("QQ314"));
        assert_eq!(serde_json::to_string(&envelope).unwrap(), stored);
    }
}
