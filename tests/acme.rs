//! Listeners whose certificates are ordered from an ACME authority, here Pebble.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    thread,
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rustix::process::Signal;
use rustls::{ClientConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use support::{
    Client, DeliveryLog, FakeMx, Mail, Relay, Tls,
    certs::{authority_pem, certified, dated_pem, trusting},
    dns::DnsServer,
    http::Connection,
    pebble::Pebble,
    relay::free_port,
    tools::have,
    wait,
};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";
const MAIL: &str = "mail.relay.test";
const SMTP: &str = "smtp.relay.test";
/// Seconds.
const HOUR: u32 = 3600;

/// Pebble, a DNS in which both names lead to the relay, a receiver, and a relay that is not started yet.
struct Scene {
    relay: Relay,
    pebble: Pebble,
    mx: FakeMx,
    dns: DnsServer,
    trust: Arc<ClientConfig>,
}

impl Scene {
    /// A listener with STARTTLS whose certificate is for `names`; None if Pebble is not installed.
    fn set(names: &[&str], acme: impl FnOnce(&Pebble) -> String) -> Option<Self> {
        if !have(Pebble::PROGRAM) {
            return None;
        }
        let (dns, mx) = (DnsServer::start(), FakeMx::start());
        dns.mx("example.test", 10, "mx1.example.test").a("mx1.example.test", "127.0.0.1");
        dns.a(MAIL, "127.0.0.1").a(SMTP, "127.0.0.1");
        let pebble = Pebble::start(dns.address(), HOUR);
        let trust = pebble.trusting();
        let relay = Relay::prepare(&format!(
            "dns.nameservers = [\"{}\"]\ndns.private_addresses = true\ndelivery.port = {}\n{}[listen.default]\ntls = \"starttls\"\nacme = {names:?}\n",
            dns.address(),
            mx.port(),
            acme(&pebble)
        ));
        Some(Self { relay, pebble, mx, dns, trust })
    }

    /// Waits until the listener has shown this many of Pebble's certificates, one after the other.
    #[track_caller]
    fn wait_for_certificates(&self, count: usize) {
        let shown =
            || self.relay.log().of("relay", "").iter().filter(|event| event["state"] == "renewed" && event["part"] == "tls").count();
        wait::until(&format!("certificate {count} of Pebble's"), || (shown() >= count).then_some(()));
    }

    /// A session with the listener, whose certificate must be issued by Pebble for this name.
    #[track_caller]
    fn session(&self, name: &str) -> Client {
        Client::starttls(self.relay.port(), name, &self.trust).unwrap()
    }

    #[track_caller]
    fn shown(&self, name: &str) -> Vec<u8> {
        self.session(name).certificate().unwrap()
    }

    /// The files of certificates.
    fn files(&self) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.relay.dir().join("data/acme")).unwrap().next().unwrap().unwrap().path();
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }
}

