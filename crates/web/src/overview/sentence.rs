//! The whole state in one sentence.

use std::collections::BTreeSet;

use jiff::Timestamp;
use maud::{Markup, html};
use posthaste_watch::Shown;

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
        div role="status" { h1 .sentence .(class) { span .sign aria-hidden="true" { (sign) } " " (sentence) } }
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
    if let Some(Standing { who, is_one, since, incidents: names }) = standing(snapshot) {
        let at = At { time: since, now: snapshot.now, zone: &snapshot.zone }.text();
        let since = if is_one { format!(" since {at}") } else { format!(", the first since {at}") };
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

/// Whose mail stands.
struct Standing {
    /// Providers, those with the most mail first.
    who: String,
    is_one: bool,
    /// Since when the first of them does.
    since: Timestamp,
    /// How many incidents are about them.
    incidents: usize,
}

/// The providers whose mail stands now. An incident stays open for a while after its mail has gone.
fn standing(snapshot: &Snapshot) -> Option<Standing> {
    let (mut since, mut who): (Option<Timestamp>, BTreeSet<&str>) = (None, BTreeSet::new());
    for incident in snapshot.open().filter(|incident| stands(snapshot, incident)) {
        if let Some(provider) = incident.told.key.strip_prefix("provider:") {
            who.insert(provider);
        }
        since = since.into_iter().chain([incident.since]).min();
    }
    let is_about = |key: &str| provider_of(key).is_some_and(|name| who.contains(name)) || key == DNS;
    let incidents = snapshot.open().filter(|incident| is_about(&incident.told.key)).count();
    let waits = |name: &str| snapshot.queue.lanes.iter().find(|row| row.provider == name).map_or(0, |row| row.queued);
    let mut providers: Vec<&str> = who.iter().copied().collect();
    providers.sort_by_key(|name| std::cmp::Reverse(waits(name)));
    let mut names: Vec<String> = providers.into_iter().map(title).collect();
    if snapshot.open().any(|incident| incident.told.key == DNS && stands(snapshot, incident)) {
        names.insert(0, "many domains".into());
    }
    let who = match names.as_slice() {
        [] => return None,
        [one] => one.clone(),
        [one, other] => format!("{one} and {other}"),
        [one, rest @ ..] => format!("{one} and {} other providers", rest.len()),
    };
    Some(Standing { who, is_one: names.len() < 2, since: since?, incidents })
}

/// Whether an incident says that mail of somebody stands, and it was so at the last look.
fn stands(snapshot: &Snapshot, incident: &Shown) -> bool {
    let (rule, key) = (&*incident.told.rule, &*incident.told.key);
    let is_about_mail = match rule {
        "mail_stands" => key.starts_with("provider:") || key == DNS,
        "provider_refuses" => true,
        _ => false,
    };
    is_about_mail && snapshot.found.contains(&format!("{rule}/{key}"))
}

/// The key of the incident about all domains that DNS says nothing about.
const DNS: &str = "relay:dns";
