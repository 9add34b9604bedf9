//! From bounces to entries: one that is certain suppresses, of the others several in a while.

use jiff::{SignedDuration, Timestamp};
use posthaste_bounce::Verdict;
use posthaste_mail::{Action, Address, Class, MessageId, Scope};

use super::{Breadth, Entry, Facts, List, Reason, Source};

/// What a bounce said of a recipient.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// What it meant.
    pub class: Class,
    /// Whose problem it is.
    pub scope: Scope,
    /// How much it is worth.
    pub sureness: Sureness,
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

impl Said {
    /// What a verdict says. Certain is what the classifier itself would suppress for.
    pub fn new(verdict: &Verdict, message: Option<MessageId>, text: &str) -> Self {
        let sureness = match verdict.action {
            Action::Suppress => Sureness::Certain,
            _ if verdict.confidence >= Sureness::LIKELY => Sureness::Likely,
            _ => Sureness::Guess,
        };
        let source = Source { message, rule: Some(verdict.rule.clone()), text: Some(text.to_owned()), ..Source::default() };
        Self { class: verdict.class, scope: verdict.scope, sureness, source }
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
    Suppressed(Entry),
    /// It was on the list.
    Already(Entry),
}

/// A bounce that counts: when (ms since 1970), and of which message.
type Strike = (i64, Option<MessageId>);

/// More are not needed to decide.
const STRIKES_MAX: u32 = 100;
pub(super) const STRIKES: &[u8] = b"bounces/";

impl<F: Facts> List<'_, F> {
    /// A recipient's story ended in a bounce. Only for endings: a message that is tried ten times bounces once.
    pub fn note_bounce(&self, address: &Address, said: &Said, now: Timestamp) -> Noted {
        let Some(lasts) = self.rules.lasts(said.class).filter(|_| said.scope == Scope::Recipient) else { return Noted::Nothing };
        if said.sureness == Sureness::Guess {
            return Noted::Nothing;
        }
        let source = Source { class: Some(said.class), ..said.source.clone() };
        let entry = Entry::new(address.clone(), Breadth::Global, Reason::HardBounce, now, lasts, source);
        // A full mailbox is never certain to stay so.
        if said.sureness == Sureness::Certain && said.class != Class::MailboxFull {
            self.forget_bounces(address);
            return self.note(entry, now);
        }
        if let Some(there) = self.get(address, &Breadth::Global, now) {
            return Noted::Already(there);
        }
        let strikes = self.strike(address, said.source.message, now);
        let (times, of) = (strikes.len() as u32, self.rules.bounces.clamp(1, STRIKES_MAX));
        if times >= of {
            self.forget_bounces(address);
            return self.note(entry, now);
        }
        self.facts.put(&strikes_key(address), &serde_json::to_vec(&strikes).expect("numbers and ids are JSON"));
        Noted::Counted { times, of }
    }

    /// A delivery: whatever bounced before, the mailbox is alive.
    pub fn note_delivered(&self, address: &Address) {
        self.forget_bounces(address);
    }

    pub(super) fn forget_bounces(&self, address: &Address) {
        let key = strikes_key(address);
        // Nearly every delivery finds nothing: a look is cheap, a deletion is a record in the log.
        if self.facts.get(&key).is_some() {
            self.facts.delete(&key);
        }
    }

    /// The bounces that still count, this one among them unless it is too near the last or of the same message.
    fn strike(&self, address: &Address, message: Option<MessageId>, now: Timestamp) -> Vec<Strike> {
        let mut strikes = decode(&self.facts.get(&strikes_key(address)).unwrap_or_default());
        let signed = |d| SignedDuration::try_from(d).unwrap_or(SignedDuration::MAX);
        let oldest = now.saturating_sub(signed(self.rules.within)).unwrap_or(Timestamp::MIN).as_millisecond();
        let nearest = now.saturating_sub(signed(self.rules.apart)).unwrap_or(Timestamp::MIN).as_millisecond();
        strikes.retain(|(at, _)| *at > oldest);
        let same = strikes.iter().any(|(at, of)| *at > nearest || (message.is_some() && *of == message));
        if !same {
            strikes.push((now.as_millisecond(), message));
        }
        strikes
    }
}

/// When the last bounce was, for the sweep.
pub(super) fn last_strike(value: &[u8]) -> Option<i64> {
    decode(value).iter().map(|(at, _)| *at).max()
}

fn decode(value: &[u8]) -> Vec<Strike> {
    serde_json::from_slice(value).unwrap_or_default()
}

fn strikes_key(address: &Address) -> Vec<u8> {
    [STRIKES, super::folded(address).as_bytes()].concat()
}
