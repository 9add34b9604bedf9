//! The formula in words, with the values in force.

use super::{
    Factor, Measure, Settings,
    figures::{percent, thousands},
};

/// The formula in plain English with the values in force, for `posthaste report --explain-score`.
pub fn explain(settings: &Settings) -> String {
    let mut text = String::from(HEAD);
    for factor in Factor::ALL {
        text.push_str(&format!("\n{} (weight {})\n", factor.as_str(), settings.weight(factor)));
        let all: u32 = factor.measures().map(|measure| settings.line(measure).share).sum();
        factor.measures().for_each(|measure| text.push_str(&about(measure, all, settings)));
    }
    let bands = settings.bands;
    let half_life = settings.half_life.as_secs_f64() / 86_400.0;
    text.push_str(&format!(
        "
Each rate is taken at the lower end of its one-sided 90 % Wilson interval: what small numbers do not prove costs nothing. Points are lost
in a straight line from \"good\" to \"bad\". A share with fewer than its minimum is not measured.

    score = 100 x (sum of weight x what is left of the factor) / (sum of the weights of the factors that were measured)

Within a factor the shares of what was measured count in the same way. If nothing was measured there is no score, but \"not enough mail yet\".

Two views of the mail, of which the lower counts:
- the last {} days by the day on which the messages were accepted. Mail that is {} days old counts half;
- the last 24 hours alone.

A pair of stream and provider has a score. Streams, providers and the whole are means of their pairs, and sources are means of theirs by
provider, weighted by finished recipients (by first tries where these are more). Pairs with too little mail are judged together, as one; and
so are all but the thousand largest of each kind, by the name \"other\". Mail to domains that lead to no host has the provider \"none\".
Suppressed recipients have no provider: their share is the stream's, where the pair has enough finished recipients of its own. Domains of
the From field are scored from their own figures, suppressed recipients among them; their complaints are a share of all their deliveries, and
one_click and unsubscribed are not measured for them, nor for sources: only of streams is known which are bulk and which track. finished =
delivered + bounced + expired recipients; who bounces after the delivery counts as bounced and not as delivered, in both views.

As long as the same is measured, nothing that goes badly in place of well raises a score: the same mail with more bounces, of whatever kind,
more complaints or more suppressed recipients never has a higher one. Mail that is added shares the denominators of what was there: a
thousand unknown users more make full mailboxes a smaller share. They never leave a better score than a thousand good deliveries would.

Providers that report complaints: {}.
Bulk streams: {}. Streams that track: {}.
While feedback has stopped a lane, its provider gets {} at most.

{} or more is good, {} or more is to be watched, {} or more asks for action, and less is critical.
",
        settings.days,
        number(half_life),
        listed(&settings.complaint_providers),
        listed(&settings.traits.bulk),
        listed(&settings.traits.tracking),
        settings.stopped_lane_cap,
        bands.good,
        bands.watch,
        bands.act,
    ));
    text
}

const HEAD: &str = "\
The health score is a local estimate, from 0 to 100: it is made of what this relay sees. Receivers judge by figures of their own, which they
do not publish. The numbers below are in force; [score] in the configuration changes them.
";

/// A measure's line.
fn about(measure: Measure, all: u32, settings: &Settings) -> String {
    let line = settings.line(measure);
    let part = f64::from(line.share) * 100.0 / f64::from(all);
    let (word, of, did) = (measure.as_str(), measure.of(), measure.did());
    let limits = match measure {
        Measure::Listings => format!("{} is good, {} or more is bad", number(line.good), number(line.bad)),
        _ => format!("up to {} is good, {} or more is bad, at least {}", percent(line.good), percent(line.bad), thousands(line.min)),
    };
    let note = match measure {
        Measure::Listings => "; not measured yet",
        Measure::Unengaged => "; streams that track; not measured yet",
        Measure::Unsubscribed => "; streams that track",
        Measure::Spf => "; where DNS answered, and no smart host delivers",
        Measure::Dmarc => "; where DNS answered",
        _ => "",
    };
    format!("- {word}, {}: {of} that {did}: {limits}{note}\n", percent(part))
}

fn listed<'n>(names: impl IntoIterator<Item = &'n String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn number(number: f64) -> String {
    format!("{}", (number * 100.0).round() / 100.0)
}
