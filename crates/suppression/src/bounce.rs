//! Evidence about a recipient from a bounce, and the outcome of reporting it.

use posthaste_bounce::Verdict;
use posthaste_mail::{Action, Class, MessageId, Scope};

use crate::entry::{EntrySource, SuppressionEntry};

/// Evidence about a recipient from a bounce.
#[derive(Clone, Debug, PartialEq)]
pub struct BounceEvidence {
    /// The class of the bounce.
    pub class: Class,
    /// What the problem concerns. Only the recipient's scope counts.
    pub scope: Scope,
    /// How reliable it is.
    pub sureness: Sureness,
    /// It came after the receiver had accepted the message. Later deliveries are then no evidence against it.
    pub late: bool,
    /// The reply and where it came from; its `class` is replaced by the one above.
    pub source: EntrySource,
}

/// How reliable a bounce is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sureness {
    /// Ignored: a reply in unknown words may be about us, and then all mailboxes of that receiver would seem dead at once.
    Guess,
    /// Several of them suppress the address.
    Likely,
    /// One of them suppresses the address.
    Certain,
}

impl Sureness {
    /// The confidence below which a verdict is a guess.
    const LIKELY: f32 = 0.5;
}

impl BounceEvidence {
    /// The evidence of a verdict on a reply to the relay. It is certain if the classifier itself would suppress the address.
    pub fn new(verdict: &Verdict, message: Option<MessageId>, text: &str) -> Self {
        let sureness = match verdict.action {
            Action::Suppress => Sureness::Certain,
            _ if verdict.confidence >= Sureness::LIKELY => Sureness::Likely,
            _ => Sureness::Guess,
        };
        let source = EntrySource { message, rule: Some(verdict.rule.clone()), text: Some(text.to_owned()), ..EntrySource::default() };
        Self { class: verdict.class, scope: verdict.scope, sureness, late: false, source }
    }
}

/// The outcome of reporting a bounce or complaint.
#[derive(Clone, Debug, PartialEq)]
pub enum Noted {
    /// It was ignored: it is not about the recipient, or too unsure.
    Nothing,
    /// It was counted.
    Counted {
        /// Bounces counted so far.
        times: u32,
        /// Bounces that suppress the address.
        of: u32,
    },
    /// The address was put on the list.
    Suppressed(SuppressionEntry),
    /// The address was on the list already.
    Already(SuppressionEntry),
}
