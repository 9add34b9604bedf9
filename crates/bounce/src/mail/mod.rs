//! Mail that came back: delivery reports (RFC 3464), bounces in free text, feedback reports (RFC 5965), automatic answers (RFC 3834).
//!
//! Everything here was sent by strangers: it may be nested, damaged, forged or huge. What is read is bounded; nothing is believed
//! that the caller does not match to a message of its own.

mod auto;
mod dsn;
mod feedback;
mod fields;
mod free;
mod notice;
mod opened;
mod original;
mod sns;

use posthaste_mail::EnhancedCode;
use serde::Serialize;

use crate::{Rules, Verdict};
use opened::Opened;

/// What is read of a mail, in bytes.
const MAIL_MAX: usize = 1 << 20;
/// The most reports taken from one mail.
const REPORTS_MAX: usize = 100;

/// What a mail, or a part of it, says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Delivery to a recipient failed for good.
    Bounce,
    /// Delivery is late and still being tried: no failure.
    Delayed,
    /// Delivered, relayed or expanded (RFC 3464 §2.3.3): what a sender asked to be told.
    Delivered,
    /// Somebody complained (RFC 5965).
    Feedback,
    /// A vacation note or other automatic answer (RFC 3834).
    AutoReply,
    /// None of these.
    NotBounce,
}

/// One thing that a mail reports, about one recipient where it names one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What it is.
    pub kind: Kind,
    /// The recipient it is about, as the report names it.
    pub rcpt: Option<String>,
    /// The address that was written to, where the report tells it apart (`Original-Recipient`).
    pub original_rcpt: Option<String>,
    /// What it means; for bounces and delays.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The enhanced code: of the reply that is quoted, or the report's own `Status`.
    pub smtp_enhanced: Option<EnhancedCode>,
    /// The basic code of the reply that is quoted.
    pub smtp_code: Option<u16>,
    /// The reply or the words that were judged.
    pub diagnostic: Option<String>,
    /// The Message-ID of the mail that the report is about, without angle brackets.
    pub message_id: Option<String>,
    /// The envelope id that the sender gave at MAIL FROM (RFC 3461 ENVID).
    pub envid: Option<String>,
    /// The host that reports.
    pub reporting_mta: Option<String>,
    /// The host that refused.
    pub remote_mta: Option<String>,
    /// When the reporting host had taken the mail, as it writes it.
    pub arrival: Option<String>,
    /// The complaint's kind (`abuse`, `fraud`, …), for feedback.
    pub feedback_type: Option<String>,
    /// The address that the mail complained about came from, for feedback.
    pub source_ip: Option<String>,
}

impl Report {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            rcpt: None,
            original_rcpt: None,
            verdict: None,
            smtp_enhanced: None,
            smtp_code: None,
            diagnostic: None,
            message_id: None,
            envid: None,
            reporting_mta: None,
            remote_mta: None,
            arrival: None,
            feedback_type: None,
            source_ip: None,
        }
    }
}

/// Reads a mail that came to the bounce address: at least one report, [`Kind::NotBounce`] where it reports nothing.
///
/// Never panics; looks at the first MiB and gives at most 100 reports.
pub fn read_mail(bytes: &[u8], rules: &Rules) -> Vec<Report> {
    let mail = Opened::read(&bytes[..bytes.len().min(MAIL_MAX)]);
    let mut reports = feedback::read(&mail);
    if reports.is_empty() {
        reports = dsn::read(&mail, rules);
    }
    if reports.is_empty() {
        reports = sns::read(&mail, rules);
    }
    if reports.is_empty() && auto::is_auto_reply(&mail) {
        let mut report = Report::new(Kind::AutoReply);
        report.rcpt = mail.from.clone();
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
