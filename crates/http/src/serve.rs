//! Serves connections, and limits their number, duration and requests.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderValue, header},
};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use posthaste_host::{
    InForce, clock,
    descriptors::{Accepting, Admission, Gate, REFUSED_AT_ONCE},
};
use posthaste_journal::Journal;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};

use crate::{
    lingering::Lingering,
    live::{Live, relay_stops},
    places::{Place, Places},
    request::{Peer, Secure, UnderWay},
    settings::Settings,
    tls::secured,
};

/// Limits of a request's head: its bytes, and the number of its lines.
const HEAD_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;
/// How long an answer may take beyond the time for the body: until it is made and the client has read it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// How long an answer that goes on may take to end when the relay stops.
const LIVE_ENDS: Duration = Duration::from_secs(1);
/// How long a listener pauses after the system had no file descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The response to connections beyond the limit.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n";

/// Serves all connections of the HTTP doors.
pub struct Server {
    settings: InForce<Settings>,
    journal: Journal,
    app: Router,
    places: Arc<Places>,
    gate: Arc<Gate>,
    answer_timeout: Duration,
    stopping: watch::Receiver<bool>,
}

impl Server {
    /// A server without connections yet. `app` answers the requests; `stopping` becomes true when the relay stops.
    pub fn new(settings: InForce<Settings>, journal: Journal, app: Router, stopping: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self { settings, journal, app, places: Arc::default(), gate: Arc::default(), answer_timeout: ANSWER_TIMEOUT, stopping })
    }

    /// Accepts connections until the relay stops, then waits for the requests in progress.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut stopping = self.stopping.clone();
        let mut connections = JoinSet::new();
        let mut accepting = Accepting::default();
        // Refusals that wait are as many as there may be connections.
        let most = || {
            let settings = self.settings.get();
            2 * settings.http.max_connections + settings.http.max_live + REFUSED_AT_ONCE
        };
        let accept = async || {
            let admission = self.gate.admission(most).await;
            listener.accept().await.map(|(stream, peer)| (stream, peer, admission))
        };
        loop {
            tokio::select! {
                () = relay_stops(&mut stopping) => break,
                Some(_) = connections.join_next() => {}
                accepted = accept() => {
                    self.journal.note_accepting("http", accepting.note("http", &accepted));
                    match accepted {
                        // Counted here, so that the limit also covers connections whose tasks have not started yet.
                        Ok((stream, peer, admission)) => {
                            let ip = peer.ip().to_canonical();
                            let place = self.place(ip);
                            drop(connections.spawn(self.clone().connection(stream, ip, place, admission)));
                        }
                        Err(_) => sleep(ACCEPT_PAUSE).await,
                    }
                },
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    async fn connection(self: Arc<Self>, mut stream: TcpStream, ip: IpAddr, place: Option<Arc<Place>>, _admission: Admission) {
        let settings = self.settings.get();
        let Some(place) = place else {
            // An answer under TLS would take a handshake, which costs more than is to be had.
            if settings.tls.is_none() {
                drop(timeout(ACCEPT_PAUSE, stream.write_all(TOO_MANY)).await);
            }
            return;
        };
        // Without it, small answers would wait for the client's TCP acknowledgements.
        drop(stream.set_nodelay(true));
        let Some(tls) = settings.tls.clone() else { return self.converse(stream, (ip, Secure(false)), place).await };
        let handshake = timeout(settings.http.header_timeout, secured(stream, tls));
        drop(settings);
        let mut stopping = self.stopping.clone();
        let stream = tokio::select! {
            stream = handshake => stream.map_err(io::Error::from).flatten(),
            () = relay_stops(&mut stopping) => return,
            () = place.told_to_leave() => return tracing::debug!(%ip, "a connection without a login made room for another"),
        };
        match stream {
            Ok(stream) => self.converse(stream, (ip, Secure(true)), place).await,
            Err(error) => tracing::debug!(%ip, %error, "a TLS handshake failed"),
        }
    }

    async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Unpin, (ip, secure): (IpAddr, Secure), place: Arc<Place>) {
        let settings = self.settings.get();
        let config = &settings.http;
        let begun = clock::instant();
        let (under_way, seen) = watch::channel(begun);
        let service = Requests {
            app: TowerToHyperService::new(self.app.clone()),
            ip,
            secure,
            left: config.requests_per_connection.into(),
            live: Live { place, most: config.max_live, under_way: UnderWay(under_way), stopping: self.stopping.clone() },
        };
        let place = service.live.place.clone();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(config.header_timeout).max_headers(HEADERS_MAX).max_buf_size(HEAD_MAX);
        let longest = config.header_timeout.max(config.body_timeout) + self.answer_timeout;
        // A connection may outlive them.
        drop(settings);
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(Lingering::new(stream)), service));
        let (mut stopping, mut ends) = (self.stopping.clone(), None);
        loop {
            let left = longest.saturating_sub(clock::instant().saturating_duration_since(*seen.borrow()));
            if left.is_zero() {
                return tracing::debug!(%ip, "a request took too long");
            }
            tokio::select! {
                done = connection.as_mut() => {
                    if let Err(error) = done {
                        tracing::debug!(%ip, %error, "a connection ended with an error");
                    }
                    return;
                }
                () = relay_stops(&mut stopping), if ends.is_none() => {
                    ends = Some(clock::instant() + LIVE_ENDS);
                    connection.as_mut().graceful_shutdown();
                }
                () = place.told_to_leave() => return tracing::debug!(%ip, "a connection without a login made room for another"),
                () = sleep_until(ends.unwrap_or(begun).into()), if ends.is_some() && place.is_live() => return,
                () = sleep(left) => {}
            }
        }
    }

    fn place(&self, ip: IpAddr) -> Option<Arc<Place>> {
        let settings = self.settings.get();
        self.places.take(ip, settings.http.max_connections, settings.http.max_connections_per_ip, clock::instant())
    }
}

/// The requests of one connection.
struct Requests {
    app: TowerToHyperService<Router>,
    ip: IpAddr,
    secure: Secure,
    left: AtomicU32,
    /// The connection's place, and when the last request began, or came a step further.
    live: Live,
}

impl Service<hyper::Request<Incoming>> for Requests {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        let Live { place, under_way, .. } = &self.live;
        under_way.goes_on();
        request.extensions_mut().insert(Peer(self.ip));
        request.extensions_mut().insert(self.secure);
        request.extensions_mut().insert(place.clone());
        request.extensions_mut().insert(under_way.clone());
        request.extensions_mut().insert(self.live.clone());
        let place = place.clone();
        let is_last = self.left.fetch_sub(1, Relaxed) <= 1;
        let answer = self.app.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            if is_last || place.is_left() {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests;
