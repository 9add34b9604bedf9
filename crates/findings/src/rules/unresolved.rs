//! DNS gives no answer about a domain, so that nothing is sent there: such mail has no provider and no host, and stands all the same.

use std::collections::BTreeSet;

use jiff::Timestamp;
use posthaste_mail::Class;
use posthaste_tallies::{Dimension, TalliesError};

use super::unreached::{DAY, HOUR, MANY, Waits, last_error, waits};
use crate::{
    About, Key, Measure, ProblemOf, Rule,
    counts::ByKey,
    facts::Trouble,
    look::{Draft, Look},
    text::{clock, count, lasts, log, said, since},
};

/// From so many domains on, if they are most of what waits, it is not the domains' DNS: one finding tells of all.
const STORM: usize = 5;
/// Of these, so many are named.
const NAMED: usize = 3;

/// A domain that DNS says nothing about.
struct Unresolved<'a> {
    domain: String,
    waits: Waits,
    begin: Timestamp,
    /// The failure; None: DNS is being asked once more.
    trouble: Option<&'a Trouble>,
}

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.mail_stands;
    let before = std::mem::take(&mut look.memory.unresolved);
    if !settings.common.enabled {
        return Ok(Vec::new());
    }
    let lately = look.recent(Dimension::Provider, settings.due);
    let (all, facts) = (waits(look), look.view.facts);
    let stand = all.len();
    let is_dns = |domain: &str| match facts.troubles.get(domain) {
        // Between two questions that are more than an hour apart nothing has changed.
        Some(trouble) => {
            let is_new = trouble.at.is_none_or(|at| since(at, look.now) <= HOUR);
            trouble.class == Class::DnsFailure && (is_new || before.contains(domain))
        }
        // While DNS is asked once more, nothing is known.
        None => before.contains(domain),
    };
    let all: Vec<_> = all.into_iter().filter(|(domain, _)| is_dns(domain)).collect();
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let day = look.hours(Dimension::Domain, DAY)?;
    let mut found = Vec::new();
    for (domain, waits) in all {
        let trouble = facts.troubles.get(&domain);
        let took = |counts: &ByKey| counts.get(&*domain).is_some_and(|counts| counts.delivered > 0);
        let known = before.contains(&domain) || waits.recipients >= MANY || took(&day);
        let begin = waits.oldest.filter(|begin| known && since(*begin, look.now) >= settings.due && !took(&lately));
        if let Some(begin) = begin {
            found.push(Unresolved { trouble, domain, waits, begin });
        }
    }
    look.memory.unresolved = found.iter().map(|unresolved| unresolved.domain.clone()).collect::<BTreeSet<_>>();
    if found.len() >= STORM && found.len() * 2 > stand {
        return Ok(vec![of_all(look, &found)]);
    }
    Ok(found.iter().map(|unresolved| of_one(look, unresolved)).collect())
}

fn of_one(look: &Look<'_>, unresolved: &Unresolved<'_>) -> Draft {
    let name = said(&unresolved.domain);
    draft(
        look,
        Key::new(About::Provider, &unresolved.domain),
        unresolved.begin,
        Told {
            summary: format!(
                "Mail for {name} stands: DNS gives no answer about it, and {} since {}.{}",
                unresolved.waits.said(),
                clock(unresolved.begin, look.now),
                last_error(unresolved.trouble)
            ),
            next_step: format!(
                "If `dig MX {name}` fails elsewhere too, its name servers are broken: wait, or tell its owner; if it works, look at this host's \
             resolver (the keys of [dns]) and network."
            ),
            query: log(&[("domain", &unresolved.domain), ("event", "deferred")]),
        },
    )
}

fn of_all(look: &Look<'_>, found: &[Unresolved<'_>]) -> Draft {
    let mut waits = Waits::default();
    found.iter().for_each(|unresolved| waits.add(unresolved.waits.recipients, unresolved.waits.oldest));
    let begin = found.iter().map(|unresolved| unresolved.begin).min().unwrap_or(look.now);
    let names: Vec<String> = found.iter().take(NAMED).map(|unresolved| said(&unresolved.domain)).collect();
    draft(look, Key::new(About::Relay, "dns"), begin, Told {
        summary: format!(
            "Mail for {} stands, {} among them: DNS gives no answer about them, and {} since {}.{}",
            count(found.len() as u64, "domain", "domains"),
            names.join(", "),
            waits.said(),
            clock(begin, look.now),
            last_error(found.iter().find_map(|unresolved| unresolved.trouble))
        ),
        next_step: "So many at once are hardly the domains' own trouble: try `dig MX gmail.com` on this host, and mend its resolver (the keys of \
                    [dns], else /etc/resolv.conf) or its network."
            .into(),
        query: log(&[("class", Class::DnsFailure.as_str())]),
    })
}

/// The texts of a finding.
struct Told {
    summary: String,
    next_step: String,
    query: String,
}

fn draft(look: &Look<'_>, key: Key, begin: Timestamp, told: Told) -> Draft {
    let settings = &look.settings.mail_stands;
    Draft {
        rule: Rule::MailStands,
        key,
        severity: settings.common.severity,
        measure: Measure {
            n: since(begin, look.now).as_secs(),
            of: None,
            what: "seconds that the oldest has waited while DNS gave no answer".into(),
            limit: lasts(settings.due),
            limit_from: settings.from("due"),
        },
        summary: told.summary,
        problem_of: ProblemOf::Dns,
        done: "The mail is kept and DNS is asked again on its schedule; other domains are not held up.".into(),
        next_step: told.next_step,
        query: told.query,
        since: Some(settings.due),
    }
}
