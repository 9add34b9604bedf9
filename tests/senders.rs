//! What DNS publishes about senders: SPF and DMARC, asked of a real DNS server, and on the lines of deliveries that never wait for it.

use std::{net::IpAddr, time::Duration};

use posthaste_route::{Dmarc, DnsUnavailable, Resolver, ResolverOptions, Spf, StaticRoutes};
use support::{
    Mail, World,
    dns::{DnsServer, Fault},
    wait::until,
};

fn resolver(dns: &DnsServer) -> Resolver {
    let short = Duration::from_millis(300);
    let options = ResolverOptions { nameservers: vec![dns.address()], attempts: 1, timeout: short, ..ResolverOptions::default() };
    Resolver::new(options, StaticRoutes::new()).unwrap()
}

const IP: &str = "192.0.2.1";

async fn spf(dns: &DnsServer, domain: &str) -> Result<Spf, DnsUnavailable> {
    resolver(dns).spf(IP.parse().unwrap(), domain, "mx1.relay.test").await
}

#[tokio::test]
async fn spf_says_whether_a_source_may_send_for_a_domain() {
    let dns = DnsServer::start();
    dns.txt("spf.esp.test", "v=spf1 ip4:192.0.2.0/24 -all").txt("other.esp.test", "v=spf1 ip4:198.51.100.0/24 -all");
    dns.a("www.test", IP).mx("mail.test", 10, "www.test").a("gone.test", IP);
    for (domain, record, expected) in [
        ("own.test", "v=spf1 ip4:192.0.2.1 -all", Spf::Pass),
        ("by-a.test", "v=spf1 a:www.test -all", Spf::Pass),
        ("by-mx.test", "v=spf1 mx:mail.test -all", Spf::Pass),
        ("included.test", "v=spf1 include:spf.esp.test -all", Spf::Pass),
        ("redirected.test", "v=spf1 redirect=spf.esp.test", Spf::Pass),
        ("capitals.test", "V=SPF1 IP4:192.0.2.1 -ALL", Spf::Pass),
        ("not-us.test", "v=spf1 include:other.esp.test -all", Spf::Fail),
        ("soft.test", "v=spf1 include:other.esp.test ~all", Spf::SoftFail),
        ("neutral.test", "v=spf1 ?all", Spf::Neutral),
        ("gone.test", "no SPF here", Spf::None),
        ("broken.test", "v=spf1 include:nowhere.test -all", Spf::PermError),
    ] {
        dns.txt(domain, record);
        assert_eq!(spf(&dns, domain).await.map_err(|error| error.to_string()), Ok(expected), "{record}");
    }
    assert_eq!(spf(&dns, "nothing.test").await.map_err(|error| error.to_string()), Ok(Spf::None), "a domain that does not exist");
}

#[tokio::test]
async fn a_name_server_that_does_not_answer_says_nothing() {
    let dns = DnsServer::start();
    dns.txt("x.test", "v=spf1 include:dead.test -all").txt("y.test", "v=spf1 a:dead.test -all").txt("z.test", "v=spf1 ip4:192.0.2.1");
    for fault in [Fault::ServFail, Fault::Silent] {
        dns.fault("dead.test", fault).fault("z.test", fault).fault("_dmarc.z.test", fault);
        for domain in ["x.test", "y.test", "z.test"] {
            assert!(spf(&dns, domain).await.is_err(), "{domain}: {fault:?}");
        }
        assert!(resolver(&dns).dmarc("z.test").await.is_err(), "{fault:?}");
    }
}

