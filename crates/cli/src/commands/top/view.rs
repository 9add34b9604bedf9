//! A frame of the live view: from what is known to lines of text, cut to the terminal's size. Pure.

use jiff::Timestamp;
use posthaste_relay::top::Top;
use posthaste_watch::thousands;
use ratatui::{
    Frame,
    style::{Color, Modifier},
    text::{Line, Text},
    widgets::Paragraph,
};

use super::{
    app::App,
    look::Look,
    room,
    rows::{self, RATES_HEAD, age, fitting},
};

/// How many lines there may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Height {
    /// As many as a terminal has.
    Rows(usize),
    /// All that there are.
    All,
}

/// Draws a frame.
pub(super) fn draw(frame: &mut Frame<'_>, app: &App, now: Timestamp) {
    let area = frame.area();
    let lines = lines(app, now, usize::from(area.width), Height::Rows(usize::from(area.height)));
    frame.render_widget(Paragraph::new(Text::from(lines)), area);
}

/// The lines of a frame.
pub(super) fn lines(app: &App, now: Timestamp, width: usize, height: Height) -> Vec<Line<'static>> {
    let look = Look { colours: app.colours };
    let mut lines = vec![title(app, now, width, look), state(app, now, width, look)];
    if app.is_help {
        lines.extend(HELP.iter().map(|line| Line::raw(*line)));
    } else if let Some(top) = &app.top {
        lines.push(queue(top, now, width));
        lines.push(head(RATES_HEAD, "", width, look));
        lines.push(rows::rate(app, "accepted", |flow| flow.accepted, look));
        lines.push(rows::rate(app, "delivered", |flow| flow.delivered, look));
        lines.push(rows::rate(app, "deferred", |flow| flow.deferred, look));
        lines.push(rows::rate(app, "bounced", |flow| flow.bounced, look));
        sections(app, top, now, width, height, &mut lines);
    }
    if let Height::Rows(rows) = height {
        lines.truncate(rows.saturating_sub(1));
        lines.resize(rows.saturating_sub(1), Line::default());
        lines.push(footer(app, width));
    }
    lines
}

/// A section: its heading, what its columns are, and its lines.
struct Section {
    name: &'static str,
    columns: String,
    lines: Vec<Line<'static>>,
    /// Lines beyond those, which the relay did not tell of.
    more: usize,
    /// Nobody knows how many there are: the line says why.
    is_off: bool,
}

fn sections(app: &App, top: &Top, now: Timestamp, width: usize, height: Height, lines: &mut Vec<Line<'static>>) {
    let look = Look { colours: app.colours };
    let incidents = top.incidents.iter().filter(|incident| app.shows(&[&incident.told.detail, &incident.told.key]));
    let all = [
        Section {
            name: "Incidents",
            columns: String::new(),
            lines: match &top.off {
                Some(off) => vec![Line::styled(fitting(off, width), look.colour(Color::Yellow))],
                None => incidents.map(|incident| rows::incident(incident, now, width, look)).collect(),
            },
            more: 0,
            is_off: top.off.is_some(),
        },
        Section {
            name: "Providers",
            columns: rows::providers_head(width),
            lines: app.providers(top).into_iter().map(|row| rows::provider(row, now, width, look)).collect(),
            more: top.more_providers,
            is_off: false,
        },
        Section {
            name: "Lanes",
            columns: rows::lanes_head(width),
            lines: app.lanes(top).into_iter().map(|lane| rows::lane(lane, now, width, look)).collect(),
            more: top.more_lanes,
            is_off: false,
        },
        Section {
            name: "Warm-up",
            columns: String::new(),
            lines: top.warmup.iter().filter(|source| app.shows(&[&source.source])).map(|source| rows::warming(source, width)).collect(),
            more: 0,
            is_off: false,
        },
    ];
    let heads = all.iter().filter(|section| section.is_shown()).count();
    let given = match height {
        Height::All => [usize::MAX; 4],
        // The last line is the footer.
        Height::Rows(rows) => {
            room::share(rows.saturating_sub(lines.len() + heads + 1), [0, 1, 2, 3].map(|place: usize| all[place].lines.len()))
        }
    };
    for (section, given) in all.into_iter().zip(given) {
        if section.is_shown() {
            lines.push(section.head(given, width, look));
            lines.extend(section.lines.into_iter().take(given));
        }
    }
}

impl Section {
    /// What there is none of needs no heading, but that there are no incidents is news.
    fn is_shown(&self) -> bool {
        !self.lines.is_empty() || self.name == "Incidents"
    }

    fn head(&self, given: usize, width: usize, look: Look) -> Line<'static> {
        let (all, shown) = (self.lines.len() + self.more, self.lines.len().min(given));
        let name = match (all, shown == all) {
            _ if self.is_off => self.name.to_owned(),
            (0, _) => format!("{}: none", self.name),
            (_, true) => format!("{} ({all})", self.name),
            _ => format!("{} ({shown} of {all})", self.name),
        };
        head(&self.columns, &name, width, look)
    }
}

