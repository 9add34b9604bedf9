//! The guard holds the new mail of a user or a stream: found for as long as it does, whatever the figures are by then.

use posthaste_tallies::TalliesError;

use crate::{
    About, Guarded, Key, LimitFrom, Measure, ProblemOf, Rule, Severity,
    look::{Draft, Look},
    text::{clock, count, log, said, word},
};

/// Nobody turns it off: mail that is held must not be forgotten.
pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    Ok(look.view.facts.guarded.iter().map(|(key, held)| draft(look, key, held)).collect())
}

fn draft(look: &Look<'_>, key: &Key, held: &Guarded) -> Draft {
    let (about, name) = (if key.about == About::User { "user" } else { "stream" }, said(&key.value));
    let (of, messages) = (word(&key.to_string()), count(held.messages, "message", "messages"));
    let password = match key.about {
        About::User => format!(" If a stranger sends it, change the password first: `posthaste user passwd {}`.", word(&key.value)),
        _ => String::new(),
    };
    let expires = held.expires.map_or_else(String::new, |at| format!(" The oldest expires at {}.", clock(at, look.now)));
    Draft {
        rule: Rule::Guard,
        key: key.clone(),
        severity: Severity::Critical,
        measure: Measure {
            n: held.messages,
            of: None,
            what: format!("messages held, of {} and {} bytes", count(held.recipients, "recipient", "recipients"), held.bytes),
            limit: format!("{} messages", held.most),
            limit_from: LimitFrom::Configuration,
        },
        summary: format!(
            "The guard holds the new mail of {about} {name} since {}, {messages} so far. {}{expires}",
            clock(held.since, look.now),
            held.why
        )
        .trim_end()
        .to_owned(),
        problem_of: ProblemOf::SendersList,
        done: match held.full {
            false => "Its new mail is accepted and kept, nothing of it is lost, and other mail goes on.".into(),
            true => {
                "As much as may be held is held, nothing of it is lost; more of it is put off with 451 at the door, and other mail goes on."
                    .into()
            }
        },
        next_step: format!(
            "Look at it with `posthaste queue list --{about} {}`; then send it with `posthaste guard release {of}`, or remove it with \
             `posthaste guard drop {of} --reason WHY`.{password}",
            word(&key.value)
        ),
        query: log(&[(about, &key.value), ("event", "held")]),
        since: None,
    }
}
