//! The meaning of returned mail, and how far it is trusted.

use posthaste_bounce::{Kind, Report};
use posthaste_mail::{Address, Class};

use crate::sent::SentTo;

/// The meaning of a report, or of a part of one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Return {
    /// The mail bounced after a receiver had accepted it.
    LateBounce(Match),
    /// The mail is delayed, and another host still tries it: no failure.
    Delayed(Match),
    /// The recipient reported it as spam.
    Complaint(Match),
    /// The recipient unsubscribed by mail.
    Unsubscribe(Match),
    /// A vacation note or the like.
    AutoReply,
    /// A report that matches no message of this relay.
    Unmatched {
        /// What it reports.
        kind: Kind,
        /// Why it matches none.
        why: Mismatch,
    },
    /// No report, or one of success.
    Nothing,
}

/// A report with the recipient it is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Match {
    /// The message and recipient, as the log has them.
    pub sent: SentTo,
    /// How it was matched.
    pub trust: Trust,
    /// How the recipient that it names relates to the matched one.
    pub names: Names,
    /// The report.
    pub report: Box<Report>,
}

/// How the recipient that a report names relates to the one that it was matched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// It is the same, or none is named.
    Recipient,
    /// It has the same local part at another domain, as hosts with internal names report it.
    Alike,
    /// It is another address behind the matched one: the target of a forwarding, a member of a list.
    Another,
}

impl Names {
    pub(crate) fn new(named: &[Address], recipient: &Address) -> Self {
        let local = |a: &Address| a.folded().split('@').next().map(str::to_owned);
        if named.is_empty() || named.iter().any(|a| a.folded() == recipient.folded()) {
            Self::Recipient
        } else if named.iter().any(|a| local(a) == local(recipient)) {
            Self::Alike
        } else {
            Self::Another
        }
    }
}

/// How a report was matched, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Trust {
    /// By a keyed reverse-path.
    Verp,
    /// By the envelope id (RFC 3461 ENVID).
    Envid,
    /// By the Message-ID.
    MessageId,
}

/// Why a report matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mismatch {
    /// It was sent to, or returns, a reverse-path that this relay did not make.
    Forged,
    /// The reverse-path is too old.
    Expired,
    /// It returns several reverse-paths.
    Several,
    /// The log knows no such message and recipient, or no longer.
    NotInLog,
    /// It has no hint of a message or recipient.
    NoHint,
}

impl Trust {
    /// The word in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Verp => "verp",
            Self::Envid => "envid",
            Self::MessageId => "message_id",
        }
    }
}

impl Mismatch {
    /// The word for a counter.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Expired => "expired",
            Self::Several => "several",
            Self::NotInLog => "not_in_log",
            Self::NoHint => "no_hint",
        }
    }
}

impl Match {
    /// The class of the report; None for complaints.
    pub(crate) fn class(&self) -> Option<Class> {
        self.report.verdict.as_ref().map(|v| v.class)
    }
}

/// Which matches of returned mail are trusted (`trust` in the configuration).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Believe {
    /// Only matches by keyed reverse-paths.
    #[default]
    Verp,
    /// Also matches by envelope ids and Message-IDs. Anybody who has seen a message can then have its recipient suppressed.
    Hints,
}

/// Whether a match of this kind may put an address on the suppression list.
pub(crate) fn believed(trust: Trust, believe: Believe) -> bool {
    trust == Trust::Verp || believe == Believe::Hints
}
