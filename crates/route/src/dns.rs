//! The DNS queries of routing. Each answer is one of: records, no record of this type, no such name, unavailable.

use std::{net::IpAddr, pin::pin, sync::Arc, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
    system_conf::parse_resolv_conf,
};
use tokio::time::{Instant, timeout};

use crate::{
    Asker, ResolverError, ResolverOptions,
    answers::{Answers, DnsAnswer, Record},
    options::RESOLV_CONF,
    order::Mx,
};

/// The resolver for all queries.
#[derive(Clone)]
pub(crate) struct Dns {
    /// It joins identical queries in progress, and keeps the last few answers: who asks just as one comes joins it too.
    resolver: TokioResolver,
    /// What verifies SPF keeps whole answers.
    verifier: TokioResolver,
    answers: Answers,
    patience: Duration,
    options: Arc<ResolverOptions>,
}

/// The most concurrent queries over one TCP connection. Those over UDP have a socket each, as many as [`Turns`](crate::Turns) allow.
const OVER_TCP_MAX: usize = 1024;
/// The most whole answers that what verifies SPF keeps: up to about a MiB each, if somebody makes them so.
const VERIFIER_KEEPS: usize = 32;
/// The same of the resolver for all other queries, besides those that [`Answers`] keeps.
const RESOLVER_KEEPS: usize = 16;
/// How long the answer for one family of addresses may take after the other one's is there.
const OTHER_FAMILY_WAIT: Duration = Duration::from_millis(500);

