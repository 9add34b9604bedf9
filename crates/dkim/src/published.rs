//! What DNS says of a key, held against the key.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{Algorithm, Key};

/// What stands in DNS at a key's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The key's own public half.
    Matches,
    /// Nothing.
    Missing,
    /// Something that makes receivers refuse what the key signs; why.
    Mismatch(String),
    /// Nobody knows: DNS gave no answer; why.
    Unknown(String),
}

impl Published {
    /// Holds the TXT records at the key's name (each with its strings joined) against the key, as RFC 6376 §3.6.1 has receivers read them.
    pub fn of(key: &Key, records: &[String]) -> Self {
        match records {
            [] => Self::Missing,
            [record] => judge(key, record).map_or_else(Self::Mismatch, |()| Self::Matches),
            // RFC 6376 §3.6.2.2: with several the result is undefined.
            several => Self::Mismatch(format!("{} records stand there; receivers may read any of them", several.len())),
        }
    }

    /// True if receivers find the key.
    pub fn is_there(&self) -> bool {
        *self == Self::Matches
    }

    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Matches => "matches",
            Self::Missing => "missing",
            Self::Mismatch(_) => "mismatch",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Why, where there is more to say than the word.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Mismatch(why) | Self::Unknown(why) => Some(why),
            Self::Matches | Self::Missing => None,
        }
    }
}

fn judge(key: &Key, record: &str) -> Result<(), String> {
    let tags: Vec<(&str, String)> =
        record.split(';').filter_map(|tag| tag.split_once('=')).map(|(n, v)| (n.trim(), blankless(v))).collect();
    let tag = |name: &str| tags.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
    if tag("v").is_some_and(|version| version != "DKIM1") {
        return Err("it is no DKIM record: its v= is not DKIM1".into());
    }
    let kind = match key.algorithm() {
        Algorithm::RsaSha256 => "rsa",
        Algorithm::Ed25519Sha256 => "ed25519",
    };
    let said = tag("k").unwrap_or("rsa");
    if said != kind {
        return Err(format!("it is for a key of the kind {said}, and the key is of the kind {kind}"));
    }
    if tag("h").is_some_and(|hashes| !hashes.split(':').any(|hash| hash == "sha256")) {
        return Err("its h= does not let sha256".into());
    }
    if tag("s").is_some_and(|services| !services.split(':').any(|service| service == "*" || service == "email")) {
        return Err("its s= is not for email".into());
    }
    match tag("p") {
        None => Err("it has no p=".into()),
        Some("") => Err("its p= is empty: the key is revoked".into()),
        Some(text) => match BASE64_STANDARD.decode(text) {
            Ok(public) if public == key.public() => Ok(()),
            Ok(_) => Err("it is another key's".into()),
            Err(_) => Err("its p= is not base64".into()),
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
            (rsa.public_record(), "of the kind rsa"),
            (Key::generate(Algorithm::Ed25519Sha256).unwrap().0.public_record(), "another key's"),
            ("v=DKIM1; k=ed25519; p=".into(), "revoked"),
            ("v=DKIM1; k=ed25519".into(), "no p="),
            ("v=DKIM1; k=ed25519; p=!".into(), "not base64"),
            (own.replace("DKIM1", "spf1"), "no DKIM record"),
            (own.clone() + "; h=sha1", "sha256"),
            (own.clone() + "; s=tlsrpt", "email"),
        ] {
            assert!(said(&record).why().is_some_and(|said| said.contains(why)), "{record}: {:?}", said(&record));
        }
        assert!(matches!(Published::of(&key, &[own.clone(), own]), Published::Mismatch(_)));
    }
}
