//! Finds the route of a domain: a static route, an address literal, or DNS.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use posthaste_mail::{Domain, LocalCause};
use rand::{SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

use crate::{
    Asker, DnsUnavailable, Host, Providers, ResolverError, ResolverOptions, Route, RouteFailure, StaticRoutes, Turns,
    address::{is_private, is_reachable},
    answers::DnsAnswer,
    dns::Dns,
    order::{Exchanges, Mx, exchanges},
    route::key_of,
    statics::{Target, TargetHost},
};

/// Finds routes. Clones share the cache of answers.
#[derive(Clone)]
pub struct Resolver {
    dns: Dns,
    options: Arc<ResolverOptions>,
    routes: Arc<StaticRoutes>,
    providers: Arc<Providers>,
    random: Arc<Mutex<StdRng>>,
    /// For questions that nobody's mail waits for.
    own: Asker,
}

/// How many questions may be asked at once that nobody's mail waits for, besides those of slow servers.
const OWN_QUESTIONS: usize = 32;

/// The most names of an address that are looked up. Whoever holds the address decides how many it has.
const NAMES_MAX: usize = 4;

/// A host to look up, as known before DNS is queried.
struct Candidate {
    name: Arc<str>,
    address: Option<IpAddr>,
    port: u16,
    preference: u16,
    /// Named by the operator, so it may have a private address.
    own: bool,
}

/// The hosts of a domain, to be looked up.
struct Candidates {
    hosts: Vec<Candidate>,
    /// Identifies the hosts.
    key: Arc<str>,
    /// How long the answer that named them may be kept.
    ttl: Duration,
    /// Whether these are all hosts of the domain; those beyond `max_hosts` are not looked up.
    all: bool,
    /// What it means if none has an address.
    none: String,
}

/// The result of looking up a list of candidates.
#[derive(Default)]
struct LookedUp {
    hosts: Vec<Host>,
    ttl: Option<Duration>,
    /// What is wrong with the other hosts: "host: reason".
    troubles: Vec<String>,
    /// The least preference of the hosts whose look-up may succeed later.
    open: Option<u16>,
    /// The least preference at which a host is this relay itself.
    ourselves: Option<u16>,
}

impl Resolver {
    /// Sets up DNS without a query. It is an error if `options.nameservers` is empty and /etc/resolv.conf lists no name server.
    pub fn new(options: ResolverOptions, routes: StaticRoutes) -> Result<Self, ResolverError> {
        let random = options.seed.map_or_else(rand::make_rng, StdRng::seed_from_u64);
        let options = Arc::new(options);
        let dns = Dns::new(Arc::clone(&options))?;
        let providers = Providers::shipped();
        let own = Turns::new(OWN_QUESTIONS).asker(0, false);
        Ok(Self { dns, options, routes: Arc::new(routes), providers, random: Arc::new(Mutex::new(random)), own })
    }

    /// The same resolver with this table of providers in place of the shipped one.
    pub fn with_providers(self, providers: Arc<Providers>) -> Self {
        Self { providers, ..self }
    }

    /// The route of a domain's mail, for somebody who wants to know it.
    pub async fn route(&self, domain: &Domain) -> Result<Route, RouteFailure> {
        self.route_for(&self.own, domain).await
    }

    /// The route of a domain's mail. Takes at most two rounds of queries (MX, then A and AAAA of all hosts at once), each limited to twice
    /// `timeout` × `attempts`, or less if others need their place; queries wait for the asker's turn first.
    pub async fn route_for(&self, asker: &Asker, domain: &Domain) -> Result<Route, RouteFailure> {
        if let Some(targets) = self.routes.find(domain) {
            return Box::pin(self.to_targets(asker, targets)).await;
        }
        match domain.literal() {
            Some(ip) => self.to_literal(domain, ip),
            None => self.by_mx(asker, domain).await,
        }
    }

    /// The TXT records of a name, the strings of each joined. Empty if DNS says that there are none.
    ///
    /// # Errors
    /// DNS gave no answer.
    pub async fn txt(&self, name: &str) -> Result<Vec<String>, DnsUnavailable> {
        match self.dns.txt(name, &self.own).await {
            DnsAnswer::Found { records, .. } => Ok(records),
            DnsAnswer::NoData { .. } | DnsAnswer::NoSuchName { .. } => Ok(Vec::new()),
            DnsAnswer::Unavailable { why } => Err(DnsUnavailable(why)),
        }
    }

    /// The names of a host that its reverse look-up gives and that lead back to its address (RFC 8601 §2.7.3), in lower case; at most
    /// four are tried. Empty if it has none.
    ///
    /// # Errors
    /// DNS gave no answer, and no name was confirmed.
    pub async fn names_of(&self, ip: IpAddr) -> Result<Vec<String>, DnsUnavailable> {
        let named = match self.dns.pointers(ip, &self.own).await {
            DnsAnswer::Found { records, .. } => records,
            DnsAnswer::NoData { .. } | DnsAnswer::NoSuchName { .. } => return Ok(Vec::new()),
            DnsAnswer::Unavailable { why } => return Err(DnsUnavailable(why)),
        };
        let (mut confirmed, mut open) = (Vec::new(), None);
        for name in named.into_iter().take(NAMES_MAX).map(|name| name.to_ascii_lowercase()) {
            match self.dns.addresses_like(&name, ip, &self.own).await {
                DnsAnswer::Found { records, .. } if records.contains(&ip) => confirmed.push(name),
                DnsAnswer::Unavailable { why } => open = Some(why),
                _ => {}
            }
        }
        match open {
            Some(why) if confirmed.is_empty() => Err(DnsUnavailable(why)),
            _ => Ok(confirmed),
        }
    }

    /// What verifies SPF, over this resolver.
    pub(crate) fn verifier(&self) -> mail_auth::MessageAuthenticator {
        self.dns.verifier()
    }

    /// Who asks questions that nobody's mail waits for.
    pub(crate) fn own_asker(&self) -> &Asker {
        &self.own
    }

    /// Whether private addresses are taken for addresses of mail hosts: in tests and rehearsals.
    pub(crate) fn takes_private_addresses(&self) -> bool {
        self.options.private_addresses
    }

    /// The table of providers.
    pub fn providers(&self) -> &Providers {
        &self.providers
    }

    async fn by_mx(&self, asker: &Asker, domain: &Domain) -> Result<Route, RouteFailure> {
        let (records, ttl) = match self.dns.mx(domain.as_str(), asker).await {
            DnsAnswer::Found { records, ttl, .. } => (records, ttl),
            // Steps to come are made when they come: of many look-ups, most wait for the first answer.
            DnsAnswer::NoData { ttl } => return Box::pin(self.by_address(asker, domain, ttl)).await,
            DnsAnswer::NoSuchName { ttl } => return Err(no_such(domain, ttl)),
            DnsAnswer::Unavailable { why } => return Err(self.unavailable(format!("MX of {domain}: {why}"))),
        };
        let drawn = exchanges(&records, &mut *self.random.lock().unwrap_or_else(PoisonError::into_inner));
        let hosts = match drawn {
            Exchanges::Null => {
                let detail = format!("{domain} takes no mail (null MX)");
                return Err(RouteFailure::new(LocalCause::NullMx, detail, ttl));
            }
            Exchanges::Hosts(hosts) => hosts,
        };
        if hosts.is_empty() {
            let detail = format!("no MX record of {domain} names a possible host");
            return Err(RouteFailure::new(LocalCause::NoHosts, detail, ttl));
        }
        let hosts = self.before_ourselves(hosts).map_err(|own| leads_back(domain, &own, ttl))?;
        let key = key_of(hosts.iter().map(|mx| key_part(&mx.exchange, self.options.port)).collect());
        let most = self.options.max_hosts.max(1);
        let (candidates, all) = (hosts.iter().take(most).map(|mx| self.candidate(mx)).collect(), hosts.len() <= most);
        let none = match hosts.len() > most {
            true => format!("none of the best {most} hosts of {domain} has a usable address"),
            false => format!("no host of {domain} has a usable address"),
        };
        Box::pin(self.to_candidates(asker, domain, Candidates { hosts: candidates, key, ttl, all, none })).await
    }

    /// RFC 5321 §5.1: without an MX record the domain itself is the host, with preference 0.
    async fn by_address(&self, asker: &Asker, domain: &Domain, ttl: Duration) -> Result<Route, RouteFailure> {
        if self.options.ourselves.is_named(domain.as_str()) {
            return Err(leads_back(domain, domain.as_str(), ttl));
        }
        let itself = Mx { preference: 0, exchange: domain.as_str().to_owned() };
        let key = key_of(vec![key_part(domain.as_str(), self.options.port)]);
        let none = format!("{domain} has neither MX nor a usable address");
        let hosts = vec![self.candidate(&itself)];
        self.to_candidates(asker, domain, Candidates { hosts, key, ttl, all: true, none }).await
    }

    /// RFC 5321 §5.1 does not say what it means if no host has an address. If DNS says so for all hosts, waiting does not help. A host
    /// whose look-up failed may be found later, and so may hosts beyond `max_hosts`, which were not looked up.
    async fn to_candidates(&self, asker: &Asker, domain: &Domain, candidates: Candidates) -> Result<Route, RouteFailure> {
        let Candidates { hosts, key, ttl, all, none } = candidates;
        let mut found = self.look_up(asker, hosts).await;
        if let Some(ours) = found.ourselves {
            // RFC 5321 §5.1: this relay's own records and all that are no better are discarded.
            found.hosts.retain(|host| host.preference < ours);
        }
        if !found.hosts.is_empty() {
            return Ok(self.route_to(found, key, Some(domain), ttl));
        }
        // A better host whose look-up failed may be found later; worse ones do not count.
        if found.ourselves.is_some_and(|ours| found.open.is_none_or(|open| open >= ours)) {
            return Err(leads_back(domain, &found.troubles.join("; "), found.ttl.map_or(ttl, |own| own.min(ttl))));
        }
        let detail = format!("{none} ({})", found.troubles.join("; "));
        Err(match all && found.open.is_none() {
            true => RouteFailure::new(LocalCause::NoHosts, detail, found.ttl.map_or(ttl, |own| own.min(ttl))),
            false => self.unavailable(detail),
        })
    }

    /// The route to the operator's hosts. The operator can correct whatever is wrong with them, so no failure is permanent.
    async fn to_targets(&self, asker: &Asker, targets: &[Target]) -> Result<Route, RouteFailure> {
        let port = |target: &Target| target.port.unwrap_or(self.options.port);
        let key = key_of(targets.iter().map(|target| key_part(&target.name(), port(target))).collect());
        let candidates = targets.iter().zip(0..).map(|(target, place)| Candidate {
            name: target.name(),
            address: match target.host {
                TargetHost::Address(ip) => Some(ip),
                TargetHost::Named(_) => None,
            },
            port: port(target),
            preference: place,
            own: true,
        });
        let found = self.look_up(asker, candidates.collect()).await;
        if found.hosts.is_empty() {
            return Err(self.unavailable(format!("no host of the static route is usable ({})", found.troubles.join("; "))));
        }
        Ok(self.route_to(found, key, None, self.options.max_ttl))
    }

    /// RFC 5321 §4.1.3: mail for an address literal goes to that address.
    fn to_literal(&self, domain: &Domain, ip: IpAddr) -> Result<Route, RouteFailure> {
        if !self.is_usable(ip) {
            let detail = format!("mail cannot be sent to the address {ip}{}", self.why_unusable(&[ip]));
            return Err(RouteFailure::new(LocalCause::NoHosts, detail, self.options.max_ttl));
        }
        let address = SocketAddr::new(ip, self.options.port);
        if self.options.ourselves.listens_at(address) {
            return Err(leads_back(domain, &address.to_string(), self.options.max_ttl));
        }
        let host = Host { name: ip.to_string().into(), preference: 0, addresses: vec![address] };
        let found = LookedUp { hosts: vec![host], ..LookedUp::default() };
        Ok(self.route_to(found, key_of(vec![address.to_string()]), Some(domain), self.options.max_ttl))
    }

    /// `domain` is the recipient's; None for a static route.
    fn route_to(&self, found: LookedUp, key: Arc<str>, domain: Option<&Domain>, ttl: Duration) -> Route {
        let mut ttl = found.ttl.map_or(ttl, |own| own.min(ttl));
        if found.open.is_some() {
            ttl = ttl.min(self.options.unavailable_ttl);
        }
        let (provider, by) = self.providers.find(domain, &found.hosts);
        Route { provider, by, hosts: found.hosts, static_route: domain.is_none(), ttl, key }
    }

    /// An MX that holds an address in place of a name (against RFC 1035 §3.3.9) is taken as that address.
    fn candidate(&self, mx: &Mx) -> Candidate {
        let address = mx.exchange.parse::<IpAddr>().ok();
        Candidate { name: mx.exchange.as_str().into(), address, port: self.options.port, preference: mx.preference, own: false }
    }

    /// Looks up the addresses of all candidates at once; their order is kept.
    async fn look_up(&self, asker: &Asker, candidates: Vec<Candidate>) -> LookedUp {
        let mut asked = JoinSet::new();
        let mut answers: Vec<Option<DnsAnswer<IpAddr>>> = Vec::new();
        for (place, candidate) in candidates.iter().enumerate() {
            answers.push(candidate.address.map(|ip| DnsAnswer::Found {
                records: vec![ip],
                ttl: self.options.max_ttl,
                aliased: Vec::new(),
            }));
            if candidate.address.is_none() {
                let (dns, asker, name) = (self.dns.clone(), asker.clone(), Arc::clone(&candidate.name));
                asked.spawn(async move { (place, dns.addresses(&name, &asker).await) });
            }
        }
        while let Some(joined) = asked.join_next().await {
            if let Ok((place, answer)) = joined {
                answers[place] = Some(answer);
            }
        }
        let mut found = LookedUp::default();
        for (candidate, answer) in candidates.into_iter().zip(answers) {
            let answer = answer.unwrap_or_else(|| DnsAnswer::Unavailable { why: "the look-up was aborted".to_owned() });
            self.sort_in(&mut found, candidate, answer);
        }
        found
    }

    fn sort_in(&self, found: &mut LookedUp, candidate: Candidate, answer: DnsAnswer<IpAddr>) {
        let trouble = match answer {
            DnsAnswer::Found { records, ttl, aliased } => {
                found.note(ttl);
                let port = candidate.port;
                // An operator's route may lead to another service of the same name.
                if let Some(own) = aliased.iter().find(|name| !candidate.own && self.options.ourselves.is_named(name)) {
                    let trouble = format!("{} is another name of {own}, which is this relay itself", candidate.name);
                    return found.note_ourselves(candidate.preference, trouble);
                }
                if let Some(own) = records.iter().find(|ip| self.options.ourselves.listens_at(SocketAddr::new(**ip, port))) {
                    let trouble = format!("{}: {own} port {port} is this relay itself", candidate.name);
                    return found.note_ourselves(candidate.preference, trouble);
                }
                let usable = records.iter().copied().filter(|ip| if candidate.own { is_reachable(*ip) } else { self.is_usable(*ip) });
                let addresses: Vec<_> = usable.map(|ip| SocketAddr::new(ip, port)).take(self.options.max_addresses.max(1)).collect();
                if !addresses.is_empty() {
                    found.hosts.push(Host { name: candidate.name, preference: candidate.preference, addresses });
                    return;
                }
                let listed: Vec<String> = records.iter().map(IpAddr::to_string).collect();
                format!("not to be reached at {}{}", listed.join(", "), self.why_unusable(&records))
            }
            DnsAnswer::NoData { ttl } => {
                found.note(ttl);
                self.no_address().to_owned()
            }
            DnsAnswer::NoSuchName { ttl } => {
                found.note(ttl);
                "no such name".to_owned()
            }
            DnsAnswer::Unavailable { why } => {
                found.open = Some(found.open.map_or(candidate.preference, |least| least.min(candidate.preference)));
                why
            }
        };
        tracing::debug!(host = %candidate.name, %trouble, "a host is skipped");
        found.troubles.push(format!("{}: {trouble}", candidate.name));
    }

    /// The hosts that are better than the best one which is this relay by its name. All of them are, if none is.
    fn before_ourselves(&self, mut hosts: Vec<Mx>) -> Result<Vec<Mx>, String> {
        let Some(own) = hosts.iter().find(|mx| self.options.ourselves.is_named(&mx.exchange)).cloned() else { return Ok(hosts) };
        hosts.retain(|mx| mx.preference < own.preference);
        if hosts.is_empty() { Err(own.exchange) } else { Ok(hosts) }
    }

    fn is_usable(&self, ip: IpAddr) -> bool {
        let family = if ip.is_ipv4() { self.options.ipv4 } else { self.options.ipv6 };
        family && is_reachable(ip) && (self.options.private_addresses || !is_private(ip))
    }

    /// What an operator may want to know of addresses that are not used.
    fn why_unusable(&self, ips: &[IpAddr]) -> &'static str {
        match !self.options.private_addresses && ips.iter().any(|ip| is_reachable(*ip) && is_private(*ip)) {
            true => ", which no mail host on the Internet has: a [route] may lead there, and dns.private_addresses allows it to DNS",
            false => "",
        }
    }

    fn no_address(&self) -> &'static str {
        match (self.options.ipv4, self.options.ipv6) {
            (true, false) => "no IPv4 address, and IPv6 is off",
            (false, true) => "no IPv6 address, and IPv4 is off",
            _ => "no address",
        }
    }

    fn unavailable(&self, detail: String) -> RouteFailure {
        RouteFailure::new(LocalCause::DnsUnavailable, detail, self.options.unavailable_ttl)
    }
}

