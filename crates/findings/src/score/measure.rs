//! What is measured, and the factors that the measures make.

use serde::{Serialize, Serializer};

use crate::ProblemOf;

/// A part of the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// Whether the recipients exist and can be written to.
    Audience,
    /// What receivers and recipients think of the mail.
    Reputation,
    /// Whether receivers can tell whose mail it is.
    Authentication,
    /// What recipients do with the mail, in streams that track it.
    Engagement,
}

impl Factor {
    /// All of them, in the order of the formula.
    pub const ALL: [Self; 4] = [Self::Audience, Self::Reputation, Self::Authentication, Self::Engagement];

    /// The word for it in the configuration, in reports and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audience => "audience",
            Self::Reputation => "reputation",
            Self::Authentication => "authentication",
            Self::Engagement => "engagement",
        }
    }

    /// Its measures, in the order of the formula.
    pub fn measures(self) -> impl Iterator<Item = Measure> {
        Measure::ALL.into_iter().filter(move |measure| measure.factor() == self)
    }
}

/// Something of which there should be little: each is a count of bad ones among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Recipients without a mailbox, or whose domain takes no mail, among the finished ones.
    UnknownUsers,
    /// Recipients whose mailbox is full or inactive, among the finished ones.
    FullMailboxes,
    /// Suppressed recipients, among the finished and suppressed ones.
    Suppressed,
    /// Complaints, among deliveries at providers that report complaints.
    Complaints,
    /// Recipients refused for reputation, policy or content, among the finished ones.
    Refusals,
    /// First tries put off for rate or reputation, among first tries. Greylisting is not among them.
    PutOff,
    /// Listings of addresses and domains in use. A number, not a share.
    Listings,
    /// Deliveries without a DKIM signature of the From field's domain, among deliveries whose From domain is known.
    Dkim,
    /// Deliveries that SPF does not pass, among deliveries of which that is known.
    Spf,
    /// Deliveries whose From domain has no DMARC record, among deliveries of which that is known.
    Dmarc,
    /// Deliveries of bulk streams without List-Unsubscribe or List-Unsubscribe-Post (RFC 8058).
    OneClick,
    /// Deliveries without TLS, among deliveries.
    Tls,
    /// Unsubscriptions, among deliveries.
    Unsubscribed,
    /// Recipients who opened and clicked nothing in 90 days, among those written to.
    Unengaged,
}

/// What can cost points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Too much of something.
    Measure(Measure),
    /// Feedback has stopped a lane at the provider.
    StoppedLane,
}

impl Cause {
    /// The word for it in reports and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Measure(measure) => measure.as_str(),
            Self::StoppedLane => "stopped_lane",
        }
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What is fixed about a measure.
struct Facts {
    word: &'static str,
    factor: Factor,
    whose: ProblemOf,
    /// What it is a share of.
    of: &'static str,
    /// What those that count against it did, in the past tense.
    did: &'static str,
    /// The next step.
    step: &'static str,
}

impl Measure {
    /// All of them, in the order of the formula.
    pub const ALL: [Self; 14] = [
        Self::UnknownUsers,
        Self::FullMailboxes,
        Self::Suppressed,
        Self::Complaints,
        Self::Refusals,
        Self::PutOff,
        Self::Listings,
        Self::Dkim,
        Self::Spf,
        Self::Dmarc,
        Self::OneClick,
        Self::Tls,
        Self::Unsubscribed,
        Self::Unengaged,
    ];

    /// The word for it in the configuration, in reports and in JSON.
    pub fn as_str(self) -> &'static str {
        self.facts().word
    }

    /// The factor that it is a part of.
    pub fn factor(self) -> Factor {
        self.facts().factor
    }

    /// Whose problem it is if there is too much of it.
    pub fn whose(self) -> ProblemOf {
        self.facts().whose
    }

    /// What it is a share of: "finished recipients".
    pub fn of(self) -> &'static str {
        self.facts().of
    }

    /// What those that count against it did: "had no mailbox, …".
    pub fn did(self) -> &'static str {
        self.facts().did
    }

    /// What to do about it.
    pub fn step(self) -> &'static str {
        self.facts().step
    }

    fn facts(self) -> &'static Facts {
        match self {
            Self::UnknownUsers | Self::FullMailboxes | Self::Suppressed => &AUDIENCE[self as usize],
            Self::Complaints | Self::Refusals | Self::PutOff | Self::Listings => &REPUTATION[self as usize - Self::Complaints as usize],
            Self::Dkim | Self::Spf | Self::Dmarc | Self::OneClick | Self::Tls => &AUTHENTICATION[self as usize - Self::Dkim as usize],
            Self::Unsubscribed | Self::Unengaged => &ENGAGEMENT[self as usize - Self::Unsubscribed as usize],
        }
    }
}

