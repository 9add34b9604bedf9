//! ARC (RFC 8617): what forwarded mail brought with it is checked, and the outcome is sealed over the message as it goes on.
//!
//! mail-auth checks and seals. It is handed every DNS record beforehand, so that nothing here waits; the time it takes from the system.

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

/// Public keys that are looked up for one message, at most. A signature or seal whose key is beyond that does not hold.
pub const LOOKUPS_MAX: usize = 20;

/// The TXT records by name (without the final dot, in lower case), each with its strings joined; or why there was no answer.
pub type Records = HashMap<String, Result<Vec<String>, String>>;

/// True if a message brings DKIM signatures or ARC seals, `header` being its header.
pub fn is_forwarded(header: &[u8]) -> bool {
    let is = |line: &[u8], name: &[u8]| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name);
    header.split(|b| *b == b'\n').any(|line| is(line, b"DKIM-Signature") || is(line, b"ARC-Seal") || is(line, b"ARC-Message-Signature"))
}

/// The names whose TXT records [`Signer::seal`] wants to know for this message, at most [`LOOKUPS_MAX`].
pub fn names(message: &[u8]) -> Vec<String> {
    let Some(parsed) = AuthenticatedMessage::parse(message) else { return Vec::new() };
    let dkim = parsed.dkim_headers.iter().map(|h| h.header.domain_key());
    let arc = parsed.as_headers.iter().map(|h| h.header.domain_key()).chain(parsed.ams_headers.iter().map(|h| h.header.domain_key()));
    let mut names: Vec<String> = Vec::new();
    // The seals first: without one of them the chain is broken.
    for name in arc.chain(dkim).map(|name| canonical(&name)) {
        if names.len() < LOOKUPS_MAX && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A message on its way through.
#[derive(Clone, Copy)]
pub struct Passage<'m> {
    /// As it came in.
    pub came: &'m [u8],
    /// As it goes on, without the seal; joined, they are the message.
    pub goes: &'m [&'m [u8]],
    /// What DNS said to [`names`].
    pub records: &'m Records,
    /// Who checked: the name in ARC-Authentication-Results.
    pub host: &'m str,
    /// Who handed it in.
    pub client: IpAddr,
}

impl Signer {
    /// The three fields of an ARC set, to be put before the message that goes on. None where nothing may be added: the chain has failed
    /// before (RFC 8617 §5.1), is too long, or is no chain at all.
    pub fn seal(&self, passage: &Passage<'_>) -> Option<String> {
        let zone = KnownRecords::of(passage.records);
        // mail-auth 0.13 takes a line of only blanks at the end of a body for a line, and so finds good signatures bad; without those
        // lines the message is as whoever signed it (relaxed) meant it. Who signed the body as "simple" meant it as it came.
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

    /// What is signed, what is oversigned, and the signatures that the message has.
    fn sealed_headers(&self) -> Vec<String> {
        let once = self.covered().iter().map(|header| header.name.clone());
        let again = self.covered().iter().filter(|header| header.oversigned).map(|header| header.name.clone());
        once.chain(again).chain(["DKIM-Signature".to_owned()]).collect()
    }
}

/// RFC 8617 §4.2.1.
const SETS_MAX: usize = 50;

/// What a message brought, and whether it holds.
struct Verification<'m> {
    dkim: Vec<DkimOutput<'m>>,
    arc: ArcOutput<'m>,
    /// It has fields of ARC, whole or broken.
    brings_seals: bool,
}

impl<'m> Verification<'m> {
    fn of(message: &'m AuthenticatedMessage<'m>, zone: &'m KnownRecords) -> Option<Self> {
        // It never asks: the zone has an answer to everything.
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

/// The outcome of a future that has nothing to wait for.
fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// DNS as far as it was asked. It knows an answer to every question, if only that nobody asked it.
struct KnownRecords(HashMap<Box<str>, Txt>);

impl KnownRecords {
    fn of(records: &Records) -> Self {
        Self(records.iter().map(|(name, said)| (format!("{name}.").into(), parsed(said))).collect())
    }
}

fn parsed(said: &Result<Vec<String>, String>) -> Txt {
    let said = match said {
        Ok(records) => records,
        Err(why) => return Txt::Error(Error::Dns(DnsError::Resolver(why.clone()))),
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

/// A key as the sealer wants it.
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

/// The message with its body as relaxed canonicalization sees its end: that hash is the same, and mail-auth gets it right.
fn tidied(parts: &[&[u8]]) -> Vec<u8> {
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

fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
