//! What mail waits for, in words.

use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, html};
use posthaste_queue::Standing;

use crate::{
    sight::Sight,
    words::{At, age, lasting},
};

/// How a recipient stands, in a few words; also a class of its sign.
pub(super) fn state(standing: &Standing) -> (&'static str, &'static str) {
    match &*standing.state {
        "in_flight" => ("under way", "flowing"),
        "held" => ("held", "stopped"),
        "guarded" => ("held by the guard", "stopped"),
        "scheduled" => ("scheduled", ""),
        "paused" => ("lane paused", "stopped"),
        "later" => ("tried later", "deferred"),
        "budget" => ("waits for budget", "warming"),
        "halted" => ("deliveries halted", "stopped"),
        "dns" => ("looked up", "flowing"),
        "hosts_down" => ("hosts out of reach", "unreachable"),
        "connection" => ("waits for a connection", "flowing"),
        _ => ("waits", ""),
    }
}

/// The sign of a recipient that waits.
pub(super) fn sign(standing: &Standing) -> Markup {
    let (words, class) = state(standing);
    html! { span .state .(class) { (words) } }
}

/// Until when, and why.
pub(super) fn until(standing: &Standing, now: Timestamp, zone: &TimeZone, sight: Sight) -> Markup {
    let why = sight.line(&standing.held.why);
    html! {
        @match standing.held.until {
            _ if standing.state == "in_flight" => { (why) }
            Some(time) if time > now => { "until " (At { time, now, zone }) " (in " (lasting(time.duration_since(now))) "): " (why) }
            Some(time) => { "since " (age(time, now)) " ago: " (why) }
            None => { (why) }
        }
    }
}

#[cfg(test)]
mod tests {
    use posthaste_queue::Held;

    use super::*;

    #[test]
    fn what_is_waited_for_has_an_end_if_one_is_known() {
        let now: Timestamp = "2026-11-29T14:00:00Z".parse().unwrap();
        let waits = |state: &str, until: Option<&str>| Standing {
            state: state.into(),
            held: Held { until: until.map(|time| time.parse().unwrap()), why: "ip1 at <b>google</b>: \u{1b}".into() },
        };
        let told = |standing: &Standing| super::until(standing, now, &TimeZone::UTC, Sight { masks: false }).0;
        let later = told(&waits("later", Some("2026-11-29T14:10:00Z")));
        assert!(later.contains(">14:10</time> (in 10 min): ip1 at &lt;b&gt;google&lt;/b&gt;: \\u001b"), "{later}");
        assert_eq!(told(&waits("held", None)), "ip1 at &lt;b&gt;google&lt;/b&gt;: \\u001b");
        assert!(!told(&waits("in_flight", Some("2026-11-29T14:10:00Z"))).contains("until"));
        assert_eq!(state(&waits("budget", None)).0, "waits for budget");
    }
}
