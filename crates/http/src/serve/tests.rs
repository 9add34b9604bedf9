//! Connections over real sockets: answers that go on, and what a request knows of its connection.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use http_body_util::channel::Channel;
use posthaste_certificates::{Certificates, Pair, server_config};
use posthaste_journal::stamp;
use posthaste_mail::Name;
use posthaste_monitor::{EventLog, LogOptions};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs, pki_types::CertificateDer};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, task::JoinHandle};
use tokio_rustls::TlsConnector;

use super::*;
use crate::settings::{Http, Tls};

/// Longer than anything here takes that goes well.
const PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(100);
/// The longest a request may take without going on.
const LONGEST: Duration = Duration::from_secs(1);

struct Door {
    port: u16,
    stop: watch::Sender<bool>,
    ended: JoinHandle<()>,
    _dir: TempDir,
}

async fn open(max_connections: usize, max_live: usize, tls: Option<Arc<ServerConfig>>) -> Door {
    let http = Http {
        addresses: Vec::new(),
        configured: true,
        plain: false,
        tls: Tls { on: tls.is_some(), certificates: Vec::new(), acme: Default::default() },
        max_connections,
        max_connections_per_ip: max_connections,
        max_live,
        requests_per_connection: 10,
        header_timeout: LONGEST / 2,
        body_timeout: LONGEST / 2,
    };
    let dir = tempfile::tempdir().unwrap();
    let node = InForce::fixed(Name::new("mx1").unwrap());
    let (log, _) = EventLog::open(LogOptions::new(dir.path().join("log")), clock::now, stamp(node.clone()), |_, _| ()).unwrap();
    let app = Router::new()
        .route("/live", get(async |live: Live| answer(live, Manner::Ticks)))
        .route("/silent", get(async |live: Live| answer(live, Manner::Silent)))
        .route("/stubborn", get(async |live: Live| answer(live, Manner::Stubborn)))
        .route("/secure", get(async |Secure(secure): Secure| secure.to_string()));
    let (stop, stopping) = watch::channel(false);
    let server = Server::new(InForce::fixed(Settings { http, tls }), Journal::new(log, node), app, stopping);
    let mut server = Arc::into_inner(server).expect("nobody else has it");
    server.answer_timeout = LONGEST / 2;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    Door { port, stop, ended: tokio::spawn(Arc::new(server).serve(listener)), _dir: dir }
}

/// How an answer goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It says something all the time, and ends when the relay stops.
    Ticks,
    /// It says something once.
    Silent,
    /// It says something all the time, whether the relay stops or not.
    Stubborn,
}

