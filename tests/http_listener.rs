//! The listener of the HTTP doors: its default address, TLS, and connections that last.

use std::{fs, net::TcpListener, sync::Arc};

use rustix::process::Signal;
use rustls::ClientConfig;
use support::{
    Client, Relay,
    certs::{certified_pem, trusting},
    http::Connection,
    people::{HOST, add_user, certificate},
    relay::{free_port, text},
    visitor::Visitor,
    wait,
};

const TOKEN: &str = "all-rights-token";

/// A relay whose HTTP doors speak TLS, with more TOML in `[http]`, and their port.
fn with_tls(more: &str) -> (Relay, u16) {
    let mut relay = Relay::prepare("");
    let port = free_port();
    let certificate = certificate(&relay);
    relay.configure(&support::http::config(port, &[("all", TOKEN, &["send", "read", "suppress"])]));
    relay.configure(&format!("[http]\ntls = true\n{certificate}{more}"));
    relay.run();
    (relay, port)
}

/// What the relay has said, once it has said where it listens.
fn introduced(relay: &Relay) -> String {
    wait::until("the introduction", || Some(relay.stderr()).filter(|said| said.contains("; delivery log: ")))
}

/// TLS of a client that offers these protocols.
fn offering(protocols: &[&str]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&trusting(None));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn secure(port: u16) -> Connection {
    Connection::secure(port, HOST, &offering(&["h2", "http/1.1"])).unwrap()
}

#[test]
fn a_default_address_that_another_program_has_does_not_keep_mail_waiting() {
    // If this fails, another program has it already.
    let held = TcpListener::bind(("127.0.0.1", 8025));
    let mut relay = Relay::prepare("");
    relay.leave_out("http");
    relay.run();
    assert!(Client::hello(relay.port()).is_ok());
    let said = introduced(&relay);
    assert!(said.contains("there is no web page and no HTTP API: cannot listen on 127.0.0.1:8025"), "{said}");
    assert!(said.contains("set http.address") && !said.contains("HTTP API are at"), "{said}");
    drop(held);
}

#[test]
fn an_address_of_the_configuration_that_another_program_has_is_an_error() {
    let port = free_port();
    let _held = TcpListener::bind(("127.0.0.1", port)).unwrap();
    for address in [format!("\"127.0.0.1:{port}\""), format!("[\"127.0.0.1:0\", \"127.0.0.1:{port}\"]")] {
        let mut relay = Relay::prepare(&format!("http.address = {address}"));
        let out = relay.cli(["run"]);
        let said = text(&out.stderr);
        assert!(!out.status.success() && said.contains(&format!("http: cannot listen on 127.0.0.1:{port}")), "{said}");
        relay.spoilt();
    }
}

