//! Where mail is sent from and to: sources, smart hosts, static routes, IPv6.

use support::{Client, FakeMx, Mail, Relay, World, dns::DnsServer, world::relay};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";

#[test]
fn mail_leaves_from_the_configured_address_under_its_name() {
    let world = World::start("source.ip2 = { address = \"127.0.0.2\", ehlo = \"out2.relay.test\" }\npool.default.sources = [\"ip2\"]");
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    let got = world.mx.wait_for(1).remove(0);
    assert_eq!(got.peer.unwrap().ip().to_string(), "127.0.0.2");
    assert_eq!(got.ehlo, "out2.relay.test");
    let event = world.relay.log().wait_for("delivered", TO);
    assert_eq!((&event["source"], &event["source_ip"]), (&"ip2".into(), &"127.0.0.2".into()));
}

#[test]
fn two_sources_share_the_work_by_their_weights() {
    let world = World::start(
        r#"
        source.ip2 = { address = "127.0.0.2" }
        source.ip3 = { address = "127.0.0.3" }
        pool.default = { sources = ["ip2", "ip3"], weights = { ip2 = 3 } }
        "#,
    );
    let mut client = Client::hello(world.relay.port()).unwrap();
    for i in 0..16 {
        client.submit(&Mail::new(FROM, &[&format!("r{i}@example.test")], "one")).unwrap();
    }
    let got = world.mx.wait_for(16);
    let from = |ip: &str| got.iter().filter(|t| t.peer.unwrap().ip().to_string() == ip).count();
    assert_eq!((from("127.0.0.2"), from("127.0.0.3")), (12, 4));
}

#[test]
fn everything_goes_to_a_smart_host_and_its_domain_need_not_exist() {
    let mx = FakeMx::start();
    let dns = DnsServer::start();
    let relay = relay(&dns, 1, &format!("route.\"*\" = \"{}\"", mx.address()));
    relay.send(&Mail::new(FROM, &["reader@nowhere.test"], "one"));
    mx.wait_for(1);
    relay.log().wait_for("delivered", "reader@nowhere.test");
    assert_eq!(dns.questions("nowhere.test"), 0);
}

#[test]
fn mail_for_a_domain_whose_hosts_are_the_relay_itself_bounces_at_once() {
    let (dns, mx) = (DnsServer::start(), FakeMx::start());
    dns.mx("met.test", 10, "met.example.test").mx("met.test", 20, "other.test").a("met.example.test", "127.0.0.1");
    dns.mx("named.test", 10, "relay.test").mx("named.test", 20, "other.test").a("relay.test", "127.0.0.9").a("other.test", "127.0.0.2");
    dns.mx("sender.test", 10, "mx1.sender.test");
    let to = ["reader@met.test", "reader@named.test", "reader@[127.0.0.1]"];
    let mut relay = Relay::prepare(&format!(
        "dns.nameservers = [\"{}\"]\ndns.private_addresses = true\nroute.\"sender.test\" = \"{}\"\n",
        dns.address(),
        mx.address()
    ));
    relay.configure(&format!("delivery.port = {}", relay.port()));
    relay.run();
    relay.send(&Mail::new(FROM, &to, "one"));
    for rcpt in to {
        let ended = relay.log().wait_for("bounced", rcpt);
        assert_eq!(ended["cause"], "loop", "{ended}");
    }
    let notice = String::from_utf8_lossy(&mx.wait_for(1)[0].data).into_owned();
    assert!(notice.contains("Status: 5.4.6") && notice.contains("loops back to myself"), "{notice}");
    assert!(relay.log().events().iter().all(|event| event["event"] != "delivered" || event["rcpt"] == FROM));
}

