//! From a return to the suppression list, each report once.

use std::time::Duration;

use jiff::Timestamp;
use posthaste_mail::{Action, Class};
use posthaste_spool::Facts;
use {
    posthaste_suppression,
    posthaste_suppression::{List, Noted, Said, Source, Sureness},
};

use super::{Match, Names, Return, Trust};

/// How far returning mail is believed (`trust` in the configuration).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Believe {
    /// Only keyed reverse-paths count.
    #[default]
    Verp,
    /// So do envelope ids and Message-IDs. Whoever has seen a message can then have its recipient suppressed.
    Hints,
}

/// How long a report is remembered; twice is then once. Mail systems give up after days, and some people complain after weeks.
pub const REMEMBERED: Duration = Duration::from_secs(60 * 86_400);

/// Kind, trust, message, recipient: what makes two reports the same. A mail system that reports twice, or by two mails, says one thing.
pub(super) type Identity = (u8, Trust, posthaste_mail::MessageId, String);

pub(super) fn identity(found: &Return) -> Option<Identity> {
    let (kind, about) = match found {
        Return::LateBounce(about) => (b'b', about),
        Return::Delayed(about) => (b'd', about),
        Return::Complaint(about) => (b'c', about),
        Return::Unsubscribe(about) => (b'u', about),
        Return::AutoReply | Return::Unmatched { .. } | Return::Nothing => return None,
    };
    Some((kind, about.trust, about.sent.facts.message, about.sent.address.folded()))
}

/// Was this said before?
pub(super) fn is_known<F: Facts>(facts: &F, identity: &Identity, now: Timestamp) -> bool {
    let until = |value: &[u8]| value.try_into().map(i64::from_be_bytes).unwrap_or(i64::MIN);
    facts.get(&key(identity)).is_some_and(|value| until(&value) > now.as_millisecond())
}

/// Remembers a report. What is about no message is never remembered.
pub(super) fn remember<F: Facts>(facts: &F, found: &Return, now: Timestamp) {
    let Some(identity) = identity(found) else { return };
    let until = now.as_millisecond().saturating_add(i64::try_from(REMEMBERED.as_millis()).unwrap_or(i64::MAX));
    facts.put(&key(&identity), &until.to_be_bytes());
}

/// Whether a match so trusted may put somebody onto the list.
pub(super) fn believed(trust: Trust, believe: Believe) -> bool {
    trust == Trust::Verp || believe == Believe::Hints
}

/// Forgets old reports. How many went.
pub fn sweep<F: Facts>(facts: &F, now: Timestamp) -> usize {
    posthaste_spool::delete_where(facts, KEYS, |value| {
        value.try_into().map(i64::from_be_bytes).is_ok_and(|until| until <= now.as_millisecond())
    })
}

/// Puts onto the list whom a return puts there. Call it once for each report.
pub fn settle<F: Facts>(list: &List<'_, F>, found: &Return, believe: Believe, now: Timestamp) -> Noted {
    let Some((_, trust, ..)) = identity(found) else { return Noted::Nothing };
    if !believed(trust, believe) {
        return Noted::Nothing;
    }
    match found {
        Return::LateBounce(about) => bounce(list, about, now),
        Return::Complaint(about) => list.note_complaint(&about.sent.address, &about.sent.facts.stream, source(about), now),
        Return::Unsubscribe(about) => list.note_unsubscribe(&about.sent.address, &about.sent.facts.stream, source(about), now),
        _ => Noted::Nothing,
    }
}

fn bounce<F: Facts>(list: &List<'_, F>, about: &Match, now: Timestamp) -> Noted {
    let Some(verdict) = &about.report.verdict else { return Noted::Nothing };
    let mut said = Said::new(verdict, Some(about.sent.facts.message), about.report.diagnostic.as_deref().unwrap_or_default());
    said.source.by = about.report.reporting_mta.clone();
    said.late = true;
    // One dead member of a list, or the far end of a forwarding, does not make the address dead that we write to.
    said.sureness = match about.names {
        Names::Recipient => said.sureness,
        Names::Alike => said.sureness.min(Sureness::Likely),
        Names::Another => Sureness::Guess,
    };
    list.note_bounce(&about.sent.address, &said, now)
}

fn source(about: &Match) -> Source {
    let text = about.report.feedback_type.as_ref().map(|kind| format!("feedback: {kind}"));
    Source { message: Some(about.sent.facts.message), text, by: about.report.reporting_mta.clone(), ..Source::default() }
}

const KEYS: &[u8] = b"returned/";

fn key((kind, trust, message, rcpt): &Identity) -> Vec<u8> {
    posthaste_spool::sharded(KEYS, &format!("{} {trust:?} {message} {rcpt}", char::from(*kind)))
}

impl Match {
    /// What the report means; None for complaints.
    pub fn class(&self) -> Option<Class> {
        self.report.verdict.as_ref().map(|v| v.class)
    }

    /// What to do about it; None for complaints.
    pub fn action(&self) -> Option<Action> {
        self.report.verdict.as_ref().map(|v| v.action)
    }
}
