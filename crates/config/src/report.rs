//! `[report]`: the report of each day by mail.

use std::time::Duration;

use jiff::civil::Time;
use posthaste_channels::{DailyReport, Mail};

use super::{
    alarm::server,
    environment::Environment,
    monitor::Monitor,
    reader::{Item, Parsed, Table, fault},
    route::{self, Itself},
    tls::roots,
    value::{duration, mail_address, one_or_more, string},
};

/// None if nobody is named: then no report is mailed. Also after an error.
pub(super) fn read(t: &Table<'_>, environment: &Environment<'_>, itself: &Itself<'_>, monitor: &Monitor) -> Option<DailyReport> {
    let (to, from) = (t.given("to", one_or_more(mail_address)), t.given("from", mail_address));
    let server = t.given("server", |item| server(item, environment, itself));
    let auth = route::login(t, environment);
    let at = t.get("at", time_of_day);
    let timeout = t.get("timeout", duration(Duration::from_secs(1)..=Duration::from_secs(600)));
    let roots = t.get("roots", |item| roots(item, environment));
    let needs = ["to", "from", "server"];
    let given = needs.iter().find(|key| t.has(key))?;
    for missing in needs.iter().filter(|key| !t.has(key)) {
        t.object(missing, format!("missing: with {given}, a report of each day is to be mailed, which needs {}", needs.join(", ")));
    }
    if monitor.counting.is_none() {
        t.object(given, "there is nothing to report: monitor.enabled is false");
    }
    Some(DailyReport { mail: Mail { from: from?, to: to?, server: server?, auth }, at, timeout, roots })
}

fn time_of_day(item: Item<'_>) -> Parsed<Time> {
    let text = string(item)?;
    let is_short = text.len() == "07:00".len();
    Time::strptime("%H:%M", text)
        .ok()
        .filter(|_| is_short)
        .map_or_else(|| fault(item, "expected a time of the day, such as \"07:00\" or \"18:30\""), Ok)
}
