//! What a rule found: what is wrong, whose problem it is, what the relay did, and what to do.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// The rule that found it.
    Rule {
        /// A provider refuses mail, or puts it off, for reputation or policy.
        ProviderRefuses = "provider_refuses",
        /// Mail is due and none is delivered, or a pool has no source left.
        MailStands = "mail_stands",
        /// A stream's mail takes longer than it should.
        Late = "late",
        /// Too many recipients complain.
        Complaints = "complaints",
        /// Too many recipients do not exist.
        UnknownUsers = "unknown_users",
        /// A sender submits far more than it ever did, or writes to many recipients that do not exist.
        SenderLeaps = "sender_leaps",
        /// A stream that always has mail at this hour has none.
        Silence = "silence",
        /// A lane is stopped, stepped back or missed a day of its warm-up.
        Lane = "lane",
        /// Mail leaves without a signature of its From domain, or DNS lacks a key.
        Authentication = "authentication",
        /// Less mail than the day before is delivered under TLS.
        Tls = "tls",
        /// The classifier does not know what receivers say.
        UnknownReplies = "unknown_replies",
        /// Complaint reports come back that belong to no message.
        ReportsUnmatched = "reports_unmatched",
        /// The relay itself: certificates, disk, log, clock, configuration, spool.
        House = "house",
        /// The guard holds the new mail of a user or a stream.
        Guard = "guard",
        /// The health score lost points.
        Score = "score",
    }
}

words! {
    /// How bad it is. The later value is the worse one.
    Severity {
        /// Somebody should look at it today.
        Warn = "warn",
        /// Somebody should get up for it.
        Critical = "critical",
    }
}

words! {
    /// Whose problem it is.
    ProblemOf {
        /// This relay's, or its operator's.
        Ours = "ours",
        /// The list of addresses that a sender writes to.
        SendersList = "senders_list",
        /// The receiver's.
        Receiver = "receiver",
        /// DNS's: what it says about us, or that it says nothing.
        Dns = "dns",
    }
}

words! {
    /// What a finding is about.
    About {
        /// The relay itself; the value names the part.
        Relay = "relay",
        /// A provider.
        Provider = "provider",
        /// A source.
        Source = "source",
        /// A stream.
        Stream = "stream",
        /// A user.
        User = "user",
        /// A pool of sources.
        Pool = "pool",
        /// A source at a provider: `ip1/google`.
        Lane = "lane",
        /// A stream at a provider: `news/google`.
        StreamProvider = "stream_provider",
        /// A domain of From fields.
        FromDomain = "from_domain",
    }
}

/// What a finding is about: written as `provider:google`, `lane:ip1/google`, `relay:disk/spool`, and `relay` for the whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// What kind of thing.
    pub about: About,
    /// Which one; empty for the relay as a whole.
    pub value: String,
}

impl Key {
    /// A key.
    pub fn new(about: About, value: impl Into<String>) -> Self {
        Self { about, value: value.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.as_str() {
            "" => f.write_str(self.about.as_str()),
            value => write!(f, "{}:{value}", self.about),
        }
    }
}

words! {
    /// Where a limit comes from.
    LimitFrom {
        /// It is the rule's default.
        Default = "default",
        /// The operator's configuration gives it.
        Configuration = "configuration",
    }
}

words! {
    /// Whether it is still so.
    FindingState {
        /// It is.
        Open = "open",
        /// The rule looked again and did not find it.
        Fixed = "fixed",
    }
}

/// The figure that a rule compared, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// How many, or how much.
    pub n: u64,
    /// Of how many; None: the figure is no share.
    pub of: Option<u64>,
    /// What was counted and what it is a share of, in words: `refusals of attempts in 15m`.
    pub what: String,
    /// The limit that was reached, with its unit: `10 %`, `15m`.
    pub limit: String,
    /// Where the limit comes from.
    pub limit_from: LimitFrom,
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Rule and key: the same as long as it is the same problem.
    pub id: String,
    /// The rule.
    pub rule: Rule,
    /// What it is about.
    pub key: Key,
    /// How bad it is.
    pub severity: Severity,
    /// The figure behind it.
    pub measure: Measure,
    /// When it was found first, without a gap since.
    pub first_seen: Timestamp,
    /// When it was found last.
    pub last_seen: Timestamp,
    /// Whether it is still so.
    pub state: FindingState,
    /// What is wrong, in one sentence.
    pub summary: String,
    /// Whose problem it is.
    pub problem_of: ProblemOf,
    /// What the relay did about it already, in one sentence.
    pub done: String,
    /// What to do next, in one sentence that names the command.
    pub next_step: String,
    /// The command that shows the events behind it.
    pub query: String,
}

impl Finding {
    /// The id of what a rule finds about a key.
    pub fn id_of(rule: Rule, key: &Key) -> String {
        format!("{rule}/{key}")
    }
}
