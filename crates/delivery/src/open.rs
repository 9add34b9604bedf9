//! Opening a session: the choice of host and address, and TLS.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use posthaste_host::clock;
use posthaste_mail::{Attempt, EventId, Failure, LocalCause, Name, Stage};
use posthaste_queue::{Seq, SessionId, Site};
use posthaste_route::{Host, shuffle_equals};
use posthaste_smtp::client::{self, Connection, Hello, Hurry, OpenFailure, Watch};

use crate::{connect::connect, outbound::Outbound, settings::Settings};

/// Addresses tried for one job, at most: hosts with dozens of dead addresses must not hold a message up for an hour.
const ADDRESSES_MAX: usize = 12;

/// An open connection, with the facts that its events repeat.
pub(crate) struct Open {
    pub(crate) connection: Connection,
    pub(crate) facts: Attempt,
    /// The times that the connection took, which only the events of its first job report.
    pub(crate) dns_ms: Option<u32>,
    pub(crate) connect_ms: Option<u32>,
    pub(crate) tls_ms: Option<u32>,
    /// The host's address.
    pub(crate) address: SocketAddr,
    /// Whether it has had a job.
    pub(crate) used: bool,
    /// It was opened for what a better host refused, or turned away before: further mail goes to that one again.
    pub(crate) is_aside: bool,
    /// The message that it was moved on for and the address that it left, while the queue decides whether the attempt goes on here.
    pub(crate) left: Option<(Seq, SocketAddr)>,
    /// How long the receiver may be silent once others need the connection.
    pub(crate) hurry: Hurry,
    /// The number of its session.
    pub(crate) id: SessionId,
}

impl Open {
    /// Has the receiver hurry once others need the connection.
    pub(crate) fn hurry(&mut self, hurry: Hurry) {
        self.connection.hurry(hurry.clone());
        self.hurry = hurry;
    }

    /// Whether it can take another job.
    pub(crate) fn usable(&self) -> bool {
        self.connection.usable() && !self.is_aside
    }
}

/// Whether a host that the operator named is this machine. A name that DNS leads here is not: it may lead elsewhere tomorrow.
fn is_loopback(host: &str, address: SocketAddr) -> bool {
    address.ip().is_loopback() && (host == "localhost" || host.parse::<IpAddr>().is_ok())
}

impl Outbound {
    /// Tries the hosts in their order until one takes a session; those that turned `first` away, its first message, come last.
    pub(crate) async fn open(&self, id: SessionId, site: &Site, source: &Name, first: Seq) -> Result<Open, (Failure, Attempt)> {
        let mut candidates = self.candidates(site, source, &[]);
        let best = candidates.first().map(|(_, address)| *address);
        self.turned_away.order(first, &mut candidates);
        let is_other = candidates.first().map(|(_, address)| *address) != best;
        let mut open = self.open_among(id, site, source, candidates).await?;
        open.is_aside = is_other && best != Some(open.address);
        Ok(open)
    }

    /// The same with these hosts. Of several failures the most telling one is returned: what a host said, before what befell the others.
    pub(crate) async fn open_among(
        &self,
        id: SessionId,
        site: &Site,
        source: &Name,
        candidates: Vec<(Arc<str>, SocketAddr)>,
    ) -> Result<Open, (Failure, Attempt)> {
        let settings = self.settings.get();
        let bind = settings.source_address(source);
        let mut facts =
            Attempt { provider: Some(site.provider.clone()), source: Some(source.clone()), source_ip: bind, ..Attempt::default() };
        facts.tls.tls_policy = Some(site.tls.as_str());
        let mut most_telling: Option<(Failure, Attempt)> = None;
        for (host, address) in candidates {
            if self.is_outdated(site) {
                break;
            }
            facts.mx_host = Some(host.clone());
            facts.mx_ip = Some(address.ip());
            let turn = if site.fixed && site.auth.is_some() { self.logins.turn(site, &host).await } else { Ok(None) };
            let opened = match &turn {
                Ok(_) => self.open_at(&settings, site, source, bind, &host, address, &mut facts, id).await,
                Err(of_another) => Err(of_another.clone()),
            };
            match opened {
                Ok(open) => {
                    if site.fixed && site.auth.is_some() {
                        self.logins.note_login(&self.journal, &self.queue, site, &host).await;
                    }
                    return Ok(open);
                }
                Err(why) => {
                    if let Ok(Some(_)) = turn {
                        self.logins.tried(site, &host, &why);
                    }
                    if site.fixed && !self.is_outdated(site) {
                        self.logins.note_failure(&self.journal, site, &host, &why);
                    }
                    let ours = matches!(why, Failure::Local { cause: LocalCause::SourceUnavailable, .. });
                    if matches!(why.stage(), Stage::Connect | Stage::Banner) && !ours {
                        self.down.note(address, clock::instant() + settings.host_down);
                    }
                    if most_telling.as_ref().is_none_or(|(before, _)| tells(before) < tells(&why)) {
                        most_telling = Some((why, facts.clone()));
                    }
                }
            }
        }
        Err(most_telling.unwrap_or_else(|| {
            let detail = "no host has an address of the source's family".into();
            (Failure::Local { stage: Stage::Connect, cause: LocalCause::Unreachable, detail }, facts)
        }))
    }

