//! The report as text for people.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use posthaste_host::span;
use posthaste_mail::Foreign;
use posthaste_queue::{Held, LaneNow, StageNow};

use super::{Lane, Limit, WaitingMail, Why};

/// The report on a domain's mail, with times relative to `now`.
pub struct Page<'w> {
    why: &'w Why,
    now: Timestamp,
}

impl Why {
    /// The report as text for people, with times relative to `now`.
    pub fn page(&self, now: Timestamp) -> Page<'_> {
        Page { why: self, now }
    }
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.why;
        writeln!(f, "{}", why.domain)?;
        if let Some(provider) = &why.provider {
            let from = provider.from.as_ref().map(|from| format!(" ({from})")).unwrap_or_default();
            writeln!(f, "  provider  {}, known by {}{from}", provider.name, Foreign::new(&provider.by))?;
        }
        if let Some(route) = &why.route {
            writeln!(f, "  route     static: {route}")?;
        }
        if let Some(trouble) = &why.trouble {
            writeln!(f, "  hosts     none: {}", Foreign::new(trouble))?;
        }
        for (number, host) in why.hosts.iter().enumerate() {
            let label = if number == 0 { "hosts" } else { "" };
            let addresses: Vec<String> = host.addresses.iter().map(ToString::to_string).collect();
            writeln!(f, "  {label:<8}  {} {}  {}", host.preference, Foreign::new(&host.name), addresses.join(", "))?;
        }
        write!(f, "{}", table(&why.general, "  "))?;
        why.lanes.iter().try_for_each(|lane| self.lane(f, lane))?;
        if let Some(halted) = &why.halted {
            writeln!(f, "\ndeliveries are halted: {}", Foreign::new(halted))?;
        }
        match &why.waiting {
            None => writeln!(f, "\nno relay is running: waiting mail is not known"),
            Some(waiting) => self.waiting(f, waiting),
        }
    }
}

impl Page<'_> {
    fn lane(&self, f: &mut fmt::Formatter<'_>, lane: &Lane) -> fmt::Result {
        let address = lane.address.map_or_else(|| "any address".to_owned(), |ip| ip.to_string());
        let away = if lane.here { "" } else { "; this host does not have it now, so nothing is sent from it" };
        writeln!(f, "\nsource {}: {address} ({}){away}", lane.source, lane.from)?;
        if let Some(now) = &lane.now {
            self.lane_now(f, now)?;
        }
        write!(f, "{}", table(&lane.limits, "  "))
    }

    fn lane_now(&self, f: &mut fmt::Formatter<'_>, now: &LaneNow) -> fmt::Result {
        match &now.hold {
            Some(held) => writeln!(f, "  waits {}", self.held(held))?,
            None => {
                writeln!(f, "  may send: {} of {} connections, {} messages wait for one", now.connections, now.most_connections, now.ready)?
            }
        }
        if let Some(StageNow { stage, stages, cap, used, accepted, next_cap }) = &now.stage {
            let stage = stage.map_or_else(|| format!("past its {stages} stages"), |stage| format!("stage {stage} of {stages}"));
            let many = |cap: &Option<u32>| cap.map_or_else(|| "any number".to_owned(), |cap| cap.to_string());
            writeln!(f, "  {stage}: {used} of {} used today, {accepted} accepted; tomorrow {}", many(cap), many(next_cap))?;
        }
        if let Some((at, trouble)) = &now.last_error {
            writeln!(f, "  last trouble, {} ago: {}", span(*at, self.now), Foreign::new(trouble))?;
        }
        Ok(())
    }

    fn waiting(&self, f: &mut fmt::Formatter<'_>, waiting: &WaitingMail) -> fmt::Result {
        if waiting.total == 0 {
            return writeln!(f, "\nnothing waits");
        }
        writeln!(f, "\n{} {} waiting", waiting.total, if waiting.total == 1 { "recipient" } else { "recipients" })?;
        for (address, waits) in &waiting.first {
            let tried = match waits.attempts {
                0 => "not tried yet".to_owned(),
                1 => "tried once".to_owned(),
                n => format!("tried {n} times"),
            };
            let given_up = span(self.now, waits.expires);
            writeln!(f, "  {}  {}", waits.id, Foreign::new(address))?;
            writeln!(f, "    {} old, stream {}, {tried}, given up in {given_up}", span(waits.arrived, self.now), waits.stream)?;
            writeln!(f, "    waits {}", self.held(&waits.held))?;
        }
        let more = waiting.total - waiting.first.len().min(waiting.total);
        if more > 0 {
            writeln!(f, "  … and {more} more: posthaste queue list --domain {}", self.why.domain)?;
        }
        Ok(())
    }

    fn held(&self, held: &Held) -> String {
        let until = held.until.map_or_else(String::new, |until| {
            let clock = until.strftime("%F %T");
            format!("until {clock} UTC (in {}): ", span(self.now, until))
        });
        let mut text = until;
        if held.until.is_none() {
            text.push_str("without a known end: ");
        }
        text + &Foreign::new(&held.why).to_string()
    }
}

/// Writes limits in columns.
fn table(limits: &[Limit], indent: &str) -> String {
    let width = |of: fn(&Limit) -> &str| limits.iter().map(|limit| of(limit).chars().count()).max().unwrap_or(0);
    let (name, value) = (width(|l| &l.name), width(|l| &l.value));
    limits.iter().fold(String::new(), |mut out, limit| {
        let _ = writeln!(out, "{indent}{:<name$}  {:<value$}  {}", limit.name, limit.value, limit.from);
        out
    })
}
