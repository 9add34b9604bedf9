//! Mail that came back: delivery reports (RFC 3464), bounces in free text, feedback reports (RFC 5965), automatic replies (RFC 3834).
//!
//! All input comes from strangers: it may be nested, damaged, forged or huge. The amount that is read is limited, and a report proves
//! nothing until the caller has matched it to a message of its own.

mod auto;
mod dsn;
mod feedback;
mod fields;
mod flat;
mod free;
mod notice;
mod original;
mod parsed;
mod report;
mod sns;

use crate::Rules;
use parsed::ParsedMail;
use report::REPORTS_MAX;
pub use report::{Kind, Report};

/// The bytes of a mail that are read.
const MAIL_MAX: usize = 1 << 20;

/// The most bytes that are kept of an automatic reply.
const SAID_MAX: usize = 500;

/// What an automatic reply says: its subject, and how it begins.
fn said(mail: &ParsedMail) -> Option<String> {
    let words = mail.subject.split_whitespace().chain(mail.words.split_whitespace());
    let mut said = words.collect::<Vec<_>>().join(" ");
    said.truncate(said.floor_char_boundary(SAID_MAX));
    (!said.is_empty()).then_some(said)
}

/// Reads a mail that came to the bounce address. Returns at least one report: [`Kind::NotBounce`] if the mail reports nothing.
///
/// Never panics. Reads the first MiB of the mail and returns at most 100 reports.
pub fn read_mail(bytes: &[u8], rules: &Rules) -> Vec<Report> {
    let mail = ParsedMail::read(&bytes[..bytes.len().min(MAIL_MAX)]);
    let mut reports = feedback::read(&mail);
    let is_challenge = reports.is_empty() && auto::is_challenge(&mail);
    if reports.is_empty() && !is_challenge {
        reports = dsn::read(&mail, rules);
    }
    if reports.is_empty() {
        reports = sns::read(&mail, rules);
    }
    if reports.is_empty() && (is_challenge || auto::is_auto_reply(&mail)) {
        let mut report = Report::new(Kind::AutoReply);
        report.rcpt = mail.from.clone();
        report.diagnostic = said(&mail);
        reports.push(report);
    }
    if reports.is_empty() {
        reports = free::read(&mail, rules);
    }
    if reports.is_empty() {
        reports.push(Report::new(Kind::NotBounce));
    }
    reports.truncate(REPORTS_MAX);
    for report in &mut reports {
        report.message_id = report.message_id.take().or_else(|| mail.original_message_id());
    }
    reports
}
