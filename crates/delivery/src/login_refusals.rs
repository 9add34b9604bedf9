//! What a smart host's refusal says about the login of its route, and what an operator does about it.

use posthaste_bounce::{Context, Rules, Verdict};
use posthaste_mail::{Action, Class, Failure, LocalCause, Reply, Scope, Stage};
use posthaste_queue::{LOGIN_RULE, Site};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// The user or the password.
    Password,
    /// The host takes no mail without a login, or without another one.
    NoLogin,
    /// The host takes no login, or no mail, in plain text.
    PlainText,
    /// The host and the relay have no way to log in that both know.
    Mechanism,
    /// The host takes no logins for the moment.
    Moment,
    /// The host answers in a way that has nothing to do with the login.
    OutOfOrder,
    /// It does not relay for this relay.
    Denied,
    /// It does not let the account send: locked, unpaid, unknown.
    Account,
}

/// Whether a smart host refused the relay's login, or wants one (RFC 4954 §6; some say so only at MAIL, at RCPT or after the message).
pub fn is_refused(failure: &Failure) -> bool {
    match failure {
        // A host that closes may be busy; X.7 says that it is about the login (too many that failed, for example).
        Failure::Refused { stage: Stage::Auth, reply } => reply.code != 421 || reply.enhanced.is_some_and(|code| code.subject == 7),
        Failure::Refused { stage: Stage::Banner | Stage::Ehlo | Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot, reply } => {
            wants_login(reply) || is_about_account(failure)
        }
        Failure::Local { stage: Stage::Auth, cause: LocalCause::LocalError, .. } => true,
        _ => false,
    }
}

/// Whether a smart host does not let the account send that the relay uses there. It may say so at any command, and with any code.
fn is_about_account(failure: &Failure) -> bool {
    Rules::shipped().classify(failure, &Context::default()).is_about_our_account()
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

/// Whether a smart host does not relay for the relay: that is about its login, or the login that its route lacks.
pub(crate) fn is_denied(failure: &Failure, site: &Site, verdict: &Verdict) -> bool {
    let of_mail = matches!(failure, Failure::Refused { stage: Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot, .. });
    site.fixed && of_mail && verdict.class == Class::RelayingDenied
}

/// The verdict on such a refusal. `denied`: the host does not relay for this relay.
pub fn verdict(failure: &Failure, denied: bool) -> Verdict {
    Verdict {
        class: if denied { Class::RelayingDenied } else { Class::PolicyAuth },
        scope: Scope::Local,
        action: Action::FixConfiguration,
        permanent: false,
        confidence: 1.0,
        rule: LOGIN_RULE.into(),
        why: Trouble::of(failure, denied).why().into(),
        link: None,
    }
}

/// Whether such a refusal is about the account that the relay sends by, not about how it logs in.
pub(crate) fn is_of_account(failure: &Failure, verdict: &Verdict) -> bool {
    Trouble::of(failure, verdict.class == Class::RelayingDenied) == Trouble::Account
}

/// What to do about it.
pub fn remedy(failure: &Failure, denied: bool) -> &'static str {
    Trouble::of(failure, denied).remedy()
}

impl Trouble {
    fn of(failure: &Failure, denied: bool) -> Self {
        let Some((stage, reply)) = said(failure) else { return Self::Mechanism };
        let text = reply.text.to_ascii_lowercase();
        let x7 = |details: &[u16]| reply.enhanced.is_some_and(|code| code.subject == 7 && details.contains(&code.detail));
        if denied {
            return Self::Denied;
        }
        // RFC 3207 §4, RFC 4954 §6, RFC 5248 §2.4.
        let plain_text =
            matches!(reply.code, 523 | 538) || x7(&[10, 11]) || ["starttls", "tls", "encrypt"].iter().any(|word| text.contains(word));
        match stage {
            _ if plain_text => Self::PlainText,
            Stage::Auth if reply.code == 504 || x7(&[4, 9]) => Self::Mechanism,
            Stage::Auth if matches!(reply.code, 500..=503) => Self::OutOfOrder,
            Stage::Banner | Stage::Ehlo | Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot if !wants_login(&reply) => Self::Account,
            // 432 asks for another password (RFC 4954 §6).
            _ if reply.code / 100 == 4 && reply.code != 432 => Self::Moment,
            Stage::Auth => Self::Password,
            _ if matches!(reply.code, 535) => Self::Password,
            _ => Self::NoLogin,
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Password => {
                "the smart host does not accept the relay's login: correct user and password_file of its [route], then reload"
            }
            Self::NoLogin => {
                "the smart host takes no mail without a login: add user and password_file to its [route], or correct them, then reload"
            }
            Self::PlainText => "the smart host takes no mail without encryption: have its [route] use TLS, then reload",
            Self::Mechanism => "the smart host and the relay share no way to log in: ask its operator for AUTH PLAIN or LOGIN",
            Self::Moment => "the smart host takes no logins for the moment: it is tried again",
            Self::OutOfOrder => {
                "the smart host answers the login as no server should: ask its operator, or use another host in its [route]"
            }
            Self::Denied => {
                "the smart host does not relay for this relay: have its operator allow that, or correct hosts, user and password_file of its \
                 [route], then reload"
            }
            Self::Account => {
                "the smart host does not let the relay's account send: have its operator say why and let it, or correct user and \
                 password_file of its [route], then reload"
            }
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Password => "Correct user and password_file of its [route], then run `posthaste reload`: what waits goes at once",
            Self::NoLogin => {
                "Add user and password_file to its [route], or correct them, then run `posthaste reload`: what waits goes at once"
            }
            Self::PlainText => {
                "Set tls = \"require\" in its [route], with the port at which the host offers STARTTLS, then run `posthaste reload`: what waits \
                 goes at once"
            }
            Self::Mechanism => {
                "Ask its operator to offer AUTH PLAIN or LOGIN to this relay, then run `posthaste reload`: what waits goes at once"
            }
            Self::Moment => "Wait: it is tried again. If it lasts, ask its operator, or correct user and password_file of its [route]",
            Self::OutOfOrder => {
                "Ask its operator, or name another host in its [route], then run `posthaste reload`: what waits goes at once"
            }
            Self::Denied => {
                "Have its operator allow that, or correct hosts, user and password_file of its [route], then run `posthaste reload`: what \
                 waits goes at once"
            }
            Self::Account => {
                "Ask its operator what is wrong with the account (locked, unpaid, not confirmed), or correct user and password_file of its \
                 [route], then run `posthaste reload`: what waits goes at once"
            }
        }
    }
}

