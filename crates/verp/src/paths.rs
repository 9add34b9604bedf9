//! The reverse-paths in force: which stream's mail comes back where, and which addresses are read.

use std::{collections::HashMap, collections::HashSet, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_mail::{Address, Domain, Name, ReversePath};
use posthaste_message::{Message, MessageRecord, RETURN_FIELD};

use crate::{OpenedPath, Secret, Verp, VerpError};

/// The reverse-paths of all streams. By default there are none.
#[derive(Debug, Default)]
pub struct Paths {
    verps: Vec<Verp>,
    /// Places in `verps`; None: the application's own reverse-path stays.
    by_stream: HashMap<Name, Option<usize>>,
    /// For a stream that is configured no more.
    rest: Option<usize>,
    good_for: Duration,
    /// Other addresses whose mail is read.
    addresses: HashSet<String>,
}

/// Where mail comes back to, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRules {
    /// Streams, with the bounce domain of each that has one.
    pub streams: HashMap<Name, Option<Domain>>,
    /// The bounce domain of mail of other streams.
    pub rest: Option<Domain>,
    /// What reverse-paths begin with.
    pub prefix: String,
    /// How long a reverse-path is believed.
    pub good_for: Duration,
    /// Other addresses whose mail is read.
    pub addresses: Vec<Address>,
}

impl PathRules {
    /// All bounce domains, each once.
    pub fn domains(&self) -> Vec<&Domain> {
        let mut domains: Vec<_> = self.streams.values().chain([&self.rest]).flatten().collect();
        domains.sort();
        domains.dedup();
        domains
    }
}

/// Why mail to an address is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// A reverse-path of ours, too old to be believed.
    Expired,
    /// It looks like ours, and nobody here wrote it.
    Forged,
    /// No such address at a bounce domain.
    Unknown,
    /// Another domain.
    Elsewhere,
}

impl Paths {
    /// By these rules, signed with the first of the secrets.
    ///
    /// # Errors
    /// A domain or the prefix leaves no room for a reverse-path.
    pub fn new(rules: &PathRules, secrets: &[Secret]) -> Result<Self, VerpError> {
        let domains = rules.domains();
        let verp = |domain: &&Domain| Verp::new(secrets, (*domain).clone(), &rules.prefix);
        let verps = domains.iter().map(verp).collect::<Result<Vec<_>, _>>()?;
        let place = |wanted: &Option<Domain>| wanted.as_ref().and_then(|domain| domains.iter().position(|d| *d == domain));
        Ok(Self {
            verps,
            by_stream: rules.streams.iter().map(|(name, domain)| (name.clone(), place(domain))).collect(),
            rest: place(&rules.rest),
            good_for: rules.good_for,
            addresses: rules.addresses.iter().map(Address::folded).collect(),
        })
    }

    /// One for each domain.
    pub fn all(&self) -> &[Verp] {
        &self.verps
    }

    /// The reverse-path towards one recipient; None where the application's own stays. Always the same for one recipient of one message:
    /// a receiver that greylists must know it again.
    pub fn towards(&self, meta: &MessageRecord, rcpt: u16) -> Option<Address> {
        // RFC 5321 §4.5.5: notices go out with the null reverse-path, and nothing comes back from them.
        let verp = &self.verps[self.by_stream.get(&meta.stream).copied().unwrap_or(self.rest)?];
        let to = meta.envelope.recipients.get(usize::from(rcpt)).filter(|_| !meta.envelope.reverse_path.is_null())?;
        let expires = meta.arrived.saturating_add(self.good_for).unwrap_or(Timestamp::MAX);
        Some(verp.address(meta.id, rcpt, to, expires))
    }

    /// Whether mail to this address is read.
    pub fn want(&self, address: &Address, now: Timestamp) -> Result<(), Unwanted> {
        let ours = self.verps.iter().any(|v| v.domain().as_str() == address.domain());
        if self.addresses.contains(&address.folded()) || (ours && address.local().eq_ignore_ascii_case("postmaster")) {
            return Ok(());
        }
        for verp in &self.verps {
            match verp.open(address, now) {
                OpenedPath::Valid(_) => return Ok(()),
                OpenedPath::Expired(_) => return Err(Unwanted::Expired),
                OpenedPath::Forged => return Err(Unwanted::Forged),
                OpenedPath::NotOurs => {}
            }
        }
        Err(if ours { Unwanted::Unknown } else { Unwanted::Elsewhere })
    }
}

/// What a message is sent with where its returns come to us.
pub struct Stamped {
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// The envelope id (RFC 3461 §4.4).
    pub envid: String,
    /// The message, with a field of ours before it, outside of what is signed: some feedback loops send back the header without Return-Path.
    pub body: Vec<Bytes>,
    /// Its bytes.
    pub size: u64,
}

impl Stamped {
    /// A letter for the one recipient that `path` was made for.
    pub fn new(path: Address, letter: &Message) -> Self {
        let field = Bytes::from(format!("{RETURN_FIELD}: <{path}>\r\n"));
        let size = letter.meta.size + field.len() as u64;
        let body = std::iter::once(field).chain(letter.body.iter().cloned()).collect();
        Self { reverse_path: ReversePath::Mailbox(path), envid: letter.meta.id.to_string(), body, size }
    }
}
