//! Too many recipients complain.

use posthaste_tallies::{Dimension, OTHER, TalliesError};

use crate::{
    About, Key, Measure, ProblemOf, Rule,
    counts::Counts,
    interval::lower_end,
    look::{Draft, Look, graded, sender},
    text::{lasts, log, part_of, percent},
};

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.complaints;
    if !settings.common.enabled {
        return Ok(Vec::new());
    }
    look.blame(&[Dimension::User, Dimension::Stream, Dimension::Provider], settings.window, draft)
}

fn draft(look: &Look<'_>, dimension: Dimension, key: &str, counts: &Counts) -> Option<Draft> {
    let settings = &look.settings.complaints;
    let counts = counts.settled();
    if key == OTHER || counts.delivered < settings.minimum {
        return None;
    }
    let lower = lower_end(counts.complained as f64, counts.delivered as f64);
    let (severity, limit, name) = graded(lower, settings.warn, settings.critical)?;
    let (about, word) = match dimension {
        Dimension::Provider => (Key::new(About::Provider, key), "provider"),
        _ => sender(dimension, key),
    };
    let held = look.view.facts.guarded.contains_key(&about);
    let window = lasts(settings.window);
    let who = match word {
        "provider" => format!("Recipients at {key} complain"),
        word => format!("Recipients of {word} {key} complain"),
    };
    Some(Draft {
        rule: Rule::Complaints,
        key: about,
        severity,
        measure: Measure {
            n: counts.complained,
            of: Some(counts.delivered),
            what: format!("complaints of deliveries in {window}; the lower end of the 90 % interval is {}", percent(lower)),
            limit: percent(limit),
            limit_from: settings.from(name),
        },
        summary: format!(
            "{who}: {} deliveries in {window} were reported as spam, {} at the least. Providers refuse mail from 0.30 % on.",
            part_of(counts.complained, counts.delivered),
            percent(lower)
        ),
        problem_of: ProblemOf::SendersList,
        done: match held {
            true => "Whoever complained gets no more of this mail, and the guard holds what is new.".into(),
            false => "Whoever complained gets no more of this mail.".into(),
        },
        next_step: match held {
            true => {
                "See what is held with `posthaste guard list`, ask the sender where the addresses are from, and release or drop it.".into()
            }
            false => format!(
                "Ask who sends it where the addresses are from and whether the mail says how to unsubscribe; if it should stop now, hold \
                 it with `posthaste queue hold --{word} {}`.",
                crate::text::word(key)
            ),
        },
        query: log(&[(word, key), ("event", "complained")]),
        since: Some(settings.window),
    })
}
