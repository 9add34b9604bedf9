//! Complaint reports come back that belong to no message.

use posthaste_tallies::{Dimension, TalliesError};

use crate::{
    About, Key, Measure, ProblemOf, Rule,
    counts::share,
    look::{Draft, Look},
    text::{lasts, log, part_of, percent},
};

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.reports_unmatched;
    if !settings.common.enabled {
        return Ok(Vec::new());
    }
    let counts = look.hours(Dimension::All, settings.window)?.remove("all").unwrap_or_default();
    let (n, of) = (counts.complaints_unmatched, counts.complaints_unmatched + counts.complained);
    if of < settings.minimum || share(n, of) < settings.share {
        return Ok(Vec::new());
    }
    let window = lasts(settings.window);
    Ok(vec![Draft {
        rule: Rule::ReportsUnmatched,
        key: Key::new(About::Relay, "returns"),
        severity: settings.common.severity,
        measure: Measure {
            n,
            of: Some(of),
            what: format!("complaint reports that match no message, of complaint reports in {window}"),
            limit: percent(settings.share),
            limit_from: settings.from("share"),
        },
        summary: format!("Complaint reports come back that match no message of ours: {} in {window}.", part_of(n, of)),
        problem_of: ProblemOf::Ours,
        done: "They are counted, and nobody is suppressed by them: who complained still gets mail.".into(),
        next_step:
            "The reason in the unmatched lines says why (`posthaste log --event unmatched`): not_in_log asks for a longer log.keep_age, \
                    no_hint for the reports' own address in returns.addresses; forged ones are not yours."
                .into(),
        query: log(&[("event", "unmatched")]),
        since: Some(settings.window),
    }])
}
