//! Smart hosts that refuse the relay's login. That is a matter of the relay's own configuration: their mail waits, and an operator is told.

use std::sync::Arc;

use posthaste_bounce::Verdict;
use posthaste_journal::{Finding, Journal, Part};
use posthaste_mail::{Action, Class, Failure, LocalCause, Reply, Scope, Stage};
use posthaste_queue::AttemptResult;

/// The rule that a verdict on a refused login names, and the alarm about it.
pub const RULE: &str = "route.login";

/// What to do about it.
pub const REMEDY: &str = "Correct user and password_file of its [route], then run `posthaste reload` and `posthaste queue retry --all`";

/// What a failure at a smart host says of the login: a refusal is an alarm, until it is accepted.
pub(crate) fn note_failure(journal: &Journal, host: &Arc<str>, failure: &Failure) {
    if is_refused(failure) {
        let what = format!("the smart host {host} refuses the relay's login ({failure}): its mail waits");
        let (rule, key) = (RULE, host.to_string());
        journal.raise(Finding { rule, key, part: Some(Part::Delivery), what, remedy: REMEDY.into() });
    }
}

/// A smart host accepts the login, or takes mail: its alarm is over, if there is one.
pub(crate) fn note_success(journal: &Journal, host: &Arc<str>) {
    journal.mended(Part::Delivery, RULE, host, || format!("the smart host {host} takes the relay's mail again"));
}

/// What the results of an open session say of the login.
pub(crate) fn note_results<'r>(journal: &Journal, host: &Arc<str>, results: impl Iterator<Item = &'r AttemptResult>) {
    for said in results {
        match said {
            AttemptResult::Delivered(_) => note_success(journal, host),
            AttemptResult::Failed(failure, _) => note_failure(journal, host, failure),
            AttemptResult::Suppressed(_) | AttemptResult::Unknown(..) => {}
        }
    }
}

/// Whether a smart host refused the relay's login, or wants one (RFC 4954 §6; some say so only at MAIL, at RCPT or after the message).
pub fn is_refused(failure: &Failure) -> bool {
    match failure {
        // A host that closes may be busy; X.7 says that it is about the login (too many that failed, for example).
        Failure::Refused { stage: Stage::Auth, reply } => reply.code != 421 || reply.enhanced.is_some_and(|code| code.subject == 7),
        Failure::Refused { stage: Stage::Banner | Stage::Ehlo | Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot, reply } => {
            wants_login(reply)
        }
        Failure::Local { stage: Stage::Auth, cause: LocalCause::LocalError, .. } => true,
        _ => false,
    }
}

fn wants_login(reply: &Reply) -> bool {
    // RFC 4954 §6, RFC 5248 §2: X.7.8 credentials, X.7.9 mechanism, X.7.11 encryption; Exchange has X.7.57.
    let code = |code: posthaste_mail::EnhancedCode| code.class != 2 && code.subject == 7 && matches!(code.detail, 8 | 9 | 11 | 57);
    let text = reply.text.to_ascii_lowercase();
    let authentication =
        text.contains("authenticat") && !["spf", "dkim", "dmarc", "unauthenticated email"].iter().any(|w| text.contains(w));
    let wanted = ["required", "not authenticated", "must ", "first", "need", "please authenticate"].iter().any(|word| text.contains(word));
    match reply.code {
        530 | 534 | 535 | 538 => true,
        454 => authentication,
        _ => reply.enhanced.is_some_and(code) || (reply.code >= 500 && authentication && wanted),
    }
}

/// The verdict on it.
pub fn verdict() -> Verdict {
    Verdict {
        class: Class::PolicyAuth,
        scope: Scope::Local,
        action: Action::FixConfiguration,
        permanent: false,
        confidence: 1.0,
        rule: RULE.into(),
        why: "the smart host does not accept the relay's login: correct user and password_file of its [route], then reload".into(),
        link: None,
    }
}

/// The failure, if a smart host refused all recipients of a job for its login.
pub(crate) fn all_refused<'r>(mut results: impl Iterator<Item = &'r AttemptResult>) -> Option<(Failure, Verdict)> {
    let refused = |said: &AttemptResult| match said {
        AttemptResult::Failed(failure, verdict) if *verdict.rule == *RULE => Some((failure.clone(), verdict.clone())),
        _ => None,
    };
    let first = refused(results.next()?)?;
    results.all(|said| refused(said).is_some()).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(stage: Stage, code: u16, text: &str) -> bool {
        is_refused(&Failure::Refused { stage, reply: Reply::new(code, text) })
    }

    #[test]
    fn refusals_of_the_login_are_told_from_refusals_of_mail() {
        for (stage, code, text) in [
            (Stage::Auth, 535, "5.7.8 authentication failed"),
            (Stage::Auth, 454, "4.7.0 temporary authentication failure"),
            (Stage::Auth, 534, "5.7.9 please log in with your web browser"),
            (Stage::Auth, 538, "5.7.11 encryption required"),
            (Stage::Auth, 550, "account suspended"),
            (Stage::Mail, 530, "5.7.0 log in first"),
            (Stage::Mail, 530, "5.7.57 Client not authenticated to send mail"),
            (Stage::Mail, 454, "4.7.0 authentication is not possible now"),
            (Stage::Rcpt, 550, "5.7.1 Authentication required"),
            (Stage::Rcpt, 553, "sorry, you must authenticate first"),
            (Stage::Auth, 421, "4.7.0 too many failed logins"),
            (Stage::Banner, 535, "5.7.8 no"),
            (Stage::Dot, 535, "5.7.8 your password has expired"),
            (Stage::Dot, 530, "5.7.0 log in first"),
            (Stage::Data, 454, "4.7.0 authentication failed"),
        ] {
            assert!(refused(stage, code, text), "{code} {text}");
        }
        for (stage, code, text) in [
            (Stage::Rcpt, 550, "5.1.1 no such user"),
            (Stage::Dot, 550, "5.7.26 unauthenticated email from example.com is not accepted: SPF or DKIM is required"),
            (Stage::Rcpt, 550, "5.7.26 SPF authentication is required"),
            (Stage::Starttls, 454, "4.7.0 TLS not available"),
            (Stage::Auth, 421, "4.3.2 closing"),
            (Stage::Mail, 451, "4.3.0 authentication required"),
        ] {
            assert!(!refused(stage, code, text), "{code} {text}");
        }
        assert!(!verdict().permanent);
    }
}
