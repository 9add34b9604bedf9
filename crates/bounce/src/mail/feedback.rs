//! Feedback reports: RFC 5965 (ARF), and the formats that Microsoft, AOL and Yahoo send instead of it or beside it.

use super::{
    fields::{FieldBlock, addresses, blocks},
    notice,
    parsed::ParsedMail,
    report::{Kind, REPORTS_MAX, Report},
};

fn address(value: &str) -> Option<String> {
    addresses(value).first().map(|a| (*a).to_owned())
}

/// Reports of complaints; empty if the mail is not a complaint.
pub(super) fn read(mail: &ParsedMail) -> Vec<Report> {
    let mut reports = Vec::new();
    for text in &mail.feedback {
        let fields = merged(text);
        reports.push(arf(&fields, mail));
        for more in fields.all("original-rcpt-to").skip(1).take(REPORTS_MAX) {
            let mut report = arf(&fields, mail);
            report.rcpt = address(more);
            reports.push(report);
        }
    }
    if reports.is_empty() && is_opt_out(mail) {
        let mut report = Report::new(Kind::Feedback);
        report.rcpt = mail.from.clone();
        report.feedback_type = Some("opt-out".to_owned());
        reports.push(report);
    }
    if reports.is_empty() && is_plain_complaint(mail) {
        let mut report = Report::new(Kind::Feedback);
        report.rcpt = complainer(mail);
        report.feedback_type = Some("abuse".to_owned());
        reports.push(report);
    }
    reports
}

/// All blocks as one: a report has one block (RFC 5965 §3), but some senders put an empty line into it.
fn merged(text: &str) -> FieldBlock {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    blocks(&lines.join("\n"), &[]).into_iter().next().unwrap_or_default()
}

fn arf(fields: &FieldBlock, mail: &ParsedMail) -> Report {
    let mut report = Report::new(Kind::Feedback);
    let told = ["original-rcpt-to", "removal-recipient", "original-recipient"].iter().find_map(|n| fields.get(n));
    report.rcpt = told.and_then(address).or_else(|| complainer(mail));
    report.feedback_type = fields.get("feedback-type").map(str::to_ascii_lowercase);
    report.source_ip = fields.get("source-ip").map(|ip| ip.trim_matches(['[', ']', ' ']).to_owned());
    report.envid = fields.get("original-envelope-id").map(str::to_owned);
    report.reporting_mta = fields.get("reporting-mta").map(|m| m.rsplit(';').next().unwrap_or(m).trim().to_owned());
    report.arrival = fields.get("arrival-date").or(fields.get("received-date")).map(str::to_owned);
    report
}

/// The recipient who complained, if the report does not name one: taken from the header of the returned mail.
fn complainer(mail: &ParsedMail) -> Option<String> {
    let told = mail.headers.get("x-hmxmroriginalrecipient").and_then(address);
    told.or_else(|| {
        ["x-hmxmroriginalrecipient", "to", "x-original-to", "x-rcpt-to", "delivered-to"]
            .iter()
            .find_map(|n| mail.original.get(n).and_then(address))
    })
}

/// Whether the mail is an unsubscribe request, which mail programs send to the address in List-Unsubscribe (RFC 2369).
fn is_opt_out(mail: &ParsedMail) -> bool {
    mail.subject.trim().eq_ignore_ascii_case("unsubscribe") && mail.words.contains("to unsubscribe from the message")
}

/// Whether the mail is a complaint without a report: Microsoft's Junk Mail Reporting Program sends the mail itself and says so in the
/// subject.
fn is_plain_complaint(mail: &ParsedMail) -> bool {
    let subject = mail.subject.to_ascii_lowercase();
    let from = mail.from.as_deref().unwrap_or_default().to_ascii_lowercase();
    let microsoft = mail.headers.get("x-hmxmroriginalrecipient").is_some() || mail.original.get("x-hmxmroriginalrecipient").is_some();
    let said = subject.starts_with("complaint about message from")
        || subject.starts_with("email feedback report for")
        || subject.contains("feedback report for ip");
    let sender = ["staff@hotmail.com", "staff@outlook.com", "scomp@aol.net", "feedbackloop@", "fbl@", "feedback@arf."]
        .iter()
        .any(|s| from.starts_with(s));
    microsoft || said || (sender && notice::is_report_type(mail, "feedback-report"))
}