/// The details of the log lines about orders.
fn told(log: &DeliveryLog, state: &str) -> Vec<String> {
    let about = |event: &Value| event["part"] == "acme" && event["state"] == state;
    let events = log.of("relay", "").into_iter().filter(about);
    events.map(|event| event["detail"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn wait_for(log: &DeliveryLog, state: &str, count: usize) -> Vec<String> {
    wait::until(&format!("{count} orders {state}"), || Some(told(log, state)).filter(|told| told.len() >= count))
}

#[test]
fn a_listener_gets_its_certificate_by_http_01_and_keeps_it_over_a_restart() {
    let Some(mut scene) = Scene::set(&[MAIL, SMTP], Pebble::by_http) else { return };
    scene.relay.run();
    let log = scene.relay.log();
    scene.wait_for_certificates(1);
    let mut session = scene.session(MAIL);
    assert!(session.submit(&Mail::new(FROM, &[TO], "one")).unwrap().id().is_some());
    scene.mx.wait_for(1);
    log.wait_for("delivered", TO);
    let first = session.certificate().unwrap();
    drop(session);
    assert_eq!(scene.shown(SMTP), first, "one certificate for both names");
    assert!(told(&log, "issued")[0].contains("gave a certificate for mail.relay.test, smtp.relay.test, good until "));
    for file in scene.files() {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    // The port for challenges is closed again.
    assert!(TcpStream::connect(("127.0.0.1", scene.pebble.http_port())).is_err());

    scene.relay.stop();
    scene.relay.run();
    assert_eq!(scene.shown(MAIL), first);
    // Everything due is ordered at once: another listener's certificate, but not the first again.
    let smtps = free_port();
    scene.relay.change_config(&format!("[listen.other]\naddress = \"127.0.0.1:{smtps}\"\ntls = \"implicit\"\nacme = [\"{SMTP}\"]\n"));
    scene.relay.signal(Signal::HUP);
    let issued = wait_for(&log, "issued", 2);
    assert!(issued.len() == 2 && issued[1].contains("gave a certificate for smtp.relay.test, good"), "{issued:?}");
    assert_eq!(scene.shown(MAIL), first);
    assert_eq!(told(&log, "alarm"), [""; 0]);
}

#[test]
fn the_http_doors_get_their_certificate_as_listeners_do() {
    let Some(mut scene) = Scene::set(&[MAIL], Pebble::by_http) else { return };
    let port = free_port();
    scene.relay.configure(&format!("[http]\naddress = \"127.0.0.1:{port}\"\ntls = true\nacme = [\"{SMTP}\"]\n"));
    scene.relay.run();
    let log = scene.relay.log();
    let issued = wait_for(&log, "issued", 2);
    assert!(issued.iter().any(|told| told.contains("gave a certificate for smtp.relay.test, good")), "{issued:?}");
    scene.wait_for_certificates(2);
    assert_eq!(Connection::secure(port, SMTP, &scene.trust).unwrap().get("/healthz", "").unwrap().status, 200);
    assert!(Connection::secure(port, MAIL, &scene.trust).is_err(), "the listener for mail has a certificate of its own");
    scene.session(MAIL);
    assert_eq!(told(&log, "alarm"), [""; 0]);
}

#[test]
fn a_listener_gets_its_certificate_by_tls_alpn_01() {
    let Some(mut scene) = Scene::set(&[MAIL, SMTP], Pebble::by_tls) else { return };
    scene.relay.run();
    scene.wait_for_certificates(1);
    assert_eq!(scene.shown(MAIL), scene.shown(SMTP));
    assert_eq!(told(&scene.relay.log(), "alarm"), [""; 0]);
}

#[test]
fn a_renewal_replaces_the_certificate_and_sessions_go_on() {
    let Some(mut scene) = Scene::set(&[MAIL], Pebble::by_http) else { return };
    scene.relay.run();
    scene.wait_for_certificates(1);
    scene.relay.stop();
    // In its place, one that is 60 of its 100 days old.
    let now: Timestamp = scene.relay.log().wait_for_relay("started")["time"].as_str().unwrap().parse().unwrap();
    let day = |days: i64| {
        let date = TimeZone::UTC.to_datetime(now + SignedDuration::from_hours(24 * days)).date();
        (date.year().into(), date.month().cast_unsigned(), date.day().cast_unsigned())
    };
    let (old, key) = dated_pem(MAIL, day(-60), day(40));
    fs::write(&scene.files()[1], key + &old).unwrap();
    scene.relay.run();
    let mut session = Client::starttls(scene.relay.port(), MAIL, &trusting(None)).unwrap();
    scene.relay.change_config("acme.renew_before = \"45d\"");
    scene.relay.signal(Signal::HUP);
    scene.wait_for_certificates(2);
    scene.session(MAIL);
    assert!(session.submit(&Mail::new(FROM, &[TO], "one")).unwrap().id().is_some(), "the session goes on");
    scene.relay.log().wait_for("delivered", TO);
}

#[test]
fn a_refused_order_is_told_and_what_the_relay_made_up_is_shown_meanwhile() {
    let Some(mut scene) = Scene::set(&[MAIL], Pebble::by_http) else { return };
    scene.dns.remove(MAIL);
    scene.relay.run();
    let log = scene.relay.log();
    let alarm = wait_for(&log, "alarm", 1).swap_remove(0);
    for part in
        ["no certificate for mail.relay.test: the authority did not find this host at these names: ", "; tried again at ", "made up"]
    {
        assert!(alarm.contains(part), "{alarm}");
    }
    let refused = Client::starttls(scene.relay.port(), MAIL, &scene.trust).map(drop).unwrap_err().to_string();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    assert!(scene.relay.stderr().contains("listen.default waits for its certificate from https://127.0.0.1:"), "{}", scene.relay.stderr());

    // With a changed [acme] it is tried at once.
    scene.dns.a(MAIL, "127.0.0.1");
    scene.relay.change_config("acme.contact = [\"postmaster@relay.test\"]");
    scene.relay.signal(Signal::HUP);
    scene.wait_for_certificates(1);
    scene.session(MAIL);
    let account = scene.files().into_iter().find(|path| path.ends_with("account.json")).unwrap();
    assert!(fs::read_to_string(account).unwrap().contains("mailto:postmaster@relay.test"));
}

#[test]
fn an_account_that_the_authority_has_forgotten_is_made_anew() {
    let Some(mut scene) = Scene::set(&[MAIL], Pebble::by_http) else { return };
    scene.relay.run();
    scene.wait_for_certificates(1);
    scene.relay.stop();
    // An account that does not exist.
    let [account, certificate] = &scene.files()[..] else { panic!("{:?}", scene.files()) };
    let mut kept: Value = serde_json::from_str(&fs::read_to_string(account).unwrap()).unwrap();
    let id = kept["credentials"]["id"].as_str().unwrap().to_owned();
    kept["credentials"]["id"] = format!("{id}0").into();
    fs::write(account, kept.to_string()).unwrap();
    fs::remove_file(certificate).unwrap();
    scene.relay.run();
    scene.wait_for_certificates(2);
    scene.session(MAIL);
    let made: Value = serde_json::from_str(&fs::read_to_string(account).unwrap()).unwrap();
    assert_ne!(made["credentials"]["id"], kept["credentials"]["id"]);
}

#[test]
fn an_authority_that_asks_for_more_time_gets_it() {
    let mut relay = Relay::prepare("listen.default = { tls = \"starttls\" }");
    let busy = Busy::start("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7200\r\nContent-Length: 0\r\n\r\n");
    fs::write(relay.dir().join("authority.pem"), authority_pem()).unwrap();
    relay.configure(&format!(
        "[acme]\ndirectory = \"https://127.0.0.1:{}/\"\nagree_terms = true\naddress = \"127.0.0.1:{}\"\nroots = \"authority.pem\"\n[listen.default]\nacme = [\"{MAIL}\"]\n",
        busy.0,
        free_port()
    ));
    relay.run();
    wait_for(&relay.log(), "alarm", 1);
    let event = relay.log().of("relay", "").into_iter().find(|event| event["part"] == "acme").unwrap();
    let detail = event["detail"].as_str().unwrap();
    assert!(detail.contains("no certificate for mail.relay.test: 127.0.0.1: answers 503 Service Unavailable; tried again at "), "{detail}");
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let again = time(detail.split_once("tried again at ").unwrap().1.split_once(';').unwrap().0);
    let wait = again.duration_since(time(event["time"].as_str().unwrap())).as_secs();
    assert!((7190..=7200).contains(&wait), "{wait}");
}

/// An HTTPS server that gives every client the same answer.
struct Busy(u16);

impl Busy {
    fn start(answer: &'static str) -> Self {
        let Tls::Good(config) = certified("127.0.0.1") else { panic!("no certificate") };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
                let mut head = BufReader::new(&mut stream).lines().map_while(Result::ok);
                if head.any(|line| line.is_empty()) {
                    // The client may be gone.
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
        Self(port)
    }
}
