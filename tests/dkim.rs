//! dkimpy and OpenDKIM verify mail signed with keys made by `posthaste dkim new`; no mail of a domain with keys is sent unsigned.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use support::{
    FakeMx, Mail, Relay,
    dns::DnsServer,
    relay::text,
    tools::{have, opendkim_says},
};

const PYTHON: &str = "/usr/bin/python3";
const DKIMPY: &str = "/usr/lib/python3/dist-packages/dkim/__init__.py";
/// Prints for each signature of a message whether it is valid. Arguments: the message, then pairs of name and record.
const VERIFY: &str = "
import dkim, sys
records = dict(zip(sys.argv[2::2], sys.argv[3::2]))
ask = lambda name, timeout=5: records[(name.decode() if isinstance(name, bytes) else name).rstrip('.')].encode()
message = dkim.DKIM(open(sys.argv[1], 'rb').read())
signatures = sum(1 for name, _ in message.headers if name.lower() == b'dkim-signature')
print(*[message.verify(idx=i, dnsfunc=ask) for i in range(signatures)])
";

/// A new key: its record's name and text, and the lines for the configuration.
fn new_key(relay: &Relay, selector: &str, algorithm: &str) -> (String, String, String) {
    new_key_of(relay, "sender.test", selector, algorithm)
}

fn new_key_of(relay: &Relay, domain: &str, selector: &str, algorithm: &str) -> (String, String, String) {
    let said = relay.ok(["dkim", "new", domain, selector, "--algorithm", algorithm]);
    let (zone, config) = said.split_once("# for the configuration:").expect("both parts are there");
    let line = zone.lines().find(|line| !line.starts_with(';')).expect("a record");
    let (name, _) = line.split_once(". IN TXT").expect("a record has a name");
    (name.to_owned(), zone.split('"').skip(1).step_by(2).collect(), config.to_owned())
}

fn post(mx: &FakeMx) -> (DnsServer, String) {
    let dns = DnsServer::start();
    dns.mx("example.test", 10, "mx1.example.test").a("mx1.example.test", "127.0.0.1");
    let config = format!("dns.nameservers = [\"{}\"]\ndns.private_addresses = true\ndelivery.port = {}", dns.address(), mx.port());
    (dns, config)
}

fn holds(relay: &Relay, message: &[u8], records: &[(String, String, String)]) -> String {
    let file = relay.dir().join("message.eml");
    fs::write(&file, message).unwrap();
    let mut python = Command::new(PYTHON);
    python.args(["-c", VERIFY]).arg(file).args(records.iter().flat_map(|(name, record, _)| [name, record]));
    let out = python.output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    text(&out.stdout).trim().to_owned()
}

