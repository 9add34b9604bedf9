//! Mail is due and none is delivered, or a pool has no source left.

use std::collections::BTreeMap;

use jiff::Timestamp;
use posthaste_tallies::{Dimension, TalliesError};

use super::unreached::{HOUR, last_error, login_waits};
use crate::{
    About, Key, Measure, ProblemOf, Rule,
    look::{Draft, Look},
    text::{clock, count, lasts, log, said, since},
};

/// What is due for a provider.
#[derive(Default)]
struct Due<'a> {
    recipients: u64,
    since: Option<Timestamp>,
    streams: Vec<&'a str>,
}

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.mail_stands;
    if !settings.common.enabled {
        return Ok(Vec::new());
    }
    let delivered = look.recent(Dimension::Provider, settings.due);
    let mut providers: BTreeMap<&str, Due<'_>> = BTreeMap::new();
    for waiting in look.view.facts.waiting.iter().filter(|waiting| waiting.due > 0) {
        let due = providers.entry(&waiting.provider).or_default();
        due.recipients += waiting.due;
        due.since = [due.since, waiting.due_since].into_iter().flatten().min();
        due.streams.push(&waiting.stream);
    }
    let mut drafts = Vec::new();
    for (provider, due) in providers {
        let Some(begin) = due.since.filter(|begin| since(*begin, look.now) >= settings.due) else { continue };
        // What waits for a login has an alarm of its own.
        if login_waits(look.view.facts, provider) >= due.recipients {
            continue;
        }
        if delivered.get(provider).is_some_and(|counts| counts.delivered > 0) {
            continue;
        }
        let waits = since(begin, look.now);
        drafts.push(Draft {
            rule: Rule::MailStands,
            key: Key::new(About::Provider, provider),
            severity: settings.common.severity,
            measure: Measure {
                n: waits.as_secs(),
                of: None,
                what: "seconds that something has been due while nothing was delivered there".into(),
                limit: lasts(settings.due),
                limit_from: settings.from("due"),
            },
            summary: format!(
                "Mail for {provider} stands: {} due since {} in {}, and nothing was delivered there in {}.{}",
                if due.recipients == 1 { "1 recipient is".into() } else { format!("{} recipients are", due.recipients) },
                clock(begin, look.now),
                streams(&due.streams),
                lasts(settings.due),
                // What was an hour ago may have nothing to do with it.
                last_error(
                    look.view.facts.troubles.get(provider).filter(|trouble| trouble.at.is_none_or(|at| since(at, look.now) <= HOUR))
                ),
            ),
            problem_of: ProblemOf::Receiver,
            done: "The mail is kept and tried again; other providers are not held up.".into(),
            next_step: format!(
                "`posthaste queue list --provider {provider} -n 3` names messages and `posthaste why ID` says what one of them waits for: \
                 a host that does not answer is theirs, a network or DNS that does not answer is ours."
            ),
            query: log(&[("provider", provider)]),
            since: Some(settings.due),
        });
    }
    Ok(drafts)
}

fn streams(names: &[&str]) -> String {
    match names {
        [one] => format!("stream {}", said(one)),
        [first, rest @ ..] => format!("stream {} and {}", said(first), count(rest.len() as u64, "other", "others")),
        [] => "no stream".into(),
    }
}

pub(super) fn find_pools(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.mail_stands;
    let pools = look.view.facts.pools.iter().filter(|_| settings.common.enabled);
    let stopped = pools.filter(|pool| !pool.sources.is_empty() && pool.sources.iter().all(|(_, why)| why.is_some()));
    let drafts = stopped.map(|pool| {
        let name = said(&pool.name);
        let sources: Vec<String> =
            pool.sources.iter().map(|(source, why)| format!("{} ({})", said(source), said(why.as_deref().unwrap_or_default()))).collect();
        let all = pool.sources.len() as u64;
        Draft {
            rule: Rule::MailStands,
            key: Key::new(About::Pool, &name),
            severity: settings.common.severity,
            measure: Measure {
                n: all,
                of: Some(all),
                what: "sources of the pool that send nothing".into(),
                limit: "all".into(),
                limit_from: crate::LimitFrom::Default,
            },
            summary: format!("Pool {name} has no source left, so nothing of its streams is sent: {}.", sources.join(", ")),
            problem_of: ProblemOf::Ours,
            done: "The mail of its streams is accepted and kept.".into(),
            next_step:
                "If an address is missing, bring it back with `ip address`; if lanes are stopped, see why in `posthaste warmup status` and \
                        resume them with `posthaste warmup resume SOURCE/PROVIDER --reason mended`."
                    .into(),
            query: log(&[("event", "relay")]),
            since: Some(std::time::Duration::from_hours(1)),
        }
    });
    Ok(drafts.collect())
}
