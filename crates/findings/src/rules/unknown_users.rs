//! Too many recipients do not exist.

use posthaste_tallies::{Dimension, OTHER, TalliesError};

use crate::{
    Measure, ProblemOf, Rule,
    counts::{Counts, share},
    look::{Draft, Look, graded, sender},
    text::{lasts, log, part_of, percent},
};

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.unknown_users;
    if !settings.common.enabled {
        return Ok(Vec::new());
    }
    look.blame(&[Dimension::User, Dimension::Stream], settings.window, draft)
}

fn draft(look: &Look<'_>, dimension: Dimension, name: &str, counts: &Counts) -> Option<Draft> {
    let settings = &look.settings.unknown_users;
    let counts = counts.settled();
    if name == OTHER || counts.finished < settings.minimum {
        return None;
    }
    let (n, of) = (counts.unknown_users.min(counts.finished), counts.finished);
    let (severity, limit, limit_key) = graded(share(n, of), settings.warn, settings.critical)?;
    let (key, word) = sender(dimension, name);
    let (held, window) = (look.view.facts.guarded.contains_key(&key), lasts(settings.window));
    Some(Draft {
        rule: Rule::UnknownUsers,
        key,
        severity,
        measure: Measure {
            n,
            of: Some(of),
            what: format!("unknown users of finished recipients in {window}"),
            limit: percent(limit),
            limit_from: settings.from(limit_key),
        },
        summary: format!(
            "The list of {word} {name} is bad: {} recipients that were finished in {window} do not exist. Providers take this for a \
             bought list.",
            part_of(n, of)
        ),
        problem_of: ProblemOf::SendersList,
        done: match held {
            true => "These addresses are on the suppression list, and the guard holds what is new.".into(),
            false => "These addresses are on the suppression list and get no more mail.".into(),
        },
        next_step: match held {
            true => "See what is held with `posthaste guard list`, have the list cleaned, and release or drop it.".into(),
            false => format!(
                "Show the addresses with `posthaste log --{word} {} --event bounced --class invalid_recipient` to who sends it, and have \
                 the list cleaned before the next mailing.",
                crate::text::word(name)
            ),
        },
        query: log(&[(word, name), ("event", "bounced"), ("class", "invalid_recipient")]),
        since: Some(settings.window),
    })
}