#[test]
fn a_key_is_private_and_never_overwritten() {
    let relay = Relay::prepare("");
    new_key(&relay, "s1", "rsa");
    let file = relay.dir().join("s1.sender.test.pem");
    let before = fs::read(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = relay.cli(["dkim", "new", "sender.test", "s1"]);
    assert!(!again.status.success() && text(&again.stderr).contains("s1.sender.test.pem"), "{}", text(&again.stderr));
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn the_printed_lines_are_a_configuration_whose_signatures_dkimpy_verifies() {
    if !have(DKIMPY) {
        return;
    }
    for algorithm in ["rsa", "ed25519"] {
        let mx = FakeMx::start();
        let (_dns, config) = post(&mx);
        let mut relay = Relay::prepare(&config);
        let key = new_key(&relay, "s1", algorithm);
        assert_eq!(key.0, "s1._domainkey.sender.test");
        relay.change_config(&key.2);
        relay.run();
        let mail = "From: Writer <writer@sender.test>\r\nSubject: folded\r\n  twice\r\n\r\n. \r\ngr\u{fc}n  \r\n\r\n\r\n";
        relay.send(&Mail::raw("bounce@sender.test", &["reader@example.test"], mail.as_bytes()));
        let got = mx.wait_for(1).remove(0).data;
        assert_eq!(holds(&relay, &got, std::slice::from_ref(&key)), "True", "{algorithm}: {}", text(&got));
        let line = relay.log().wait_for("delivered", "reader@example.test");
        assert_eq!((&line["from_domain"], &line["dkim"]), (&"sender.test".into(), &"aligned".into()));
        let forged = text(&got).replace("folded", "forged");
        assert_eq!(holds(&relay, forged.as_bytes(), &[key]), "False", "{algorithm}");
    }
}

#[test]
fn two_keys_make_two_signatures_and_other_domains_none() {
    if !have(DKIMPY) {
        return;
    }
    let mx = FakeMx::start();
    let (_dns, config) = post(&mx);
    let mut relay = Relay::prepare(&config);
    let keys = [new_key(&relay, "s1", "rsa"), new_key(&relay, "ed1", "ed25519")];
    relay.change_config(
        r#"dkim.domain."sender.test".keys = [{ selector = "s1", file = "s1.sender.test.pem" }, { selector = "ed1", file = "ed1.sender.test.pem" }]"#,
    );
    relay.run();
    relay.send(&Mail::new("bounce@other.test", &["reader@example.test"], "signed by From, not by the envelope"));
    let got = mx.wait_for(1).remove(0).data;
    assert_eq!(holds(&relay, &got, &keys), "True True", "{}", text(&got));
    let other = b"From: <writer@other.test>\r\nSubject: not ours\r\n\r\nHello.\r\n";
    relay.send(&Mail::raw("bounce@sender.test", &["reader@example.test"], other));
    assert!(!text(&mx.wait_for(2).remove(1).data).contains("DKIM-Signature"));
    let line = relay.log().wait_for_many("delivered", "reader@example.test", 2).remove(1);
    assert_eq!((&line["from_domain"], line.get("dkim")), (&"other.test".into(), None));
    // A signature that speaks for somebody else, and an offer to unsubscribe by one click (RFC 8058).
    let mut passed_on = b"DKIM-Signature: v=1; a=rsa-sha256; d=list.test; s=a; h=from; bh=AA==; b=AA==\r\n".to_vec();
    passed_on.extend_from_slice(b"List-Unsubscribe: <https://list.test/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
    passed_on.extend_from_slice(other);
    relay.send(&Mail::raw("bounce@sender.test", &["reader@example.test"], &passed_on));
    let line = relay.log().wait_for_many("delivered", "reader@example.test", 3).remove(2);
    assert_eq!((&line["dkim"], &line["one_click"]), (&"unaligned".into(), &true.into()));
}

#[test]
fn the_streams_domain_and_the_relays_own_sign_besides_the_authors() {
    if !have(DKIMPY) {
        return;
    }
    let mx = FakeMx::start();
    let (_dns, config) = post(&mx);
    let mut relay = Relay::prepare(&config);
    let keys = ["sender.test", "agency.test", "relay.test"].map(|domain| new_key_of(&relay, domain, "s1", "rsa"));
    relay.change_config(
        r#"
        dkim.also_sign_as = "relay.test"
        dkim.domain."sender.test" = { identity = "@news.sender.test", keys = [{ selector = "s1", file = "s1.sender.test.pem" }] }
        dkim.domain."agency.test".keys = [{ selector = "s1", file = "s1.agency.test.pem" }]
        dkim.domain."relay.test".keys = [{ selector = "s1", file = "s1.relay.test.pem" }]
        stream.agency.dkim_domain = "agency.test"
        "#,
    );
    relay.run();
    let mail = |from: &str, stream: &str| {
        let message = format!("From: <writer@{from}>\r\nX-Posthaste-Stream: {stream}\r\nSubject: x\r\n\r\nHello.\r\n");
        Mail::raw("bounce@sender.test", &["reader@example.test"], message.as_bytes())
    };
    for (count, from, stream, domains) in [
        (1, "sender.test", "agency", &["sender.test", "agency.test", "relay.test"][..]),
        (2, "sender.test", "default", &["sender.test", "relay.test"]),
        (3, "other.test", "agency", &["agency.test", "relay.test"]),
        (4, "relay.test", "default", &["relay.test"]),
    ] {
        relay.send(&mail(from, stream));
        let got = mx.wait_for(count).remove(count - 1).data;
        assert_eq!(signers(&got), domains, "{from} {stream}");
        let all = vec!["True"; domains.len()].join(" ");
        assert_eq!(holds(&relay, &got, &keys), all, "{}", text(&got));
        assert_eq!(text(&got).contains("i=@news.sender.test"), from == "sender.test");
    }
    // A message without From is attributed to its sender.
    relay.send(&Mail::raw("bounce@sender.test", &["reader@example.test"], b"Subject: x\r\n\r\nHello.\r\n"));
    let got = mx.wait_for(5).remove(4).data;
    assert_eq!(signers(&got), ["sender.test", "relay.test"]);
    assert_eq!(holds(&relay, &got, &keys), "True True", "{}", text(&got));
    // A message without an author cannot be signed, and it is not sent unsigned.
    let answer = relay.submit(&Mail::raw("", &["reader@example.test"], b"Subject: x\r\n\r\nHello.\r\n"));
    assert_eq!(answer.code, 554, "{answer:?}");
}

/// The d= of all signatures, in order.
fn signers(message: &[u8]) -> Vec<String> {
    let message = text(message);
    let fields = message.split("DKIM-Signature: ").skip(1);
    fields.map(|field| field.split("d=").nth(1).and_then(|rest| rest.split(';').next()).expect("a signature has d=").to_owned()).collect()
}

#[test]
fn whoever_is_named_in_from_signs_in_whatever_form() {
    let mx = FakeMx::start();
    let (_dns, config) = post(&mx);
    let mut relay = Relay::prepare(&config);
    let domains = ["sender.test", "second.test", "xn--exmple-cua.test"];
    for domain in domains {
        new_key_of(&relay, domain, "s1", "ed25519");
    }
    let lines = domains.map(|d| format!("dkim.domain.\"{d}\".keys = [{{ selector = \"s1\", file = \"s1.{d}.pem\" }}]"));
    relay.change_config(&lines.join("\n"));
    relay.run();
    for (count, from, signed_by) in [
        (1, "a@SENDER.test, B <b@second.test>", &["sender.test", "second.test"][..]),
        (2, "Ann <ann@ex\u{e4}mple.test>", &["xn--exmple-cua.test"]),
        (3, "Ann <ann@deep.below.sender.test>", &["sender.test"]),
        (4, "Team: \"x@other.test\" <a@second.test>;", &["second.test"]),
    ] {
        let message = format!("From: {from}\r\nSubject: x\r\n\r\nHello.\r\n");
        relay.send(&Mail::raw("bounce@sender.test", &["reader@example.test"], message.as_bytes()));
        assert_eq!(signers(&mx.wait_for(count).remove(count - 1).data), signed_by, "{from}");
    }
    // Readers do not agree about whom this names: nothing is signed for anybody.
    let unclosed = Mail::raw("bounce@sender.test", &["reader@example.test"], b"From: Ann <ann@sender.test\r\nSubject: x\r\n\r\nHello.\r\n");
    assert_eq!(relay.submit(&unclosed).code, 550);
}

#[test]
fn dkimpy_and_opendkim_verify_awkward_messages_that_went_through() {
    if !have(DKIMPY) || !have("/usr/sbin/opendkim") {
        return;
    }
    let mx = FakeMx::start();
    let (_dns, config) = post(&mx);
    let mut relay = Relay::prepare(&format!("limits.unfit_text = \"send\"\n{config}"));
    let key = new_key(&relay, "s1", "rsa");
    relay.change_config(&key.2);
    relay.run();
    let header = "From: <writer@sender.test>\r\nSubject: x\r\n";
    let body = |body: &str| format!("{header}\r\n{body}");
    let long = "The quick brown fox jumps over the lazy dog; 0123456789 \r\n";
    let messages = [
        body(""),
        body("\r\n\r\n\r\n"),
        body(" \r\n\t\r\n  \r\n"),
        body("Hello. \t \r\n \r\n\t\r\n"),
        body("no line end at the end"),
        body(".\r\n..\r\n.hidden\r\n"),
        body("Gr\u{fc}\u{df}e aus K\u{f6}ln \u{2013} \u{6771}\u{4eac}\r\n"),
        body(&long.repeat(10_000_000 / long.len())),
        body(&format!("{}\r\n{}\r\n", "word ".repeat(40_000), "y".repeat(100_000))),
        header.to_owned(),
        "From:<writer@sender.test>\r\nSubject:a  b\r\nTo:\r\n\r\nx\r\n".into(),
        "From : <writer@sender.test>\r\nSubject \t: x\r\nX-A :\r\n\r\nx\r\n".into(),
        "From: Writer\r\n <writer@sender.test>\r\nTo: a@example.test,\r\n\tb@example.test\r\nSubject:  a \r\n \t b\r\n\r\nx\r\n".into(),
        "From: <writer@sender.test>\r\nSubject: 1\r\nTo: a@example.test\r\nSubject: 2\r\nTo: b@example.test\r\n\r\nx\r\n".into(),
        "From: J\u{fc}rgen <writer@sender.test>\r\nSubject: Gr\u{fc}\u{df}e\r\n\r\nx\r\n".into(),
    ];
    for (number, message) in messages.iter().enumerate() {
        let ended = if message.ends_with("\r\n") { message.clone() } else { format!("{message}\r\n") };
        relay.send(&Mail::raw("bounce@sender.test", &["reader@example.test"], ended.as_bytes()));
        let got = mx.wait_for(number + 1).remove(number).data;
        let start = text(&got[..got.len().min(2000)]);
        assert_eq!(holds(&relay, &got, std::slice::from_ref(&key)), "True", "dkimpy on {number}: {start}");
        assert!(opendkim_says(relay.dir(), &got, &[(&key.0, &key.1)]), "OpenDKIM on {number}: {start}");
    }
}

#[test]
fn a_reload_that_ends_a_domains_signatures_says_so_and_one_without_its_key_changes_nothing() {
    let mx = FakeMx::start();
    let (_dns, config) = post(&mx);
    let mut relay = Relay::prepare(&config);
    let key = new_key(&relay, "s1", "ed25519");
    relay.change_config(&key.2);
    relay.run();
    let pem = relay.dir().join("s1.sender.test.pem");
    fs::rename(&pem, relay.dir().join("away")).unwrap();
    let out = relay.cli(["reload"]);
    assert!(!out.status.success() && text(&out.stderr).contains("s1.sender.test.pem"), "{}", text(&out.stderr));
    relay.send(&Mail::new("bounce@sender.test", &["reader@example.test"], "still signed"));
    assert_eq!(signers(&mx.wait_for(1).remove(0).data), ["sender.test"]);
    relay.change_config("");
    let said = relay.ok(["reload"]);
    assert!(said.contains("NOT SIGNED any more: sender.test"), "{said}");
    assert!(relay.log().wait_for_relay("reloaded")["detail"].as_str().unwrap().contains("sender.test"));
    // The relay does not start without the key.
    relay.change_config(&key.2);
    assert!(!relay.cli(["check"]).status.success());
}

/// Prints the result for a message's ARC chain. Arguments as for VERIFY.
const ARC_VERIFY: &str = "
import dkim, sys
records = dict(zip(sys.argv[2::2], sys.argv[3::2]))
ask = lambda name, timeout=5: records[(name.decode() if isinstance(name, bytes) else name).rstrip('.')].encode()
state, _, reason = dkim.arc_verify(open(sys.argv[1], 'rb').read(), dnsfunc=ask)
print(state.decode() if state else reason)
";

#[test]
fn forwarded_mail_is_sealed_with_what_was_found_and_goes_on_whatever_that_is() {
    if !have(DKIMPY) {
        return;
    }
    let mx = FakeMx::start();
    let (dns, config) = post(&mx);
    let mut relay = Relay::prepare(&config);
    let keys = ["sender.test", "relay.test"].map(|domain| new_key_of(&relay, domain, "s1", "rsa"));
    for (name, record, _) in &keys {
        dns.txt(name, record);
    }
    // The relay is first the author's relay, then a forwarder.
    relay.change_config(&keys[0].2);
    relay.run();
    relay.send(&Mail::raw("a@sender.test", &["reader@example.test"], b"From: <a@sender.test>\r\nSubject: x\r\n\r\nHello.\r\n \r\n"));
    let signed = text(&mx.wait_for(1).remove(0).data);
    relay.change_config(
        r#"
        dkim.domain."relay.test".keys = [{ selector = "s1", file = "s1.relay.test.pem" }]
        dkim.arc_domain = "relay.test"
        stream.lists.arc = true
        "#,
    );
    relay.ok(["reload"]);
    let forward = |message: &str| {
        Mail::raw("list@relay.test", &["reader@example.test"], format!("X-Posthaste-Stream: lists\r\n{message}").as_bytes())
    };
    let verdict = |message: &[u8]| {
        let file = relay.dir().join("forwarded.eml");
        fs::write(&file, message).unwrap();
        let mut python = Command::new(PYTHON);
        python.args(["-c", ARC_VERIFY]).arg(file).args(keys.iter().flat_map(|(name, record, _)| [name, record]));
        let out = python.output().unwrap();
        assert!(out.status.success(), "{}", text(&out.stderr));
        text(&out.stdout).trim().to_owned()
    };
    relay.send(&forward(&signed));
    let once = mx.wait_for(2).remove(1).data;
    assert!(text(&once).contains("dkim=pass") && text(&once).contains("cv=none"), "{}", text(&once));
    assert_eq!(verdict(&once), "pass", "{}", text(&once));

    relay.send(&forward(&text(&once)));
    let twice = mx.wait_for(3).remove(2).data;
    assert!(text(&twice).starts_with("ARC-Seal: i=2;") && text(&twice).contains("cv=pass"), "{}", text(&twice));
    assert_eq!(verdict(&twice), "pass", "{}", text(&twice));

    relay.send(&forward(&text(&twice).replace("Hello.", "Goodbye.")));
    let broken = mx.wait_for(4).remove(3).data;
    assert!(text(&broken).contains("ARC-Seal: i=3;") && text(&broken).contains("cv=fail"), "{}", text(&broken));
    assert_eq!(verdict(&broken), "ARC-Seal[3] reported failure, the chain is terminated");

    // DNS has no keys: the mail is forwarded, sealed as failed. (The relay caches answers; a new configuration asks again.)
    dns.fault(&keys[0].0, support::dns::Fault::ServFail).fault(&keys[1].0, support::dns::Fault::ServFail);
    relay.ok(["reload"]);
    relay.send(&forward(&text(&once)));
    let unknown = mx.wait_for(5).remove(4).data;
    assert!(text(&unknown).contains("cv=fail") && text(&unknown).contains("dkim=temperror"), "{}", text(&unknown));

    // Mail without signatures or seals is not forwarded mail.
    relay.send(&forward("From: <b@other.test>\r\nSubject: x\r\n\r\nHello.\r\n"));
    assert!(!text(&mx.wait_for(6).remove(5).data).contains("ARC-Seal"));
}
