//! What returning mail comes to, and how far it is believed.

use posthaste_bounce::{Kind, Report};
use posthaste_mail::{Address, Class};

use crate::sent::SentTo;

/// What a report, or a part of one, comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Return {
    /// A recipient's mail bounced after somebody had taken it.
    LateBounce(Match),
    /// It is late, and still being tried elsewhere: no failure.
    Delayed(Match),
    /// A recipient called it spam.
    Complaint(Match),
    /// A recipient asked by mail to be left alone.
    Unsubscribe(Match),
    /// A vacation note or the like.
    AutoReply,
    /// A report about nothing that is known here.
    Unmatched {
        /// What it reports.
        kind: Kind,
        /// Why it is not believed.
        why: Why,
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
    /// Whom it names.
    pub names: Names,
    /// What it said.
    pub report: Box<Report>,
}

/// Whom a report names beside the recipient that it was matched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// That one, or nobody.
    Recipient,
    /// The same mailbox name at another domain, as hosts with names of their own inside report it.
    Alike,
    /// Somebody behind the address: a forwarding's target, a list's member.
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
pub(crate) enum Why {
    /// It came to, or returns, a reverse-path that was not made here.
    Forged,
    /// The reverse-path is too old.
    Expired,
    /// It returns several reverse-paths.
    Several,
    /// The log knows no such message and recipient, or no longer.
    NotInLog,
    /// It says nothing of a message.
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

impl Why {
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
    /// What the report means; None for complaints.
    pub(crate) fn class(&self) -> Option<Class> {
        self.report.verdict.as_ref().map(|v| v.class)
    }
}

/// How far returning mail is believed (`trust` in the configuration).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Believe {
    /// Only keyed reverse-paths count.
    #[default]
    Verp,
    /// So do envelope ids and Message-IDs. Whoever has seen a message can then have its recipient suppressed.
    Hints,
}

/// Whether a match so trusted may put somebody onto the list.
pub(crate) fn believed(trust: Trust, believe: Believe) -> bool {
    trust == Trust::Verp || believe == Believe::Hints
}
