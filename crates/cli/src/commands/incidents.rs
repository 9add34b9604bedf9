//! `posthaste incidents`

use std::{fmt::Write as _, io::Write, process::ExitCode};

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use posthaste_findings::Mute;
use posthaste_host::{clock, span};
use posthaste_relay::admin::Request;
use posthaste_watch::{Shown, ShownFinding};

use super::{At, operator};
use crate::screen;

/// Show what is wrong with the mail, since when, whose problem it is, what the relay did and what to do next. Without a command: the incidents that
/// are open. Exit status 1 if one of them is critical.
#[derive(Args)]
pub(crate) struct Incidents {
    #[command(flatten)]
    at: At,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// List the open incidents.
    List {
        /// Closed ones too.
        #[arg(long)]
        all: bool,
    },
    /// List what was found, also what is too small for an incident: by the rules, and each point that the health score lost.
    Findings {
        /// What was fixed within a day, too.
        #[arg(long)]
        all: bool,
    },
    /// Show one incident with everything that is known about it.
    Show {
        /// Its id.
        id: String,
    },
    /// Do not tell of an incident for a while. It goes on, and stays in the list.
    Mute {
        /// Its id.
        id: String,
        /// For how long.
        #[arg(long = "for", default_value = "24h", value_name = "SPAN", value_parser = duration)]
        lasts: SignedDuration,
        /// Why, for the log.
        #[arg(long)]
        reason: String,
    },
    /// Close an incident. If it lasts, it opens again.
    Close {
        /// Its id.
        id: String,
    },
}

impl Incidents {
    /// Asks the running relay.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            None => list(&self.at, self.json, false),
            Some(What::List { all }) => list(&self.at, self.json, all),
            Some(What::Findings { all }) => findings(&self.at, self.json, all),
            Some(What::Show { id }) => show(&self.at, self.json, &id),
            Some(What::Mute { id, lasts, reason }) => {
                let mute = Mute { by: operator(), reason, until: self.at.now()?.checked_add(lasts)? };
                let until = mute.until;
                self.at.ask::<()>(&Request::MuteIncident { id: id.clone(), mute })?;
                done(self.json, &format!("{id} is muted until {until:.0}"))
            }
            Some(What::Close { id }) => {
                self.at.ask::<()>(&Request::CloseIncident { id: id.clone(), by: operator() })?;
                done(self.json, &format!("{id} is closed"))
            }
        }
    }
}

fn done(json: bool, said: &str) -> anyhow::Result<ExitCode> {
    match json {
        true => writeln!(screen::out(), "{}", serde_json::json!({ "done": said }))?,
        false => writeln!(screen::out(), "{said}")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(at: &At, json: bool, all: bool) -> anyhow::Result<ExitCode> {
    let mut incidents: Vec<Shown> = at.ask(&Request::Incidents)?;
    incidents.retain(|incident| all || incident.state != "closed");
    match json {
        true => writeln!(screen::out(), "{}", serde_json::to_string(&incidents)?)?,
        false if incidents.is_empty() => writeln!(screen::out(), "nothing is wrong that the rules know of")?,
        false => {
            let now = clock::now();
            let texts: Vec<String> = incidents.iter().map(|incident| brief(incident, now)).collect();
            write!(screen::out(), "{}", texts.join("\n"))?;
        }
    }
    let is_critical = |incident: &Shown| incident.state == "open" && incident.told.severity == "critical";
    Ok(if incidents.iter().any(is_critical) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn findings(at: &At, json: bool, all: bool) -> anyhow::Result<ExitCode> {
    let mut found: Vec<ShownFinding> = at.ask(&Request::Findings)?;
    found.retain(|finding| all || finding.state == "open");
    match json {
        true => writeln!(screen::out(), "{}", serde_json::to_string(&found)?)?,
        false if found.is_empty() => writeln!(screen::out(), "nothing is wrong that the rules or the health score know of")?,
        false => {
            let texts: Vec<String> = found.iter().map(found_text).collect();
            write!(screen::out(), "{}", texts.join("\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn found_text(finding: &ShownFinding) -> String {
    let state = if finding.state == "open" { &finding.told.severity } else { &finding.state };
    let mut text = format!("{state} since {:.0}  {}\n", finding.first_seen, finding.id);
    let of = finding.told.of.map_or_else(String::new, |of| format!(" of {of}"));
    let figure = format!("{}{of} {}; limit {} ({})", finding.told.n, finding.told.measure, finding.told.limit, finding.told.limit_from);
    for line in [&finding.told.detail, &figure, &finding.told.done, &finding.told.next_step].into_iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

fn show(at: &At, json: bool, id: &str) -> anyhow::Result<ExitCode> {
    let incidents: Vec<Shown> = at.ask(&Request::Incidents)?;
    let found = incidents.iter().find(|incident| incident.id == id);
    let incident =
        found.ok_or_else(|| anyhow::anyhow!("there is no incident {id:?}; posthaste incidents list --all shows those that are kept"))?;
    match json {
        true => writeln!(screen::out(), "{}", serde_json::to_string(incident)?)?,
        false => write!(screen::out(), "{}", whole(incident, clock::now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What somebody who was called at night has to know.
fn brief(incident: &Shown, now: Timestamp) -> String {
    let state = match &*incident.state {
        "open" => incident.told.severity.to_uppercase(),
        other => other.to_owned(),
    };
    let lasts = span(incident.since, incident.closed.unwrap_or(now));
    let mut text = format!("{state} since {:.0} ({lasts})  {}\n", incident.since, incident.id);
    for line in [&incident.told.detail, &incident.told.done, &incident.told.next_step].into_iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

fn whole(incident: &Shown, now: Timestamp) -> String {
    let mut text = brief(incident, now);
    let of = incident.told.of.map_or_else(String::new, |of| format!(" of {of}"));
    let mut line = |word: &str, value: &str| {
        let _ = writeln!(text, "  {word:<10} {value}");
    };
    line("figure", &format!("{}{of} {}; limit {}", incident.told.n, incident.told.measure, incident.told.limit));
    line("about", &incident.told.key);
    line("rule", &incident.told.rule);
    line("problem", &incident.told.problem_of.replace('_', " "));
    line("last seen", &format!("{:.0}", incident.told.last_seen));
    if let Some(mute) = &incident.mute {
        line("muted", &format!("until {:.0} by {}: {}", mute.until, mute.by, mute.reason));
    }
    line("events", &incident.told.query);
    text
}

pub(super) fn duration(text: &str) -> Result<SignedDuration, String> {
    let span = text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    span.map_err(|_| format!("{text:?} is no span such as 30m, 24h or 3d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_may_be_in_days() {
        assert_eq!(["30m", "24h", "3d", "1d 12h"].map(|text| duration(text).unwrap().as_hours()), [0, 24, 72, 36]);
        assert!(duration("soon").unwrap_err().contains("is no span such as"));
    }
}
