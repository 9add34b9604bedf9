//! Less mail than the day before is delivered under TLS.

use posthaste_tallies::{Dimension, OTHER, TalliesError};

use crate::{
    About, Key, Measure, ProblemOf, Rule,
    counts::{ByKey, Counts, share},
    look::{Draft, Look},
    text::{log, part_of, percent},
};

/// Looks at each provider, and at those together that are none of its findings: a fault of ours may show at many small ones only.
pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.tls;
    if !settings.common.enabled {
        return Ok(Vec::new());
    }
    let today = look.hours(Dimension::Provider, std::time::Duration::from_hours(24))?;
    let tallies = look.tallies();
    let before: ByKey = look.counted.hours_before(tallies, Dimension::Provider, (48, 24))?.clone();
    let mut drafts = Vec::new();
    let mut rest = [Counts::default(); 2];
    for (provider, now) in &today {
        let then = before.get(provider).copied().unwrap_or_default();
        match (&**provider != OTHER).then(|| draft(look, Some(provider), now, &then)).flatten() {
            Some(draft) => drafts.push(draft),
            None => {
                // Providers that had no mail the day before would only change what is compared.
                for (sum, counts) in rest.iter_mut().zip([now, &then]).filter(|_| then.delivered > 0) {
                    sum.delivered += counts.delivered;
                    sum.delivered_tls += counts.delivered_tls;
                }
            }
        }
    }
    drafts.extend(draft(look, None, &rest[0], &rest[1]));
    Ok(drafts)
}

fn draft(look: &Look<'_>, provider: Option<&str>, now: &Counts, then: &Counts) -> Option<Draft> {
    let settings = &look.settings.tls;
    let (today, before) = (share(now.delivered_tls, now.delivered), share(then.delivered_tls, then.delivered));
    // Shares are quotients: what is exactly at the limit must not miss it by a rounding error.
    if now.delivered.min(then.delivered) < settings.minimum || before - today < settings.drop - 1e-9 {
        return None;
    }
    let plain = now.delivered - now.delivered_tls.min(now.delivered);
    let whom = provider.unwrap_or("small providers");
    let key = provider.map_or_else(|| Key::new(About::Relay, "tls"), |provider| Key::new(About::Provider, provider));
    let query = match provider {
        Some(provider) => log(&[("provider", provider), ("event", "delivered")]),
        None => log(&[("event", "delivered")]),
    };
    Some(Draft {
        rule: Rule::Tls,
        key,
        severity: settings.common.severity,
        measure: Measure {
            n: now.delivered_tls,
            of: Some(now.delivered),
            what: format!("deliveries under TLS of deliveries in 24h; the day before it was {}", percent(before)),
            limit: format!("{} less than the day before", percent(settings.drop)),
            limit_from: settings.from("drop"),
        },
        summary: format!(
            "Less mail to {whom} is delivered under TLS: {} in 24 hours, and {} the day before; {plain} went in plain text.",
            part_of(now.delivered_tls, now.delivered),
            percent(before)
        ),
        problem_of: if provider.is_some() { ProblemOf::Receiver } else { ProblemOf::Ours },
        done: "Mail goes in plain text where the policy allows that, and waits where it does not.".into(),
        next_step: "Look for tls_fallback in the lines of the log (`posthaste log --json`): it says why a handshake failed; if mail must \
                    not go in plain text there, set policy = \"require\" in [tls.domain.\"DOMAIN\"] and `posthaste reload`."
            .into(),
        query,
        since: Some(std::time::Duration::from_hours(24)),
    })
}
