//! Key rotation by `posthaste dkim rotate`: a new key signs only when DNS has it, whatever happens in between.

use std::fs;

use serde_json::Value;
use support::{FakeMx, Mail, Relay, dns::DnsServer, relay::text};

const NAME: &str = "s1._domainkey.sender.test";

struct Place {
    relay: Relay,
    mx: FakeMx,
    dns: DnsServer,
    sent: usize,
}

impl Place {
    /// A relay that signs for sender.test with the key s1, which DNS has; it does not run yet.
    fn prepare() -> Self {
        let (dns, mx) = (DnsServer::start(), FakeMx::start());
        dns.mx("example.test", 10, "mx1.example.test").a("mx1.example.test", "127.0.0.1");
        let relay = Relay::prepare(&format!(
            "dns.nameservers = [\"{}\"]\ndns.private_addresses = true\ndelivery.port = {}\ndkim.domain.\"sender.test\".keys = [{{ selector = \"s1\", file = \"s1.sender.test.pem\" }}]",
            dns.address(),
            mx.port()
        ));
        // `dkim new` needs no configuration, and this one names a key that does not exist yet.
        let zone = relay.ok(["dkim", "new", "sender.test", "s1"]);
        dns.txt(NAME, &record(&zone));
        Self { relay, mx, dns, sent: 0 }
    }

    /// `dkim rotate`: the one key in its output.
    fn rotate(&self) -> Value {
        let said: Value = serde_json::from_str(&self.relay.ok(["dkim", "rotate", "sender.test", "--json"])).unwrap();
        assert_eq!(said.as_array().map(Vec::len), Some(1), "{said}");
        said[0].clone()
    }

    /// `dkim status`: selector, stage and DNS of each key, and whether the command succeeded.
    fn status(&self) -> (Vec<(String, String, String)>, bool) {
        let out = self.relay.cli(["dkim", "status", "--json"]);
        let said = text(&out.stdout);
        let rows = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).map(|row| {
            let word = |key: &str| row[key].as_str().unwrap_or_else(|| panic!("{row}")).to_owned();
            assert_eq!((row["bits"].as_u64(), row["age_days"].as_u64()), (Some(2048), Some(0)), "{row}");
            (word("selector"), word("stage"), word("dns"))
        });
        (rows.collect(), out.status.success())
    }

    /// The selector that a message is signed with.
    fn signed_with(&mut self) -> String {
        self.relay.send(&Mail::new("bounce@sender.test", &["reader@example.test"], "x"));
        self.sent += 1;
        let got = text(&self.mx.wait_for(self.sent).remove(self.sent - 1).data);
        let selectors: Vec<&str> = got.split("DKIM-Signature: ").skip(1).filter_map(|f| f.split("s=").nth(1)?.split(';').next()).collect();
        assert_eq!(selectors.len(), 1, "{got}");
        selectors[0].to_owned()
    }
}

/// The text of the first record of a zone file.
fn record(zone: &str) -> String {
    let lines = zone.split(" )").next().expect("split gives something");
    lines.split('"').skip(1).step_by(2).collect()
}

fn row(selector: &str, stage: &str, dns: &str) -> (String, String, String) {
    (selector.into(), stage.into(), dns.into())
}

#[test]
fn the_next_key_signs_only_when_dns_has_it_and_still_does_after_a_restart() {
    let mut place = Place::prepare();
    place.relay.run();
    assert_eq!(place.status(), (vec![row("s1", "active", "matches")], true));
    assert_eq!(place.signed_with(), "s1");

    let made = place.rotate();
    let next = made["selector"].as_str().unwrap().to_owned();
    assert_eq!((&made["signs"], &made["dns"]), (&Value::Bool(false), &Value::from("missing")), "{made}");
    assert_eq!(place.signed_with(), "s1");
    assert_eq!(place.status(), (vec![row("s1", "active", "matches"), row(&next, "next", "missing")], true));
    assert!(place.relay.log().wait_for_relay("dkim_key_made")["detail"].as_str().unwrap().contains(&next));

    // Another key at its name is not accepted, and asking again makes no third key.
    let name = format!("{next}._domainkey.sender.test");
    place.dns.txt(&name, "v=DKIM1; k=rsa; p=AAAA");
    let again = place.rotate();
    assert_eq!((&again["selector"], &again["dns"]), (&made["selector"], &Value::from("mismatch")), "{again}");
    assert_eq!(place.signed_with(), "s1");

    place.dns.remove(&name).txt(&name, &record(made["record"].as_str().unwrap()));
    let switched = place.rotate();
    assert_eq!((&switched["selector"], &switched["signs"]), (&made["selector"], &Value::Bool(true)), "{switched}");
    assert_eq!(place.signed_with(), next);
    assert_eq!(place.status(), (vec![row("s1", "retiring", "matches"), row(&next, "active", "matches")], true));

    place.relay.ok(["reload"]);
    assert_eq!(place.signed_with(), next);
    place.relay.kill();
    place.relay.run();
    assert_eq!(place.signed_with(), next);

    // Both keys must be in DNS as long as mail may be in transit.
    let zone = place.relay.ok(["dkim", "dns", "sender.test"]);
    assert!(zone.contains("s1._domainkey.sender.test. IN TXT (") && zone.contains(&format!("{name}. IN TXT (")), "{zone}");
    place.dns.remove(&name);
    assert_eq!(place.status(), (vec![row("s1", "retiring", "matches"), row(&next, "active", "missing")], false));
}

#[test]
fn keys_are_rotated_without_a_running_relay_too() {
    let mut place = Place::prepare();
    let made = place.rotate();
    let next = made["selector"].as_str().unwrap();
    place.dns.txt(&format!("{next}._domainkey.sender.test"), &record(made["record"].as_str().unwrap()));
    assert_eq!(place.rotate()["signs"], true);
    place.relay.run();
    assert_eq!(place.signed_with(), next);
    let stranger = place.relay.cli(["dkim", "rotate", "stranger.test"]);
    assert!(!stranger.status.success() && text(&stranger.stderr).contains("stranger.test has no keys"), "{}", text(&stranger.stderr));
}

#[test]
fn a_relay_whose_key_or_book_of_keys_is_damaged_does_not_start() {
    let place = Place::prepare();
    let made = place.rotate();
    let next = made["selector"].as_str().unwrap();
    place.dns.txt(&format!("{next}._domainkey.sender.test"), &record(made["record"].as_str().unwrap()));
    assert_eq!(place.rotate()["signs"], true);
    place.relay.ok(["check"]);
    let dir = place.relay.dir().join("data/dkim");
    let pem = dir.join(format!("{next}.sender.test.pem"));
    let key = fs::read(&pem).unwrap();
    for (file, content, why) in
        [(pem, key, "sender.test.pem"), (dir.join("keys.json"), fs::read(dir.join("keys.json")).unwrap(), "keys.json")]
    {
        fs::write(&file, "nonsense").unwrap();
        for command in ["check", "run"] {
            let out = place.relay.cli([command]);
            assert!(!out.status.success() && text(&out.stderr).contains(why), "{command}: {}", text(&out.stderr));
        }
        fs::write(&file, content).unwrap();
    }
    place.relay.ok(["check"]);
}
