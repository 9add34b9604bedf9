//! The signatures and the seal of a message.

use std::net::IpAddr;

use bytes::Bytes;
use posthaste_dkim::{SignError, sign_all};
use posthaste_host::{InForce, clock};
use posthaste_mail::{Domain, Name};

use crate::{arc, settings::Settings, threads::SignerThreads};

/// Signs and seals mail when it is accepted.
pub struct Signatures {
    settings: InForce<Settings>,
    threads: SignerThreads,
}

/// Why a message cannot have all of its signatures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// It has no From field, which a signature has to cover.
    #[error("{0}: it cannot be signed")]
    NoFrom(String),
    /// Signing failed.
    #[error("{0}")]
    Trouble(String),
}

/// A message with its signatures.
#[derive(Debug)]
pub struct Signed {
    /// Its parts, the signatures first.
    pub parts: Vec<Bytes>,
    /// The domains that signed it.
    pub domains: Vec<String>,
}

impl Signatures {
    /// Signs by the settings in force, on these threads.
    pub fn new(settings: InForce<Settings>, threads: SignerThreads) -> Self {
        Self { settings, threads }
    }

    /// The message with its signatures before it: those of the authors' domains, of the stream and of the relay itself.
    pub async fn sign(&self, mut parts: Vec<Bytes>, authors: &[String], stream: &Name) -> Result<Signed, Unsigned> {
        let settings = self.settings.get();
        let ring = settings.keyring.load_full();
        let stream = settings.streams.get(stream).and_then(|stream| stream.also.as_ref());
        let also: Vec<Domain> = stream.into_iter().chain(&settings.dkim.also_sign_as).cloned().collect();
        if ring.choose(authors.iter().map(String::as_str), also.iter().map(Domain::as_str)).is_empty() {
            return Ok(Signed { parts, domains: Vec::new() });
        }
        let (authors, message, now) = (authors.to_owned(), parts.clone(), clock::now().as_second());
        let signing = move || {
            let view: Vec<&[u8]> = message.iter().map(|p| &p[..]).collect();
            let signers = ring.choose(authors.iter().map(String::as_str), also.iter().map(Domain::as_str));
            let domains = signers.iter().map(|signer| signer.domain().to_owned()).collect();
            sign_all(signers, &view, u64::try_from(now).unwrap_or(0)).map(|signatures| (signatures, domains))
        };
        let signed = self.threads.run(signing).await.map_err(|e| Unsigned::Trouble(e.to_string()))?;
        let (signatures, domains) = signed.map_err(|e| match e {
            SignError::NoFrom => Unsigned::NoFrom(e.to_string()),
            SignError::Crypto(_) => Unsigned::Trouble(e.to_string()),
        })?;
        parts.insert(0, Bytes::from(signatures));
        Ok(Signed { parts, domains })
    }

    /// The message with the seal of forwarded mail before it, or unchanged if it cannot be sealed. `forwards`: the listener forwards mail.
    pub async fn seal(&self, came: &Bytes, mut parts: Vec<Bytes>, stream: &Name, forwards: bool, client: IpAddr) -> Vec<Bytes> {
        let settings = self.settings.get();
        if forwards || settings.streams.get(stream).is_some_and(|stream| stream.arc) {
            let set = arc::seal(&settings, &self.threads, came.clone(), parts.clone(), client).await;
            parts.splice(0..0, set.map(Bytes::from));
        }
        parts
    }
}
