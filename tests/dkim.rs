//! Keys that `posthaste dkim new` makes sign mail that dkimpy verifies.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use support::{FakeMx, Mail, Relay, dns::DnsServer, relay::text, tools::have};

const PYTHON: &str = "/usr/bin/python3";
const DKIMPY: &str = "/usr/lib/python3/dist-packages/dkim/__init__.py";
/// Says for each signature of a message whether it holds. Arguments: the message, then name and record in turns.
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
    let said = relay.ok(["dkim", "new", "sender.test", selector, "--algorithm", algorithm]);
    let (zone, config) = said.split_once("# for the configuration:").expect("both parts are there");
    let line = zone.lines().find(|line| !line.starts_with(';')).expect("a record");
    let (name, _) = line.split_once(". IN TXT").expect("a record has a name");
    (name.to_owned(), zone.split('"').skip(1).step_by(2).collect(), config.to_owned())
}

fn post(mx: &FakeMx) -> (DnsServer, String) {
    let dns = DnsServer::start();
    dns.mx("example.test", 10, "mx1.example.test").a("mx1.example.test", "127.0.0.1");
    let config = format!("dns.nameservers = [\"{}\"]\ndelivery.port = {}", dns.address(), mx.port());
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
}
