//! A provider refuses mail, or puts it off, for reputation or policy.

use posthaste_tallies::{Dimension, OTHER, TalliesError};

use super::unreached::{login_waits, waits};
use crate::{
    About, Facts, Key, Measure, ProblemOf, Rule,
    counts::share,
    look::{Draft, Look},
    text::{clock, lasts, log, part_of, percent, said},
};

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.provider_refuses;
    if !settings.common.enabled {
        return Ok(Vec::new());
    }
    // A login that a smart host refuses is no word of the provider, and has an alarm of its own.
    let (waits, facts) = (waits(look), look.view.facts);
    let only_logins = |provider: &str| login_waits(facts, provider) > 0 && !waits.contains_key(provider);
    let mut drafts = Vec::new();
    for (provider, counts) in look.recent(Dimension::Provider, settings.window) {
        let (n, of) = (counts.refused.min(counts.attempts), counts.attempts);
        if &*provider == OTHER || of < settings.minimum || only_logins(&provider) || share(n, of) < settings.share {
            continue;
        }
        let tallies = look.tallies();
        let median = look.counted.median(tallies, &provider)?;
        if share(n, of) < settings.times_median * median {
            continue;
        }
        let window = lasts(settings.window);
        let usual = if median > 0.0 { format!("; its median of 7 days is {}", percent(median)) } else { String::new() };
        drafts.push(Draft {
            rule: Rule::ProviderRefuses,
            key: Key::new(About::Provider, &*provider),
            severity: settings.common.severity,
            measure: Measure {
                n,
                of: Some(of),
                what: format!("refused or put off for reputation or policy, of attempts in {window}"),
                limit: percent(settings.share),
                limit_from: settings.from("share"),
            },
            summary: format!(
                "{provider} refuses our mail or puts it off for reputation or policy: {} attempts in {window}{usual}.{}",
                part_of(n, of),
                // A bare 554 may be anything. Of all replies so many are unknown that at least half of the refusals are among them.
                if (counts.unknown_replies + n).saturating_sub(counts.replies.max(n)) * 2 >= n {
                    " No rule knows most of these replies: they are judged by their code alone."
                } else {
                    ""
                }
            ),
            problem_of: ProblemOf::Ours,
            done: done(look.view.facts, &provider, look),
            next_step: format!(
                "Read what {provider} says with `posthaste log --provider {provider} -n 20`; it names a block list, a record or a page for \
                 senders: mend that or ask there to be taken off. Lanes that stopped are shown by `posthaste warmup status`."
            ),
            query: log(&[("provider", &provider)]),
            since: Some(settings.window),
        });
    }
    Ok(drafts)
}

/// What the lanes at the provider do.
fn done(facts: &Facts, provider: &str, look: &Look<'_>) -> String {
    let mut lanes: Vec<String> = Vec::new();
    for lane in facts.lanes.iter().filter(|lane| lane.provider == provider) {
        match (&lane.stopped, lane.slowed_to) {
            (Some(stopped), _) => {
                let until = stopped.until.map_or_else(|| "until it is resumed".into(), |until| format!("until {}", clock(until, look.now)));
                lanes.push(format!("{} sends nothing there {until}", said(&lane.source)));
            }
            (None, Some(rate)) => lanes.push(format!("{} sends {rate} an hour there", said(&lane.source))),
            (None, None) => {}
        }
    }
    match lanes.as_slice() {
        [] => "Mail that was put off is tried again; the senders of mail that was refused were told.".into(),
        lanes => format!("{}; mail waits, and what was refused for good went back to its senders.", lanes.join(", ")),
    }
}
