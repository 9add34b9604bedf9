//! What a bounce says of a recipient, and what came of that.

use posthaste_bounce::Verdict;
use posthaste_mail::{Action, Class, MessageId, Scope};

use crate::entry::{Source, SuppressionEntry};

/// What a bounce said of a recipient.
#[derive(Clone, Debug, PartialEq)]
pub struct BounceEvidence {
    /// What it meant.
    pub class: Class,
    /// Whose problem it is.
    pub scope: Scope,
    /// How much it is worth.
    pub sureness: Sureness,
    /// It came after the message had been taken, so that a later message's being taken says nothing against it.
    pub late: bool,
    /// The reply and where it came from; `class` there is set from above.
    pub source: Source,
}

/// How much a bounce is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sureness {
    /// Counts for nothing: a receiver whose words nobody knows may mean us, and then all its mailboxes would seem dead at once.
    Guess,
    /// Several of them suppress.
    Likely,
    /// Suppresses.
    Certain,
}

impl Sureness {
    /// Below this a verdict is a guess.
    const LIKELY: f32 = 0.5;
}

impl BounceEvidence {
    /// What a verdict on a live reply says. Certain is what the classifier itself would suppress for.
    pub fn new(verdict: &Verdict, message: Option<MessageId>, text: &str) -> Self {
        let sureness = match verdict.action {
            Action::Suppress => Sureness::Certain,
            _ if verdict.confidence >= Sureness::LIKELY => Sureness::Likely,
            _ => Sureness::Guess,
        };
        let source = Source { message, rule: Some(verdict.rule.clone()), text: Some(text.to_owned()), ..Source::default() };
        Self { class: verdict.class, scope: verdict.scope, sureness, late: false, source }
    }
}

/// What came of a bounce or complaint.
#[derive(Clone, Debug, PartialEq)]
pub enum Noted {
    /// It is not about the recipient, or too unsure: nothing.
    Nothing,
    /// It was counted.
    Counted {
        /// How many there are now.
        times: u32,
        /// How many suppress.
        of: u32,
    },
    /// The address is on the list from now on.
    Suppressed(SuppressionEntry),
    /// It was on the list.
    Already(SuppressionEntry),
}
