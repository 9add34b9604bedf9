//! Notices of late bounces: the application is told as of any other bounce, by a notice to the reverse-path that it gave.

use jiff::Timestamp;
use posthaste_dsn::{Ending, Notice, NoticeRecipient, Original};
use posthaste_mail::{Address, Class, Failure, MessageId, Reply, Stage};
use posthaste_smtp::server::Refused;
use posthaste_submission::Intake;

use crate::{found::Match, settings::Settings};

/// Stores a notice in the spool; it is durable when this returns. Does nothing if notices are off or there is no sender.
pub(super) async fn tell_sender(intake: &Intake, settings: &Settings, about: &Match, now: Timestamp) -> Result<(), Refused> {
    let facts = &about.sent.facts;
    let Some(to) = Address::international(&facts.from).ok().filter(|_| settings.notice.send) else { return Ok(()) };
    let recipients = [NoticeRecipient {
        rcpt: about.sent.address.clone(),
        orcpt: None,
        failure: Some(failure(about)),
        class: about.report.verdict.as_ref().map_or(Class::TransientOther, |v| v.class),
        mx_host: about.report.reporting_mta.as_deref().map(Into::into),
        attempts: 1,
        earlier: None,
        last_attempt: None,
        retry_until: None,
        ending: Ending::Bounced,
    }];
    let id = MessageId::new(now, rand::random());
    let (hostname, from) = (settings.hostname.as_str(), &settings.notice.from);
    let message_id = facts.message_id.as_deref();
    let original = Original {
        id: facts.message,
        reverse_path: &to,
        arrived: about.sent.accepted,
        message_id,
        envid: None,
        deliver_by: None,
        whole: None,
        header: b"",
    };
    let text = Notice { id, now, hostname, from, original, recipients: &recipients }.to_message();
    intake.take_notice(id, facts, text, &to).await
}

/// The report's diagnostic text as the reply that it quotes; 554 if it quotes no code.
fn failure(about: &Match) -> Failure {
    let words = about.report.diagnostic.as_deref().unwrap_or("a bounce message came back, without a reason");
    let code = about.report.smtp_code.filter(|code| (400..600).contains(code));
    // The code may stand in the words already.
    let text = code.and_then(|code| words.strip_prefix(&code.to_string())).map_or(words, str::trim_start);
    Failure::Refused { stage: Stage::Dot, reply: Reply::new(code.unwrap_or(554), text) }
}
