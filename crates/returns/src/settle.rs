//! The effect of returns on the suppression list.

use jiff::Timestamp;
use posthaste_mail::{Action, Class, Scope};
use posthaste_spool::Facts;
use posthaste_suppression::{BounceEvidence, EntrySource, List, Noted, Reason, Sureness};

use crate::found::{Belief, Believe, Match, Names, Return, believed};

/// Updates the suppression list for a return. To be called once for each report.
pub(crate) fn settle<F: Facts>(list: &List<'_, F>, found: &Return, believe: Believe, now: Timestamp) -> Noted {
    let belief = believed(found, believe);
    match found {
        _ if belief == Belief::Nothing => Noted::Nothing,
        Return::LateBounce(about) if belief == Belief::Hint => bounce_hint(list, about, now),
        Return::LateBounce(about) => bounce(list, about, now),
        Return::Complaint(about) if belief == Belief::Hint => hint(list, about, Reason::Complaint, now),
        Return::Unsubscribe(about) if belief == Belief::Hint => hint(list, about, Reason::Unsubscribe, now),
        Return::Complaint(about) => list.note_complaint(&about.sent.address, &about.sent.facts.stream, source(about), now),
        Return::Unsubscribe(about) => list.note_unsubscribe(&about.sent.address, &about.sent.facts.stream, source(about), now),
        _ => Noted::Nothing,
    }
}

fn hint<F: Facts>(list: &List<'_, F>, about: &Match, reason: Reason, now: Timestamp) -> Noted {
    list.note_hint(&about.sent.address, &about.sent.facts.stream, reason, source(about), now)
}

/// One that names another address may be about a member of a list; one that is not certain alone would be one of several.
fn bounce_hint<F: Facts>(list: &List<'_, F>, about: &Match, now: Timestamp) -> Noted {
    let Some(verdict) = &about.report.verdict else { return Noted::Nothing };
    let is_dead = verdict.scope == Scope::Recipient && verdict.action == Action::Suppress && verdict.class != Class::MailboxFull;
    if !is_dead || about.names != Names::Recipient {
        return Noted::Nothing;
    }
    hint(list, about, Reason::HardBounce, now)
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