/// What a host said, also where that is told of mail that was not tried for it.
fn said(failure: &Failure) -> Option<(Stage, Reply)> {
    match failure {
        Failure::Refused { stage, reply } => Some((*stage, reply.clone())),
        Failure::Local { stage, cause: LocalCause::SessionRefused, detail } => {
            let (_, said) = detail.split_once(": ")?;
            Some((*stage, Reply::new(said.get(..3)?.parse().ok()?, said.get(4..).unwrap_or_default())))
        }
        Failure::Local { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_the_remedy_for_what_is_wrong() {
        let trouble = |stage, code, text| Trouble::of(&Failure::Refused { stage, reply: Reply::new(code, text) }, false);
        for (expected, stage, code, text) in [
            (Trouble::Password, Stage::Auth, 535, "5.7.8 authentication failed"),
            (Trouble::Password, Stage::Auth, 550, "5.7.1 account suspended"),
            (Trouble::Password, Stage::Auth, 525, "5.7.13 User Account Disabled"),
            (Trouble::Password, Stage::Auth, 432, "4.7.12 A password transition is needed"),
            (Trouble::NoLogin, Stage::Mail, 530, "5.7.1 Authentication required"),
            (Trouble::NoLogin, Stage::Rcpt, 550, "5.7.1 Client was not authenticated"),
            (Trouble::PlainText, Stage::Mail, 530, "5.7.0 Must issue a STARTTLS command first"),
            (Trouble::PlainText, Stage::Auth, 538, "5.7.11 Encryption required for requested authentication mechanism"),
            (Trouble::PlainText, Stage::Auth, 523, "5.7.10 Encryption Needed"),
            (Trouble::Mechanism, Stage::Auth, 504, "5.7.4 mechanism not supported"),
            (Trouble::Mechanism, Stage::Auth, 534, "5.7.9 Authentication mechanism is too weak"),
            (Trouble::OutOfOrder, Stage::Auth, 503, "5.5.1 already authenticated"),
            (Trouble::Moment, Stage::Auth, 421, "4.7.0 too many login attempts"),
            (Trouble::Moment, Stage::Auth, 454, "4.7.0 Temporary authentication failure"),
            (Trouble::Account, Stage::Rcpt, 550, "5.7.1 Ihr Konto ist gesperrt"),
            (Trouble::Account, Stage::Dot, 550, "5.2.1 Votre compte est suspendu"),
        ] {
            assert_eq!(trouble(stage, code, text), expected, "{code} {text}");
        }
        let none = Failure::Local { stage: Stage::Auth, cause: LocalCause::LocalError, detail: "no mechanism".into() };
        assert_eq!(Trouble::of(&none, false), Trouble::Mechanism);
        let detail = "not tried, the hosts just refused the relay's login: 535 5.7.8 wrong".into();
        let passed_over = Failure::Local { stage: Stage::Auth, cause: LocalCause::SessionRefused, detail };
        assert_eq!(Trouble::of(&passed_over, false), Trouble::Password);
        assert!(!verdict(&none, false).permanent && !verdict(&none, true).permanent);
    }

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
            (Stage::Rcpt, 550, "5.7.1 Ihr Konto ist gesperrt"),
            (Stage::Rcpt, 550, "Your account has been suspended"),
            (Stage::Rcpt, 550, "Requested action not taken: mailbox unavailable\nTwoje konto zosta\u{142}o zablokowane"),
            (Stage::Mail, 550, "5.1.1 You are not a known user of this system"),
            (Stage::Dot, 554, "Su cuenta ha sido deshabilitada"),
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
            (Stage::Rcpt, 550, "5.2.1 Das Konto ist gesperrt"),
            (Stage::Rcpt, 550, "5.2.1 The recipient's account is suspended"),
            (Stage::Rcpt, 550, "Unknown user in MAIL FROM"),
            (Stage::Rcpt, 550, "Outbound limit for user shop hit"),
        ] {
            assert!(!refused(stage, code, text), "{code} {text}");
        }
    }
}