const AUDIENCE: [Facts; 3] = [
    Facts {
        word: "unknown_users",
        factor: Factor::Audience,
        whose: ProblemOf::SendersList,
        of: "finished recipients",
        did: "had no mailbox, or a domain that takes no mail",
        step: "Take these addresses off the list, and ask new ones to confirm.",
    },
    Facts {
        word: "full_mailboxes",
        factor: Factor::Audience,
        whose: ProblemOf::SendersList,
        of: "finished recipients",
        did: "had a mailbox that is full or inactive",
        step: "Stop writing to addresses whose mailboxes stay full or inactive.",
    },
    Facts {
        word: "suppressed",
        factor: Factor::Audience,
        whose: ProblemOf::SendersList,
        of: "recipients (finished or suppressed)",
        did: "were on the suppression list already",
        step: "Take what `posthaste suppress list` shows off the sender's list.",
    },
];

const REPUTATION: [Facts; 4] = [
    Facts {
        word: "complaints",
        factor: Factor::Reputation,
        whose: ProblemOf::SendersList,
        of: "deliveries (at providers that report complaints)",
        did: "led to a complaint",
        step: "Write only to people who asked for it, less often, and make it easy to unsubscribe.",
    },
    Facts {
        word: "refusals",
        factor: Factor::Reputation,
        whose: ProblemOf::Ours,
        of: "finished recipients",
        did: "were refused for reputation, policy or content",
        step: "Read the receivers' words in the log; most link to what they ask for.",
    },
    Facts {
        word: "put_off",
        factor: Factor::Reputation,
        whose: ProblemOf::Ours,
        of: "first tries",
        did: "were put off for rate or reputation",
        step: "Send more slowly there, or warm the address up.",
    },
    Facts {
        word: "listings",
        factor: Factor::Reputation,
        whose: ProblemOf::Ours,
        of: "addresses and domains in use",
        did: "were on a block list",
        step: "Find the cause, stop it, and ask the list's operator to remove the entry.",
    },
];

const AUTHENTICATION: [Facts; 5] = [
    Facts {
        word: "dkim",
        factor: Factor::Authentication,
        whose: ProblemOf::Ours,
        of: "deliveries",
        did: "had no DKIM signature of the From field's domain",
        step: "Give the domain a key: `posthaste dkim new DOMAIN SELECTOR`.",
    },
    Facts {
        word: "spf",
        factor: Factor::Authentication,
        whose: ProblemOf::Dns,
        of: "deliveries",
        did: "came from an address that SPF of the reverse-path's domain does not allow",
        step: "Add the sources' addresses to the SPF record of the bounce domain.",
    },
    Facts {
        word: "dmarc",
        factor: Factor::Authentication,
        whose: ProblemOf::Dns,
        of: "deliveries",
        did: "had a From domain without a DMARC record",
        step: "Publish one: _dmarc.DOMAIN TXT \"v=DMARC1; p=none; rua=mailto:…\" to begin with.",
    },
    Facts {
        word: "one_click",
        factor: Factor::Authentication,
        whose: ProblemOf::SendersList,
        of: "deliveries of bulk streams",
        did: "had no List-Unsubscribe and List-Unsubscribe-Post fields",
        step: "Add both fields to all bulk mail (RFC 8058).",
    },
    Facts {
        word: "tls",
        factor: Factor::Authentication,
        whose: ProblemOf::Receiver,
        of: "deliveries",
        did: "went without TLS",
        step: "See which receivers offer none; if large providers are among them, look at [tls].",
    },
];

const ENGAGEMENT: [Facts; 2] = [
    Facts {
        word: "unsubscribed",
        factor: Factor::Engagement,
        whose: ProblemOf::SendersList,
        of: "deliveries",
        did: "led to somebody unsubscribing",
        step: "Write less often, and only what was asked for.",
    },
    Facts {
        word: "unengaged",
        factor: Factor::Engagement,
        whose: ProblemOf::SendersList,
        of: "recipients written to",
        did: "opened and clicked nothing in 90 days",
        step: "Stop writing to those who never open, after a last question.",
    },
];
