//! A stream's mail takes longer than it should.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use posthaste_tallies::{Dimension, Span, TalliesError, Time};

use crate::{
    About, Key, LimitFrom, Measure, ProblemOf, Rule,
    facts::StreamFact,
    look::{Draft, Look, minutes},
    text::{count, lasts, log, said, since},
};

/// Looks once in a while, at times that do not depend on when the relay was started; in between, what the last look found holds.
pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.late;
    if !settings.common.enabled {
        return Ok(Vec::new());
    }
    let every = i64::try_from(settings.every.as_secs()).unwrap_or(i64::MAX).max(1);
    let number = look.now.as_second().div_euclid(every);
    if number == look.memory.late_look {
        return Ok(look.memory.late_found.clone());
    }
    // A look that was left out, because the relay was down, breaks no row; a long time without any does.
    let in_a_row =
        if (0..=2).contains(&(number - look.memory.late_look)) { std::mem::take(&mut look.memory.late) } else { BTreeMap::new() };
    let times = times(look)?;
    let (mut late, mut found) = (BTreeMap::new(), Vec::new());
    for stream in &look.view.facts.streams {
        let oldest = oldest(look, &stream.name);
        let p95 = times.get(&*stream.name).copied();
        if oldest.as_ref().is_none_or(|(age, _)| *age <= stream.aim) && p95.is_none_or(|p95| p95 <= stream.aim) {
            continue;
        }
        let row = in_a_row.get(&stream.name).copied().unwrap_or(0).saturating_add(1);
        if row >= settings.in_a_row {
            found.push(draft(look, stream, p95, oldest));
        }
        late.insert(stream.name.clone(), row);
    }
    look.memory.late = late;
    look.memory.late_look = number;
    look.memory.late_found.clone_from(&found);
    Ok(found)
}

/// The 95th percentile from acceptance to delivery, by stream.
fn times(look: &Look<'_>) -> Result<BTreeMap<Box<str>, Duration>, TalliesError> {
    let settings = &look.settings.late;
    let to = look.view.counted.min(look.now);
    let from = to.checked_sub(Duration::from_secs(60) * u32::try_from(minutes(settings.window)).unwrap_or(60)).unwrap_or(Timestamp::MIN);
    let block = look.tallies().sum(Dimension::Stream, Span { from, to: to.checked_add(Duration::from_secs(59)).unwrap_or(to) })?;
    let p95 = |cell: &posthaste_tallies::Cell| {
        let times = cell.times().filter(|times| times.count(Time::Delivery) >= settings.minimum)?;
        Some(Duration::from_secs_f64(times.quantile(Time::Delivery, 0.95)?.max(0.0) / 1000.0))
    };
    Ok(block.iter().filter_map(|(stream, cell)| Some((stream.into(), p95(cell)?))).collect())
}

/// How old the oldest waiting mail of a stream is, and for which provider it waits.
fn oldest(look: &Look<'_>, stream: &str) -> Option<(Duration, String)> {
    let waiting = look.view.facts.waiting.iter().filter(|waiting| waiting.stream == stream);
    let (accepted, provider) = waiting.filter_map(|waiting| Some((waiting.oldest?, &waiting.provider))).min()?;
    Some((since(accepted, look.now), said(provider)))
}

fn draft(look: &Look<'_>, stream: &StreamFact, p95: Option<Duration>, oldest: Option<(Duration, String)>) -> Draft {
    let settings = &look.settings.late;
    let (name, aim) = (said(&stream.name), lasts(stream.aim));
    let waits = oldest.filter(|(age, _)| *age > stream.aim);
    let slow = p95.filter(|p95| *p95 > stream.aim);
    let worst = slow.into_iter().chain(waits.as_ref().map(|(age, _)| *age)).max().unwrap_or_default();
    let mut said_so = Vec::new();
    said_so
        .extend(slow.map(|p95| format!("a twentieth of what was delivered in {} took longer than {}", lasts(settings.window), lasts(p95))));
    said_so.extend(waits.as_ref().map(|(age, provider)| format!("the oldest has waited for {provider} for {}", lasts(*age))));
    let provider = waits.as_ref().map(|(_, provider)| provider.as_str());
    let queue = provider.map_or_else(|| "posthaste queue".into(), |provider| format!("posthaste queue list --provider {provider} -n 3"));
    Draft {
        rule: Rule::Late,
        key: Key::new(About::Stream, &stream.name),
        severity: settings.common.severity,
        measure: Measure {
            n: worst.as_secs(),
            of: None,
            what: if slow.is_some() {
                "seconds from acceptance to delivery, 95th percentile or oldest waiting"
            } else {
                "seconds that the oldest has waited"
            }
            .into(),
            limit: aim.clone(),
            limit_from: if stream.aim_configured { LimitFrom::Configuration } else { LimitFrom::Default },
        },
        summary: format!(
            "Mail of stream {name} is late: {}; its aim is {aim}. It was so at {}.",
            said_so.join(", and "),
            match settings.in_a_row {
                1 => "the last look".into(),
                n => format!("the last {}", count(n.into(), "look", "looks")),
            }
        ),
        problem_of: if waits.is_some() { ProblemOf::Receiver } else { ProblemOf::Ours },
        done: "The mail is kept and tried on its schedule until it expires.".into(),
        next_step: format!(
            "`{queue}` shows what waits and `posthaste why ID` says for what: budget of a warm-up, a provider that pushes back, or hosts \
             that do not answer. If {aim} is not what the stream needs, set stream.{name}.aim."
        ),
        query: log(&[("stream", &stream.name), ("event", "deferred")]),
        since: Some(settings.window),
    }
}