    /// The hosts to try in their order, without those that were `tried`; addresses that were just out of reach come last.
    pub(crate) fn candidates(&self, site: &Site, source: &Name, tried: &[SocketAddr]) -> Vec<(Arc<str>, SocketAddr)> {
        let bind = self.settings.get().source_address(source);
        let fits = |a: &SocketAddr| bind.is_none_or(|b| b.is_ipv4() == a.is_ipv4());
        let mut hosts: Vec<&Host> = site.hosts.iter().collect();
        if !site.fixed {
            shuffle_equals(&mut hosts, |h| h.preference, &mut rand::rng());
        }
        let all =
            hosts.iter().flat_map(|h| h.addresses.iter().map(|a| (h.name.clone(), *a))).filter(|(_, a)| fits(a) && !tried.contains(a));
        let now = clock::instant();
        let (mut up, mut down): (Vec<_>, Vec<_>) = all.partition(|(_, a)| !self.down.is_down(a, now));
        up.append(&mut down);
        up.truncate(ADDRESSES_MAX);
        up
    }

    #[expect(clippy::too_many_arguments, reason = "one call site; the arguments are the address tried and the facts it fills in")]
    async fn open_at(
        &self,
        settings: &Settings,
        site: &Site,
        source: &Name,
        bind: Option<IpAddr>,
        host: &Arc<str>,
        address: SocketAddr,
        facts: &mut Attempt,
        id: SessionId,
    ) -> Result<Open, Failure> {
        let mut hello = Hello {
            ehlo: settings.ehlo(source),
            mx_host: host.to_string(),
            tls: site.tls,
            tls_fallback: None,
            tls_config: settings.tls.clone(),
            timeouts: settings.timeouts.clone(),
            clock: clock::instant,
            auth: site.auth.clone(),
            loopback: site.fixed && is_loopback(host, address),
        };
        loop {
            let started = clock::instant();
            self.under_way.connecting(id, host, address.ip(), started, settings.timeouts.connect);
            let stream = connect(address, bind, settings.timeouts.connect).await?;
            let connect_ms = u32::try_from((clock::instant() - started).as_millis()).unwrap_or(u32::MAX);
            facts.source_ip = stream.local_addr().ok().map(|a| a.ip()).or(bind);
            let watch = Arc::new(Watch::new(clock::instant));
            self.under_way.connected(id, clock::instant(), &watch);
            match client::open_watched(stream, &hello, Some(watch)).await {
                Ok(connection) => {
                    facts.tls = connection.tls().clone();
                    facts.dsn = connection.extensions().dsn;
                    facts.deliver_by = connection.extensions().deliver_by.is_some();
                    if let Some(why) = facts.tls.tls_fallback.take_if(|_| !site.fallback) {
                        connection.quit().await;
                        return Err(Failure::Local { stage: Stage::Starttls, cause: LocalCause::TlsRequired, detail: why.to_string() });
                    }
                    facts.session = Some(EventId::new(clock::now(), rand::random()).to_string().into());
                    let tls_ms = connection.timings().tls_ms;
                    let dns_ms = site.dns.take();
                    return Ok(Open {
                        connection,
                        facts: facts.clone(),
                        dns_ms,
                        connect_ms: Some(connect_ms),
                        tls_ms,
                        address,
                        used: false,
                        is_aside: false,
                        left: None,
                        hurry: Hurry::default(),
                        id,
                    });
                }
                Err(OpenFailure { tls: Some(why), .. }) if site.fallback && hello.tls_fallback.is_none() => hello.tls_fallback = Some(why),
                // Without an answer now, the reason why TLS failed tells more.
                Err(OpenFailure { failure, .. }) => {
                    return Err(match hello.tls_fallback {
                        Some(why) if tells(&failure) < TLS_TELLS => Failure::Local {
                            stage: Stage::Starttls,
                            cause: LocalCause::TlsFailed,
                            detail: format!("{why}; then {failure}"),
                        },
                        _ => failure,
                    });
                }
            }
        }
    }
}

/// How much a failure to open a session tells. What the receiver said tells most, and a refusal for now more than one for good: another host
/// may take the message later.
fn tells(failure: &Failure) -> u8 {
    match failure {
        Failure::Refused { reply, .. } if !reply.is_permanent() => 5,
        Failure::Refused { .. } => 4,
        Failure::Local { cause: LocalCause::TlsFailed | LocalCause::TlsRequired | LocalCause::LocalError, .. } => TLS_TELLS,
        Failure::Local { cause: LocalCause::NotSmtp | LocalCause::ConnectionLost | LocalCause::Timeout, .. } => 2,
        Failure::Local { cause: LocalCause::ConnectTimeout, .. } => 1,
        Failure::Local { .. } => 0,
    }
}

/// How much it tells that TLS failed.
const TLS_TELLS: u8 = 3;
