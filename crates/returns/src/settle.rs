//! From a return to the suppression list, each report once.

use jiff::Timestamp;
use posthaste_spool::Facts;
use posthaste_suppression::{BounceEvidence, EntrySource, List, Noted, Sureness};

use crate::{
    found::{Believe, Match, Names, Return, believed},
    identity::identity,
};

/// Puts onto the list whom a return puts there. Call it once for each report.
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
    // One dead member of a list, or the far end of a forwarding, does not make the address dead that we write to.
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
