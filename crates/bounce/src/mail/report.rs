//! One report out of a mail that came back.

use posthaste_mail::EnhancedCode;
use serde::Serialize;

use crate::Verdict;

/// The most reports taken from one mail.
pub(super) const REPORTS_MAX: usize = 100;

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
