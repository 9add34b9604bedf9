//! The meaning of returned mail, and how far it is trusted.

use posthaste_bounce::{Kind, Report};
use posthaste_mail::{Address, Class};

use crate::{origin::Origin, sent::SentTo};

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
    /// No failure and no complaint; with the recipient whose reverse-path it came to, if it came to one.
    Aside(Kind, Option<Match>),
    /// A report that matches no message of this relay.
    Unmatched {
        /// What it reports.
        kind: Kind,
        /// Why it matches none.
        why: Mismatch,
    },
}

impl Return {
    /// The recipient that it is about.
    pub(crate) fn about(&self) -> Option<&Match> {
        match self {
            Self::LateBounce(about) | Self::Delayed(about) | Self::Complaint(about) | Self::Unsubscribe(about) => Some(about),
            Self::Aside(_, about) => about.as_ref(),
            Self::Unmatched { .. } => None,
        }
    }

    /// As [`Self::about`].
    pub(crate) fn about_mut(&mut self) -> Option<&mut Match> {
        match self {
            Self::LateBounce(about) | Self::Delayed(about) | Self::Complaint(about) | Self::Unsubscribe(about) => Some(about),
            Self::Aside(_, about) => about.as_mut(),
            Self::Unmatched { .. } => None,
        }
    }

    /// Whether a person wrote it to be read.
    pub(crate) fn is_mail(&self) -> bool {
        matches!(self, Self::Aside(Kind::NotBounce, _) | Self::Unmatched { kind: Kind::NotBounce, .. })
    }
}

/// A report with the recipient it is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Match {
    /// The message and recipient, as the log has them.
    pub sent: SentTo,
    /// How it was matched.
    pub trust: Trust,
    /// Where it comes from.
    pub origin: Origin,
    /// How the recipient that it names relates to the matched one.
    pub names: Names,
    /// The report.
    pub report: Box<Report>,
}

/// How the recipient that a report names relates to the one that it was matched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// It came to a keyed reverse-path, which the host of that delivery alone was told; it writes it into Return-Path.
    Verp,
    /// A code of ours stands in its content, and it came to an address that only feedback loops were told, or to a mailbox.
    Feedback,
    /// A code of ours stands in its content. Everybody knows that one who ever got the message, from whomever.
    Content,
    /// By the envelope id (RFC 3461 ENVID).
    Envid,
    /// By the Message-ID.
    MessageId,
}

/// How far a report is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Belief {
    /// It is written down and has no other effect.
    Nothing,
    /// A stranger may have written it: it stops mail of its stream, and for a limited time.
    Hint,
    /// The side that received the message wrote it.
    Proof,
}

impl Belief {
    /// The word in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Hint => "hint",
            Self::Proof => "proof",
        }
    }
}

/// Why a report matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mismatch {
    /// It was sent to a reverse-path, or returns a code, that this relay did not make.
    Forged,
    /// The reverse-path or code is too old.
    Expired,
    /// It returns several codes of ours.
    Several,
    /// The log knows no such message and recipient, or no longer.
    NotInLog,
    /// It has no hint of a message or recipient.
    NoHint,
}

impl Trust {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Verp, Self::Feedback, Self::Content, Self::Envid, Self::MessageId];

    /// The word in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Verp => "verp",
            Self::Feedback => "feedback",
            Self::Content => "content",
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
    /// Reports to keyed reverse-paths, as proof from the receiving side and as hints from elsewhere, and as hints what feedback loops report
    /// to their own addresses.
    #[default]
    Verp,
    /// As hints also all other matches. Anybody who has seen a message can then stop its stream's mail to the recipient for a while.
    Hints,
}

/// How far a return is believed; [`Belief::Nothing`] for one that is about no message.
pub(crate) fn believed(found: &Return, believe: Believe) -> Belief {
    let (about, is_feedback) = match found {
        // Its bounce was counted when it ended.
        Return::LateBounce(about) | Return::Delayed(about) if about.origin == Origin::Ended => return Belief::Nothing,
        Return::LateBounce(about) | Return::Delayed(about) => (about, false),
        Return::Complaint(about) | Return::Unsubscribe(about) => (about, true),
        Return::Aside(..) | Return::Unmatched { .. } => return Belief::Nothing,
    };
    match (about.trust, believe) {
        (Trust::Verp, _) if about.origin.is_receiving_side() => Belief::Proof,
        (Trust::Verp, _) | (_, Believe::Hints) => Belief::Hint,
        // Feedback loops return no reverse-path. A bounce goes to it (RFC 3464 §2), so one that comes elsewhere is nothing to go by.
        (Trust::Feedback, Believe::Verp) if is_feedback => Belief::Hint,
        (Trust::Feedback | Trust::Content | Trust::Envid | Trust::MessageId, Believe::Verp) => Belief::Nothing,
    }
}
