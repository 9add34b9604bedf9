//! Verdicts on mail that ends although no receiver refused it, and on mail that is not tried.

use posthaste_bounce::Verdict;
use posthaste_mail::{Action, Class, Failure, LocalCause, Scope, Stage};

use crate::exchange::Next;

/// The rule that verdicts name where a smart host does not take mail from the relay's login.
pub const LOGIN_RULE: &str = "route.login";

/// A verdict on mail that ends although no receiver refused it: neither the recipient nor the receiver is to blame.
fn of_our_own(class: Class, rule: &str, why: &str) -> Verdict {
    Verdict {
        class,
        scope: Scope::Local,
        action: Action::None,
        permanent: false,
        confidence: 1.0,
        rule: rule.into(),
        why: why.into(),
        link: None,
    }
}

/// A message that waited for budget until it expired.
pub(crate) fn out_of_budget(detail: String) -> (Failure, Verdict) {
    let failure = Failure::Local { stage: Stage::Dns, cause: LocalCause::NoBudget, detail };
    let verdict = of_our_own(Class::RateLimited, "governor", "no source that may send it had budget left before it expired");
    (failure, verdict)
}

/// A message that the guard held, and that nobody released in time.
pub(crate) fn held_too_long(detail: String) -> (Failure, Verdict) {
    let failure = Failure::Local { stage: Stage::Mail, cause: LocalCause::HeldTooLong, detail };
    let verdict = of_our_own(Class::TransientOther, "guard", "the guard held it, and nobody released it in time");
    (failure, verdict)
}

/// A message that its sender wanted delivered by now, or returned (RFC 2852, BY with R).
pub(crate) fn too_late() -> (Failure, Verdict) {
    let detail = "not delivered within the time that its sender gave it".to_owned();
    let failure = Failure::Local { stage: Stage::Mail, cause: LocalCause::TooLate, detail };
    let verdict = of_our_own(Class::TransientOther, "deliver_by", "its sender wanted it delivered by then or not at all");
    (failure, verdict)
}

/// The failure of mail that is not tried because its hosts were just out of reach, or could not be looked up.
pub(crate) fn not_tried(failure: &Failure) -> Failure {
    match failure {
        Failure::Local { stage: Stage::Dns, cause, detail } => {
            Failure::Local { stage: Stage::Dns, cause: *cause, detail: format!("not tried, DNS just gave no hosts: {detail}") }
        }
        Failure::Local { stage, cause, detail } => {
            Failure::Local { stage: *stage, cause: *cause, detail: format!("not tried, the hosts were just out of reach: {detail}") }
        }
        Failure::Refused { stage, reply } => {
            let refused = if *stage == Stage::Auth { "the relay's login" } else { "a connection" };
            let detail = format!("not tried, the hosts just refused {refused}: {reply}");
            Failure::Local { stage: *stage, cause: LocalCause::SessionRefused, detail }
        }
    }
}

/// The end of a recipient whose removal waited for an attempt.
pub(crate) fn cancelled_in_flight() -> Next {
    Next::Cancelled("operator".into(), "dropped while an attempt was under way".into())
}
