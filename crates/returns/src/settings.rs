//! The settings of returned mail.

use std::{path::PathBuf, sync::Arc, time::Duration};

use posthaste_bounce::Rules;
use posthaste_dsn::NoticeRules;
use posthaste_mail::{Address, Domain, Login, Name, NextHop};
use posthaste_route::Resolver;
use posthaste_suppression::SuppressionRules;
use posthaste_verp::ReversePaths;

use crate::found::Believe;

/// The settings of returned mail.
pub struct Settings {
    /// The configuration of returned mail.
    pub returns: Returns,
    /// The relay's name.
    pub hostname: Domain,
    /// Who gets mail that is no report; None: it is refused.
    pub postmaster: Option<Address>,
    /// Whether and how senders are told of late bounces.
    pub notice: NoticeRules,
    /// The rules by which reports are classified.
    pub rules: Arc<Rules>,
    /// The reverse-paths to which mail comes back.
    pub paths: Arc<ReversePaths>,
    /// The rules of the suppression list.
    pub suppression: SuppressionRules,
    /// Looks up the names of hosts that bring reports, and keys of their signatures; knows the providers.
    pub resolver: Resolver,
    /// The TLS configuration for IMAP servers, whose certificates are checked.
    pub tls: Arc<rustls::ClientConfig>,
}

/// The configuration of returned mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returns {
    /// The domain of reverse-paths, for streams that name none; None: applications' reverse-paths are kept.
    pub domain: Option<Domain>,
    /// The part before the '+' in a reverse-path.
    pub prefix: String,
    /// How long after acceptance a reverse-path is valid.
    pub good_for: Duration,
    /// Other addresses whose mail is read.
    pub addresses: Vec<Address>,
    /// Which reports may suppress an address.
    pub trust: Believe,
    /// How far back the log is searched for a Message-ID.
    pub look_back: Option<Duration>,
    /// Mails that are passed on to the postmaster in an hour, at most.
    pub forwards_per_hour: u32,
    /// How often mailboxes are read.
    pub read_every: Duration,
    /// Mailboxes that are read.
    pub mailboxes: Vec<(Name, Mailbox)>,
}

/// A mailbox that is read for returned mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mailbox {
    /// A Maildir.
    Maildir(PathBuf),
    /// A file in mbox format (RFC 4155).
    Mbox(PathBuf),
    /// IMAP over TLS (RFC 8314 §3.2).
    Imap(Imap),
}

/// A folder at an IMAP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imap {
    /// The server.
    pub server: NextHop,
    /// The user.
    pub auth: Login,
    /// The folder.
    pub folder: String,
}
