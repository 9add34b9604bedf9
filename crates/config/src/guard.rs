//! `[guard]`: whose new mail is held when it behaves like a stolen account.

use std::{collections::BTreeMap, time::Duration};

use posthaste_access::users::check_name;
use posthaste_findings::{Rule, RuleSettings, Severity};
use posthaste_guard::{Amount, Own, RoomLimits, Settings};
use posthaste_mail::Name;

use super::{
    monitor::Monitor,
    reader::Table,
    reference::no_such,
    stream::Stream,
    value::{boolean, duration, number, one_of, size, some},
};

/// What the guard depends on.
pub(super) struct Above<'a> {
    /// The defined streams.
    pub(super) streams: &'a BTreeMap<Name, Stream>,
    /// Whether anything is counted.
    pub(super) monitor: &'a Monitor,
    /// The rules that find what it acts on.
    pub(super) rules: &'a RuleSettings,
    /// Messages that may wait in all.
    pub(super) queue_messages: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    User,
    Stream,
}

const BY: [(&str, By); 2] = [("user", By::User), ("stream", By::Stream)];
const RULES: [(&str, Rule); 3] =
    [("sender_leaps", Rule::SenderLeaps), ("unknown_users", Rule::UnknownUsers), ("complaints", Rule::Complaints)];
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_hours(24);
const MIB: u64 = 1 << 20;

pub(super) fn read(t: &Table<'_>, above: &Above<'_>) -> Settings {
    let by = t.get("by", some(one_of(&BY)));
    let is_stream = |word: &str| match Name::new(word) {
        Ok(name) if above.streams.contains_key(&name) => Ok(name),
        _ => Err(no_such("stream", above.streams.keys().map(Name::as_str))),
    };
    let amount = |messages: &str, bytes: &str| Amount {
        messages: t.get(messages, number(1..=1_000_000_000)),
        bytes: t.get(bytes, size(MIB..=MIB << 30)),
    };
    let mut room = RoomLimits { each: amount("max_messages", "max_bytes"), all: amount("all_messages", "all_bytes") };
    // Others have at least half of the queue.
    room.all.messages = above.queue_messages.map_or(room.all.messages, |most| room.all.messages.min(most / 2));
    let settings = Settings {
        enabled: t.get("enabled", boolean),
        by_user: by.contains(&By::User),
        by_stream: by.contains(&By::Stream),
        rules: t.get("rules", some(one_of(&RULES))),
        users: t.table("user", |t| t.entries(check_name, |t, word| Some(t.entry(word, own)))).into_iter().collect(),
        streams: t.table("stream", |t| t.entries(is_stream, |t, word| Some(t.entry(word, own)))).into_iter().collect(),
        grace: t.get("grace", duration(Duration::ZERO..=366 * DAY)),
        grace_after_drop: t.get("grace_after_drop", duration(Duration::ZERO..=366 * DAY)),
        gone_after: above.rules.incidents.closed_after,
        keep: t.get("keep", duration(DAY..=366 * DAY)),
        warn_before: t.get("warn_before", duration(MINUTE..=365 * DAY)),
        room,
    };
    if settings.warn_before >= settings.keep {
        t.object_to(&["warn_before", "keep"], "warn_before must be shorter than keep: the alarm comes so long before held mail expires");
    }
    if settings.is_on() {
        suits(t, &settings, above);
    }
    settings
}

fn own(t: &Table<'_>) -> Own {
    Own { enabled: t.given("enabled", boolean), rules: t.given("rules", some(one_of(&RULES))) }
}

/// A guard that can never act must not be believed in.
fn suits(t: &Table<'_>, settings: &Settings, above: &Above<'_>) {
    if above.monitor.counting.is_none() {
        t.object("enabled", "the guard acts on what is counted of the log, and monitor.enabled is false: set it to true");
    }
    let own = settings.users.values().chain(settings.streams.values()).filter_map(|own| own.rules.as_ref()).flatten();
    for rule in settings.rules.iter().chain(own) {
        let (common, graded) = match rule {
            Rule::UnknownUsers => (above.rules.unknown_users.common, true),
            Rule::Complaints => (above.rules.complaints.common, true),
            _ => (above.rules.sender_leaps.common, false),
        };
        if !common.enabled {
            t.object(
                "rules",
                format!("rules.{rule}.enabled is false, so the guard would never act on it: leave it out here, or enable it"),
            );
        } else if !graded && common.severity < Severity::Critical {
            t.object(
                "rules",
                format!(
                    "the guard acts on what is critical, and rules.{rule}.severity is \"warn\": make it \"critical\", or leave it out here"
                ),
            );
        }
    }
}
