//! What is in force of returning mail.

use std::{path::PathBuf, sync::Arc, time::Duration};

use posthaste_bounce::Rules;
use posthaste_dsn::NoticeRules;
use posthaste_host::Login;
use posthaste_mail::{Address, Domain, Name, NextHop};
use posthaste_suppression::SuppressionRules;
use posthaste_verp::Paths;

use crate::found::Believe;

/// What is in force.
pub struct Settings {
    /// What is done about returning mail.
    pub returns: Returns,
    /// The relay's name.
    pub hostname: Domain,
    /// Whether and how senders hear of late bounces.
    pub notice: NoticeRules,
    /// What reports mean.
    pub rules: Arc<Rules>,
    /// Where mail comes back to.
    pub paths: Arc<Paths>,
    /// Who is not written to, and for how long.
    pub suppression: SuppressionRules,
    /// Where the delivery log lies.
    pub log_dir: PathBuf,
    /// TLS towards IMAP servers, whose certificates are checked.
    pub tls: Arc<rustls::ClientConfig>,
}

/// What is done about returning mail.
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
