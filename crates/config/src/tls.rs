//! `[tls]`: encryption towards receivers.

use posthaste_delivery::TlsRule;
use posthaste_host::Roots;
use posthaste_mail::{ByDomain, Pattern};
use posthaste_smtp::client::TlsPolicy;

use super::{
    environment::Environment,
    reader::{Item, Parsed, Table, fault},
    value::{boolean, one_of, string},
};

/// The TLS rules for receivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The rule for domains without one of their own.
    pub rule: TlsRule,
    /// The rule for all other domains.
    pub domains: ByDomain<TlsRule>,
    /// What certificates are verified against where a policy verifies them.
    pub roots: Roots,
}

impl Tls {
    pub(super) fn read(t: &Table<'_>, environment: &Environment<'_>) -> Self {
        let rule = TlsRule { policy: t.get("policy", policy), fallback: t.get("fallback", boolean) };
        let domains = t.table("domain", |t| t.entries(Pattern::new, |t, word| Some(t.entry(word, |t| read_over(t, rule)))));
        Self { rule, domains: domains.into_iter().collect(), roots: t.get("roots", |item| roots(item, environment)) }
    }
}

fn read_over(t: &Table<'_>, general: TlsRule) -> TlsRule {
    TlsRule {
        policy: t.given("policy", policy).unwrap_or(general.policy),
        fallback: t.given("fallback", boolean).unwrap_or(general.fallback),
    }
}

pub(super) fn policy(item: Item<'_>) -> Parsed<TlsPolicy> {
    let words = [
        ("none", TlsPolicy::None),
        ("opportunistic", TlsPolicy::Opportunistic),
        ("require", TlsPolicy::Require),
        ("verify", TlsPolicy::Verify),
    ];
    one_of(&words)(item)
}

pub(super) fn roots(item: Item<'_>, environment: &Environment<'_>) -> Parsed<Roots> {
    if string(item)? == "system" {
        return Ok(Roots::System);
    }
    match environment.text_file(item)? {
        (path, pem) if pem.contains("-----BEGIN CERTIFICATE-----") => Ok(Roots::File { path, pem }),
        (path, _) => fault(item, format!("{} contains no PEM certificate", path.display())),
    }
}
