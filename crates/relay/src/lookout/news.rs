//! Incidents as news for the alarm channels.

use jiff::Timestamp;
use posthaste_channels::{Change as Told, Notification, Severity as ToldSeverity};
use posthaste_findings::{Change, Incident, IncidentChange, Severity};
use posthaste_mail::Name;

/// The news of a change; None if nobody is to hear of it: the incident is muted.
pub(super) fn news(change: &IncidentChange, node: &Name) -> Option<Notification> {
    let told = match change.change {
        Change::Opened | Change::Unmuted => Told::Opened,
        Change::SeverityRose => Told::Changed,
        Change::ToldAgain => Told::ToldAgain,
        Change::Closed => Told::Closed,
        Change::Muted(_) => return None,
    };
    // Who heard that it opened hears that it is over.
    (!change.muted || told == Told::Closed).then(|| notification(&change.incident, told, change.at, node))
}

/// An incident that lasts, for channels that have not heard of it: after a start, and after a reload with new channels.
pub(super) fn lasting(incident: &Incident, node: &Name) -> Notification {
    notification(incident, Told::Opened, incident.opened, node)
}

fn notification(incident: &Incident, change: Told, at: Timestamp, node: &Name) -> Notification {
    let finding = &incident.finding;
    let measure = &finding.measure;
    let of = measure.of.map_or_else(String::new, |of| format!(" of {of}"));
    Notification {
        incident: incident.id.clone(),
        rule: finding.rule.as_str().to_owned(),
        key: finding.key.to_string(),
        change,
        severity: match finding.severity {
            Severity::Warn => ToldSeverity::Warn,
            Severity::Critical => ToldSeverity::Critical,
        },
        title: finding.summary.clone(),
        detail: format!("{}{of} {}; limit {}", measure.n, measure.what, measure.limit),
        problem_of: finding.problem_of.as_str().replace('_', " "),
        next_step: finding.next_step.clone(),
        since: incident.opened,
        at,
        node: node.clone(),
    }
}
