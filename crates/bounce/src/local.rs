//! Failures that no receiver reported: DNS, connections, TLS.

use std::sync::{Arc, OnceLock};

use posthaste_mail::{Action, Class, LocalCause, Scope};

use crate::verdict::{Verdict, usual_action, usual_scope};

impl Verdict {
    /// The verdict on a failure that no receiver reported. No rules have a part in it; the confidence is 1, as the relay saw the failure
    /// itself.
    pub fn on_local(cause: LocalCause) -> Self {
        let (class, permanent, why) = meaning(cause);
        let (scope, action) = match cause {
            LocalCause::SourceUnavailable | LocalCause::Loop => (Scope::Local, Action::FixConfiguration),
            LocalCause::RelayUnable | LocalCause::LocalError | LocalCause::Shutdown => (Scope::Local, Action::Retry),
            _ => (usual_scope(class), usual_action(class, permanent, 1.0)),
        };
        Self { class, scope, action, permanent, confidence: 1.0, rule: rule_id(cause), why: why.into(), link: None }
    }
}

fn meaning(cause: LocalCause) -> (Class, bool, &'static str) {
    match cause {
        LocalCause::NoSuchDomain => (Class::BadDomain, true, "the recipient's domain does not exist"),
        LocalCause::NullMx => (Class::BadDomain, true, "the recipient's domain declares that it accepts no mail (RFC 7505)"),
        LocalCause::NoHosts => (Class::BadDomain, true, "the recipient's domain has neither MX nor address records"),
        LocalCause::DnsUnavailable => (Class::DnsFailure, false, "DNS gave no usable answer"),
        LocalCause::ConnectionRefused => (Class::ConnectionFailure, false, "nothing listens on the SMTP port of the receiver's host"),
        LocalCause::SessionRefused => {
            (Class::ConnectionFailure, false, "the receiver's host refused the session that was opened just before")
        }
        LocalCause::ConnectTimeout => (Class::ConnectionFailure, false, "the receiver's host did not answer in time"),
        LocalCause::Unreachable => (Class::ConnectionFailure, false, "no route to the receiver's host"),
        LocalCause::SourceUnavailable => (Class::ConnectionFailure, false, "the source address cannot be used on this host"),
        LocalCause::ConnectionLost => (Class::ConnectionFailure, false, "the receiver closed the connection"),
        LocalCause::Timeout => (Class::ConnectionFailure, false, "the receiver did not reply in time"),
        LocalCause::NotSmtp => (Class::ProtocolError, false, "the host that answered does not speak SMTP"),
        LocalCause::TlsRequired => (Class::TlsFailure, false, "TLS is required and the receiver does not offer it"),
        LocalCause::TlsFailed => (Class::TlsFailure, false, "the TLS handshake or the check of the certificate failed"),
        LocalCause::Loop => (Class::DnsFailure, true, "the hosts of the domain are this relay itself"),
        LocalCause::NoBudget => (Class::RateLimited, false, "no source that may send the message had budget left at the provider"),
        LocalCause::HeldTooLong => (Class::TransientOther, false, "the guard held the message, and nobody released it in time"),
        LocalCause::TooLate => (Class::TransientOther, false, "the time within which the sender wanted the message delivered has passed"),
        LocalCause::RelayUnable => {
            (Class::TransientOther, false, "this relay lacked what it needs to try: its disk, memory or descriptors")
        }
        LocalCause::LocalError => (Class::TransientOther, false, "this relay had an internal problem"),
        LocalCause::Shutdown => (Class::TransientOther, false, "this relay was stopping"),
    }
}

fn rule_id(cause: LocalCause) -> Arc<str> {
    static IDS: OnceLock<Vec<Arc<str>>> = OnceLock::new();
    let ids = IDS.get_or_init(|| LocalCause::ALL.iter().map(|c| format!("local.{c}").into()).collect());
    let at = LocalCause::ALL.iter().position(|c| *c == cause).unwrap_or(0);
    Arc::clone(&ids[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_local_cause_names_itself_and_only_dns_facts_are_final() {
        for cause in LocalCause::ALL {
            let verdict = Verdict::on_local(*cause);
            assert_eq!(&*verdict.rule, format!("local.{cause}"));
            let about_dns = matches!(cause, LocalCause::NoSuchDomain | LocalCause::NullMx | LocalCause::NoHosts | LocalCause::Loop);
            assert_eq!(verdict.permanent, about_dns, "{cause}");
        }
    }
}
