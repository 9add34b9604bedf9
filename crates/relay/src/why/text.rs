//! The report as text for people: the answer first, then where mail goes and which limits apply.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use posthaste_host::span;
use posthaste_mail::{Foreign, in_one_line};
use posthaste_queue::{Held, LaneNow, StageNow, Standing};
use posthaste_suppression::SuppressionEntry;

use super::{Lane, Limit, Told, WaitingMail, Why};

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
        if let Some(halted) = &why.halted {
            writeln!(f, "  deliveries are halted: {}", Foreign::new(halted))?;
        }
        if let Some(blocked) = &why.blocked {
            writeln!(f, "  {blocked}")?;
        }
        match &why.waiting {
            None => writeln!(f, "  no relay is running: waiting mail is not known")?,
            Some(waiting) => self.waiting(f, waiting)?,
        }
        why.suppressed.iter().try_for_each(|entry| self.suppressed(f, entry))?;
        if !why.ended.is_empty() {
            writeln!(f, "\nlately ended")?;
            why.ended.iter().try_for_each(|told| self.ended(f, told))?;
        }
        self.way(f)
    }
}

impl Page<'_> {
    /// Where mail goes, and which limits apply.
    fn way(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.why;
        writeln!(f, "\nwhere its mail goes")?;
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
        let mut limits = why.general.iter().chain(why.lanes.iter().flat_map(|lane| &lane.limits));
        if limits.any(|limit| limit.from.starts_with("default (")) {
            writeln!(f, "\n`posthaste check --defaults` prints the defaults, with what each key means")?;
        }
        Ok(())
    }

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
            Some(why) => writeln!(f, "  waits {}", held(why, self.now))?,
            None => {
                let waits = if now.ready == 1 { "message waits" } else { "messages wait" };
                writeln!(f, "  may send: {} of {} connections, {} {waits} for one", now.connections, now.most_connections, now.ready)?
            }
        }
        if let Some(StageNow { stage, stages, cap, used, accepted, next_cap }) = &now.stage {
            let stage = stage.map_or_else(|| format!("past its {stages} stages"), |stage| format!("stage {stage} of {stages}"));
            let many = |cap: &Option<u32>| cap.map_or_else(|| "any number".to_owned(), |cap| cap.to_string());
            writeln!(f, "  {stage}: {used} of {} used today, {accepted} accepted; tomorrow {}", many(cap), many(next_cap))?;
        }
        if let Some((at, trouble)) = &now.last_error {
            writeln!(f, "  last trouble of its mail, {} ago: {}", span(*at, self.now), Foreign::new(trouble))?;
        }
        Ok(())
    }

    fn waiting(&self, f: &mut fmt::Formatter<'_>, waiting: &WaitingMail) -> fmt::Result {
        if waiting.total == 0 {
            return writeln!(f, "  nothing waits");
        }
        writeln!(f, "  {} {} waiting", waiting.total, if waiting.total == 1 { "recipient" } else { "recipients" })?;
        for (address, waits, told) in &waiting.first {
            let tried = match waits.attempts {
                0 => "not tried yet".to_owned(),
                1 => "tried once".to_owned(),
                n => format!("tried {n} times"),
            };
            let given_up = span(self.now, waits.expires);
            writeln!(f, "\n  {}  {}", Foreign::new(address), waits.id)?;
            writeln!(f, "    {}", stands(&waits.standing, self.now))?;
            for line in told.iter().flat_map(|told| told.in_words(self.now)) {
                writeln!(f, "    {line}")?;
            }
            writeln!(f, "    {} old, stream {}, {tried}, given up in {given_up}", span(waits.arrived, self.now), waits.stream)?;
        }
        let more = waiting.total - waiting.first.len().min(waiting.total);
        if more > 0 {
            writeln!(f, "  … and {more} more: posthaste queue list --domain {}", self.why.domain)?;
        }
        Ok(())
    }

    fn suppressed(&self, f: &mut fmt::Formatter<'_>, entry: &SuppressionEntry) -> fmt::Result {
        let until = entry.until.map_or_else(|| "for ever".to_owned(), |until| format!("until {until:.0}"));
        let address = Foreign::new(entry.address.as_str());
        writeln!(
            f,
            "\n  {address} is on the suppression list ({}, {}), since {:.0}, {until}: nothing is sent to it; `posthaste suppress remove {address}` ends that",
            entry.scope, entry.reason, entry.since
        )
    }

    fn ended(&self, f: &mut fmt::Formatter<'_>, told: &Told) -> fmt::Result {
        let ago = told.time.parse().map_or_else(|_| told.time.clone(), |time| format!("{} ago", span(time, self.now)));
        let message = told.message.map_or_else(String::new, |id| format!("  {id}"));
        writeln!(f, "  {} {ago}  {}{message}", Foreign::new(&told.event), Foreign::new(&told.address))?;
        if let Some(said) = &told.said {
            writeln!(f, "    {}", Foreign::new(&in_one_line(said, SAID_MAX)))?;
        }
        told.meaning().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

/// The most characters of a reply in a line about an ending.
const SAID_MAX: usize = 300;

/// How a recipient stands, as a line for people.
pub fn stands(standing: &Standing, now: Timestamp) -> String {
    match &*standing.state {
        "in_flight" => format!("under way: {}", Foreign::new(&standing.held.why)),
        _ => format!("waits {}", held(&standing.held, now)),
    }
}

/// Until when something waits, and why, as part of a line for people.
pub fn held(held: &Held, now: Timestamp) -> String {
    let until = held.until.map(|until| format!("until {} UTC (in {}): ", until.strftime("%F %T"), span(now, until)));
    until.unwrap_or_else(|| "without a known end: ".into()) + &Foreign::new(&held.why).to_string()
}

impl Told {
    /// The last answer to a recipient, and what it means, as lines for people.
    pub fn in_words(&self, now: Timestamp) -> Vec<String> {
        let ago = self.time.parse().map_or_else(|_| self.time.clone(), |time| format!("{} ago", span(time, now)));
        let host = self.host.as_ref().map_or_else(String::new, |host| format!(", {}", Foreign::new(host)));
        let stage = self.stage.as_ref().map_or_else(String::new, |stage| format!(", at {}", Foreign::new(stage)));
        let said = self.said.iter().flat_map(|said| said.lines()).map(|line| format!("  {}", Foreign::new(line)));
        std::iter::once(format!("last answer, {ago}{host}{stage}:")).chain(said).chain(self.meaning()).collect()
    }

    /// What it means and what to do about it, as lines for people.
    fn meaning(&self) -> impl Iterator<Item = String> {
        let meaning = self.meaning.iter().map(|meaning| format!("that means: {meaning}"));
        meaning.chain(self.advice.iter().map(|advice| format!("what to do: {advice}")))
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