impl Dns {
    pub(crate) fn new(options: Arc<ResolverOptions>) -> Result<Self, ResolverError> {
        let servers = match &*options.nameservers {
            [] => system_servers()?,
            servers => servers.iter().map(|server| at(server.ip(), server.port())).collect(),
        };
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let resolver = |keeps: usize| {
            let mut builder = TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default());
            *builder.options_mut() = hickory_options(&options, keeps.min(options.cache_size));
            builder.build().map_err(|error| ResolverError::Build(error.to_string()))
        };
        let (verifier, resolver) = (resolver(VERIFIER_KEEPS)?, resolver(RESOLVER_KEEPS)?);
        // Each try may also turn to TCP, if the answer over UDP was truncated.
        let patience = options.timeout.saturating_mul(2 * attempts(&options) as u32);
        Ok(Self { resolver, verifier, answers: Answers::new(options.cache_size), patience, options })
    }

    /// What verifies SPF, with the same servers.
    pub(crate) fn verifier(&self) -> mail_auth::MessageAuthenticator {
        mail_auth::MessageAuthenticator(self.verifier.clone())
    }

    /// The MX records of a domain; CNAMEs are followed (RFC 5321 §5.1).
    pub(crate) async fn mx(&self, domain: &str, asker: &Asker) -> DnsAnswer<Mx> {
        let read = |data: &RData| match data {
            RData::MX(mx) => Some(Mx { preference: mx.preference, exchange: text(&mx.exchange) }),
            _ => None,
        };
        self.ask(domain, RecordType::MX, asker, read).await
    }

    /// The TXT records of a name, the strings of each joined, with bytes that are not UTF-8 replaced.
    pub(crate) async fn txt(&self, name: &str, asker: &Asker) -> DnsAnswer<String> {
        let read = |data: &RData| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        };
        self.ask(name, RecordType::TXT, asker, read).await
    }

    /// The names that the reverse look-up of an address gives (RFC 1035 §3.5), which whoever holds the address may have made up.
    pub(crate) async fn pointers(&self, ip: IpAddr, asker: &Asker) -> DnsAnswer<String> {
        let read = |data: &RData| match data {
            RData::PTR(name) => Some(text(&name.0)),
            _ => None,
        };
        self.ask(&Name::from(ip).to_ascii(), RecordType::PTR, asker, read).await
    }

    /// The addresses of a host, IPv4 first. CNAMEs are followed: RFC 5321 §5.1 forbids an MX that points to a CNAME, but many do.
    /// If servers answer for one family only, the other one is not waited for as long as it may take.
    pub(crate) async fn addresses(&self, host: &str, asker: &Asker) -> DnsAnswer<IpAddr> {
        let v4 = |data: &RData| data.ip_addr().filter(IpAddr::is_ipv4);
        let v6 = |data: &RData| data.ip_addr().filter(IpAddr::is_ipv6);
        match (self.options.ipv4, self.options.ipv6) {
            (true, false) => self.ask(host, RecordType::A, asker, v4).await,
            (false, true) => self.ask(host, RecordType::AAAA, asker, v6).await,
            (true, true) => {
                let mut a = pin!(self.ask(host, RecordType::A, asker, v4));
                let mut aaaa = pin!(self.ask(host, RecordType::AAAA, asker, v6));
                let (a, aaaa) = tokio::select! {
                    a = &mut a => {
                        let aaaa = other_family(&a, aaaa).await;
                        (a, aaaa)
                    }
                    aaaa = &mut aaaa => (other_family(&aaaa, a).await, aaaa),
                };
                self.both(a, aaaa)
            }
            (false, false) => DnsAnswer::Unavailable { why: "neither IPv4 nor IPv6 is switched on".to_owned() },
        }
    }

    /// The addresses of a host of the same family as `like`, whichever families mail is sent over.
    pub(crate) async fn addresses_like(&self, host: &str, like: IpAddr, asker: &Asker) -> DnsAnswer<IpAddr> {
        let kind = if like.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        self.ask(host, kind, asker, RData::ip_addr).await
    }

    /// Merges the answers for A and AAAA. One address is enough; without any, a failure of either query makes the result unavailable.
    fn both(&self, a: DnsAnswer<IpAddr>, aaaa: DnsAnswer<IpAddr>) -> DnsAnswer<IpAddr> {
        use DnsAnswer::{Found, NoData, NoSuchName, Unavailable};
        match (a, aaaa) {
            (Found { mut records, ttl, aliased }, Found { records: more, ttl: other, .. }) => {
                records.extend(more);
                Found { records, ttl: ttl.min(other), aliased }
            }
            (Found { records, ttl, aliased }, Unavailable { .. }) | (Unavailable { .. }, Found { records, ttl, aliased }) => {
                Found { records, ttl: ttl.min(self.options.unavailable_ttl), aliased }
            }
            (Found { records, ttl, aliased }, NoData { ttl: other } | NoSuchName { ttl: other })
            | (NoData { ttl: other } | NoSuchName { ttl: other }, Found { records, ttl, aliased }) => {
                Found { records, ttl: ttl.min(other), aliased }
            }
            (Unavailable { why }, _) | (_, Unavailable { why }) => Unavailable { why },
            (NoSuchName { ttl }, NoSuchName { ttl: other }) => NoSuchName { ttl: ttl.min(other) },
            (NoData { ttl } | NoSuchName { ttl }, NoData { ttl: other } | NoSuchName { ttl: other }) => NoData { ttl: ttl.min(other) },
        }
    }

    async fn ask<T: Record>(&self, name: &str, kind: RecordType, asker: &Asker, read: impl Fn(&RData) -> Option<T>) -> DnsAnswer<T> {
        let lower = name.to_ascii_lowercase();
        if let Some(kept) = self.answers.get(&lower, kind, now()) {
            return kept;
        }
        let answer = self.ask_servers(&lower, kind, asker, read).await;
        self.answers.keep(&lower, kind, &answer, now());
        answer
    }

    async fn ask_servers<T>(&self, name: &str, kind: RecordType, asker: &Asker, read: impl Fn(&RData) -> Option<T>) -> DnsAnswer<T> {
        // A name that cannot be encoded for DNS cannot exist.
        let Ok(mut name) = Name::from_ascii(name) else { return DnsAnswer::NoSuchName { ttl: self.options.max_negative_ttl } };
        name.set_fqdn(true);
        // The time runs from the question's turn.
        let asked = asker.take(|| timeout(self.patience, self.resolver.lookup(name, kind)));
        let answered = match asked.await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => Err(NetError::Timeout),
            Err(gave_way) => return DnsAnswer::Unavailable { why: gave_way.to_string() },
        };
        let lookup = match answered {
            Ok(lookup) => lookup,
            Err(error) => return self.without_records(error),
        };
        // The least TTL of the chain of CNAMEs counts.
        let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
        let records: Vec<T> = lookup.answers().iter().filter_map(|record| read(&record.data)).collect();
        let alias = |data: &RData| match data {
            RData::CNAME(name) => Some(text(&name.0)),
            _ => None,
        };
        let aliased = lookup.answers().iter().filter_map(|record| alias(&record.data)).collect();
        match lookup.message().metadata.response_code {
            _ if !records.is_empty() => DnsAnswer::Found { records, ttl: self.kept(ttl, self.options.max_ttl), aliased },
            ResponseCode::NoError => DnsAnswer::NoData { ttl: self.kept(ttl, self.options.max_negative_ttl) },
            code => unavailable(code),
        }
    }

    fn without_records<T>(&self, error: NetError) -> DnsAnswer<T> {
        match error {
            NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, negative_ttl, soa, ns, .. })) => {
                let ttl = self.kept(negative_ttl.unwrap_or_default(), self.options.max_negative_ttl);
                match response_code {
                    ResponseCode::NXDomain => DnsAnswer::NoSuchName { ttl },
                    // Name servers but no SOA: a referral (RFC 2308 §2.2), so the server that was asked does not know.
                    ResponseCode::NoError if soa.is_some() || ns.is_none() => DnsAnswer::NoData { ttl },
                    ResponseCode::NoError => DnsAnswer::Unavailable { why: "the name server refers to others".to_owned() },
                    code => unavailable(code),
                }
            }
            NetError::Dns(DnsError::ResponseCode(code)) => unavailable(code),
            NetError::Timeout => no_answer(),
            error => DnsAnswer::Unavailable { why: error.to_string() },
        }
    }

    fn kept(&self, seconds: u32, most: Duration) -> Duration {
        Duration::from_secs(seconds.into()).min(most).max(self.options.min_ttl)
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: an answer came from the network just now")]
fn now() -> Instant {
    Instant::now()
}

/// The answer for a family of addresses, after the answer for the first one.
async fn other_family(first: &DnsAnswer<IpAddr>, other: impl Future<Output = DnsAnswer<IpAddr>>) -> DnsAnswer<IpAddr> {
    match first {
        DnsAnswer::Found { .. } => timeout(OTHER_FAMILY_WAIT, other).await.unwrap_or_else(|_| no_answer()),
        _ => other.await,
    }
}

fn no_answer<T>() -> DnsAnswer<T> {
    DnsAnswer::Unavailable { why: "no name server answered in time".to_owned() }
}

fn unavailable<T>(code: ResponseCode) -> DnsAnswer<T> {
    DnsAnswer::Unavailable { why: format!("the name server answered {code}") }
}

fn system_servers() -> Result<Vec<NameServerConfig>, ResolverError> {
    let text = std::fs::read(RESOLV_CONF).map_err(|error| ResolverError::System(error.to_string()))?;
    servers_in(&text)
}

/// Only the name servers: search lists do not apply to mail, and the time limits are those of [`ResolverOptions`].
fn servers_in(text: &[u8]) -> Result<Vec<NameServerConfig>, ResolverError> {
    let (config, _) = parse_resolv_conf(text).map_err(|error| ResolverError::System(error.to_string()))?;
    Ok(config.into_parts().2)
}

fn at(ip: IpAddr, port: u16) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(ip);
    for connection in &mut server.connections {
        connection.port = port;
    }
    server
}

