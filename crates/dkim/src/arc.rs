//! ARC (RFC 8617): the signatures and seals of forwarded mail are verified, and the result is sealed over the outgoing message.
//!
//! mail-auth verifies and seals. It gets every DNS record beforehand, so that nothing here waits. It takes the time from the system.

use std::{
    borrow::Borrow,
    collections::HashMap,
    future::Future,
    hash::Hash,
    net::IpAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use mail_auth::{
    ArcOutput, AuthenticatedMessage, AuthenticationResults, DkimOutput, DkimResult, DnsError, Error, MessageAuthenticator, Parameters,
    ResolverCache, Txt,
    arc::ArcSealer,
    common::{
        crypto::{Algorithm, Sha256, SigningKey},
        headers::{HeaderWriter as _, Writable},
        parse::TxtRecordParser as _,
        verify::{DomainKey, VerifySignature as _},
    },
    hickory_resolver::{
        config::{ResolverConfig, ResolverOpts},
        proto::op::ResponseCode,
    },
};

use crate::{Key, Signer, message::MessageParts};

/// The most public keys that are looked up for one message. A signature or seal whose key was not looked up does not verify.
pub const LOOKUPS_MAX: usize = 20;

/// TXT records by name (in lower case, without the final dot), each with its strings joined; or why there was no answer.
pub type Records = HashMap<String, Result<Vec<String>, NoAnswer>>;

/// DNS gave no answer, for this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(String);

impl NoAnswer {
    /// No answer, because of `why`.
    pub fn new(why: &impl std::fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// True if a message with this header has DKIM signatures or ARC fields.
pub fn is_forwarded(header: &[u8]) -> bool {
    let is = |line: &[u8], name: &[u8]| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name);
    header.split(|b| *b == b'\n').any(|line| is(line, b"DKIM-Signature") || is(line, b"ARC-Seal") || is(line, b"ARC-Message-Signature"))
}

/// The names whose TXT records [`Signer::seal`] needs for this message, at most [`LOOKUPS_MAX`].
pub fn names(message: &[u8]) -> Vec<String> {
    let Some(parsed) = AuthenticatedMessage::parse(message) else { return Vec::new() };
    let dkim = parsed.dkim_headers.iter().map(|h| h.header.domain_key());
    let arc = parsed.as_headers.iter().map(|h| h.header.domain_key()).chain(parsed.ams_headers.iter().map(|h| h.header.domain_key()));
    let mut names: Vec<String> = Vec::new();
    // Seals go first: if one cannot be verified, the chain is broken.
    for name in arc.chain(dkim).map(|name| canonical(&name)) {
        if names.len() < LOOKUPS_MAX && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A forwarded message, as received and as sent.
#[derive(Clone, Copy)]
pub struct Passage<'m> {
    /// The message as received.
    pub came: &'m [u8],
    /// The message as sent, without the seal, in parts; joined, they are the message.
    pub goes: &'m [&'m [u8]],
    /// The DNS records of [`names`].
    pub records: &'m Records,
    /// The host that verified it: the name in ARC-Authentication-Results.
    pub host: &'m str,
    /// The address of the client that submitted it.
    pub client: IpAddr,
}

impl Signer {
    /// The three fields of an ARC set, to be put before the outgoing message. `None` if no set may be added: the chain failed
    /// before (RFC 8617 §5.1), is too long, or is malformed.
    pub fn seal(&self, passage: &Passage<'_>) -> Option<String> {
        let zone = KnownRecords::of(passage.records);
        // mail-auth 0.13 counts a line of blanks at the end of a body and so rejects good relaxed signatures; without such lines it accepts
        // them. A signature over a "simple" body needs the message as received, so both are tried.
        let tidy = tidied(&[passage.came]);
        let (tidy, came) = (AuthenticatedMessage::parse(&tidy)?, AuthenticatedMessage::parse(passage.came)?);
        let seen = Verification::of(&tidy, &zone)?;
        let seen = Verification::of(&came, &zone).filter(|other| other.passed() > seen.passed()).unwrap_or(seen);
        let sets = seen.arc.sets().len();
        if !seen.arc.can_be_sealed() || (seen.brings_seals && sets == 0) || sets >= SETS_MAX {
            return None;
        }
        let goes = tidied(passage.goes);
        let goes = AuthenticatedMessage::parse(&goes)?;
        let results = AuthenticationResults::new(passage.host).with_dkim_results(&seen.dkim, goes.from.first().map_or("", String::as_str));
        let results = if seen.brings_seals { results.with_arc_result(&seen.arc, passage.client) } else { results };
        let sealer = ArcSealer::from_key(SealingKey(self.key().clone())).domain(self.domain()).selector(self.selector());
        let set = sealer.headers(self.sealed_headers()).seal(&goes, &results, &seen.arc).ok()?;
        Some(set.to_header())
    }

    /// The fields that are signed, those that are oversigned, and DKIM-Signature.
    fn sealed_headers(&self) -> Vec<String> {
        let once = self.covered().iter().map(|header| header.name.clone());
        let again = self.covered().iter().filter(|header| header.oversigned).map(|header| header.name.clone());
        once.chain(again).chain(["DKIM-Signature".to_owned()]).collect()
    }
}

/// The most ARC sets of a message (RFC 8617 §4.2.1).
const SETS_MAX: usize = 50;

/// The result of verifying a message.
struct Verification<'m> {
    dkim: Vec<DkimOutput<'m>>,
    arc: ArcOutput<'m>,
    /// The message has ARC fields, valid or not.
    brings_seals: bool,
}

impl<'m> Verification<'m> {
    fn of(message: &'m AuthenticatedMessage<'m>, zone: &'m KnownRecords) -> Option<Self> {
        // It never sends a query: the records below answer every look-up.
        let verifier = MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default()).ok()?;
        let dkim = at_once(verifier.verify_dkim(Parameters::new(message).with_txt_cache(zone)))?;
        let arc = at_once(verifier.verify_arc(Parameters::new(message).with_txt_cache(zone)))?;
        let fields = message.as_headers.len() + message.ams_headers.len() + message.aar_headers.len();
        Some(Self { dkim, arc, brings_seals: fields > 0 || message.has_arc_errors })
    }

    fn passed(&self) -> usize {
        let arc = usize::from(*self.arc.result() == DkimResult::Pass);
        arc + self.dkim.iter().filter(|one| *one.result() == DkimResult::Pass).count()
    }
}

