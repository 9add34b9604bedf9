//! Decides when bounces suppress an address: one certain bounce does, or several less certain ones within a time.

use jiff::{SignedDuration, Timestamp};
use posthaste_mail::{Address, Class, MessageId, Scope};
use posthaste_spool::{Facts, sharded};

use crate::{
    bounce::{BounceEvidence, Noted, Sureness},
    entry::{Breadth, EntrySource, Reason, SuppressionEntry},
    list::List,
};

/// A counted bounce: its time (ms since 1970), its message, and whether it came after the message was accepted.
type Strike = (i64, Option<MessageId>, bool);

/// Bounces kept at most; the rules never need more.
const STRIKES_MAX: u32 = 100;
pub(super) const STRIKES: &[u8] = b"bounces/";

impl<F: Facts> List<'_, F> {
    /// Reports the final bounce of a recipient. Only endings are reported: a message that is tried ten times bounces once.
    pub fn note_bounce(&self, address: &Address, evidence: &BounceEvidence, now: Timestamp) -> Noted {
        let Some(lasts) = self.rules.lasts(evidence.class).filter(|_| evidence.scope == Scope::Recipient) else { return Noted::Nothing };
        if evidence.sureness == Sureness::Guess {
            return Noted::Nothing;
        }
        let source = EntrySource { class: Some(evidence.class), ..evidence.source.clone() };
        let entry = SuppressionEntry::new(address.clone(), Breadth::Global, Reason::HardBounce, now, lasts, source);
        // A full mailbox is never certain to stay full.
        if evidence.sureness == Sureness::Certain && evidence.class != Class::MailboxFull {
            self.forget_bounces(address);
            return self.note(entry, now);
        }
        if let Some(there) = self.get(address, &Breadth::Global, now) {
            return Noted::Already(there);
        }
        let strikes = self.strike(address, evidence, now);
        let (times, of) = (strikes.len() as u32, self.rules.bounces.clamp(1, STRIKES_MAX));
        if times >= of {
            self.forget_bounces(address);
            return self.note(entry, now);
        }
        self.register.facts().put(&strikes_key(address), &encode(&strikes));
        Noted::Counted { times, of }
    }

    /// Reports a delivery: the mailbox is alive, so earlier refusals are forgotten.
    pub fn note_delivered(&self, address: &Address) {
        let key = strikes_key(address);
        // Nearly every delivery finds nothing. A look-up is cheap; a change writes a record.
        let Some(value) = self.register.facts().get(&key) else { return };
        let mut strikes = decode(&value);
        let before = strikes.len();
        strikes.retain(|(.., late)| *late);
        match strikes.len() {
            0 => self.register.facts().delete(&key),
            left if left < before => self.register.facts().put(&key, &encode(&strikes)),
            _ => {}
        }
    }

    pub(super) fn forget_bounces(&self, address: &Address) {
        let key = strikes_key(address);
        if self.register.facts().get(&key).is_some() {
            self.register.facts().delete(&key);
        }
    }

    /// The bounces that still count, with this one unless it is too close to another or of the same message.
    fn strike(&self, address: &Address, evidence: &BounceEvidence, now: Timestamp) -> Vec<Strike> {
        let message = evidence.source.message;
        let mut strikes = decode(&self.register.facts().get(&strikes_key(address)).unwrap_or_default());
        let signed = |d| SignedDuration::try_from(d).unwrap_or(SignedDuration::MAX);
        let oldest = now.saturating_sub(signed(self.rules.within)).unwrap_or(Timestamp::MIN).as_millisecond();
        let nearest = now.saturating_sub(signed(self.rules.apart)).unwrap_or(Timestamp::MIN).as_millisecond();
        strikes.retain(|(at, ..)| *at > oldest);
        let same = strikes.iter().any(|(at, of, _)| *at > nearest || (message.is_some() && *of == message));
        if !same {
            strikes.push((now.as_millisecond(), message, evidence.late));
        }
        strikes
    }
}

/// The time of the last bounce (ms since 1970), for the sweep.
pub(super) fn last_strike(value: &[u8]) -> Option<i64> {
    decode(value).iter().map(|(at, ..)| *at).max()
}

fn encode(strikes: &[Strike]) -> Vec<u8> {
    serde_json::to_vec(strikes).expect("numbers and ids are JSON")
}

fn decode(value: &[u8]) -> Vec<Strike> {
    serde_json::from_slice(value).unwrap_or_default()
}

fn strikes_key(address: &Address) -> Vec<u8> {
    sharded(STRIKES, &address.folded())
}
