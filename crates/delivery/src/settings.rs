//! The settings of deliveries.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use posthaste_bounce::Rules;
use posthaste_mail::{ByDomain, Domain, Login, Name, NextHop};
use posthaste_route::Resolver;
use posthaste_smtp::client::{Credentials, PasswordNeeds, Timeouts, TlsConfigs, TlsPolicy};
use posthaste_suppression::SuppressionRules;
use posthaste_verp::ReversePaths;

/// The settings of deliveries.
pub struct Settings {
    /// Rises with each reload: what was looked up under an earlier number holds no longer.
    pub generation: u64,
    /// The relay's name in EHLO for sources without a name of their own.
    pub hostname: Domain,
    /// The addresses that mail leaves from.
    pub sources: BTreeMap<Name, Source>,
    /// Memory for bodies that are read from the spool to be delivered, in bytes.
    pub body_memory: u64,
    /// What becomes of text that not every receiver takes: long lines, and 8-bit text without 8BITMIME.
    pub unfit: Unfit,
    /// Hosts that one attempt offers a message to, at most.
    pub hosts_per_attempt: usize,
    /// How long an address that could not be reached is passed over while there are others.
    pub host_down: Duration,
    /// How long a receiver may be silent while other mail waits for a connection.
    pub patience: Duration,
    /// The TLS configurations for connections to receivers.
    pub tls: TlsConfigs,
    /// The TLS that is demanded of receivers.
    pub tls_rule: TlsRule,
    /// The same for some domains.
    pub tls_domains: ByDomain<TlsRule>,
    /// Hosts for some domains, in place of those in DNS.
    pub routes: ByDomain<StaticRoute>,
    /// The timeouts for receivers' answers.
    pub timeouts: Timeouts,
    /// The resolver for domains' hosts.
    pub resolver: Resolver,
    /// Whether DNS is asked what it publishes about senders: SPF and DMARC.
    pub sender_records: bool,
    /// The rules by which replies are classified.
    pub rules: Arc<Rules>,
    /// The reverse-paths to which mail comes back.
    pub paths: Arc<ReversePaths>,
    /// The rules of the suppression list.
    pub suppression: SuppressionRules,
}

/// What becomes of text that not every receiver takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It comes back, with that reason.
    Bounces,
    /// The same, but it was encoded when it came, as far as it can be.
    IsEncoded,
    /// It is sent all the same.
    IsSent,
}

/// An address that mail leaves from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// None: the kernel chooses.
    pub address: Option<IpAddr>,
    /// The relay's name in EHLO when it sends from there.
    pub ehlo: Domain,
}

/// The TLS that is demanded of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsRule {
    /// Whether TLS is demanded, and which.
    pub policy: TlsPolicy,
    /// Whether mail goes in plain text after a failed handshake, where TLS is not demanded.
    pub fallback: bool,
}

/// Hosts for a domain in place of those in DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticRoute {
    /// In the order to try; not empty.
    pub hosts: Vec<NextHop>,
    /// How the relay logs in there.
    pub auth: Option<Login>,
    /// The TLS that is demanded, in place of the domain's rule.
    pub tls: Option<TlsPolicy>,
    /// Over what connections the password is sent, other than loopback.
    pub password_needs: PasswordNeeds,
}

impl Settings {
    /// The address of a source; None where the kernel chooses.
    pub fn source_address(&self, source: &Name) -> Option<IpAddr> {
        self.sources.get(source).and_then(|s| s.address)
    }

    /// A source's name in EHLO.
    pub fn ehlo(&self, source: &Name) -> String {
        self.ehlo_name(source).to_string()
    }

    /// The same as a domain.
    pub(crate) fn ehlo_name(&self, source: &Name) -> &Domain {
        self.sources.get(source).map_or(&self.hostname, |s| &s.ehlo)
    }

    /// The TLS that is demanded for a domain's mail.
    pub fn tls_rule(&self, domain: &Domain) -> TlsRule {
        let rule = self.tls_domains.find(domain).copied().unwrap_or(self.tls_rule);
        TlsRule { policy: self.routes.find(domain).and_then(|r| r.tls).unwrap_or(rule.policy), ..rule }
    }

    /// The relay's login at a domain's smart host.
    pub fn credentials(&self, domain: &Domain) -> Option<Credentials> {
        let route = self.routes.find(domain)?;
        let login = route.auth.as_ref()?;
        Some(Credentials { user: login.user.clone(), password: login.password.reveal().to_owned(), needs: route.password_needs })
    }
}
