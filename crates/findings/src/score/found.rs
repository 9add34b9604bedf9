//! What a score lost, as findings.

use std::time::Duration;

use super::{Band, Cause, Loss, Measure, Score, Scores, Settings, figures::percent};
use crate::{About, Finding, Key, LimitFrom, Measure as Figure, Rule, Severity, look::Draft, text::log};

/// Each lost point: of the relay, of streams at providers, of sources at providers, and of domains of the From field. Streams, providers and
/// sources are means of these. With the id of each finding; those that cost the most come first.
pub(crate) fn drafts(scores: &Scores, settings: &Settings) -> Vec<(String, Draft)> {
    let pair = |about, first: &str, provider: &str| Key::new(about, format!("{first}/{provider}"));
    let pairs = scores.pairs.iter().map(|at| (pair(About::StreamProvider, &at.stream, &at.provider), &at.score));
    let lanes = scores.lanes.iter().map(|at| (pair(About::Lane, &at.source, &at.provider), &at.score));
    let domains = scores.domains.iter().map(|(domain, score)| (Key::new(About::FromDomain, domain), score));
    let all = std::iter::once((Key::new(About::Relay, ""), &scores.all)).chain(pairs).chain(lanes).chain(domains);
    let mut lost: Vec<(Key, &Score, &Loss)> =
        all.flat_map(|(key, score)| score.losses.iter().map(move |loss| (key.clone(), score, loss))).collect();
    lost.sort_by(|(_, _, one), (_, _, other)| other.points.total_cmp(&one.points));
    lost.into_iter().map(|(key, score, loss)| (id(&key, loss.cause), draft(key, score, loss, settings))).collect()
}

/// A key may lose points by several causes, so the cause is a part of the id.
fn id(key: &Key, cause: Cause) -> String {
    let id = Finding::id_of(Rule::Score, key);
    format!("{}/{}{}", Rule::Score, cause.as_str(), &id[Rule::Score.as_str().len()..])
}

fn draft(key: Key, score: &Score, loss: &Loss, settings: &Settings) -> Draft {
    let (query, since) = query(&key, loss.cause, settings);
    let severity = if score.band == Some(Band::Critical) { Severity::Critical } else { Severity::Warn };
    Draft {
        rule: Rule::Score,
        severity,
        measure: figure(loss, settings),
        summary: format!("The health score of {} lost points. {}", who(&key), loss.sentence),
        problem_of: loss.whose,
        done: done(loss.cause).to_owned(),
        next_step: match loss.next_step.contains('`') {
            true => loss.next_step.to_owned(),
            false => format!("{} `{query}` shows the mail.", loss.next_step),
        },
        query,
        since,
        key,
    }
}

fn who(key: &Key) -> String {
    let (first, provider) = key.value.split_once('/').unwrap_or((&key.value, ""));
    match key.about {
        About::StreamProvider => format!("stream {first} at {provider}"),
        About::Lane => format!("source {first} at {provider}"),
        About::FromDomain => key.value.clone(),
        _ => "the relay".to_owned(),
    }
}

fn figure(loss: &Loss, settings: &Settings) -> Figure {
    let Cause::Measure(measure) = loss.cause else {
        let from = limit_from(settings.stopped_lane_cap == Settings::default().stopped_lane_cap);
        let (what, limit) = ("lane that is stopped by feedback".to_owned(), format!("a score of {}", settings.stopped_lane_cap));
        return Figure { n: 1, of: None, what, limit, limit_from: from };
    };
    let is_number = measure == Measure::Listings;
    Figure {
        n: loss.bad,
        of: (!is_number).then_some(loss.of),
        what: format!("{} that {}", measure.of(), measure.did()),
        limit: if is_number { loss.good_to.to_string() } else { percent(loss.good_to) },
        limit_from: limit_from(settings.line(measure) == Settings::default().line(measure)),
    }
}

fn limit_from(is_default: bool) -> LimitFrom {
    if is_default { LimitFrom::Default } else { LimitFrom::Configuration }
}

fn done(cause: Cause) -> &'static str {
    let Cause::Measure(measure) = cause else { return "Nothing is sent there until the lane goes on." };
    match measure {
        Measure::UnknownUsers | Measure::FullMailboxes | Measure::Suppressed => {
            "What bounced for good is not written to again, as `[suppression]` says."
        }
        Measure::Complaints | Measure::Unsubscribed => {
            "Whoever complained or unsubscribed gets no more of this mail, as `[suppression]` says."
        }
        Measure::Refusals | Measure::PutOff => "The lane slows down or stops where the provider's reply asks for it.",
        _ => "Nothing: the score judges, and changes nothing by itself.",
    }
}

/// The command that shows the events behind it, and how far they go back.
fn query(key: &Key, cause: Cause, settings: &Settings) -> (String, Option<Duration>) {
    let Cause::Measure(measure) = cause else { return ("posthaste warmup status".to_owned(), None) };
    let since = Some(Duration::from_hours(24) * settings.days);
    let which = match measure {
        Measure::UnknownUsers => ("class", "invalid_recipient"),
        Measure::FullMailboxes => ("class", "mailbox_full"),
        Measure::Suppressed => ("event", "suppressed"),
        Measure::Complaints => ("event", "complained"),
        Measure::Unsubscribed => ("event", "unsubscribed"),
        Measure::Refusals => ("event", "bounced"),
        Measure::PutOff => ("event", "deferred"),
        _ => ("event", "delivered"),
    };
    let (first, provider) = key.value.split_once('/').unwrap_or((&key.value, ""));
    let query = match key.about {
        // A suppressed recipient has no provider.
        About::StreamProvider if measure == Measure::Suppressed => log(&[("stream", first), which]),
        About::StreamProvider => log(&[("stream", first), ("provider", provider), which]),
        About::Lane => log(&[("source", first), ("provider", provider), which]),
        About::FromDomain => log(&[("from-domain", first), which]),
        _ => log(&[which]),
    };
    (query, since)
}
