//! Lines that a search found, as rows of a table.

use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, html};
use posthaste_monitor::{LogRecord, LogText, Row, Step};

use super::attempt::class_of;
use crate::{
    sight::Sight,
    words::{At, bytes, foreign},
};

/// Columns of the table.
const COLUMNS: u8 = 6;
/// Characters of a reply in the table.
const SAID_MAX: usize = 160;

/// How rows are shown.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) now: Timestamp,
    pub(super) zone: TimeZone,
    pub(super) sight: Sight,
    /// Whether lines about the relay itself are left out.
    pub(super) mail_only: bool,
}

impl Table {
    /// What stands before the rows.
    pub(super) const BEGIN: &str = "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Found\"><table class=\"mail\"><thead><tr><th scope=\"col\">Time</th>\
        <th scope=\"col\">Event</th><th scope=\"col\">From and to</th><th scope=\"col\">Provider</th><th scope=\"col\">What was said</th>\
        <th scope=\"col\">Message</th></tr></thead><tbody>";
    /// What stands behind them.
    pub(super) const END: &str = "</tbody></table></div>";

    /// The lines of a step that are shown.
    pub(super) fn records<'r>(&self, rows: &'r [Row]) -> Vec<(LogRecord<'r>, &'r [u8])> {
        let is_shown =
            |record: &LogRecord<'_>| !self.mail_only || record.message.is_some() || matches!(&*record.event, "rejected" | "unmatched");
        let read = rows.iter().filter_map(|row| Some((LogRecord::parse(&row.line)?, &*row.line)));
        read.filter(|(record, _)| is_shown(record)).collect()
    }

    /// A line as a row.
    pub(super) fn row(&self, record: &LogRecord<'_>) -> Markup {
        let said = |text: &Option<LogText<'_>>| text.as_ref().map(|text| self.sight.line(text)).unwrap_or_default();
        html! {
            tr {
                td { (self.time(record)) }
                td { span .state .(class_of(&record.event)) { (foreign(&record.event.replace('_', " "))) } }
                td {
                    @if let Some(from) = &record.from { (self.sight.address(from)) br; }
                    @if let Some(rcpt) = &record.rcpt { "→\u{a0}" (self.sight.address(rcpt)) }
                }
                td { (said(&record.provider)) @if let Some(source) = &record.source { br; small { "by " (self.sight.line(source)) } } }
                td .long { (self.said(record)) @if record.class.is_some() { br; small { code { (said(&record.class)) } } } }
                td { @if let Some(id) = record.message() { a href=(format!("/messages/{id}")) { code { (id) } } } }
            }
        }
    }

    fn time(&self, record: &LogRecord<'_>) -> Markup {
        let Some(time) = record.time() else { return html! { (foreign(&record.time_text)) } };
        let (there, now) = (time.to_zoned_datetime(self.zone.clone()), self.now.to_zoned_datetime(self.zone.clone()));
        let form = if there.date() == now.date() { "%H:%M:%S" } else { "%-d %b %H:%M:%S" };
        html! { time datetime=(time.to_string()) title=(there.strftime("%F %T %Z").to_string()) { (there.strftime(form).to_string()) } }
    }

    /// The reply's beginning, or what else the line tells.
    fn said(&self, record: &LogRecord<'_>) -> String {
        let begin = |text: &str| self.sight.beginning(text, SAID_MAX);
        match (record.smtp_code, &record.smtp_text, &record.cause, &record.detail) {
            (Some(code), Some(reply), ..) => format!("{code} {}", begin(reply)),
            (_, _, Some(cause), Some(detail)) => format!("{}: {}", begin(&cause.replace('_', " ")), begin(detail)),
            (_, _, Some(cause), None) => begin(&cause.replace('_', " ")),
            (_, _, None, Some(detail)) => begin(detail),
            _ => record.reason.as_ref().map(|reason| begin(&reason.replace('_', " "))).unwrap_or_default(),
        }
    }

    /// How far the search has come, as the last row for the time being; the style hides it once another follows.
    pub(super) fn progress(&self, step: &Step, found: usize) -> Markup {
        let share = (step.passed as f64 * 100.0 / step.of.max(1) as f64).min(100.0);
        html! {
            tr .progress { td colspan=(COLUMNS) {
                "Searching: " (format!("{share:.0}")) " % of " (bytes(step.of)) @if let Some(time) = step.reached { ", back to " (self.at(time)) } "; " (found) " found. "
                a href="/messages" { "Stop" }
            } }
        }
    }

    /// How the answer ended.
    pub(super) fn end(&self, step: &Step, found: usize) -> Markup {
        html! {
            @match (step.cursor, found) {
                (None, 0) => { "Nothing in the log (" (bytes(step.of)) ") matches." }
                (None, _) => { "That is all: " (found) " found; the log has nothing older that matches." }
                (Some(_), 0) => { "Nothing yet" (self.back_to(step)) "." }
                (Some(_), _) => { (found) " found" (self.back_to(step)) "." }
            }
        }
    }

    fn back_to(&self, step: &Step) -> Markup {
        html! { @if let Some(time) = step.reached { ", back to " (self.at(time)) } }
    }

    fn at(&self, time: Timestamp) -> At<'_> {
        At { time, now: self.now, zone: &self.zone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(masks: bool) -> Table {
        Table { now: "2026-11-29T14:00:00Z".parse().unwrap(), zone: TimeZone::UTC, sight: Sight { masks }, mail_only: true }
    }

    fn row(line: &str, masks: bool) -> String {
        table(masks).row(&LogRecord::parse(line.as_bytes()).unwrap()).0
    }

    #[test]
    fn a_row_leads_to_its_message_and_says_what_was_said() {
        let line = r#"{"time":"2026-11-29T13:59:01Z","event":"bounced","message":"01KAQ2V3W4X5Y6Z7A8B9C0D1E2","from":"app@x.test","rcpt":"ann@a.test",
            "provider":"google","source":"ip1","smtp_code":550,"smtp_text":"5.1.1 <ann@a.test> unknown\nmore","class":"invalid_recipient"}"#;
        let seen = row(line, false);
        for part in
            [">13:59:01<", "href=\"/messages/01KAQ2V3W4X5Y6Z7A8B9C0D1E2\"", "550 5.1.1 &lt;ann@a.test&gt; unknown", "→\u{a0}ann@a.test"]
        {
            assert!(seen.contains(part), "{part} in {seen}");
        }
        assert!(!seen.contains("more"));
        assert!(!row(line, true).contains("ann@") && !row(line, true).contains("app@"), "{}", row(line, true));
    }

    #[test]
    fn what_strangers_wrote_is_text() {
        let hostile = r#"\u001b[31m<script>alert(1)</script>\" onload=x"#;
        let line = format!(
            r#"{{"time":"{hostile}","event":"{hostile}","from":"{hostile}","rcpt":"{hostile}","provider":"{hostile}","source":"{hostile}","smtp_code":550,
            "smtp_text":"{hostile}","class":"{hostile}","message":"{hostile}"}}"#
        );
        let seen = row(&line, false) + &row(&line.replace("smtp_text", "cause"), false) + &row(&line.replace("smtp_text", "reason"), true);
        assert!(
            seen.contains("&lt;script&gt;") && !seen.contains("<script") && !seen.contains('\u{1b}') && !seen.contains("\" onload"),
            "{seen}"
        );
    }

    #[test]
    fn lines_about_the_relay_itself_are_no_messages() {
        let rows: Vec<Row> = ["relay", "rejected", "incident"]
            .map(|event| Row {
                line: format!(r#"{{"time":"2026-11-29T13:59:01Z","event":"{event}"}}"#).into_bytes(),
                at: posthaste_monitor::Position { file: "00ff".parse().unwrap(), offset: 0 },
            })
            .into();
        let shown = |table: Table| table.records(&rows).iter().map(|(record, _)| record.event.to_string()).collect::<Vec<_>>();
        assert_eq!(shown(table(false)), ["rejected"]);
        assert_eq!(shown(Table { mail_only: false, ..table(false) }).len(), 3);
    }

    #[test]
    fn the_end_says_whether_there_may_be_more() {
        let step = Step { of: 2048, passed: 1024, ..Step::default() };
        assert_eq!(table(false).end(&step, 0).0, "Nothing in the log (2.0 KiB) matches.");
        let more = Step { cursor: Some("00ff-1-2".parse().unwrap()), reached: "2026-11-29T13:00:00Z".parse().ok(), ..step };
        assert!(table(false).end(&more, 3).0.starts_with("3 found, back to "));
        assert!(table(false).progress(&more, 3).0.contains("Searching: 50 % of 2.0 KiB"));
    }
}
