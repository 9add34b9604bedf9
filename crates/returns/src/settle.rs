//! The effect of returns on the suppression list.

use jiff::Timestamp;
use posthaste_spool::Facts;
use posthaste_suppression::{BounceEvidence, EntrySource, List, Noted, Sureness};

use crate::{
    found::{Believe, Match, Names, Return, believed},
    identity::identity,
};

/// Updates the suppression list for a return. To be called once for each report.
pub(crate) fn settle<F: Facts>(list: &List<'_, F>, found: &Return, believe: Believe, now: Timestamp) -> Noted {
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
    let mut said = BounceEvidence::new(verdict, Some(about.sent.facts.message), about.report.diagnostic.as_deref().unwrap_or_default());
    said.source.by = about.report.reporting_mta.clone();
    said.late = true;
    // A dead member of a list, or a dead target of a forwarding, does not mean that the address itself is dead.
    said.sureness = match about.names {
        Names::Recipient => said.sureness,
        Names::Alike => said.sureness.min(Sureness::Likely),
        Names::Another => Sureness::Guess,
    };
    list.note_bounce(&about.sent.address, &said, now)
}

fn source(about: &Match) -> EntrySource {
    let text = about.report.feedback_type.as_ref().map(|kind| format!("feedback: {kind}"));
    EntrySource { message: Some(about.sent.facts.message), text, by: about.report.reporting_mta.clone(), ..EntrySource::default() }
}
