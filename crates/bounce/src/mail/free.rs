//! Bounces in free text: the addresses that failed, and the reasons in the text around them.

use posthaste_mail::{Action, Stage};

use super::{
    fields::{address, addresses},
    notice, original,
    parsed::ParsedMail,
    report::{FailedAddress, Kind, REPORTS_MAX, Report},
};
use crate::{Quoted, Rules, text::head};

/// The most lines that are read.
const LINES_MAX: usize = 400;
/// How much of a line is looked at for addresses, in bytes; the lines of notices have a few hundred.
const LINE_MAX: usize = 2000;
/// The most addresses that are looked at.
const LOOKED_AT_MAX: usize = 500;
/// The most lines after an address that are read as its reason.
const REASON_LINES: usize = 14;
/// A verdict with at least this confidence is final; others are compared with verdicts on more text.
const SURE: f32 = 0.6;

/// Reports of failed or delayed recipients; empty if the mail is not a notice.
pub(super) fn read(mail: &ParsedMail, rules: &Rules) -> Vec<Report> {
    if !is_notice(mail) {
        return Vec::new();
    }
    let kind = if notice::tells_of_delay(mail) { Kind::Delayed } else { Kind::Bounce };
    let lines: Vec<&str> = mail.words.lines().take(LINES_MAX).collect();
    let (named, elsewhere) = (failed_addresses(mail), from_headers(mail));
    let failed = if named.is_empty() { &elsewhere[..] } else { named };
    let mut reports: Vec<Report> = failed.iter().take(REPORTS_MAX).map(|f| f.report(kind, failed, &lines, mail, rules)).collect();
    if reports.is_empty() {
        let mut report = Report::new(kind);
        judge(&mut report, Quoted::read(""), mail, rules);
        reports.push(report);
    }
    reports
}

fn is_notice(mail: &ParsedMail) -> bool {
    let system = notice::is_from_a_mail_system(mail);
    let subject = notice::subject_tells_of_failure(mail);
    let words = notice::words_tell_of_failure(mail);
    let marked = mail.headers.get("x-failed-recipients").is_some();
    let bare_body = mail.headers.is_empty();
    let returned = notice::has_empty_return_path(mail) || !mail.original.is_empty();
    let daemon = notice::is_from_a_daemon(mail) && !mail.words.trim().is_empty();
    let late = notice::subject_tells_of_delay(mail);
    let of_strangers = words && (subject || bare_body || returned) && !notice::is_about_parcels(mail);
    marked || daemon || (system && (subject || words || late)) || of_strangers
}

/// Classifies the reply that the report quotes. If that says little, the lines of the notice about this recipient are classified, then
/// its whole text.
pub(super) fn judge(report: &mut Report, quoted: Quoted, mail: &ParsedMail, rules: &Rules) {
    let context = crate::Context { provider: None, mx_host: report.remote_mta.as_deref() };
    let mut said = quoted;
    let about = words_about(report.rcpt.as_deref(), mail);
    // A delivery status does not say which command was refused; the text beside it often does.
    said.stage = said.stage.or_else(|| Quoted::read(&about).stage);
    let mut verdict = rules.classify_quoted(&said, &context);
    for (text, whole) in [(&about, false), (&mail.words, true)] {
        let silent = said.text.split_whitespace().filter(|w| w.chars().all(char::is_alphabetic)).count() < 3;
        if verdict.confidence >= SURE || (whole && !silent && verdict.confidence >= 0.45) {
            break;
        }
        let mut words = Quoted::read(head(text, crate::text::TEXT_MAX));
        words.code = if said.code.is_multiple_of(100) && words.code != 0 { words.code } else { said.code };
        words.enhanced = said.enhanced.or(words.enhanced);
        words.stage = said.stage.or(words.stage);
        let mut second = rules.classify_quoted(&words, &context);
        if second.confidence > verdict.confidence {
            if whole && second.action == Action::Suppress {
                // Words that are not about this recipient must not suppress it.
                second.action = Action::None;
            }
            verdict = second;
            said = if said.text.trim().is_empty() { words } else { said };
        }
    }
    if verdict.confidence < SURE
        && let Some(answer) = mail.dialogue.as_deref().zip(report.rcpt.as_deref()).and_then(|(d, r)| original::answer_to_recipient(d, r))
    {
        said = Quoted { stage: Some(Stage::Rcpt), ..Quoted::read(answer) };
        verdict = rules.classify_quoted(&said, &context);
    }
    report.smtp_code = (!said.code.is_multiple_of(100)).then_some(said.code).or(report.smtp_code);
    report.smtp_enhanced = report.smtp_enhanced.or(said.enhanced);
    report.diagnostic = Some(said.text.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|t| !t.is_empty());
    report.verdict = Some(verdict);
}

