//! Notifications that Amazon SES mails through SNS: bounces and complaints as JSON.

use posthaste_mail::EnhancedCode;
use serde_json::Value;

use super::{
    free::judge,
    parsed::ParsedMail,
    report::{Kind, REPORTS_MAX, Report},
};
use crate::{Quoted, Rules};

/// The reports in such a notification; empty if the mail is not one.
pub(super) fn read(mail: &ParsedMail, rules: &Rules) -> Vec<Report> {
    let Some(value) = notification(&mail.words) else { return Vec::new() };
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let kind = text(&value, "notificationType").or_else(|| text(&value, "eventType")).unwrap_or_default();
    let (kind, part, list) = match kind.as_str() {
        "Bounce" => (Kind::Bounce, "bounce", "bouncedRecipients"),
        "Complaint" => (Kind::Feedback, "complaint", "complainedRecipients"),
        "Delivery" => (Kind::Delivered, "delivery", "recipients"),
        "DeliveryDelay" => (Kind::Delayed, "deliveryDelay", "delayedRecipients"),
        _ => return Vec::new(),
    };
    let part = value.get(part).unwrap_or(&Value::Null);
    let recipients = part.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let report = |recipient: &Value| {
        let mut report = Report::new(kind);
        report.rcpt = text(recipient, "emailAddress").or_else(|| recipient.as_str().map(str::to_owned));
        report.message_id =
            value.pointer("/mail/commonHeaders/messageId").and_then(Value::as_str).map(|m| m.trim_matches(['<', '>']).to_owned());
        report.feedback_type = text(part, "complaintFeedbackType");
        report.reporting_mta = text(part, "reportingMTA");
        if matches!(kind, Kind::Bounce | Kind::Delayed) {
            let status: Option<EnhancedCode> = text(recipient, "status").and_then(|s| s.parse().ok());
            let mut quoted = Quoted::read(&text(recipient, "diagnosticCode").unwrap_or_default());
            quoted.enhanced = quoted.enhanced.or(status);
            report.smtp_enhanced = quoted.enhanced;
            judge(&mut report, quoted, &ParsedMail::default(), rules);
        }
        report
    };
    recipients.iter().take(REPORTS_MAX).map(report).collect()
}

/// The JSON object in the text. Relays that fold long lines insert `!` and a line end.
fn notification(words: &str) -> Option<Value> {
    if !words.contains("otificationType\"") && !words.contains("ventType\"") {
        return None;
    }
    let words = words.replace('\r', "").replace("!\n ", "").replace('\n', "");
    let json = &words[words.find('{')?..];
    serde_json::Deserializer::from_str(json).into_iter::<Value>().next()?.ok()
}
