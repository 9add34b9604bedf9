//! The comparison of a key with its record in DNS.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{Algorithm, Key};

/// The state of the DNS record at the name of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is the key's own record.
    Matches,
    /// There is no record.
    Missing,
    /// With this record, receivers reject what the key signs; the reason.
    Mismatch(String),
    /// DNS gave no answer; the reason.
    Unknown(String),
}

impl Published {
    /// Compares the TXT records at the key's name (each with its strings joined) with the key, as receivers do by RFC 6376 §3.6.1.
    pub fn of(key: &Key, records: &[String]) -> Self {
        match records {
            [] => Self::Missing,
            [record] => judge(key, record).map_or_else(|wrong| Self::Mismatch(wrong.to_string()), |()| Self::Matches),
            // RFC 6376 §3.6.2.2: with several records the result is undefined.
            several => Self::Mismatch(format!("there are {} records; receivers may read any of them", several.len())),
        }
    }

    /// True if the record is the key's own.
    pub fn is_there(&self) -> bool {
        *self == Self::Matches
    }

    /// The state as a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Matches => "matches",
            Self::Missing => "missing",
            Self::Mismatch(_) => "mismatch",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The reason, for a mismatch or an unknown state.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Mismatch(why) | Self::Unknown(why) => Some(why),
            Self::Matches | Self::Missing => None,
        }
    }
}

/// Why a record is not the key's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum RecordError {
    #[error("it is not a DKIM record: its v= is not DKIM1")]
    Version,
    #[error("its k= is {said}, but the key is {kind}")]
    Kind { said: String, kind: &'static str },
    #[error("its h= does not allow sha256")]
    Hash,
    #[error("its s= does not allow email")]
    Service,
    #[error("it has no p=")]
    NoKey,
    #[error("its p= is empty: the key is revoked")]
    Revoked,
    #[error("its p= belongs to another key")]
    OtherKey,
    #[error("its p= is not base64")]
    NotBase64,
}

fn judge(key: &Key, record: &str) -> Result<(), RecordError> {
    let tags: Vec<(&str, String)> =
        record.split(';').filter_map(|tag| tag.split_once('=')).map(|(n, v)| (n.trim(), blankless(v))).collect();
    let tag = |name: &str| tags.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
    if tag("v").is_some_and(|version| version != "DKIM1") {
        return Err(RecordError::Version);
    }
    let kind = match key.algorithm() {
        Algorithm::RsaSha256 => "rsa",
        Algorithm::Ed25519Sha256 => "ed25519",
    };
    let said = tag("k").unwrap_or("rsa");
    if said != kind {
        return Err(RecordError::Kind { said: said.to_owned(), kind });
    }
    if tag("h").is_some_and(|hashes| !hashes.split(':').any(|hash| hash == "sha256")) {
        return Err(RecordError::Hash);
    }
    if tag("s").is_some_and(|services| !services.split(':').any(|service| service == "*" || service == "email")) {
        return Err(RecordError::Service);
    }
    match tag("p") {
        None => Err(RecordError::NoKey),
        Some("") => Err(RecordError::Revoked),
        Some(text) => match BASE64_STANDARD.decode(text) {
            Ok(public) if public == key.public() => Ok(()),
            Ok(_) => Err(RecordError::OtherKey),
            Err(_) => Err(RecordError::NotBase64),
        },
    }
}

fn blankless(value: &str) -> String {
    value.split_ascii_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keys_own_record_matches() {
        let key = Key::from_pem(include_str!("../tests/keys/ed25519.pem")).unwrap();
        let rsa = Key::from_pem(include_str!("../tests/keys/rsa-pkcs8.pem")).unwrap();
        let said = |record: &str| Published::of(&key, &[record.to_owned()]);
        let own = key.public_record();
        assert_eq!(said(&own), Published::Matches);
        assert_eq!(said(&own.replace("; ", " ;\t")), Published::Matches);
        assert_eq!(said(&own.replace("v=DKIM1; ", "")), Published::Matches);
        assert_eq!(Published::of(&rsa, &[rsa.public_record().replace("k=rsa; ", "")]), Published::Matches);
        assert_eq!(Published::of(&key, &[]), Published::Missing);
        for (record, why) in [
            (rsa.public_record(), "k= is rsa"),
            (Key::generate(Algorithm::Ed25519Sha256).unwrap().0.public_record(), "another key"),
            ("v=DKIM1; k=ed25519; p=".into(), "revoked"),
            ("v=DKIM1; k=ed25519".into(), "no p="),
            ("v=DKIM1; k=ed25519; p=!".into(), "not base64"),
            (own.replace("DKIM1", "spf1"), "not a DKIM record"),
            (own.clone() + "; h=sha1", "sha256"),
            (own.clone() + "; s=tlsrpt", "email"),
        ] {
            assert!(said(&record).why().is_some_and(|said| said.contains(why)), "{record}: {:?}", said(&record));
        }
        assert!(matches!(Published::of(&key, &[own.clone(), own]), Published::Mismatch(_)));
    }
}