#[test]
fn under_tls_the_api_answers_as_it_does_without() {
    let (relay, port) = with_tls("");
    let said = introduced(&relay);
    assert!(said.contains(&format!("the HTTP API are at https://127.0.0.1:{port}")), "{said}");
    let mut connection = secure(port);
    assert_eq!(connection.protocol.as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(connection.get("/healthz", "").unwrap().status, 200);
    let answer = connection.get("/v1/suppressions", &format!("authorization: Bearer {TOKEN}\r\n")).unwrap();
    assert!(answer.status == 200 && answer.json().is_object(), "over the same connection: {}", answer.text());
    assert_eq!(connection.get("/v1/nothing", "").unwrap().status, 404);
    let mut without = Connection::secure(port, HOST, &trusting(None)).unwrap();
    assert_eq!((without.protocol.clone(), without.get("/healthz", "").unwrap().status), (None, 200), "a client may offer no protocol");
    assert!(Connection::secure(port, HOST, &offering(&["h2"])).is_err(), "what is not spoken is not agreed to");
}

#[test]
fn plain_http_at_a_port_with_tls_is_told_so_and_ends() {
    let (_relay, port) = with_tls("");
    let mut plain = Connection::open(port).unwrap();
    let answer = plain.get("/v1/suppressions", &format!("authorization: Bearer {TOKEN}\r\n")).unwrap();
    assert_eq!((answer.status, answer.header("connection")), (400, "close"));
    assert!(answer.text().contains("https://"), "{}", answer.text());
    assert!(plain.is_over());
    // What is neither, too.
    let mut strange = Connection::open(port).unwrap();
    strange.send(b"SSH-2.0-OpenSSH_9.9\r\n").unwrap();
    assert_eq!(strange.hear().unwrap().status, 400);
    assert_eq!(secure(port).get("/healthz", "").unwrap().status, 200);
}

#[test]
fn who_does_not_finish_its_handshake_holds_a_place_and_is_hung_up_on() {
    let (mut relay, port) = with_tls("header_timeout = \"1s\"\nmax_connections = 2\n");
    let mut silent = Connection::open(port).unwrap();
    let mut half = Connection::open(port).unwrap();
    // The head of a record that says it has 512 bytes.
    half.send(&[22, 3, 1, 2, 0, 1]).unwrap();
    assert!(Connection::secure(port, HOST, &trusting(None)).is_err(), "both places are taken");
    assert!(silent.is_over() && half.is_over());
    wait::until("a place", || Connection::secure(port, HOST, &trusting(None)).ok());
    let _silent = Connection::open(port).unwrap();
    relay.change_config("http.header_timeout = \"1h\"");
    relay.ok(["reload"]);
    wait::until("a place", || Connection::secure(port, HOST, &trusting(None)).ok()?.get("/healthz", "").ok());
    let _silent = Connection::open(port).unwrap();
    assert!(relay.stop().success());
    assert!(!relay.stderr().contains("did not end in time"), "a stop waits for no handshake");
}

#[test]
fn a_reload_changes_the_certificate_and_connections_go_on() {
    let (relay, port) = with_tls("");
    let mut old = secure(port);
    let (certificate, key) = certified_pem(HOST);
    fs::write(relay.dir().join("new.pem"), certificate).unwrap();
    fs::write(relay.dir().join("new.key"), key).unwrap();
    relay.change_config("[http]\ncertificate = \"new.pem\"\nkey = \"new.key\"\n");
    relay.ok(["reload"]);
    let mut new = secure(port);
    assert_ne!(old.certificate, new.certificate);
    assert_eq!((old.get("/healthz", "").unwrap().status, new.get("/healthz", "").unwrap().status), (200, 200));
    // Files that are replaced are read again by themselves.
    let (certificate, key) = certified_pem(HOST);
    fs::write(relay.dir().join("new.key"), key).unwrap();
    fs::write(relay.dir().join("new.pem"), certificate).unwrap();
    wait::until("the renewed certificate", || (secure(port).certificate != new.certificate).then_some(()));
    // Without TLS, new connections are plain, and the others go on.
    relay.change_config("http.tls = false");
    relay.signal(Signal::HUP);
    wait::until("plain HTTP", || Connection::open(port).ok()?.get("/healthz", "").ok().filter(|answer| answer.status == 200));
    assert_eq!(new.get("/healthz", "").unwrap().status, 200);
}

#[test]
fn tls_opens_the_doors_to_other_machines_and_plain_http_does_not() {
    let relay = Relay::prepare("");
    let certificate = certificate(&relay);
    let check = |http: &str| {
        relay.change_config(&format!("[http]\naddress = \"0.0.0.0:{}\"\n{http}", free_port()));
        let out = relay.cli(["check"]);
        (out.status.success(), text(&out.stdout) + &text(&out.stderr))
    };
    let (good, said) = check("");
    assert!(!good && said.contains("http.address") && said.contains("set `tls = true`"), "{said}");
    let (good, said) = check(certificate);
    assert!(!good, "a certificate alone is no TLS: {said}");
    let (good, said) = check(&format!("tls = true\n{certificate}"));
    assert!(good && !said.contains("http has no certificate"), "{said}");
    let (good, said) = check("tls = true");
    assert!(good && said.contains("http has no certificate and uses a self-signed one"), "{said}");
    let (good, said) = check(&format!("plain = true\n{certificate}"));
    assert!(good && said.contains("http has certificates but TLS is off"), "{said}");
    let (good, said) = check("tls = true\nacme = [\"relay.test\"]");
    assert!(!good && said.contains("http.acme") && said.contains("acme.agree_terms = true"), "{said}");
    let (good, said) = check("tls = true\ncertificate = \"relay.pem\"");
    assert!(!good && said.contains("http.key"), "{said}");
}

#[test]
fn pages_that_are_kept_up_to_date_take_no_place_and_do_not_hold_up_a_stop() {
    let (mut relay, port) = (Relay::prepare(""), free_port());
    add_user(&relay, "ann", "pencil", &["--role", "viewer"]);
    relay.configure(&format!("[http]\naddress = \"127.0.0.1:{port}\"\nmax_connections = 2\nmax_live = 2\n"));
    relay.run();
    let ann = Visitor::login(port, "ann", "pencil");
    let live = || {
        let mut connection = ann.connect();
        connection.send(ann.head("GET", "/live", &[], 0).as_bytes()).unwrap();
        let head = connection.head().unwrap();
        (head.status, head.header("connection").to_owned(), connection)
    };
    // The connection of the login may hold a place for a moment.
    let first = wait::until("the first", || Some(live()).filter(|(status, ..)| *status == 200));
    let second = wait::until("the second", || Some(live()).filter(|(status, ..)| *status == 200));
    assert_eq!((&*first.1, &*second.1), ("close", "close"));
    let third = live();
    assert_eq!(third.0, 503, "two may be kept up to date");
    drop(third);
    let both = wait::until("both places", || {
        let mut both = [Connection::open(port).ok()?, Connection::open(port).ok()?];
        both.iter_mut().all(|one| one.get("/healthz", "").is_ok_and(|answer| answer.status == 200)).then_some(both)
    });
    assert_eq!(Connection::open(port).unwrap().get("/healthz", "").unwrap().status, 503, "there are two places");
    drop(both);
    let (_, _, mut first) = first;
    assert!(relay.stop().success());
    assert!(!relay.stderr().contains("did not end in time"), "{}", relay.stderr());
    while !first.is_over() {}
    // The default suits more.
    relay.change_config("http.max_live = -1");
    assert!(text(&relay.cli(["check"]).stderr).contains("http.max_live"));
}
