//! Who brings a report decides what it may do: only the side that received the message stops everybody's mail to its recipient.

use std::fs;

use hickory_proto::rr::{Name, RData, RecordType, rdata::PTR};
use posthaste_dkim::{Algorithm, Key, Signer, SignerOptions};
use serde_json::Value;
use support::{Act, Client, Mail, Step, World, dns::Fault, relay::free_port, wait};

const APP: &str = "app@sender.test";
const GONE: &str = "gone@example.test";
/// A host that has nothing to do with the receiver.
const STRANGER: &str = "198.51.100.7";

/// A relay whose returns listener stands behind a load balancer, so that a client may have any address.
struct Place {
    world: World,
    port: u16,
}

impl Place {
    fn start(extra: &str) -> Self {
        let port = free_port();
        let world = World::start(&format!(
            "returns.domain = \"bounce.relay.test\"\nlisten.back.address = \"127.0.0.1:{port}\"\nlisten.back.role = \"returns\"\n\
             listen.back.proxy_from = [\"127.0.0.1\"]\n{extra}"
        ));
        world.dns.mx("sender.test", 10, "mx1.example.test");
        Self { world, port }
    }

    /// The reverse-path of a new message, which was delivered.
    fn path(&self) -> String {
        let n = self.world.mx.messages().len();
        self.world.relay.send(&Mail::new(APP, &[GONE], "Offer"));
        let of_gone = || self.world.mx.messages().into_iter().skip(n).find(|got| got.rcpts == [GONE]);
        let got = wait::until("the message to arrive", of_gone);
        let delivered = || self.world.relay.log().of("delivered", GONE).len();
        let accepted = self.world.relay.log().of("accepted", GONE).len();
        wait::until("its delivery to be logged", || (delivered() == accepted).then_some(()));
        got.from
    }

    /// Hands a mail in from this address. Returns the answer's code.
    fn comes_back(&self, ip: &str, from: &str, to: &str, mail: &str) -> u16 {
        let mut client = Client::raw(self.port).unwrap();
        client.send(format!("PROXY TCP4 {ip} 127.0.0.1 1025 25\r\n").as_bytes()).unwrap();
        assert_eq!(client.answer().unwrap().code, 220);
        client.say("EHLO mx1.example.test").unwrap();
        client.submit(&Mail::raw(from, &[to], mail.as_bytes())).unwrap().code
    }

    fn lines(&self) -> Vec<[Value; 3]> {
        let line = |line: &Value| ["trust", "why", "again"].map(|field| line[field].clone());
        self.world.relay.log().of("late_bounced", GONE).iter().map(line).collect()
    }

    fn listed(&self) -> Vec<(String, bool)> {
        let listed = self.world.relay.cli(["suppress", "list", "--json", GONE]);
        let text = String::from_utf8(listed.stdout).unwrap();
        let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries.map(|entry| (entry["scope"].as_str().unwrap().to_owned(), entry.get("until").is_some())).collect()
    }

    fn proven(&self, why: &str) {
        wait::until("the report to be proof", || (self.lines().last()?[..2] == [Value::from("proof"), why.into()]).then_some(()));
        wait::until("the address to be listed for all", || self.listed().contains(&("global".to_owned(), false)).then_some(()));
    }
}

fn no_such_user(to: &str) -> String {
    format!(
        "From: Mail Delivery System <MAILER-DAEMON@example.test>\r\nTo: <{to}>\r\nSubject: Undelivered Mail\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nIt failed.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx1.example.test\r\n\r\n\
         Final-Recipient: rfc822; {GONE}\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 user unknown\r\n\r\n--b--\r\n"
    )
}

fn pointer(place: &Place, ip: &str, name: &str) {
    let backwards: Vec<&str> = ip.split('.').rev().collect();
    place.world.dns.record(&format!("{}.in-addr.arpa", backwards.join(".")), RData::PTR(PTR(Name::from_ascii(name).unwrap())));
}

/// The mail under a signature of `example.test`, whose key is in DNS.
fn signed(place: &Place, mail: &str) -> String {
    let (key, _) = Key::generate(Algorithm::Ed25519Sha256).unwrap();
    place.world.dns.txt("s1._domainkey.example.test", &key.public_record());
    let signer = Signer::new("example.test", "s1", key, &SignerOptions::default()).unwrap();
    signer.sign(&[mail.as_bytes()], 1_790_000_000).unwrap() + mail
}

#[test]
fn who_reads_return_path_stops_one_streams_mail_for_a_while_and_the_receiver_stops_all() {
    let place = Place::start("");
    let path = place.path();
    // The name is one that the stranger made up.
    pointer(&place, STRANGER, "mx1.example.test.");
    for _ in 0..2 {
        assert_eq!(place.comes_back(STRANGER, "", &path, &no_such_user(&path)), 250);
    }
    assert_eq!(place.lines(), [["hint".into(), "elsewhere".into(), Value::Null]]);
    assert_eq!(place.world.relay.log().of("late_bounced", GONE)[0]["client_ip"], STRANGER);
    assert_eq!(place.listed(), [("stream:default".to_owned(), true)]);
    place.world.relay.log().wait_for("delivered", APP);
    // The receiver has its say all the same, and the sender is told once.
    assert_eq!(place.comes_back("127.0.0.1", "", &path, &no_such_user(&path)), 250);
    assert_eq!(place.lines()[1..], [["proof".into(), "network".into(), Value::from(true)]]);
    place.proven("network");
    assert_eq!(place.world.relay.log().of("accepted", APP).len(), 1);
    assert_eq!(place.comes_back(STRANGER, "", &path, &no_such_user(&path)), 250);
    assert_eq!(place.lines().len(), 2);
}

