//! A provider answers, and takes nothing: it puts off each recipient, or all that goes there waits for a lane that its feedback has stopped. Such
//! mail is due for a moment only, and stands all the same.

use std::collections::HashMap;

use jiff::Timestamp;
use posthaste_tallies::{Dimension, TalliesError};

use super::unreached::{HOUR, MANY, Waits, last_error, waits};
use crate::{
    About, Key, Measure, ProblemOf, Rule,
    counts::ByKey,
    facts::{LaneFact, Stopped},
    look::{Draft, Look},
    text::{clock, count, lasts, log, said, since},
};

/// So many replies that put off make a provider that takes nothing; one may be about one message.
const FEW: u64 = 3;

/// Why nothing gets there.
enum Why<'a> {
    /// `refusals`: of the replies, those for what counts as a refusal.
    PutOff {
        replies: u64,
        refusals: u64,
    },
    Stopped(&'a str, &'a Stopped),
}

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.mail_stands;
    let before = std::mem::take(&mut look.memory.put_off);
    let waiting = waits(look);
    if !settings.common.enabled || waiting.is_empty() {
        return Ok(Vec::new());
    }
    let (put_off, hour, lately) =
        (look.counted.put_off_since(), look.recent(Dimension::Provider, HOUR), look.recent(Dimension::Provider, settings.due));
    let took = |in_which: &ByKey, provider: &str| in_which.get(provider).is_some_and(|counts| counts.delivered > 0);
    let stopped: HashMap<&str, (&LaneFact, &Stopped)> = look.view.facts.lanes.iter().rev().filter_map(by_feedback).collect();
    let mut drafts = Vec::new();
    for (provider, waits) in waiting {
        let Some(oldest) = waits.oldest.filter(|_| !took(&lately, &provider)) else { continue };
        let many = waits.recipients >= MANY;
        let refused = put_off
            .get(&*provider)
            .filter(|(_, counts)| counts.put_off >= FEW || (many && counts.put_off + counts.put_off_mailbox >= MANY));
        let (begin, why) = match (stopped.get(&*provider), refused, before.get(&provider)) {
            (Some((lane, stopped)), ..) => (stopped.since.map_or(oldest, |at| at.max(oldest)), Why::Stopped(&lane.source, stopped)),
            (None, Some((at, counts)), begin) => {
                let replies = counts.put_off + counts.put_off_mailbox;
                (begin.map_or(*at, |begin| *begin.min(at)), Why::PutOff { replies, refusals: counts.refused.min(replies) })
            }
            // Between two attempts that are more than an hour apart nothing has changed.
            (None, None, Some(begin)) if !put_off.contains_key(&*provider) && !took(&hour, &provider) => {
                (*begin, Why::PutOff { replies: 0, refusals: 0 })
            }
            _ => continue,
        };
        if since(begin, look.now) < settings.due {
            continue;
        }
        if matches!(why, Why::PutOff { .. }) {
            look.memory.put_off.insert(provider.clone(), begin);
        }
        drafts.push(draft(look, &provider, &waits, begin, &why));
    }
    Ok(drafts)
}

/// A lane that its feedback has stopped, under its provider.
fn by_feedback(lane: &LaneFact) -> Option<(&str, (&LaneFact, &Stopped))> {
    let stopped = lane.stopped.as_ref().filter(|stopped| !stopped.by_operator)?;
    Some((&*lane.provider, (lane, stopped)))
}

fn draft(look: &Look<'_>, provider: &str, waits: &Waits, begin: Timestamp, why: &Why<'_>) -> Draft {
    let settings = &look.settings.mail_stands;
    let (name, begun) = (said(provider), clock(begin, look.now));
    let trouble = look.view.facts.troubles.get(provider);
    let is_ours = match why {
        Why::Stopped(..) => true,
        // As by the rule about providers that refuse; between two attempts, by the last of them.
        Why::PutOff { replies: 0, .. } => trouble.is_some_and(|trouble| look.settings.provider_refuses.classes.contains(&trouble.class)),
        Why::PutOff { replies, refusals } => refusals * 2 >= *replies,
    };
    let (cause, next_step) = match why {
        Why::PutOff { replies, .. } => {
            let replies = match replies {
                0 => String::new(),
                n => format!(" ({} in the last hour)", count(*n, "reply", "replies")),
            };
            (
                format!("it puts off all that it is sent{replies} and took nothing since {begun}"),
                if is_ours {
                    format!(
                        "Read its words with `posthaste log --provider {name} --event deferred -n 3`: they name a block list, a record or a page \
                         for senders; mend that or ask there to be let in."
                    )
                } else {
                    format!(
                        "`posthaste log --provider {name} --event deferred -n 3` shows its words: if it has trouble of its own, wait; if it \
                         names something of yours, mend that."
                    )
                },
            )
        }
        Why::Stopped(source, stopped) => (
            format!("lane {}/{name} is stopped since {begun} because the provider pushed back: {}", said(source), said(&stopped.why)),
            format!(
                "Read what it says with `posthaste log --provider {name} -n 20`, mend what it names, and resume the lane with \
                 `posthaste warmup resume {}/{name} --reason mended`.",
                said(source)
            ),
        ),
    };
    Draft {
        rule: Rule::MailStands,
        key: Key::new(About::Provider, provider),
        severity: settings.common.severity,
        measure: Measure {
            n: since(begin, look.now).as_secs(),
            of: None,
            what: "seconds that mail has waited while nothing was delivered there".into(),
            limit: lasts(settings.due),
            limit_from: settings.from("due"),
        },
        summary: format!("Mail for {name} stands: {}, {cause}.{}", waits.said(), last_error(trouble)),
        problem_of: if is_ours { ProblemOf::Ours } else { ProblemOf::Receiver },
        done: "The mail is kept and tried again on its schedule; other providers are not held up.".into(),
        next_step,
        // A lane stops for refusals as well as for deferrals.
        query: match why {
            Why::PutOff { .. } => log(&[("provider", provider), ("event", "deferred")]),
            Why::Stopped(..) => log(&[("provider", provider)]),
        },
        since: Some(settings.due),
    }
}
