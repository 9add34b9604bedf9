//! The identity of reports, and the memory of those that were logged.

use std::time::Duration;

use jiff::Timestamp;
use posthaste_bounce::Kind;
use posthaste_spool::{Facts, delete_where, sharded};

use crate::found::{Return, Trust};

/// How long a report is remembered, so that a repetition does not count. Mail systems give up after days, and some people complain after
/// weeks.
pub const REMEMBERED: Duration = Duration::from_secs(60 * 86_400);

/// Two reports with the same kind, trust, message and recipient are the same: a mail system may report twice, or by two mails.
pub(crate) type Identity = (u8, Trust, posthaste_mail::MessageId, String);

pub(crate) fn identity(found: &Return) -> Option<Identity> {
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
    Some((kind, about.trust, about.sent.facts.message, about.sent.address.folded()))
}

/// Whether this report was logged before.
pub(crate) fn is_known<F: Facts>(facts: &F, identity: &Identity, now: Timestamp) -> bool {
    let until = |value: &[u8]| value.try_into().map(i64::from_be_bytes).unwrap_or(i64::MIN);
    facts.get(&key(identity)).is_some_and(|value| until(&value) > now.as_millisecond())
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

fn key((kind, trust, message, rcpt): &Identity) -> Vec<u8> {
    sharded(KEYS, &format!("{} {trust:?} {message} {rcpt}", char::from(*kind)))
}