/// A heading over the whole width; a name stands over the first column.
fn head(columns: &str, name: &str, width: usize, look: Look) -> Line<'static> {
    let name_width = name.chars().count();
    let text = if name.is_empty() { columns.to_owned() } else { format!("{name}{}", columns.get(name_width..).unwrap_or_default()) };
    Line::styled(format!("{:<width$}", fitting(&text, width)), look.head())
}

fn title(app: &App, now: Timestamp, width: usize, look: Look) -> Line<'static> {
    let time = app.top.as_ref().map_or(now, |top| top.now).strftime("%F %T UTC").to_string();
    let who = app.top.as_ref().map_or_else(|| "posthaste".to_owned(), |top| format!("posthaste {} {}", top.version, top.node));
    let health = app.top.as_ref().map(|top| match (top.score, &top.band) {
        // What stands is not finished, and no score knows of it.
        (Some(score), Some(_)) if top.incidents.iter().any(|shown| shown.state == "open" && shown.told.rule == "mail_stands") => {
            format!("  health {score} of 100, but MAIL STANDS")
        }
        (Some(score), Some(band)) => format!("  health {score} of 100, {band}"),
        _ => "  no health score yet".to_owned(),
    });
    let paused = if app.is_paused { "  PAUSED" } else { "" };
    let text = format!("{who}  {time}{}{paused}", health.unwrap_or_default());
    Line::styled(format!("{:<width$}", fitting(&text, width)), look.head().add_modifier(Modifier::BOLD))
}

/// What comes before everything else: that the relay is down, takes no mail or delivers none.
fn state(app: &App, now: Timestamp, width: usize, look: Look) -> Line<'static> {
    let alarm = |text: String| Line::styled(fitting(&text, width), look.alarm());
    if let Some((since, why)) = &app.trouble {
        let seen = if app.top.is_some() { "; below is what was" } else { "" };
        return alarm(format!("THE RELAY IS DOWN for {}, trying again{seen}: {why}", age(*since, now)));
    }
    if let Some(waits) = app.waits(now) {
        return alarm(format!("THE RELAY HAS NOT ANSWERED for {}", crate::commands::table::span(waits.as_secs())));
    }
    let Some(top) = &app.top else { return Line::raw("asking the relay …") };
    let troubles = [
        top.closed.as_ref().map(|why| format!("TAKES NO MAIL: {why}")),
        top.halted.as_ref().map(|why| format!("DELIVERIES ARE HALTED: {why}")),
        top.blocked.as_ref().map(|why| format!("NOBODY IS REACHED: {why}")),
    ];
    if let Some(trouble) = troubles.into_iter().flatten().next() {
        return alarm(trouble);
    }
    let works = format!("takes and delivers mail over {}", crate::commands::count(top.queue.connections, "connection"));
    if top.alarms > 0 {
        let alarms = if top.alarms == 1 { "1 alarm stands".to_owned() } else { format!("{} alarms stand", top.alarms) };
        let text = format!("{works}; {alarms}: posthaste alarms");
        return Line::styled(fitting(&text, width), look.colour(Color::Yellow));
    }
    Line::styled(works, look.colour(Color::Green))
}

fn queue(top: &Top, now: Timestamp, width: usize) -> Line<'static> {
    let queue = &top.queue;
    let n = |n: usize| thousands(n as u64);
    let oldest = top.oldest.map_or_else(String::new, |oldest| format!(", oldest {}", age(oldest, now)));
    let text = format!(
        "queue {}{oldest}: {} due, {} later, {} in flight, {} held",
        n(queue.recipients),
        n(queue.due),
        n(queue.later),
        n(queue.in_flight),
        n(queue.held)
    );
    Line::raw(fitting(&text, width))
}

fn footer(app: &App, width: usize) -> Line<'static> {
    let text = if app.is_typing {
        format!("filter: {}_   Enter keeps it, Esc clears it", app.filter)
    } else {
        let filter = if app.filter.is_empty() { String::new() } else { format!(": {}", app.filter) };
        let pause = if app.is_paused { "goes on" } else { "pauses" };
        format!("q quits  s sorts: {}  / filters{filter}  p {pause}  ? helps", app.sort.as_str())
    };
    Line::raw(fitting(&text, width))
}

const HELP: [&str; 20] = [
    "",
    "  q, Esc    quit                        p, blank  pause, and go on",
    "  s         sort providers              /, f      show only what contains a word",
    "  ?, h      this help",
    "",
    "  Per second  recipients accepted, delivered, put off (deferred) and refused for",
    "              good or expired (bounced): over the last 10 seconds and the last",
    "              minute. The bars are the last 30 minutes, each as high as its part",
    "              of the highest.",
    "  Queue       recipients: due (wait for a turn, a route, a connection), later (wait",
    "              for their next attempt), in flight, held by an operator.",
    "  Providers   queued and due recipients, the age of the oldest message, attempts of",
    "              the last hour, and the share of them that was refused or put off.",
    "  Lanes       a source at a provider: what is used of the day's cap, and whether it",
    "              sends, is full for today, slowed, waits, or is stopped by an operator.",
    "  Warm-up     the day of the curve, and what is used of all caps of the source.",
    "  Incidents   posthaste incidents tells what to do.",
    "",
    "  posthaste why PROVIDER, posthaste queue list, posthaste log -f tell more.",
    "",
];

#[cfg(test)]
mod tests;
