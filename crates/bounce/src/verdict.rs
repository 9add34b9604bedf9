//! The verdict on a reply, and the defaults for each class.

use std::sync::Arc;

use posthaste_mail::{Action, Class, Scope};
use serde::Serialize;

/// What a reply means and what to do about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What it means.
    pub class: Class,
    /// Whose problem it is.
    pub scope: Scope,
    /// What to do about it.
    pub action: Action,
    /// True if the recipient gets no further attempt. This is independent of the class: a 5xx that says "slow down" is tried again.
    pub permanent: bool,
    /// The confidence of the rule, from 0 to 1.
    pub confidence: f32,
    /// The id of the rule that decided.
    pub rule: Arc<str>,
    /// An explanation for people.
    pub why: Arc<str>,
    /// The receiver's page about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Arc<str>>,
}

impl Verdict {
    /// Whether the receiver does not let the account send that the relay uses there: locked, unpaid, unknown. Behind a smart host that is about
    /// the login of all mail.
    pub fn is_about_our_account(&self) -> bool {
        ACCOUNT_RULES.contains(&&*self.rule)
    }

    /// Whether the receiver says that the sender, or its account, has used up what it may send. Behind a smart host that is about all mail.
    pub fn is_about_our_volume(&self) -> bool {
        VOLUME_RULES.contains(&&*self.rule)
    }
}

/// The rules about what a sender may send in a time.
const VOLUME_RULES: [&str; 5] =
    ["whose.quota", "whose.account-limit", "subject.senders-pace", "text.senders-quota", "exchange.submission-quota"];

/// The rules about the account that the relay uses at a server.
const ACCOUNT_RULES: [&str; 4] = ["whose.account", "whose.login", "subject.our-account", "text.senders-account"];

/// The least confidence to suppress a recipient: a guess must not remove a subscriber.
const SURE_ENOUGH_TO_SUPPRESS: f32 = 0.8;

/// Whose problem a class is, unless the rule says otherwise.
pub(crate) fn usual_scope(class: Class) -> Scope {
    match class {
        Class::InvalidRecipient | Class::InactiveMailbox | Class::MailboxFull | Class::AutoReply => Scope::Recipient,
        Class::MessageTooLarge | Class::SpamContent => Scope::Message,
        Class::PolicyAuth => Scope::SenderDomain,
        Class::IpReputation => Scope::SourceIp,
        Class::RateLimited | Class::Greylisting => Scope::Lane,
        Class::ProtocolError => Scope::Local,
        Class::BadDomain
        | Class::RelayingDenied
        | Class::DnsFailure
        | Class::ConnectionFailure
        | Class::TlsFailure
        | Class::TransientOther => Scope::Provider,
    }
}

/// What to do about a class, unless the rule says otherwise. Only a verdict that is about the recipient, permanent and sure suppresses.
pub(crate) fn usual_action(class: Class, permanent: bool, confidence: f32) -> Action {
    let sure = confidence >= SURE_ENOUGH_TO_SUPPRESS;
    match class {
        Class::AutoReply => Action::None,
        Class::IpReputation if permanent => Action::PauseLane,
        Class::IpReputation | Class::RateLimited => Action::SlowDown,
        Class::PolicyAuth => Action::FixConfiguration,
        Class::MessageTooLarge | Class::SpamContent => Action::FixMessage,
        Class::InvalidRecipient | Class::InactiveMailbox if permanent && sure => Action::Suppress,
        Class::ProtocolError | Class::TlsFailure if permanent => Action::FixConfiguration,
        _ if permanent => Action::None,
        _ => Action::Retry,
    }
}

/// The explanation of a class, unless the rule has its own.
pub(crate) fn usual_why(class: Class) -> &'static str {
    match class {
        Class::InvalidRecipient => "the receiver says that there is no such mailbox",
        Class::InactiveMailbox => "the mailbox exists but is disabled, suspended or expired",
        Class::BadDomain => "the domain does not exist or accepts no mail",
        Class::MailboxFull => "the mailbox is over its quota",
        Class::MessageTooLarge => "the message is larger than the receiver accepts",
        Class::SpamContent => "the receiver judged the content to be unwanted",
        Class::IpReputation => "the receiver distrusts the sending address: a block list, its reputation or its reverse DNS",
        Class::PolicyAuth => "the receiver's policy or the sender's authentication (SPF, DKIM, DMARC) does not allow it",
        Class::RateLimited => "the receiver limits messages, connections or recipients at the moment",
        Class::Greylisting => "the receiver asks unknown senders to try again later",
        Class::ProtocolError => "the receiver did not accept a command or the format of the message",
        Class::DnsFailure => "DNS gave no usable answer",
        Class::ConnectionFailure => "there was no connection, or it broke",
        Class::TlsFailure => "TLS is required and was not available",
        Class::RelayingDenied => "the server does not accept mail for this domain, or not from this relay",
        Class::AutoReply => "an automatic reply, not a bounce",
        Class::TransientOther => "the receiver has a temporary problem and gave no details",
    }
}