/// The outcome of a future that never waits.
pub(crate) fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// The known DNS records. Every look-up gets an answer; for a name that was not looked up it is an error.
pub(crate) struct KnownRecords(HashMap<Box<str>, Txt>);

impl KnownRecords {
    pub(crate) fn of(records: &Records) -> Self {
        Self(records.iter().map(|(name, said)| (format!("{name}.").into(), parsed(said))).collect())
    }
}

fn parsed(said: &Result<Vec<String>, NoAnswer>) -> Txt {
    let said = match said {
        Ok(records) => records,
        Err(NoAnswer(why)) => return Txt::Error(Error::Dns(DnsError::Resolver(why.clone()))),
    };
    let mut outcome = Txt::Error(Error::Dns(DnsError::RecordNotFound(ResponseCode::NXDomain)));
    for record in said {
        match DomainKey::parse(record.as_bytes()) {
            Ok(key) => return Txt::DomainKey(Arc::new(key)),
            Err(error) => outcome = Txt::Error(error),
        }
    }
    outcome
}

impl ResolverCache<Box<str>, Txt> for KnownRecords {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let unasked = || Txt::Error(Error::Dns(DnsError::Resolver("not asked".into())));
        Some(self.0.get(name).cloned().unwrap_or_else(unasked))
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

/// A key in the form that the sealer needs.
struct SealingKey(Key);

impl SigningKey for SealingKey {
    type Hasher = Sha256;

    fn sign(&self, input: impl Writable) -> mail_auth::Result<Vec<u8>> {
        self.0.signing().sign(input)
    }

    fn algorithm(&self) -> Algorithm {
        self.0.signing().algorithm()
    }
}

/// The message without the blank lines at its end that relaxed canonicalization ignores. The hash is the same, and mail-auth computes it
/// correctly.
pub(crate) fn tidied(parts: &[&[u8]]) -> Vec<u8> {
    let message = MessageParts::new(parts);
    let mut whole = message.header.clone();
    whole.extend_from_slice(b"\r\n");
    for part in message.relaxed_body() {
        whole.extend_from_slice(part);
    }
    if !whole.ends_with(b"\r\n") {
        whole.extend_from_slice(b"\r\n");
    }
    whole
}

pub(crate) fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