#[test]
fn mail_for_the_relays_own_name_waits_with_an_alarm_until_it_has_somewhere_to_go() {
    for of_name in ["127.0.0.9", ""] {
        let (dns, mx) = (DnsServer::start(), FakeMx::start());
        if !of_name.is_empty() {
            dns.a("relay.test", of_name);
        }
        let mut relay = Relay::prepare(&format!("dns.nameservers = [\"{}\"]\nretry.schedule = [\"1h\"]\n", dns.address()));
        relay.run();
        relay.send(&Mail::new("root@relay.test", &["root@relay.test"], "cron's"));
        assert_eq!(relay.log().wait_for("deferred", "root@relay.test")["action"], "fix_configuration");
        let said = |relay: &Relay, state: &str| {
            let of = || relay.log().of("relay", "").into_iter().find(|event| event["state"] == state);
            support::wait::until(state, of)["detail"].to_string()
        };
        let alarm = said(&relay, "alarm");
        assert!(alarm.contains("this host's own name") && alarm.contains("/etc/aliases"), "{alarm}");
        assert_eq!(relay.log().history("root@relay.test"), ["accepted", "deferred"]);
        relay.configure(&format!("route.\"relay.test\" = \"{}\"", mx.address()));
        relay.ok(["reload"]);
        relay.ok(["queue", "retry", "--all"]);
        relay.log().wait_for("delivered", "root@relay.test");
        said(&relay, "alarm_over");
    }
}

#[test]
fn a_postmaster_at_the_relays_own_name_is_a_caution() {
    let mut relay = Relay::prepare("postmaster = \"ops@relay.test\"\n");
    let said = relay.cli(["check"]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("postmaster = \"ops@relay.test\" is at this host's own name"), "{said:?}");
    relay.configure("route.\"relay.test\" = \"127.0.0.1:9\"");
    assert!(!String::from_utf8_lossy(&relay.cli(["check"]).stdout).contains("own name"));
}

#[test]
fn a_recipients_dns_leads_to_no_host_inside_unless_the_operator_says_so() {
    let (dns, mx) = (DnsServer::start(), FakeMx::start());
    dns.mx("example.test", 10, "mx1.example.test").a("mx1.example.test", "127.0.0.1");
    let relay = Relay::start(&format!("dns.nameservers = [\"{}\"]\ndelivery.port = {}\n", dns.address(), mx.port()));
    let to = [TO, "reader@[127.0.0.1]"];
    relay.send(&Mail::new(FROM, &to, "one"));
    for rcpt in to {
        assert_eq!(relay.log().wait_for("bounced", rcpt)["cause"], "no_hosts");
    }
    assert!(mx.peers().is_empty());
}

#[test]
fn a_static_route_goes_before_dns_for_its_domain_alone() {
    let world = World::start("");
    let other = FakeMx::start();
    let world_route = format!("route.\"inside.test\" = \"{}\"\nroute.\".inside.test\" = \"{}\"", other.address(), other.address());
    let relay = relay(&world.dns, world.mx.port(), &world_route);
    world.dns.mx("inside.test", 10, "mx1.example.test");
    relay.send(&Mail::new(FROM, &["reader@inside.test", "reader@deep.inside.test", TO], "one"));
    let got = other.wait_for(1);
    let mut rcpts: Vec<_> = got.iter().flat_map(|t| t.rcpts.clone()).collect();
    if rcpts.len() == 1 {
        rcpts = other.wait_for(2).into_iter().flat_map(|t| t.rcpts).collect();
    }
    rcpts.sort();
    assert_eq!(rcpts, ["reader@deep.inside.test", "reader@inside.test"]);
    assert_eq!(world.mx.wait_for(1)[0].rcpts, [TO]);
}

#[test]
fn a_receiver_with_an_ipv6_address_is_reached_over_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: this machine has no IPv6");
        return;
    }
    let [mx] = FakeMx::group(["::1"]);
    let dns = DnsServer::start();
    dns.mx("example.test", 10, "mx1.example.test").aaaa("mx1.example.test", "::1");
    let relay = relay(&dns, mx.port(), "");
    relay.send(&Mail::new(FROM, &[TO], "one"));
    let event = relay.log().wait_for("delivered", TO);
    assert_eq!((&event["mx_ip"], &event["source_ip"]), (&"::1".into(), &"::1".into()));
}
