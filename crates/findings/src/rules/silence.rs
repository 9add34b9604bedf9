//! A stream that always has mail at this hour has none.

use std::collections::{BTreeSet, VecDeque};

use jiff::{Timestamp, tz::TimeZone};
use posthaste_tallies::{Dimension, OTHER, TalliesError};

use crate::{
    About, Key, Measure, ProblemOf, Rule,
    look::{Draft, Look},
    text::{log, said},
};

/// Looks at the last whole hour, and is over with the first mail after it.
pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.silence;
    if !settings.common.enabled {
        return Ok(Vec::new());
    }
    let hour = look.counted.hour();
    let since = look.recent(Dimension::Stream, std::time::Duration::from_hours(1));
    let tallies = look.tallies();
    let history = look.counted.accepted_by_hour(tallies, Dimension::Stream)?;
    let silent = |hours: &VecDeque<(i64, u64)>| {
        let had: BTreeSet<i64> = hours.iter().map(|(hour, _)| *hour).collect();
        let days = 1..=i64::from(settings.days);
        !had.contains(&(hour - 1)) && days.into_iter().all(|day| had.contains(&(hour - 1 - 24 * day)))
    };
    let silent = history.iter().filter(|(stream, hours)| &***stream != OTHER && silent(hours));
    // The minutes of the last hour and of this one.
    let silent = silent.filter(|(stream, _)| since.get(&**stream).is_none_or(|counts| counts.accepted == 0));
    // A stream that was taken out of the configuration is not missed.
    let known = |stream: &str| look.view.facts.streams.iter().any(|known| known.name == stream);
    let silent: Vec<Box<str>> = silent.filter(|(stream, _)| known(stream)).map(|(stream, _)| stream.clone()).collect();
    Ok(silent.iter().map(|stream| draft(look, stream, hour)).collect())
}

fn draft(look: &Look<'_>, stream: &str, hour: i64) -> Draft {
    let settings = &look.settings.silence;
    let at = |hour: i64| {
        let time = Timestamp::from_second(hour.saturating_mul(3600)).unwrap_or_default();
        time.to_zoned_datetime(TimeZone::UTC).strftime("%H:%M").to_string()
    };
    let stream = said(stream);
    Draft {
        rule: Rule::Silence,
        key: Key::new(About::Stream, &stream),
        severity: settings.common.severity,
        measure: Measure {
            n: 0,
            of: None,
            what: format!("recipients accepted from {} to {} UTC", at(hour - 1), at(hour)),
            limit: format!("1, as on each of the last {} days", settings.days),
            limit_from: settings.from("days"),
        },
        summary: format!(
            "Nobody submits mail to stream {stream}: none came from {} to {} UTC, and on each of the last {} days some did.",
            at(hour - 1),
            at(hour),
            settings.days
        ),
        problem_of: ProblemOf::Ours,
        done: "The relay can only wait: nothing has been submitted, so nothing is lost here.".into(),
        next_step: format!(
            "See whether clients are refused with `posthaste log --event rejected --since 2h`; if there are none, look at the application \
             that submits to {stream}: its mail may wait there."
        ),
        query: log(&[("event", "rejected")]),
        since: Some(std::time::Duration::from_hours(1)),
    }
}
