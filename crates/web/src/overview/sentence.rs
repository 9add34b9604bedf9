//! The whole state in one sentence.

use std::collections::BTreeSet;

use jiff::Timestamp;
use maud::{Markup, html};

use crate::{
    sight::Sight,
    snapshot::Snapshot,
    words::{At, counted, provider_of, title},
};

/// How things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Warn,
    Bad,
}

/// The sentence: "Mail flows", "Mail flows; 2 things need you", "Mail to Microsoft stands since 14:02".
pub(super) fn of(snapshot: &Snapshot, sight: Sight) -> String {
    judge(snapshot, sight).1
}

pub(super) fn draw(snapshot: &Snapshot, sight: Sight) -> Markup {
    let (mood, sentence) = judge(snapshot, sight);
    let (class, sign) = match mood {
        Mood::Good => ("good", "✓"),
        Mood::Warn => ("warn", "!"),
        Mood::Bad => ("bad", "✕"),
    };
    html! {
        h1 .sentence .(class) role="status" { span .sign aria-hidden="true" { (sign) } " " (sentence) }
        p .asof { "As of " (At { time: snapshot.now, now: snapshot.now, zone: &snapshot.zone }) " "
            (snapshot.now.to_zoned_datetime(snapshot.zone.clone()).strftime("%Z").to_string()) " · " a href="/?as=json" { "JSON" } }
    }
}

fn judge(snapshot: &Snapshot, sight: Sight) -> (Mood, String) {
    let queue = &snapshot.queue;
    if let Some(why) = &queue.closed {
        return (Mood::Bad, format!("No mail is accepted: {}", sight.line(why)));
    }
    if let Some(why) = queue.halted.as_ref().or(queue.blocked.as_ref()) {
        return (Mood::Bad, format!("No mail is delivered: {}", sight.line(why)));
    }
    let open = snapshot.open().count() + queue.standing.alarms.len();
    let needs = || counted(open as u64, "thing needs you", "things need you");
    if let Some((who, since, names)) = standing(snapshot) {
        let since = since.map(|time| At { time, now: snapshot.now, zone: &snapshot.zone }.text());
        let since = since.map_or_else(String::new, |since| format!(" since {since}"));
        // What says that it stands is one of the things.
        let more = open.saturating_sub(names);
        let more = if more > 0 { format!("; {} you", counted(more as u64, "more thing needs", "more things need")) } else { String::new() };
        return (Mood::Bad, format!("Mail to {who} stands{since}{more}"));
    }
    match open {
        0 if snapshot.is_off => (Mood::Warn, "Monitoring is off: whether mail flows is not watched".into()),
        0 => (Mood::Good, "Mail flows".into()),
        _ if snapshot.open().any(|incident| incident.told.severity == "critical") => (Mood::Bad, format!("Mail flows; {}", needs())),
        _ => (Mood::Warn, format!("Mail flows; {}", needs())),
    }
}

/// The providers whose mail stands, since when the first of them does, and how many incidents are about them.
fn standing(snapshot: &Snapshot) -> Option<(String, Option<Timestamp>, usize)> {
    let mut since: Option<Timestamp> = None;
    let mut who: BTreeSet<&str> = BTreeSet::new();
    for incident in snapshot.open().filter(|incident| matches!(&*incident.told.rule, "mail_stands" | "provider_refuses")) {
        if let Some(provider) = incident.told.key.strip_prefix("provider:") {
            who.insert(provider);
            since = since.into_iter().chain([incident.since]).min();
        }
    }
    let said = snapshot.open().filter(|incident| provider_of(&incident.told.key).is_some_and(|name| who.contains(name))).count();
    let names: Vec<String> = who.into_iter().map(title).collect();
    let who = match names.as_slice() {
        [] => return None,
        [one] => one.clone(),
        [one, other] => format!("{one} and {other}"),
        [one, rest @ ..] => format!("{one} and {} other providers", rest.len()),
    };
    Some((who, since, said))
}
