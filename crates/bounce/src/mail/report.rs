//! The report: what a mail that came back says about one recipient.

use posthaste_mail::EnhancedCode;
use serde::Serialize;

use crate::Verdict;

/// The most reports that are taken from one mail.
pub(super) const REPORTS_MAX: usize = 100;

/// An address that a notice names as failed.
#[derive(Clone, Debug)]
pub(super) struct FailedAddress {
    pub(super) address: String,
    /// The line of the text in which it stands.
    pub(super) line: Option<usize>,
    /// How much speaks for it.
    pub(super) points: i32,
}

/// The kind of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Delivery to a recipient failed for good.
    Bounce,
    /// Delivery is late and still being tried; this is not a failure.
    Delayed,
    /// Delivered, relayed or expanded (RFC 3464 §2.3.3): the sender asked for this report.
    Delivered,
    /// A recipient complained (RFC 5965).
    Feedback,
    /// A vacation note or another automatic reply (RFC 3834).
    AutoReply,
    /// None of these.
    NotBounce,
}

/// One report of a mail, about one recipient if it names one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The kind of the report.
    pub kind: Kind,
    /// The recipient, as the report names it.
    pub rcpt: Option<String>,
    /// The address that the mail was sent to, if the report names it separately (`Original-Recipient`).
    pub original_rcpt: Option<String>,
    /// The verdict, for bounces and delays.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The enhanced code of the quoted reply, or the report's own `Status`.
    pub smtp_enhanced: Option<EnhancedCode>,
    /// The basic code of the quoted reply.
    pub smtp_code: Option<u16>,
    /// The reply or the words that were classified.
    pub diagnostic: Option<String>,
    /// The Message-ID of the mail that the report is about, without angle brackets.
    pub message_id: Option<String>,
    /// The envelope id that the sender gave in MAIL FROM (RFC 3461 ENVID).
    pub envid: Option<String>,
    /// The host that reports.
    pub reporting_mta: Option<String>,
    /// The host that refused the mail.
    pub remote_mta: Option<String>,
    /// When the reporting host accepted the mail, in its own notation.
    pub arrival: Option<String>,
    /// The kind of the complaint (`abuse`, `fraud`, …), for feedback.
    pub feedback_type: Option<String>,
    /// The IP address that sent the mail complained about, for feedback.
    pub source_ip: Option<String>,
}

impl Report {
    pub(super) fn new(kind: Kind) -> Self {
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
