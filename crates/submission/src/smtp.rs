//! Listeners and their sessions' sockets, around `posthaste_smtp::server::Session`, which knows the protocol.

mod connection_counts;
mod conversation;
mod login;
mod memory;
mod pressure;
mod proxy;
mod shared;
mod wire;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use posthaste_access::{Lockout, ShutOut, users::Passwords};
use posthaste_host::{
    InForce, clock,
    descriptors::{Accepting, Admission, REFUSED_AT_ONCE},
};
use posthaste_journal::Journal;
use posthaste_mail::Name;
use posthaste_smtp::server::{Answer, Refused, Session, SessionRefusal};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

pub use self::shared::Inboxes;
use self::{
    connection_counts::Most,
    conversation::Conversation,
    shared::{Shared, UNLOGGED, stopped},
    wire::{Begun, Wire},
};
use crate::settings::{AuthWhere, ListenTlsMode, Listener, Role, Settings};

/// How long a listener pauses after the system had no file descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// TCP keepalive: the idle time before the first probe, and the time between probes.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Serves all sessions of all listeners.
pub struct Listeners(Arc<Shared>);

impl Listeners {
    /// Listeners without any session yet.
    pub fn new(
        settings: InForce<Settings>,
        journal: Journal,
        lockout: Arc<Lockout>,
        inboxes: Inboxes,
        passwords: Arc<Passwords>,
        stopping: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let (connections, pressure, gate) = Default::default();
        Arc::new(Self(Arc::new(Shared { settings, journal, lockout, inboxes, connections, pressure, gate, passwords, stopping })))
    }

    /// Accepts connections until the relay stops, then waits for the sessions to end.
    pub async fn serve(self: Arc<Self>, name: Name, listener: TcpListener) {
        let mut stopping = self.0.stopping.clone();
        let mut sessions = JoinSet::new();
        let mut accepting = Accepting::default();
        let most = || {
            let settings = self.0.settings.get();
            // Each listener that waits for a connection counts.
            settings.limits.connections + settings.listeners.len() + REFUSED_AT_ONCE
        };
        let accept = async || {
            let admission = self.0.gate.admission(most).await;
            listener.accept().await.map(|(stream, peer)| (stream, peer, admission))
        };
        loop {
            tokio::select! {
                () = stopped(&mut stopping) => break,
                Some(_) = sessions.join_next() => {}
                accepted = accept() => {
                    self.0.journal.note_accepting(name.as_str(), accepting.note(name.as_str(), &accepted));
                    match accepted {
                        Ok((stream, peer, admission)) => drop(sessions.spawn(self.clone().session(name.clone(), stream, peer, admission))),
                        Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                    }
                },
            }
        }
        drop(listener);
        while sessions.join_next().await.is_some() {}
    }

    async fn session(self: Arc<Self>, listener: Name, stream: TcpStream, peer: SocketAddr, _admission: Admission) {
        if let Err(error) = self.talk(listener, stream, peer.ip().to_canonical()).await {
            tracing::debug!(%peer, %error, "a submission session ended with an error");
        }
    }

    async fn talk(self: Arc<Self>, listener: Name, mut socket: TcpStream, peer: IpAddr) -> io::Result<()> {
        socket.set_nodelay(true)?;
        // Frees the connection slot of a client whose host disappeared without closing the connection.
        SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
        let settings = self.0.settings.get();
        let (Some(rules), Some(config)) = (settings.sessions.get(&listener), settings.listeners.get(&listener)) else { return Ok(()) };
        let mut read = BytesMut::new();
        let mut ip = peer;
        let mut proxied = Ok(());
        if config.is_balancer(peer) {
            let header = timeout(settings.limits.handshake_timeout, proxy::client(&mut socket, &mut read)).await;
            match header.map_err(io::Error::from).flatten() {
                Ok(client) => ip = client.unwrap_or(peer),
                // Balancers check health by connecting and disconnecting.
                Err(_) if read.is_empty() => return Ok(()),
                Err(_) => {
                    proxied = Err(Refused::new(
                        Answer::new(421, 5, 0, "the balancer has to say who the client is (PROXY protocol)"),
                        "no_proxy_header",
                    ))
                }
            }
        }
        let session = Session::new(rules.clone(), clock::now());
        let place = match proxied.and_then(|()| self.admit(&settings, &listener, config, ip)) {
            Ok(place) => place,
            Err(refused) => return self.turn_away((&listener, config), socket, ip, session, refused).await,
        };
        let wire = Wire::Plain(Begun { read, socket });
        let conversation = Conversation::new(self.0.clone(), listener.clone(), ip, session, wire, place);
        drop(settings);
        conversation.hold().await
    }

    /// Takes a connection slot for this client, or says why it is refused.
    fn admit(&self, settings: &Settings, name: &Name, config: &Listener, ip: IpAddr) -> Result<connection_counts::ConnectionSlot, Refused> {
        if let Some(ShutOut { answer, tell }) = self.0.lockout.shut_out(ip) {
            return Err(Refused::new(answer, if tell { "banned" } else { UNLOGGED }));
        }
        if !config.allows(ip) && !can_log_in(settings, name, config) {
            return Err(Refused::new(Answer::new(554, 7, 1, format!("{ip} may not send through this relay")), "not_allowed"));
        }
        let most = Most { here: config.max_connections, per_client: config.max_connections_per_ip, in_all: settings.limits.connections };
        // Whoever may send returned mail is anybody.
        let stranger = config.role == Role::Returns || !config.allows(ip);
        self.0.connections.take(name, ip, stranger, most, clock::instant())
    }

    async fn turn_away(
        &self,
        (name, config): (&Name, &Listener),
        mut socket: TcpStream,
        ip: IpAddr,
        mut session: Session,
        Refused { answer, reason }: Refused,
    ) -> io::Result<()> {
        let mut out = Vec::new();
        session.refuse(&answer, &mut out);
        if reason != UNLOGGED {
            self.0.rejected(name, ip, &session, &SessionRefusal { command: "connect", from: None, rcpt: None, user: None, answer, reason });
        }
        // A client that expects a TLS handshake could not read a reply in plain text.
        if config.tls.mode == ListenTlsMode::Implicit { Ok(()) } else { socket.write_all(&out).await }
    }
}

/// Whether a client can authenticate at this listener, by password, token or certificate.
fn can_log_in(settings: &Settings, name: &Name, config: &Listener) -> bool {
    let offered = settings.sessions.get(name).is_some_and(|s| !s.offers.auth.is_empty());
    let reachable = config.auth == AuthWhere::Always || config.tls.mode != ListenTlsMode::None;
    (offered && reachable) || (config.tls.client_ca.is_some() && config.tls.mode != ListenTlsMode::None)
}
