//! A sender submits far more than it ever did, or writes to many recipients that do not exist: a stolen password looks like this.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use posthaste_tallies::{Dimension, OTHER, TalliesError};

use crate::{
    Measure, ProblemOf, Rule,
    counts::{Counts, quantile},
    look::{Culprits, Draft, InStreams, Look, sender},
    text::log,
};

const HOUR: Duration = Duration::from_hours(1);

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.sender_leaps;
    let mut drafts = Vec::new();
    if !settings.common.enabled {
        return Ok(drafts);
    }
    let mut culprits = Culprits::default();
    for dimension in [Dimension::User, Dimension::Stream] {
        let last = look.recent(dimension, HOUR);
        // The hour before is part of the last 60 minutes: it is no history yet.
        let until = look.counted.hour() - 1;
        let tallies = look.tallies();
        let history = look.counted.accepted_by_hour(tallies, dimension)?;
        let usual: HashMap<&str, f64> = last
            .iter()
            .filter(|(key, counts)| &***key != OTHER && counts.accepted >= settings.per_hour)
            .map(|(key, _)| (&**key, usual(history.get(key), until)))
            .collect();
        let is_streams = dimension == Dimension::Stream && !culprits.is_empty();
        let sent = if is_streams { look.recent(Dimension::UserStream, HOUR) } else { InStreams::new() };
        for (key, counts) in last.iter().filter(|(key, _)| &***key != OTHER) {
            let usual = usual.get(&**key).copied();
            let Some(mut found) = draft(look, dimension, key, counts, usual) else { continue };
            culprits.note(&found);
            let own = culprits.of_stream(key, &sent);
            if let Some(rest) = own.without(counts) {
                let rest = draft(look, dimension, key, &rest, usual);
                look.explain(&mut found, rest.as_ref(), &own);
            }
            drafts.push(found);
        }
    }
    Ok(drafts)
}

/// The 95th percentile of the hours in which it sent; 0 if it never did. Hours in which it sent nothing are not its own: who writes once a
/// week has a few large hours.
#[allow(clippy::cast_precision_loss)] // counts of mail are far below 2^52
fn usual(hours: Option<&VecDeque<(i64, u64)>>, until: i64) -> f64 {
    let mut own: Vec<f64> = hours.into_iter().flatten().filter(|(hour, _)| *hour < until).map(|(_, accepted)| *accepted as f64).collect();
    quantile(&mut own, 0.95)
}

#[allow(clippy::cast_precision_loss)] // counts of mail are far below 2^52
fn draft(look: &Look<'_>, dimension: Dimension, name: &str, counts: &Counts, usual: Option<f64>) -> Option<Draft> {
    let settings = &look.settings.sender_leaps;
    let usual = usual.filter(|_| counts.accepted >= settings.per_hour);
    let leap = usual.filter(|usual| counts.accepted as f64 >= settings.times * usual);
    let guesses = counts.unknown_users >= settings.unknown_users;
    let (key, word) = sender(dimension, name);
    let (n, what, limit, limit_key, summary) = match leap {
        Some(usual) => {
            let before = match usual {
                0.0 => "it has sent nothing in the 14 days before".into(),
                usual => format!("its busiest hours of 14 days have {usual:.0}"),
            };
            let limit = settings.per_hour.max((settings.times * usual) as u64);
            let limit_key = if limit > settings.per_hour { "times" } else { "per_hour" };
            let summary = format!("{word} {name} sends far more than ever: {} recipients in 60 minutes, and {before}.", counts.accepted);
            (counts.accepted, "recipients accepted in 60 minutes", limit, limit_key, summary)
        }
        None if guesses => {
            let summary = format!(
                "{word} {name} writes to addresses that do not exist: {} of them in 60 minutes. A stolen password looks like this.",
                counts.unknown_users
            );
            (counts.unknown_users, "unknown users in 60 minutes", settings.unknown_users, "unknown_users", summary)
        }
        None => return None,
    };
    let held = look.view.facts.guarded.contains_key(&key);
    Some(Draft {
        rule: Rule::SenderLeaps,
        key,
        severity: settings.common.severity,
        measure: Measure { n, of: None, what: what.into(), limit: limit.to_string(), limit_from: settings.from(limit_key) },
        summary: capital(&summary),
        problem_of: ProblemOf::SendersList,
        done: match held {
            true => "The guard holds its new mail; nothing of it is lost.".into(),
            false => "Nothing: its mail is sent.".into(),
        },
        next_step: match (held, word) {
            (true, _) => {
                "See what is held with `posthaste guard list`, ask who sends it whether this is meant, and release or drop it.".into()
            }
            (false, "user") => format!(
                "Ask who sends it whether this is meant; if not, change the password with `posthaste user passwd {}`, and hold or drop \
                 what waits with `posthaste queue`.",
                crate::text::word(name)
            ),
            (false, _) => format!(
                "Ask who sends it whether this is meant; if not, stop what waits with `posthaste queue hold --stream {}` and find the \
                 client in the accepted lines of the log.",
                crate::text::word(name)
            ),
        },
        query: match leap {
            Some(_) => log(&[(word, name), ("event", "accepted")]),
            None => log(&[(word, name), ("event", "bounced"), ("class", "invalid_recipient")]),
        },
        since: Some(HOUR),
    })
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