/// The lines of the notice that are about this recipient.
fn words_about(rcpt: Option<&str>, mail: &ParsedMail) -> String {
    let Some(rcpt) = rcpt else { return String::new() };
    let lines: Vec<&str> = mail.words.lines().take(LINES_MAX).collect();
    let failed = failed_addresses(mail);
    let line = failed.iter().find(|f| f.address.eq_ignore_ascii_case(rcpt)).and_then(|f| f.line);
    line.map_or_else(String::new, |at| reason(at, failed, &lines))
}

impl FailedAddress {
    fn report(&self, kind: Kind, all: &[Self], lines: &[&str], mail: &ParsedMail, rules: &Rules) -> Report {
        let mut report = Report::new(kind);
        report.rcpt = Some(self.address.clone());
        let reason = self.line.map_or_else(String::new, |at| reason(at, all, lines));
        judge(&mut report, Quoted::read(&reason), mail, rules);
        if kind == Kind::Delayed && report.smtp_code.is_some_and(|c| c / 100 == 5) {
            // The notice is about a delay of some recipients, but this one was refused.
            report.kind = Kind::Bounce;
        }
        report
    }
}

/// The lines from an address to the next one.
fn reason(at: usize, all: &[FailedAddress], lines: &[&str]) -> String {
    let next = all.iter().filter_map(|f| f.line).filter(|l| *l > at).min().unwrap_or(lines.len());
    let end = next.min(at + REASON_LINES).min(lines.len());
    let own: Vec<&str> = lines[at..end].iter().map(|l| l.trim()).collect();
    if is_transcript(own[0]) {
        return format!("{}\n{}", own[0], reply_before(&lines[..at]).unwrap_or_default());
    }
    // If the first paragraph says something, later ones are about something else.
    let stop = own.iter().skip(1).position(|l| l.is_empty()).map_or(own.len(), |i| i + 1);
    let first = own[..stop].join("\n");
    let says = first.split_whitespace().filter(|w| !w.contains('@')).count() >= 2;
    if says { first } else { own.join("\n") }
}

/// Sendmail quotes the receiver (`<<< 550 …`) above the line that names the address.
fn reply_before<'l>(lines: &[&'l str]) -> Option<&'l str> {
    let of_another = |l: &str| l.starts_with("While talking") || (is_transcript(l) && l.contains('@'));
    lines.iter().rev().take(6).take_while(|l| !of_another(l)).find_map(|l| l.trim().strip_prefix("<<<"))
}

/// The addresses in places where notices name the failed ones.
pub(super) fn failed_addresses(mail: &ParsedMail) -> &[FailedAddress] {
    mail.failed.get_or_init(|| find_failed(mail))
}

fn find_failed(mail: &ParsedMail) -> Vec<FailedAddress> {
    let mut found: Vec<FailedAddress> = Vec::new();
    let (mut introduced_at, mut in_reason) = (None, false);
    let mut left = LOOKED_AT_MAX;
    for (at, line) in mail.words.lines().take(LINES_MAX).enumerate() {
        // Each address costs its line.
        let line = head(line, LINE_MAX);
        let lower = line.to_lowercase();
        if INTRODUCTIONS.iter().any(|i| lower.contains(i)) {
            introduced_at = Some(at);
        }
        // Postfix and qmail write `<a@b.org>: reason` and continue on indented lines; an address in those is not another recipient.
        let continued = in_reason && line.starts_with([' ', '\t']);
        in_reason = continued || (line.starts_with('<') && line.contains(">:"));
        if continued {
            continue;
        }
        let near = introduced_at.is_some_and(|i: usize| at - i <= 6);
        for address in addresses(line) {
            if left == 0 {
                break;
            }
            left -= 1;
            let points = points(address, line, &lower, near, mail);
            match found.iter().position(|f| f.address.eq_ignore_ascii_case(address)) {
                Some(known) if found[known].points >= points => {}
                Some(known) => (found[known].points, found[known].line) = (points, Some(at)),
                None if found.len() < REPORTS_MAX => found.push(FailedAddress { address: address.to_owned(), line: Some(at), points }),
                None => {}
            }
        }
    }
    let best = found.iter().map(|f| f.points).max().unwrap_or(0);
    if let [only] = &mut found[..]
        && only.points == 0
    {
        // It is the only address, and nothing speaks against it; the words around it may be in a language that is not known here.
        only.points = 1;
        return found;
    }
    found.retain(|f| f.points >= 3.min(best) && f.points >= 1);
    found
}

