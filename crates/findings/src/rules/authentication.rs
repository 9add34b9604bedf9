//! Mail leaves without a signature of its From domain, or DNS lacks a key.

use std::time::Duration;

use posthaste_tallies::{Dimension, OTHER, TalliesError};

use crate::{
    About, Key, LimitFrom, Measure, ProblemOf, Rule, Severity,
    counts::share,
    look::{Draft, Look},
    text::{log, part_of, percent, said},
};

const HOUR: Duration = Duration::from_hours(1);

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.authentication;
    if !settings.common.enabled {
        return Ok(Vec::new());
    }
    let mut drafts = Vec::new();
    for (domain, counts) in look.recent(Dimension::FromDomain, HOUR) {
        let (n, of) = (counts.from_known.saturating_sub(counts.dkim_aligned), counts.from_known);
        if &*domain == OTHER || of < settings.minimum || share(n, of) <= settings.share {
            continue;
        }
        let name = said(&domain);
        drafts.push(Draft {
            rule: Rule::Authentication,
            key: Key::new(About::FromDomain, &name),
            severity: settings.common.severity,
            measure: Measure {
                n,
                of: Some(of),
                what: "deliveries in 60 minutes without a signature of the From domain".into(),
                limit: percent(settings.share),
                limit_from: settings.from("share"),
            },
            summary: format!(
                "Mail from {name} goes out without a signature of {name}: {} deliveries in 60 minutes. Google, Yahoo and Microsoft refuse \
                 such mail, or take it for spam.",
                part_of(n, of)
            ),
            problem_of: ProblemOf::Ours,
            done: "Nothing: mail of a domain without keys is sent unsigned.".into(),
            next_step: format!(
                "`posthaste dkim status` shows which domains have keys; make one with `posthaste dkim new {} s1`, put its record into DNS, \
                 add it to [dkim], and `posthaste reload`.",
                crate::text::word(&domain)
            ),
            query: log(&[("from-domain", &domain), ("event", "delivered")]),
            since: Some(HOUR),
        });
    }
    Ok(drafts)
}

/// A key that signs and is not in DNS makes every signature of it fail, so it is critical whatever the setting.
pub(super) fn find_keys(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.authentication;
    let missing = look.view.facts.keys_missing.iter().filter(|_| settings.common.enabled);
    let drafts = missing.map(|key| {
        let name = format!("{}._domainkey.{}", said(&key.selector), said(&key.domain));
        Draft {
            rule: Rule::Authentication,
            key: Key::new(About::Relay, format!("key/{name}")),
            severity: Severity::Critical,
            measure: Measure {
                n: 1,
                of: None,
                what: "signing key that DNS does not have".into(),
                limit: "1".into(),
                limit_from: LimitFrom::Default,
            },
            summary: format!(
                "DNS does not have the key {name} that we sign with: {}. Receivers count its signatures as broken.",
                said(&key.found)
            ),
            problem_of: ProblemOf::Dns,
            done: "Mail is signed all the same, so that it is right as soon as DNS has the key.".into(),
            next_step: format!(
                "Put the record that `posthaste dkim dns {}` prints into the zone, and see with `posthaste dkim status` that it is there.",
                crate::text::word(&key.domain)
            ),
            query: "posthaste dkim status".into(),
            since: None,
        }
    });
    Ok(drafts.collect())
}
