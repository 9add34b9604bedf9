//! Mail for this host's own name: what cron and other programs write to root, and what comes for `<postmaster>`, unless an operator names somebody
//! who reads it. A relay keeps no mailboxes, and a notice about such mail would go the same way: it waits, and an alarm says so.

use std::sync::Arc;

use posthaste_bounce::Verdict;
use posthaste_journal::{Finding, Journal, Part};
use posthaste_mail::{Action, Domain, Failure, LocalCause, Scope};
use posthaste_queue::{Site, Unroutable};

/// The alarm about it.
const RULE: &str = "own_name";

/// What an operator does about it.
pub const REMEDY: &str = "Name who reads it: root and postmaster in /etc/aliases (what `posthaste sendmail` takes), postmaster in the configuration \
    (mail for <postmaster>). What waits goes by a [route] for this name: set one and run `posthaste reload`";

/// Whether mail for a name leads nowhere, as far as DNS knows.
fn leads_nowhere(failure: &Failure) -> bool {
    use LocalCause::{Loop, NoHosts, NoSuchDomain, NullMx};
    matches!(failure, Failure::Local { cause: Loop | NoHosts | NoSuchDomain | NullMx, .. })
}

/// The verdict on a domain without a route: mail for this host's own name waits, and is tried again.
pub(crate) fn verdict(verdict: Verdict, failure: &Failure, is_ours: bool) -> Verdict {
    if !is_ours || !leads_nowhere(failure) {
        return verdict;
    }
    let why = "the domain is this host's own name, and nobody is named who reads its mail: it waits for an operator";
    Verdict { permanent: false, scope: Scope::Local, action: Action::FixConfiguration, why: why.into(), ..verdict }
}

/// Raises the alarm, or ends it.
pub(crate) fn say(journal: &Journal, hostname: &Domain, domain: &Domain, answer: &Result<Arc<Site>, Arc<Unroutable>>) {
    if domain != hostname {
        return;
    }
    match answer {
        Ok(_) => journal.mended(Part::Delivery, RULE, domain.as_str(), || format!("mail for {domain} has somewhere to go")),
        Err(why) if leads_nowhere(&why.failure) => {
            let what = format!("mail for {domain}, this host's own name, leads nowhere, and waits until it is too old ({})", why.failure);
            journal.raise(Finding { rule: RULE, key: domain.to_string(), part: Some(Part::Delivery), what, remedy: REMEDY.into() });
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use posthaste_mail::Stage;

    use super::*;

    #[test]
    fn mail_for_our_own_name_waits_and_mail_for_others_does_not() {
        for (cause, nowhere) in [
            (LocalCause::Loop, true),
            (LocalCause::NoSuchDomain, true),
            (LocalCause::NoHosts, true),
            (LocalCause::NullMx, true),
            (LocalCause::DnsUnavailable, false),
        ] {
            let failure = Failure::Local { stage: Stage::Dns, cause, detail: String::new() };
            let usual = Verdict::on_local(cause);
            assert_eq!(verdict(usual.clone(), &failure, false), usual, "{cause}");
            assert!(!verdict(usual, &failure, true).permanent, "{cause}");
            assert_eq!(leads_nowhere(&failure), nowhere, "{cause}");
        }
    }
}
