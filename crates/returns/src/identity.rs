//! The identity of reports, and the memory of those that were logged.

use std::{hash::Hasher as _, time::Duration};

use fnv::FnvHasher;
use jiff::Timestamp;
use posthaste_bounce::Kind;
use posthaste_mail::MessageId;
use posthaste_spool::{Facts, delete_where, sharded};

use crate::{
    found::{Belief, Believe, Match, Return, Trust, believed},
    origin::Origin,
};

/// How long a report is remembered, so that a repetition does not count. Mail systems give up after days, and some people complain after
/// weeks.
pub const REMEMBERED: Duration = Duration::from_secs(60 * 86_400);

/// What a report says of whom, however it came.
pub(crate) type Subject = (u8, MessageId, String);
/// Two reports with the same subject that are matched alike and believed alike are the same: a mail system may report twice, or by two
/// mails. The flag: whether it came from the receiving side to a reverse-path. A hint is another report than the proof that comes after it,
/// so that nobody can take the proof's place.
pub(crate) type Identity = (Subject, Trust, bool);

/// None for what is about no message.
pub(crate) fn identity(found: &Return) -> Option<Identity> {
    let about = found.about()?;
    Some((subject(found)?, about.trust, is_from_receiver(about)))
}

fn is_from_receiver(about: &Match) -> bool {
    about.trust == Trust::Verp && about.origin.is_receiving_side()
}

/// Whether a report with this subject was logged before that was believed: whoever was to hear of it has heard.
pub(crate) fn was_told<F: Facts>(facts: &F, found: &Return, believe: Believe, now: Timestamp) -> bool {
    let forms = Trust::ALL.into_iter().flat_map(|trust| [(trust, Origin::Elsewhere), (trust, Origin::Network)]);
    let mut others = forms.map(|(trust, origin)| {
        let mut other = found.clone();
        if let Some(about) = other.about_mut() {
            (about.trust, about.origin) = (trust, origin);
        }
        other
    });
    others.any(|other| believed(&other, believe) > Belief::Nothing && identity(&other).is_some_and(|other| is_known(facts, &other, now)))
}

/// None for what is about no message.
pub(crate) fn subject(found: &Return) -> Option<Subject> {
    let (kind, about) = match found {
        Return::LateBounce(about) => (b'b', about),
        Return::Delayed(about) => (b'd', about),
        Return::Complaint(about) => (b'c', about),
        Return::Unsubscribe(about) => (b'u', about),
        Return::Aside(Kind::AutoReply, Some(about)) => (b'a', about),
        Return::Aside(Kind::Delivered, Some(about)) => (b's', about),
        Return::Aside(Kind::Feedback, Some(about)) => (b'f', about),
        Return::Aside(_, Some(about)) => (b'n', about),
        Return::Aside(_, None) | Return::Unmatched { .. } => return None,
    };
    let of_whom = about.sent.address.folded();
    // Whoever answers by itself may say something else the next time: away until Monday, then until Friday.
    let said = about.report.diagnostic.as_deref().filter(|_| kind == b'a');
    let subject = said.map_or_else(|| of_whom.clone(), |said| format!("{of_whom} {:016x}", digest(said)));
    Some((kind, about.sent.facts.message, subject))
}

/// FNV-1a: keys with it are on disk, so it must never change.
fn digest(text: &str) -> u64 {
    let mut sum = FnvHasher::default();
    sum.write(text.as_bytes());
    sum.finish()
}

/// Whether this report was logged before, or one with the same subject that is worth more: proof leaves nothing to a hint.
pub(crate) fn is_known<F: Facts>(facts: &F, identity: &Identity, now: Timestamp) -> bool {
    let until = |value: &[u8]| value.try_into().map(i64::from_be_bytes).unwrap_or(i64::MIN);
    let is_there = |identity: &Identity| facts.get(&key(identity)).is_some_and(|value| until(&value) > now.as_millisecond());
    let (subject, trust, _) = identity;
    is_there(identity) || (*trust == Trust::Verp && is_there(&(subject.clone(), Trust::Verp, true)))
}

/// Remembers a report, unless it is about no message.
pub(crate) fn remember<F: Facts>(facts: &F, found: &Return, now: Timestamp) {
    let Some(identity) = identity(found) else { return };
    let until = now.as_millisecond().saturating_add(i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX));
    facts.put(&key(&identity), &until.to_be_bytes());
}

/// Forgets old reports. Returns how many.
pub(crate) fn sweep<F: Facts>(facts: &F, now: Timestamp) -> usize {
    delete_where(facts, KEYS, |value| value.try_into().map(i64::from_be_bytes).is_ok_and(|until| until <= now.as_millisecond()))
}

const KEYS: &[u8] = b"returned/";

fn key(((kind, message, rcpt), trust, from_receiver): &Identity) -> Vec<u8> {
    let hint = if *trust == Trust::Verp && !from_receiver { "Hint" } else { "" };
    sharded(KEYS, &format!("{} {trust:?}{hint} {message} {rcpt}", char::from(*kind)))
}
