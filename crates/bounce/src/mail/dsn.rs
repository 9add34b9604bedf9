//! Delivery status notifications (RFC 3464), and common deviations from the format.

use posthaste_mail::EnhancedCode;

use super::{
    fields::{FieldBlock, address, addresses, blocks, is_routed},
    free::{failed_addresses, judge},
    parsed::ParsedMail,
    report::{Kind, REPORTS_MAX, Report},
};
use crate::{Quoted, Rules};

/// Fields that begin the block of a recipient.
const OPENERS: [&str; 3] = ["Final-Recipient", "Original-Recipient", "Action"];

/// One report per recipient; empty if the mail contains no delivery status.
pub(super) fn read(mail: &ParsedMail, rules: &Rules) -> Vec<Report> {
    let mut reports: Vec<Report> = Vec::new();
    for status in &mail.statuses {
        let mut message = FieldBlock::default();
        for block in blocks(status, &OPENERS) {
            if message.is_empty() && block.get("reporting-mta").is_some() {
                message = block.clone();
            }
            let about_recipient =
                ["final-recipient", "original-recipient", "action", "diagnostic-code"].iter().any(|n| block.get(n).is_some());
            if about_recipient && reports.len() < REPORTS_MAX {
                reports.extend(report(&message, &block, mail, rules));
            }
        }
    }
    reports
}

fn report(message: &FieldBlock, block: &FieldBlock, mail: &ParsedMail, rules: &Rules) -> Option<Report> {
    let status: Option<EnhancedCode> = block.get("status").and_then(status_in);
    let kind = kind(block.get("action"), status)?;
    let mut report = Report::new(kind);
    let given = |name| block.get(name).and_then(address);
    let (last, first, actual) = (given("final-recipient"), given("original-recipient"), given("x-actual-recipient"));
    let named = [&last, &first, &actual].into_iter().flatten().find(|a| is_address(a)).cloned();
    // Sendmail names the address that it was expanded to apart from the one that was given to it (X-Actual-Recipient).
    let written = if first.is_none() && actual.is_none() {
        named_in_words(mail).filter(|w| named.as_ref().is_some_and(|n| !mail.words.contains(n.as_str()) && is_kin(n, w)))
    } else {
        None
    };
    report.rcpt = written.or(named).or_else(|| failed_header(mail)).or_else(|| named_in_words(mail)).or_else(|| last.clone());
    report.original_rcpt = first.or(actual).filter(|a| is_address(a) && Some(a) != report.rcpt.as_ref());
    report.envid = message.get("original-envelope-id").map(str::to_owned);
    report.reporting_mta = message.get("reporting-mta").map(untyped);
    report.arrival = message.get("arrival-date").map(str::to_owned);
    report.remote_mta = block.get("remote-mta").map(untyped);
    if matches!(kind, Kind::Bounce | Kind::Delayed) {
        let said = block.get("diagnostic-code").map(untyped);
        let mut quoted = Quoted::read(said.as_deref().unwrap_or_default());
        // If the diagnostic has no code, the reporting host's Status is the only one; X.0.0 says nothing.
        if quoted.enhanced.is_none() {
            quoted.enhanced = status.filter(|s| (s.subject, s.detail) != (0, 0));
        }
        quoted.code = if quoted.code == 0 { status.map_or(0, |s| u16::from(s.class) * 100) } else { quoted.code };
        report.smtp_enhanced = quoted.enhanced.or(status);
        judge(&mut report, quoted, mail, rules);
    }
    Some(report)
}

/// The kind by Action (RFC 3464 §2.3.3), or by Status if the block has no Action.
fn kind(action: Option<&str>, status: Option<EnhancedCode>) -> Option<Kind> {
    let action = action.unwrap_or_default().trim().to_ascii_lowercase();
    let word = action.split([' ', '(', ';', ',']).next().unwrap_or_default();
    Some(match word {
        "failed" | "failure" | "fail" | "permanent" | "undeliverable" => Kind::Bounce,
        "delayed" | "delay" | "deferred" | "temporary" => Kind::Delayed,
        "delivered" | "relayed" | "expanded" => Kind::Delivered,
        _ => match status {
            Some(s) if s.class == 2 => Kind::Delivered,
            Some(s) if s.class == 4 && word.is_empty() => Kind::Bounce,
            _ => Kind::Bounce,
        },
    })
}

fn is_address(text: &str) -> bool {
    addresses(text).first() == Some(&text) || is_routed(text)
}

/// Whether two addresses probably belong to one mailbox: they have the same local part.
fn is_kin(one: &str, other: &str) -> bool {
    let local = |a: &str| a.split('@').next().unwrap_or_default().to_ascii_lowercase();
    local(one) == local(other)
}

/// The address that the text names as failed, if there is exactly one.
fn named_in_words(mail: &ParsedMail) -> Option<String> {
    match failed_addresses(mail) {
        [only] => Some(only.address.clone()),
        _ => None,
    }
}

fn failed_header(mail: &ParsedMail) -> Option<String> {
    mail.headers.get("x-failed-recipients").and_then(address)
}

/// The code in `5.1.1 (bad mailbox)`.
fn status_in(text: &str) -> Option<EnhancedCode> {
    let token = text.trim().split(|c: char| !(c.is_ascii_digit() || c == '.')).next()?;
    token.parse().ok()
}

/// The value without its type: `smtp;`, `dns;`, `x-unix;`.
fn untyped(value: &str) -> String {
    match value.split_once(';') {
        Some((kind, rest)) if !kind.trim().contains(' ') && !rest.trim().is_empty() => rest.trim().to_owned(),
        _ => value.trim().to_owned(),
    }
}