fn hickory_options(options: &ResolverOptions, keeps: usize) -> ResolverOpts {
    let mut to = ResolverOpts::default();
    to.timeout = options.timeout;
    to.attempts = attempts(options) - 1; // hickory counts the tries after the first.
    to.cache_size = keeps as u64;
    // Mail is routed by DNS alone; entries in /etc/hosts serve other purposes.
    to.use_hosts_file = ResolveHosts::Never;
    to.positive_min_ttl = Some(options.min_ttl);
    to.positive_max_ttl = Some(options.max_ttl.max(options.min_ttl));
    to.negative_min_ttl = Some(options.min_ttl);
    to.negative_max_ttl = Some(options.max_negative_ttl.max(options.min_ttl));
    to.max_active_requests = OVER_TCP_MAX;
    to
}

fn attempts(options: &ResolverOptions) -> usize {
    options.attempts.clamp(1, 10)
}

/// A name in lower case without the final dot; the root is "".
fn text(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_name_servers_are_those_of_its_nameserver_lines() {
        let servers = servers_in(b"search example.com\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions timeout:1\n").unwrap();
        assert_eq!(servers.iter().map(|server| server.ip.to_string()).collect::<Vec<_>>(), ["192.0.2.53", "2001:db8::53"]);
    }

    #[test]
    fn a_system_without_name_servers_is_refused_and_the_error_says_where_it_looked() {
        let error = servers_in(b"search example.com\n").map(|servers| servers.len()).unwrap_err();
        assert!(matches!(error, ResolverError::System(_)));
        assert!(error.to_string().contains(RESOLV_CONF), "{error}");
    }
}