#[tokio::test]
async fn the_dmarc_policy_is_the_domains_own_or_that_of_its_organization() {
    let dns = DnsServer::start();
    dns.txt("_dmarc.own.test", "v=DMARC1; p=quarantine; sp=reject").txt("_dmarc.reports.test", "v=DMARC1; rua=mailto:a@reports.test");
    dns.txt("_dmarc.org.test", "v=DMARC1; p=none; sp=reject").txt("_dmarc.twice.test", "v=DMARC1; p=none");
    dns.txt("_dmarc.twice.test", "v=DMARC1; p=reject").txt("_dmarc.else.test", "something else");
    let resolver = resolver(&dns);
    for (domain, expected) in [
        ("own.test", Dmarc::Quarantine),
        ("reports.test", Dmarc::None),
        ("news.org.test", Dmarc::Reject),
        ("a.b.org.test", Dmarc::Reject),
        ("org.test", Dmarc::None),
        ("twice.test", Dmarc::Absent),
        ("else.test", Dmarc::Absent),
        ("nothing.test", Dmarc::Absent),
    ] {
        assert_eq!(resolver.dmarc(domain).await.map_err(|error| error.to_string()), Ok(expected), "{domain}");
    }
}

#[test]
fn a_private_source_is_judged_only_where_private_addresses_are() {
    let dns = DnsServer::start();
    let [private, public] = ["10.0.0.1", "8.8.8.8"].map(|ip| ip.parse::<IpAddr>().unwrap());
    assert_eq!((resolver(&dns).is_seen(private), resolver(&dns).is_seen(public)), (false, true));
}

/// Sends until a delivery's line has what is known, since the first ones do not wait for it.
fn known(world: &World, from: &str) -> serde_json::Value {
    let header = format!("From: <writer@{from}>\r\nSubject: x\r\n\r\nHello.\r\n");
    let mut sent = 0;
    until("a line that tells of the sender", || {
        sent += 1;
        world.relay.send(&Mail::raw(&format!("bounce@{from}"), &["reader@example.test"], header.as_bytes()));
        let all = world.relay.log().wait_for_many("delivered", "reader@example.test", sent);
        all.into_iter().rev().find(|line| line["spf"].is_string() && line["dmarc"].is_string())
    })
}

#[test]
fn deliveries_tell_of_spf_and_dmarc() {
    let world = World::start("");
    world.dns.txt("good.test", "v=spf1 ip4:127.0.0.0/8 -all").txt("_dmarc.good.test", "v=DMARC1; p=reject");
    let line = known(&world, "good.test");
    assert_eq!((&line["spf"], &line["dmarc"]), (&"pass".into(), &"reject".into()), "{line}");
    assert_eq!(world.dns.questions("_dmarc.good.test"), 1, "asked once for all mail of the domain");
    let report = world.relay.ok(["report", "--json", "--by", "from_domain"]);
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let counts = ["spf_known", "spf_passed", "dmarc_known", "dmarc_published"].map(|count| report[count].as_u64().unwrap());
    assert!(counts[0] >= 1 && counts[0] == counts[1] && counts[2] == counts[3], "{report}");
}

#[test]
fn a_domain_without_records_is_told_apart_from_one_that_is_not_known() {
    let world = World::start("");
    let line = known(&world, "bare.test");
    assert_eq!((&line["spf"], &line["dmarc"]), (&"none".into(), &"absent".into()), "{line}");
}

#[test]
fn no_delivery_waits_for_a_dead_name_server() {
    let world = World::start("dns.timeout = \"5s\"");
    for name in ["sender.test", "_dmarc.sender.test"] {
        world.dns.fault(name, Fault::Silent);
    }
    for n in 0..3 {
        world.relay.send(&Mail::new("bounce@sender.test", &[&format!("r{n}@example.test")], "x"));
        let line = world.relay.log().wait_for("delivered", &format!("r{n}@example.test"));
        assert!(line["age_ms"].as_u64() < Some(3000), "{line}");
        assert_eq!((line.get("spf"), line.get("dmarc")), (None, None), "{line}");
    }
}

#[test]
fn who_switches_it_off_asks_nothing() {
    let world = World::start("monitor.sender_records = false");
    world.relay.send(&Mail::new("bounce@sender.test", &["reader@example.test"], "x"));
    let line = world.relay.log().wait_for("delivered", "reader@example.test");
    assert_eq!((line.get("spf"), line.get("dmarc"), world.dns.questions("_dmarc.sender.test")), (None, None, 0), "{line}");
}