fn answer(live: Live, manner: Manner) -> Response {
    let Some(mut live) = live.open() else { return axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let (mut events, body) = Channel::<Bytes, std::convert::Infallible>::new(1);
    tokio::spawn(async move {
        loop {
            if events.send_data(Bytes::from_static(b"tick ")).await.is_err() {
                return;
            }
            live.goes_on();
            let pause = if manner == Manner::Silent { PATIENCE } else { TICK };
            tokio::select! {
                () = live.relay_stops(), if manner == Manner::Ticks => return,
                () = sleep(pause) => {}
            }
        }
    });
    Body::new(body).into_response()
}

/// Asks for a path.
async fn ask(port: u16, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: relay.test\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

/// Reads until this was heard so many times, or to the end.
async fn hear(stream: &mut (impl AsyncRead + Unpin), word: &str, times: usize) -> String {
    let mut heard = String::new();
    let hears = async {
        while heard.matches(word).count() < times {
            let mut some = [0; 1024];
            match stream.read(&mut some).await {
                Ok(0) | Err(_) => break,
                Ok(n) => heard.push_str(&String::from_utf8_lossy(&some[..n])),
            }
        }
    };
    timeout(PATIENCE, hears).await.expect("an answer or an end");
    heard
}

async fn is_over(stream: &mut TcpStream) -> bool {
    let ends = async {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    };
    timeout(PATIENCE, ends).await.is_ok()
}

#[tokio::test]
async fn an_answer_goes_on_as_long_as_it_says_so_and_ends_with_the_relay() {
    let door = open(4, 4, None).await;
    let mut live = ask(door.port, "/live").await;
    let times = 2 * usize::try_from(LONGEST.as_millis() / TICK.as_millis()).unwrap();
    let heard = hear(&mut live, "tick", times).await;
    assert!(heard.starts_with("HTTP/1.1 200") && heard.contains("connection: close"), "{heard}");
    assert_eq!(heard.matches("tick").count(), times, "twice as long as a request may take");
    door.stop.send_replace(true);
    assert!(hear(&mut live, "0\r\n\r\n", 1).await.ends_with("0\r\n\r\n"), "the answer has an end");
    assert!(is_over(&mut live).await && timeout(PATIENCE, door.ended).await.is_ok());
}

#[tokio::test]
async fn an_answer_that_does_not_go_on_is_cut_and_so_is_one_that_does_not_end() {
    let door = open(4, 4, None).await;
    let mut silent = ask(door.port, "/silent").await;
    assert_eq!(hear(&mut silent, "tick", 2).await.matches("tick").count(), 1, "it was cut before the second");
    let mut stubborn = ask(door.port, "/stubborn").await;
    hear(&mut stubborn, "tick", 1).await;
    door.stop.send_replace(true);
    assert!(is_over(&mut stubborn).await && timeout(PATIENCE, door.ended).await.is_ok());
}

#[tokio::test]
async fn answers_that_go_on_leave_the_places_to_requests() {
    let door = open(1, 2, None).await;
    let mut live = Vec::new();
    for _ in 0..2 {
        let mut one = ask(door.port, "/live").await;
        assert!(hear(&mut one, "tick", 1).await.starts_with("HTTP/1.1 200"));
        live.push(one);
    }
    let mut third = ask(door.port, "/live").await;
    assert!(hear(&mut third, "\r\n\r\n", 1).await.starts_with("HTTP/1.1 503"), "two may go on");
    // It keeps the only place, and a request of its own is answered.
    third.write_all(b"GET /secure HTTP/1.1\r\nhost: relay.test\r\n\r\n").await.unwrap();
    assert!(hear(&mut third, "false", 1).await.starts_with("HTTP/1.1 200"));
    let mut fourth = ask(door.port, "/secure").await;
    assert!(hear(&mut fourth, "\r\n\r\n", 1).await.starts_with("HTTP/1.1 503"), "there is one place");
    drop((third, fourth));
    assert!(hear(&mut live[0], "tick", 2).await.contains("tick"), "nobody took theirs");
    // Who leaves makes room.
    live.pop();
    let again = async {
        loop {
            let mut one = ask(door.port, "/live").await;
            if hear(&mut one, "tick", 1).await.starts_with("HTTP/1.1 200") {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("one that ended leaves room for another");
}

#[tokio::test]
async fn a_request_knows_whether_it_came_by_tls() {
    let pair = Pair::self_signed("relay.test").unwrap();
    let certificate: CertificateDer<'static> = pair.key().cert[0].clone().into_owned();
    let server = server_config(Arc::new(Certificates::fixed(pair)), None).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let client = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
    let door = open(4, 4, Some(server)).await;
    let plain = TcpStream::connect(("127.0.0.1", door.port)).await.unwrap();
    let name = "relay.test".to_owned().try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, plain).await.unwrap();
    stream.write_all(b"GET /secure HTTP/1.1\r\nhost: relay.test\r\n\r\n").await.unwrap();
    assert!(hear(&mut stream, "true", 1).await.ends_with("true"));
    let door = open(4, 4, None).await;
    assert!(hear(&mut ask(door.port, "/secure").await, "false", 1).await.ends_with("false"));
}