fn points(address: &str, line: &str, lower: &str, near_introduction: bool, mail: &ParsedMail) -> i32 {
    let trimmed = line.trim_start_matches([' ', '\t', '*', '-', '>', '<', '[', '"', '\'', '•']);
    let lower_address = address.to_ascii_lowercase();
    let local = lower_address.split('@').next().unwrap_or_default();
    let lower = &lower.replace(&lower_address, "@");
    let mut points = 0;
    // In `a@b.org <c@d.org>: malformed`, the first is a name and the one in brackets the address (RFC 5322 §3.4).
    let is_name = trimmed.strip_prefix(address).is_some_and(|rest| rest.starts_with(" <"));
    points += if trimmed.starts_with(address) && !is_name { 3 } else { 0 };
    points += if !trimmed.starts_with(address) && line.contains(&format!("<{address}>:")) { 3 } else { 0 };
    points += if line.trim().trim_matches(['<', '>', ':', ',', '"']) == address { 1 } else { 0 };
    points += if is_reply_about(trimmed, address) { 3 } else { 0 };
    points += if near_introduction { 2 } else { 0 };
    points += if INTRODUCTIONS.iter().any(|i| lower.contains(i)) { 1 } else { 0 };
    points += if REASONS.iter().any(|r| lower.contains(r)) { 2 } else { 0 };
    points += if ["recipient", "to:", "rcpt", "address", "user", "mailbox"].iter().any(|r| lower.contains(r)) { 1 } else { 0 };
    // A line that begins with an address is about it, whatever else it says.
    let others = ["from:", "sender", "reply-to", "mail from", "contact", "return-path", "assistance", "questions", "message-id", "http"];
    points -= if others.iter().any(|r| lower.contains(r)) { if trimmed.starts_with(address) { 1 } else { 4 } } else { 0 };
    points -= if mail.to.contains(&lower_address) || mail.from.as_ref().is_some_and(|f| f.eq_ignore_ascii_case(address)) { 6 } else { 0 };
    points -= if ["postmaster", "mailer-daemon", "abuse", "helpdesk", "support", "webmaster"].contains(&local) { 3 } else { 0 };
    points
}

/// Whether a line is from a transcript of Sendmail: `554 5.1.2 <a@b.org>... Host unknown`.
fn is_transcript(line: &str) -> bool {
    let (code, rest) = line.split_at(line.floor_char_boundary(3));
    code.len() == 3 && code.starts_with(['4', '5']) && code.bytes().all(|b| b.is_ascii_digit()) && rest.contains("... ")
}

fn is_reply_about(line: &str, address: &str) -> bool {
    let about = line.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' ' | '-' | '<'));
    is_transcript(line) && about.starts_with(address)
}

const INTRODUCTIONS: [&str; 67] = [
    "rejected your message to",
    "not a member of this mailing list",
    "delivering your m",
    "error delivering",
    "intended recipient",
    "following address",
    "following recipient",
    "following destination",
    "following person",
    "following user",
    "following e-mail",
    "following email",
    "could not be delivered to",
    "couldn't be delivered to",
    "cannot be delivered to",
    "can't be delivered",
    "not delivered to",
    "unable to deliver",
    "delivery to the following",
    "failed addresses",
    "did not reach",
    "delivery failed to",
    "failed to deliver",
    "fatal errors",
    "delivery problems",
    "addresses failed",
    "address(es) failed",
    "recipients:",
    "recipient(s):",
    "permanent error",
    "undeliverable to",
    "folgende empf",
    "folgenden empf",
    "destinataire",
    "destinatario",
    "empfänger",
    "failed recipient",
    "was not delivered",
    "failure reasons",
    "could not be reached",
    "couldn't be delivered",
    "wasn't delivered to",
    "destinatári",
    "destinatari",
    "geadresseerde",
    "ontvanger",
    "adresat",
    "odbiorc",
    "mottagare",
    "modtager",
    "mottaker",
    "vastaanottaj",
    "příjemc",
    "címzett",
    "alıcı",
    "получател",
    "одержувач",
    "παραλήπτ",
    "адресат",
    "受信者",
    "あて先",
    "宛先",
    "收件人",
    "받는 사람",
    "수신자",
    "folgenden adressen",
    "zugestellt",
];
const REASONS: [&str; 45] = [
    "unknown",
    "not found",
    "no such",
    "does not exist",
    "doesn't exist",
    "doesn't have",
    "invalid",
    "full",
    "quota",
    "disabled",
    "rejected",
    "refused",
    "denied",
    "unavailable",
    "not listed",
    "550",
    "551",
    "552",
    "553",
    "554",
    "5.1.1",
    "cannot be delivered",
    "undeliverable",
    "not known",
    "not exist",
    "failed",
    "inactive",
    "error",
    "illegal",
    "not recognized",
    "unbekannt",
    "inconnu",
    "desconocid",
    "desconhecid",
    "sconosciut",
    "introuvable",
    "gefunden",
    "encontrad",
    "trovat",
    "gevonden",
    "znale",
    "не найден",
    "不存在",
    "見つかり",
    "찾을 수 없",
];

/// Failed addresses if the text names none: those of Exim's header field, else the recipient of the returned mail.
fn from_headers(mail: &ParsedMail) -> Vec<FailedAddress> {
    let named = |text: &str| {
        addresses(text).into_iter().map(|a| FailedAddress { address: a.to_owned(), line: None, points: 0 }).collect::<Vec<_>>()
    };
    if let Some(list) = mail.headers.get("x-failed-recipients") {
        return named(list);
    }
    let original = ["x-original-to", "x-rcpt-to", "to"].iter().find_map(|n| mail.original.get(n));
    original.and_then(address).map(|a| named(&a)).unwrap_or_default()
}
