//! The reverse-paths in force: the bounce domain of each stream, and the addresses whose mail is read.

use std::{collections::HashMap, collections::HashSet, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_mail::{Address, Domain, Name, ReversePath};
use posthaste_message::{Message, MessageRecord, RETURN_FIELD};

use crate::{OpenedPath, Verp, VerpError, VerpSecret};

/// The reverse-paths of all streams; none by default.
#[derive(Debug, Default)]
pub struct ReversePaths {
    verps: Vec<Verp>,
    /// Indices into `verps`; None: the application's own reverse-path stays.
    by_stream: HashMap<Name, Option<usize>>,
    /// The index for streams that are no longer configured.
    rest: Option<usize>,
    good_for: Duration,
    /// Other addresses whose mail is read.
    addresses: HashSet<String>,
}

/// The bounce domains and addresses, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRules {
    /// Streams with their bounce domains, if any.
    pub streams: HashMap<Name, Option<Domain>>,
    /// The bounce domain of mail of other streams.
    pub rest: Option<Domain>,
    /// The prefix of reverse-paths.
    pub prefix: String,
    /// How long a reverse-path is valid.
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
    /// A reverse-path of ours that has expired.
    Expired,
    /// It looks like a reverse-path of ours, but its signature is wrong.
    Forged,
    /// No such address at a bounce domain.
    Unknown,
    /// Another domain.
    Elsewhere,
}

impl ReversePaths {
    /// By these rules, signed with the first of the secrets.
    ///
    /// # Errors
    /// A domain or the prefix leaves no room for a reverse-path.
    pub fn new(rules: &PathRules, secrets: &[VerpSecret]) -> Result<Self, VerpError> {
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

    /// The marks of a message towards one recipient; None if the application's own stays. They are always the same for one recipient of one
    /// message, so that greylisting receivers recognize the reverse-path.
    pub fn towards(&self, record: &MessageRecord, rcpt: u16) -> Option<ReturnMarks> {
        // RFC 5321 §4.5.5: notices are sent with the null reverse-path and return no mail.
        let verp = &self.verps[self.by_stream.get(&record.stream).copied().unwrap_or(self.rest)?];
        let to = record.envelope.recipients.get(usize::from(rcpt)).filter(|_| !record.envelope.reverse_path.is_null())?;
        let expires = record.arrived.saturating_add(self.good_for).unwrap_or(Timestamp::MAX);
        let (reverse_path, code) = (verp.address(record.id, rcpt, to, expires), verp.field(record.id, rcpt, to, expires));
        Some(ReturnMarks { reverse_path, field: format!("<{code}@{}>", verp.domain()) })
    }

    /// Whether this is one of the other addresses whose mail is read, as feedback loops are told.
    pub fn reads(&self, address: &Address) -> bool {
        self.addresses.contains(&address.folded())
    }

    /// Whether mail to this address is accepted and read.
    pub fn want(&self, address: &Address, now: Timestamp) -> Result<(), Unwanted> {
        let ours = self.verps.iter().any(|v| v.domain().as_str() == address.domain());
        if self.reads(address) || (ours && address.local().eq_ignore_ascii_case("postmaster")) {
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

/// What a copy of a message carries, so that what comes back tells which one it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnMarks {
    /// The address to which mail returns.
    pub reverse_path: Address,
    /// The value of the header field, `<code@bounce.domain>`. It proves nothing, because everybody reads it who ever gets the message, and it is no
    /// address that takes mail.
    pub field: String,
}

/// A message as it is sent with a reverse-path of ours.
pub struct Stamped {
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// The envelope id (RFC 3461 §4.4).
    pub envid: String,
    /// The message, preceded by a field of ours that no signature covers: some feedback loops send back the header without Return-Path.
    pub body: Vec<Bytes>,
    /// Its size in bytes.
    pub size: u64,
}

impl Stamped {
    /// Stamps a message for the one recipient that the marks were made for.
    pub fn new(marks: ReturnMarks, message: &Message) -> Self {
        let field = Bytes::from(format!("{RETURN_FIELD}: {}\r\n", marks.field));
        let size = message.record.size + field.len() as u64;
        let body = std::iter::once(field).chain(message.body.iter().cloned()).collect();
        Self { reverse_path: ReversePath::Mailbox(marks.reverse_path), envid: message.record.id.to_string(), body, size }
    }
}
