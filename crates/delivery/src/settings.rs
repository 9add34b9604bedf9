//! What is in force of deliveries.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use posthaste_bounce::Rules;
use posthaste_host::Login;
use posthaste_mail::{ByDomain, Domain, Name, NextHop};
use posthaste_route::Resolver;
use posthaste_smtp::client::{Credentials, Timeouts, TlsConfigs, TlsPolicy};
use posthaste_suppression::SuppressionRules;
use posthaste_verp::Paths;

/// What is in force.
pub struct Settings {
    /// What the relay calls itself where a source has no name of its own.
    pub hostname: Domain,
    /// The addresses that mail leaves from.
    pub sources: BTreeMap<Name, Source>,
    /// How long an address that could not be reached is passed over while there are others.
    pub host_down: Duration,
    /// TLS towards receivers.
    pub tls: TlsConfigs,
    /// What TLS is asked of receivers.
    pub tls_rule: TlsRule,
    /// The same for some domains.
    pub tls_domains: ByDomain<TlsRule>,
    /// Hosts for some domains, in place of what DNS says.
    pub routes: ByDomain<Route>,
    /// How long receivers may take.
    pub timeouts: Timeouts,
    /// Where domains' hosts are looked up.
    pub resolver: Resolver,
    /// What replies mean.
    pub rules: Arc<Rules>,
    /// Where mail comes back to.
    pub paths: Arc<Paths>,
    /// Who is not written to, and for how long.
    pub suppression: SuppressionRules,
}

/// An address that mail leaves from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// None: the kernel chooses.
    pub address: Option<IpAddr>,
    /// What the relay calls itself when it sends from there.
    pub ehlo: Domain,
}

/// What TLS is asked of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsRule {
    /// How much.
    pub policy: TlsPolicy,
    /// Whether plain text will do after a handshake that failed, where TLS is not demanded.
    pub fallback: bool,
}

/// Hosts in place of what DNS says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// In the order to try; not empty.
    pub hosts: Vec<NextHop>,
    /// How the relay logs in there.
    pub auth: Option<Login>,
    /// What TLS is asked, in place of the domain's.
    pub tls: Option<TlsPolicy>,
}

impl Settings {
    /// The address of a source; None where the kernel chooses.
    pub fn source_address(&self, source: &Name) -> Option<IpAddr> {
        self.sources.get(source).and_then(|s| s.address)
    }

    /// What a source calls itself.
    pub fn ehlo(&self, source: &Name) -> String {
        self.sources.get(source).map_or(&self.hostname, |s| &s.ehlo).to_string()
    }

    /// What TLS a domain's mail has.
    pub fn tls_rule(&self, domain: &Domain) -> TlsRule {
        let rule = self.tls_domains.find(domain).copied().unwrap_or(self.tls_rule);
        TlsRule { policy: self.routes.find(domain).and_then(|r| r.tls).unwrap_or(rule.policy), ..rule }
    }

    /// Who we are to a domain's smart host.
    pub fn credentials(&self, domain: &Domain) -> Option<Credentials> {
        let login = self.routes.find(domain)?.auth.as_ref()?;
        Some(Credentials { user: login.user.clone(), password: login.password.reveal().to_owned() })
    }
}
