//! The classifier does not know what receivers say.

use posthaste_tallies::{Dimension, OTHER, TalliesError};

use crate::{
    About, Key, Measure, ProblemOf, Rule,
    counts::share,
    look::{Draft, Look},
    text::{lasts, log, part_of, percent},
};

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.unknown_replies;
    let mut drafts = Vec::new();
    if !settings.common.enabled {
        return Ok(drafts);
    }
    for (provider, counts) in look.hours(Dimension::Provider, settings.window)? {
        let (n, of) = (counts.unknown_replies, counts.replies);
        if &*provider == OTHER || of < settings.minimum || share(n, of) <= settings.share {
            continue;
        }
        let window = lasts(settings.window);
        drafts.push(Draft {
            rule: Rule::UnknownReplies,
            key: Key::new(About::Provider, &*provider),
            severity: settings.common.severity,
            measure: Measure {
                n,
                of: Some(of),
                what: format!("refusals that no rule knows, of refusals in {window}"),
                limit: percent(settings.share),
                limit_from: settings.from("share"),
            },
            summary: format!("No rule knows what {provider} says: {} refusals in {window}.", part_of(n, of)),
            problem_of: ProblemOf::Ours,
            done: "They are judged by their codes alone: 4xx is tried again, 5xx goes back to its sender, and no address is \
                   suppressed."
                .into(),
            next_step: "`posthaste bounce unknown` lists these replies with a draft of a rule for each; put the rule into a file of \
                        bounce.rules and `posthaste reload`."
                .into(),
            query: log(&[("provider", &provider)]),
            since: Some(settings.window),
        });
    }
    Ok(drafts)
}