#[test]
fn a_host_of_the_receivers_by_its_name_proves_it_and_nobody_waits_for_dns() {
    let place = Place::start("");
    let path = place.path();
    pointer(&place, "198.51.100.8", "out7.example.test.");
    place.world.dns.a("out7.example.test", "198.51.100.8");
    place.world.dns.fault_of("8.100.51.198.in-addr.arpa", RecordType::PTR, Fault::Silent);
    let since = wait::instant();
    assert_eq!(place.comes_back("198.51.100.8", "", &path, &no_such_user(&path)), 250);
    assert!(since.elapsed().as_secs_f32() < 2.0, "{:?}", since.elapsed());
    assert_eq!(place.lines(), [["hint".into(), "elsewhere".into(), Value::Null]]);
    // The answer comes while it is looked for.
    place.world.dns.heal("8.100.51.198.in-addr.arpa");
    place.proven("name");
    assert_eq!(place.lines().len(), 2);
}

#[test]
fn a_sender_of_its_own_is_no_report() {
    let place = Place::start("");
    let path = place.path();
    assert_eq!(place.comes_back("127.0.0.1", "ann@example.test", &path, &no_such_user(&path)), 250);
    assert_eq!(place.lines(), [["hint".into(), "sender".into(), Value::Null]]);
    assert_eq!(place.listed(), [("stream:default".to_owned(), true)]);
}

#[test]
fn a_signature_of_the_receivers_mail_system_proves_it_for_the_path_that_it_names() {
    let place = Place::start("");
    let (path, other) = (place.path(), place.path());
    let mail = signed(&place, &no_such_user(&path));
    // Handed to another reverse-path, and changed, it proves nothing.
    assert_eq!(place.comes_back(STRANGER, "", &other, &mail), 250);
    assert_eq!(place.comes_back(STRANGER, "", &path, &mail.replace("user unknown", "user  unknown")), 250);
    wait::until("both to be hints", || (place.lines().len() == 2).then_some(()));
    assert!(place.lines().iter().all(|line| line[0] == "hint"), "{:?}", place.lines());
    assert!(place.listed().iter().all(|(scope, ends)| scope == "stream:default" && *ends));
    assert_eq!(place.comes_back(STRANGER, "", &path, &mail), 250);
    place.proven("signature");
}

#[test]
fn what_is_fetched_is_a_hint_unless_its_author_signed_it() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["new", "cur", "tmp"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let place = Place::start(&format!("returns.read_every = \"1s\"\nreturns.mailbox.local.maildir = {:?}", dir.path()));
    let path = place.path();
    // Whoever sends it writes the fields of servers as well.
    let received =
        "Received: from mx1.example.test (mx1.example.test [127.0.0.1]) by mail.relay.test with ESMTP; Mon, 23 Nov 2026 10:00:00 +0000\r\n";
    let put = |name: &str, mail: &str| {
        fs::write(dir.path().join("tmp").join(name), mail).unwrap();
        fs::rename(dir.path().join("tmp").join(name), dir.path().join("new").join(name)).unwrap();
    };
    put("1.a.host", &format!("Return-Path: <>\r\nDelivered-To: {path}\r\n{received}{}", no_such_user(&path)));
    wait::until("the report to be a hint", || (place.listed() == [("stream:default".to_owned(), true)]).then_some(()));
    assert_eq!(place.lines(), [["hint".into(), "mailbox".into(), Value::Null]]);
    put("2.b.host", &format!("Return-Path: <>\r\nDelivered-To: {path}\r\n{received}{}", signed(&place, &no_such_user(&path))));
    place.proven("signature");
}

#[test]
fn a_message_that_bounced_at_once_is_not_counted_by_reports_as_well() {
    let place = Place::start("");
    place.world.mx.script(|_, step| match step {
        Step::Rcpt(rcpt) if rcpt == GONE => Act::Say("550 5.7.1 not from you".into()),
        _ => Act::Usual,
    });
    place.world.relay.send(&Mail::new(APP, &[GONE], "Offer"));
    place.world.relay.log().wait_for("bounced", GONE);
    place.world.relay.log().wait_for("delivered", APP);
    let commands = place.world.mx.commands();
    let path = commands.iter().find_map(|said| said.strip_prefix("MAIL FROM:<b+")).and_then(|rest| rest.split('>').next()).unwrap();
    let path = format!("b+{path}");
    for _ in 0..2 {
        assert_eq!(place.comes_back("127.0.0.1", "", &path, &no_such_user(&path)), 250);
    }
    assert_eq!(place.lines(), [["nothing".into(), "ended".into(), Value::Null]]);
    assert_eq!((place.listed(), place.world.relay.log().of("accepted", APP).len()), (Vec::new(), 1));
}