/// `host:port`; an IPv6 address in brackets.
fn key_part(host: &str, port: u16) -> String {
    host.parse::<IpAddr>().map_or_else(|_| format!("{host}:{port}"), |ip| SocketAddr::new(ip, port).to_string())
}

impl LookedUp {
    /// The least TTL decides how long the result may be kept.
    fn note(&mut self, ttl: Duration) {
        self.ttl = Some(self.ttl.map_or(ttl, |own| own.min(ttl)));
    }

    /// A host of this preference is this relay itself.
    fn note_ourselves(&mut self, preference: u16, trouble: String) {
        self.ourselves = Some(self.ourselves.map_or(preference, |own| own.min(preference)));
        self.troubles.push(trouble);
    }
}

/// RFC 5321 §5.1: nothing remains of the list but this relay itself.
fn leads_back(domain: &Domain, what: &str, ttl: Duration) -> RouteFailure {
    RouteFailure::new(LocalCause::Loop, format!("mail for {domain} loops back to myself ({what})"), ttl)
}

fn no_such(domain: &Domain, ttl: Duration) -> RouteFailure {
    RouteFailure::new(LocalCause::NoSuchDomain, format!("{domain} does not exist"), ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_that_waits_for_its_turn_takes_little_memory() {
        let options = ResolverOptions { nameservers: vec![SocketAddr::from(([127, 0, 0, 1], 53))], ..ResolverOptions::default() };
        let resolver = Resolver::new(options, StaticRoutes::new()).unwrap();
        let domain = Domain::new("example.com").unwrap();
        // Hundreds of thousands may wait.
        let takes = size_of_val(&resolver.route_for(resolver.own_asker(), &domain));
        assert!(takes < 1024, "{takes} bytes");
    }
}
