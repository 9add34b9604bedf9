//! Routes from a real DNS server: each rule of RFC 5321 §5.1, and each way in which DNS can fail.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::rr::{Name, RData, RecordType, rdata::MX};
use posthaste_mail::{Domain, Failure, LocalCause, Stage};
use posthaste_route::{By, Ourselves, Providers, Resolver, ResolverOptions, Route, RouteFailure, StaticRoutes, Turns};
use support::dns::{DnsServer, Fault};

fn options(dns: &DnsServer) -> ResolverOptions {
    ResolverOptions { nameservers: vec![dns.address()], attempts: 1, seed: Some(1), private_addresses: true, ..ResolverOptions::default() }
}

/// The timeout for queries that get no answer.
const SHORT: Duration = Duration::from_millis(500);

fn resolver(dns: &DnsServer) -> Resolver {
    Resolver::new(options(dns), StaticRoutes::new()).unwrap()
}

async fn ask(resolver: &Resolver, domain: &str) -> Result<Route, RouteFailure> {
    resolver.route(&Domain::new(domain).unwrap()).await
}

async fn route(resolver: &Resolver, domain: &str) -> Route {
    ask(resolver, domain).await.unwrap_or_else(|failure| panic!("{domain}: {failure}"))
}

/// The cause, and whether it is final.
async fn failure(resolver: &Resolver, domain: &str) -> (LocalCause, bool) {
    let failure = ask(resolver, domain).await.expect_err("there should be no route");
    match failure.failure {
        Failure::Local { stage: Stage::Dns, cause, .. } => (cause, failure.permanent),
        other => panic!("{domain}: {other:?}"),
    }
}

async fn detail(resolver: &Resolver, domain: &str) -> String {
    ask(resolver, domain).await.expect_err("there should be no route").failure.to_string()
}

fn names(route: &Route) -> Vec<&str> {
    route.hosts.iter().map(|host| &*host.name).collect()
}

fn addresses(route: &Route) -> Vec<String> {
    route.hosts.iter().flat_map(|host| &host.addresses).map(SocketAddr::to_string).collect()
}

const NO_SUCH_DOMAIN: (LocalCause, bool) = (LocalCause::NoSuchDomain, true);
const NULL_MX: (LocalCause, bool) = (LocalCause::NullMx, true);
const NO_HOSTS: (LocalCause, bool) = (LocalCause::NoHosts, true);
const LOOP: (LocalCause, bool) = (LocalCause::Loop, true);
const UNAVAILABLE: (LocalCause, bool) = (LocalCause::DnsUnavailable, false);

#[tokio::test]
async fn hosts_come_by_preference_with_their_addresses_and_ports() {
    let dns = DnsServer::start();
    dns.mx("example.test", 20, "mx2.example.test").mx("example.test", 10, "MX1.Example.test").mx("example.test", 300, "mx3.other.test");
    dns.a("mx1.example.test", "192.0.2.1").a("mx2.example.test", "192.0.2.2").a("mx3.other.test", "192.0.2.3");
    let route = route(&resolver(&dns), "example.test").await;
    assert_eq!(names(&route), ["mx1.example.test", "mx2.example.test", "mx3.other.test"]);
    assert_eq!(addresses(&route), ["192.0.2.1:25", "192.0.2.2:25", "192.0.2.3:25"]);
    assert_eq!(route.hosts.iter().map(|host| host.preference).collect::<Vec<_>>(), [10, 20, 300]);
    assert_eq!((route.provider.as_str(), route.static_route), ("example.test", false));
}

#[tokio::test]
async fn equal_preferences_are_shuffled() {
    let dns = DnsServer::start();
    for host in ["a", "b", "c"] {
        dns.mx("example.test", 10, &format!("{host}.test")).a(&format!("{host}.test"), "192.0.2.1");
    }
    dns.mx("example.test", 5, "best.test").a("best.test", "192.0.2.9");
    let mut seconds = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let resolver = Resolver::new(ResolverOptions { seed: Some(seed), ..options(&dns) }, StaticRoutes::new()).unwrap();
        let route = route(&resolver, "example.test").await;
        assert_eq!(names(&route)[0], "best.test");
        seconds.insert(route.hosts[1].name.to_string());
    }
    assert_eq!(seconds.into_iter().collect::<Vec<_>>(), ["a.test", "b.test", "c.test"]);
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_host() {
    let dns = DnsServer::start();
    dns.aaaa("example.test", "2001:db8::1").a("example.test", "192.0.2.1");
    let route = route(&resolver(&dns), "example.test").await;
    assert_eq!(names(&route), ["example.test"]);
    assert_eq!(addresses(&route), ["192.0.2.1:25", "[2001:db8::1]:25"]);
    assert_eq!((route.hosts[0].preference, &*route.key), (0, "example.test:25"));
}

#[tokio::test]
async fn a_domain_with_mx_is_not_its_own_host() {
    let dns = DnsServer::start();
    dns.mx("example.test", 10, "gone.example.test").a("example.test", "192.0.2.1");
    assert_eq!(failure(&resolver(&dns), "example.test").await, NO_HOSTS);
    assert_eq!(dns.questions_of("example.test", RecordType::A), 0);
}

#[tokio::test]
async fn a_null_mx_is_final_but_not_among_others() {
    let dns = DnsServer::start();
    dns.null_mx("never.test").a("never.test", "192.0.2.1");
    dns.null_mx("odd.test").mx("odd.test", 10, "mx.odd.test").a("mx.odd.test", "192.0.2.1");
    let resolver = resolver(&dns);
    assert_eq!(failure(&resolver, "never.test").await, NULL_MX);
    assert_eq!(names(&route(&resolver, "odd.test").await), ["mx.odd.test"]);
}

#[tokio::test]
async fn a_cname_of_the_domain_is_followed() {
    let dns = DnsServer::start();
    dns.cname("alias.test", "alias2.test").cname("alias2.test", "real.test");
    dns.mx("real.test", 10, "mx.real.test").a("mx.real.test", "192.0.2.1");
    dns.cname("plain.test", "host.test").a("host.test", "192.0.2.2");
    dns.cname("nowhere.test", "gone.test");
    let resolver = resolver(&dns);
    assert_eq!(names(&route(&resolver, "alias.test").await), ["mx.real.test"]);
    assert_eq!(addresses(&route(&resolver, "plain.test").await), ["192.0.2.2:25"]);
    assert_eq!(failure(&resolver, "nowhere.test").await, NO_SUCH_DOMAIN);
}

#[tokio::test]
async fn a_cname_that_leads_to_itself_ends() {
    let dns = DnsServer::start();
    dns.cname("a.test", "b.test").cname("b.test", "a.test");
    dns.mx("loop.test", 10, "a.test");
    let resolver = resolver(&dns);
    for domain in ["a.test", "loop.test"] {
        assert!(ask(&resolver, domain).await.is_err(), "{domain}");
    }
}

#[tokio::test]
async fn a_cname_that_leads_to_the_relays_own_name_is_the_relay_wherever_its_address_seems_to_be() {
    // Behind a NAT, none of the machine's addresses is the one in DNS.
    let dns = DnsServer::start();
    let ourselves = Ourselves { names: vec!["relay.test".into()], ..Ourselves::default() };
    let resolver = Resolver::new(ResolverOptions { ourselves, ..options(&dns) }, StaticRoutes::new()).unwrap();
    dns.a("relay.test", "192.0.2.9").cname("also.relay.test", "relay.test").a("other.test", "192.0.2.1");
    dns.mx("only.test", 10, "also.relay.test").cname("itself.test", "also.relay.test");
    dns.mx("worse.test", 10, "other.test").mx("worse.test", 20, "also.relay.test").mx("worse.test", 30, "mx.worse.test");
    dns.a("mx.worse.test", "192.0.2.3");
    assert_eq!((failure(&resolver, "only.test").await, failure(&resolver, "itself.test").await), (LOOP, LOOP));
    assert_eq!(names(&route(&resolver, "worse.test").await), ["other.test"]);
}

#[tokio::test]
async fn an_mx_that_is_a_cname_is_tolerated() {
    let dns = DnsServer::start();
    dns.mx("example.test", 10, "mx.example.test").cname("mx.example.test", "real.test").a("real.test", "192.0.2.1");
    let route = route(&resolver(&dns), "example.test").await;
    assert_eq!((names(&route), addresses(&route)), (vec!["mx.example.test"], vec!["192.0.2.1:25".to_owned()]));
}

#[tokio::test]
async fn an_mx_that_is_an_address_is_that_address() {
    let dns = DnsServer::start();
    dns.mx("example.test", 10, "192.0.2.77");
    let route = route(&resolver(&dns), "example.test").await;
    assert_eq!((names(&route), addresses(&route)), (vec!["192.0.2.77"], vec!["192.0.2.77:25".to_owned()]));
    assert_eq!((route.provider.as_str(), dns.questions("192.0.2.77")), ("192.0.2.77", 0));
}

#[tokio::test]
async fn an_address_literal_goes_straight_there() {
    let dns = DnsServer::start();
    let resolver = resolver(&dns);
    let v4 = route(&resolver, "[192.0.2.1]").await;
    assert_eq!((addresses(&v4), v4.provider.as_str(), &*v4.key), (vec!["192.0.2.1:25".to_owned()], "192.0.2.1", "192.0.2.1:25"));
    assert_eq!(addresses(&route(&resolver, "[IPv6:2001:db8::1]").await), ["[2001:db8::1]:25"]);
    assert_eq!(failure(&resolver, "[0.0.0.0]").await, NO_HOSTS);
    assert_eq!(failure(&resolver, "[224.0.0.1]").await, NO_HOSTS);
}

#[tokio::test]
async fn no_such_domain_is_final_and_remembered() {
    let dns = DnsServer::start();
    let resolver = resolver(&dns);
    for _ in 0..3 {
        assert_eq!(failure(&resolver, "gone.test").await, NO_SUCH_DOMAIN);
    }
    assert_eq!(dns.questions("gone.test"), 1);
}

#[tokio::test]
async fn a_domain_with_neither_mx_nor_address_has_no_hosts() {
    let dns = DnsServer::start();
    dns.txt("example.test", "v=spf1 -all");
    let resolver = resolver(&dns);
    assert_eq!(failure(&resolver, "example.test").await, NO_HOSTS);
    assert_eq!(
        detail(&resolver, "example.test").await,
        "no_hosts: example.test has neither MX nor a usable address (example.test: no address)"
    );
}

#[tokio::test]
async fn every_silence_and_every_refusal_is_for_now() {
    let dns = DnsServer::start();
    let resolver = Resolver::new(ResolverOptions { timeout: SHORT, ..options(&dns) }, StaticRoutes::new()).unwrap();
    for (domain, fault) in [("a.test", Fault::ServFail), ("b.test", Fault::Refused), ("c.test", Fault::Silent)] {
        dns.mx(domain, 10, "mx.test").a("mx.test", "192.0.2.1").fault(domain, fault);
        assert_eq!(failure(&resolver, domain).await, UNAVAILABLE, "{fault:?}");
        dns.heal(domain);
        assert_eq!(names(&route(&resolver, domain).await), ["mx.test"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_question_is_tried_as_often_as_the_options_say() {
    let dns = DnsServer::start();
    for (domain, attempts) in [("a.test", 0), ("b.test", 1), ("c.test", 3)] {
        dns.fault(domain, Fault::ServFail);
        let resolver = Resolver::new(ResolverOptions { attempts, ..options(&dns) }, StaticRoutes::new()).unwrap();
        assert_eq!(failure(&resolver, domain).await, UNAVAILABLE);
        assert_eq!(dns.questions(domain), attempts.max(1), "{domain}");
    }
}

#[tokio::test]
async fn a_name_server_that_is_down_is_for_now() {
    let gone = DnsServer::start().address();
    let options = ResolverOptions { nameservers: vec![gone], timeout: SHORT, attempts: 2, ..ResolverOptions::default() };
    let resolver = Resolver::new(options, StaticRoutes::new()).unwrap();
    assert_eq!(failure(&resolver, "example.test").await, UNAVAILABLE);
}

#[tokio::test]
async fn a_second_name_server_helps_out() {
    let (down, dns) = (DnsServer::start().address(), DnsServer::start());
    dns.a("example.test", "192.0.2.1");
    let options = ResolverOptions { nameservers: vec![down, dns.address()], ..options(&dns) };
    let resolver = Resolver::new(options, StaticRoutes::new()).unwrap();
    assert_eq!(names(&route(&resolver, "example.test").await), ["example.test"]);
}

#[tokio::test]
async fn an_address_look_up_that_fails_leaves_the_matter_open() {
    let dns = DnsServer::start();
    dns.txt("plain.test", "x").fault_of("plain.test", RecordType::A, Fault::ServFail);
    dns.mx("example.test", 10, "mx.test").mx("example.test", 20, "gone.test").fault("mx.test", Fault::ServFail);
    let resolver = resolver(&dns);
    assert_eq!(failure(&resolver, "plain.test").await, UNAVAILABLE);
    assert_eq!(failure(&resolver, "example.test").await, UNAVAILABLE);
    let detail = detail(&resolver, "example.test").await;
    assert!(detail.contains("mx.test: the name server answered Server Failure") && detail.contains("gone.test: no such name"), "{detail}");
}

#[tokio::test]
async fn hosts_that_are_all_gone_are_final() {
    let dns = DnsServer::start();
    dns.mx("example.test", 10, "gone1.test").mx("example.test", 20, "gone2.test").mx("example.test", 30, "text.test").txt("text.test", "x");
    assert_eq!(failure(&resolver(&dns), "example.test").await, NO_HOSTS);
}

#[tokio::test]
async fn one_hosts_failure_does_not_hide_the_others() {
    let dns = DnsServer::start();
    dns.ttl(1000).mx("example.test", 10, "broken.test").mx("example.test", 20, "gone.test").mx("example.test", 30, "mx.test");
    dns.a("mx.test", "192.0.2.1").a("broken.test", "192.0.2.2").fault("broken.test", Fault::ServFail);
    let resolver = resolver(&dns);
    let without = route(&resolver, "example.test").await;
    assert_eq!((names(&without), without.ttl), (vec!["mx.test"], Duration::from_secs(30)));
    dns.heal("broken.test");
    let with = route(&resolver, "example.test").await;
    assert_eq!((names(&with), &with.key), (vec!["broken.test", "mx.test"], &without.key));
}

#[tokio::test]
async fn one_family_is_enough() {
    let dns = DnsServer::start();
    dns.a("four.test", "192.0.2.1").fault_of("four.test", RecordType::AAAA, Fault::ServFail);
    dns.aaaa("six.test", "2001:db8::1").fault_of("six.test", RecordType::A, Fault::Refused);
    let resolver = resolver(&dns);
    assert_eq!(addresses(&route(&resolver, "four.test").await), ["192.0.2.1:25"]);
    assert_eq!(addresses(&route(&resolver, "six.test").await), ["[2001:db8::1]:25"]);
}

#[tokio::test]
async fn a_family_that_is_off_is_not_asked_for() {
    let dns = DnsServer::start();
    dns.a("both.test", "192.0.2.1").aaaa("both.test", "2001:db8::1").aaaa("six.test", "2001:db8::2");
    let four = Resolver::new(ResolverOptions { ipv6: false, ..options(&dns) }, StaticRoutes::new()).unwrap();
    assert_eq!(addresses(&route(&four, "both.test").await), ["192.0.2.1:25"]);
    assert_eq!(dns.questions_of("both.test", RecordType::AAAA), 0);
    assert_eq!(failure(&four, "[IPv6:2001:db8::1]").await, NO_HOSTS);
    assert!(detail(&four, "six.test").await.contains("no IPv4 address, and IPv6 is off"));
    let six = Resolver::new(ResolverOptions { ipv4: false, ..options(&dns) }, StaticRoutes::new()).unwrap();
    assert_eq!(addresses(&route(&six, "both.test").await), ["[2001:db8::1]:25"]);
}

#[tokio::test]
async fn only_the_best_hosts_and_so_many_addresses_are_taken() {
    let dns = DnsServer::start();
    for n in (1..=15).rev() {
        let host = format!("mx{n}.test");
        dns.mx("example.test", n, &host);
        (1..=12).fold(&dns, |dns, k| dns.a(&host, &format!("192.0.2.{}", k * 15 + n)));
    }
    let options = ResolverOptions { max_hosts: 3, max_addresses: 4, ..options(&dns) };
    let route = route(&Resolver::new(options, StaticRoutes::new()).unwrap(), "example.test").await;
    assert_eq!(names(&route), ["mx1.test", "mx2.test", "mx3.test"]);
    assert!(route.hosts.iter().all(|host| host.addresses.len() == 4));
    assert_eq!(dns.questions("mx4.test"), 0);
}

#[tokio::test]
async fn hosts_that_nobody_asked_for_leave_the_matter_open() {
    let dns = DnsServer::start();
    dns.mx("example.test", 10, "gone1.test").mx("example.test", 20, "gone2.test").mx("example.test", 30, "mx.test");
    let resolver = Resolver::new(ResolverOptions { max_hosts: 2, ..options(&dns) }, StaticRoutes::new()).unwrap();
    assert_eq!(failure(&resolver, "example.test").await, UNAVAILABLE);
}

#[tokio::test]
async fn addresses_that_nobody_can_have_are_dropped() {
    let dns = DnsServer::start();
    for bad in ["0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        dns.a("some.test", bad).a("none.test", bad);
    }
    dns.a("some.test", "192.0.2.1").aaaa("some.test", "::").a("home.test", "127.0.0.1").a("home.test", "10.0.0.1");
    let open = resolver(&dns);
    assert_eq!(addresses(&route(&open, "some.test").await), ["192.0.2.1:25"]);
    assert_eq!(failure(&open, "none.test").await, NO_HOSTS);
    assert_eq!(route(&open, "home.test").await.hosts[0].addresses.len(), 2);
    let mut routes = StaticRoutes::new();
    routes.add("inside.test", &["home.test:26"]).unwrap();
    let strict = Resolver::new(ResolverOptions { private_addresses: false, ..options(&dns) }, routes).unwrap();
    assert_eq!(failure(&strict, "home.test").await, NO_HOSTS);
    assert_eq!(failure(&strict, "[10.0.0.1]").await, NO_HOSTS);
    assert_eq!(route(&strict, "inside.test").await.hosts[0].addresses.len(), 2);
}

#[tokio::test]
async fn without_a_word_of_the_operator_nothing_leads_inside() {
    let dns = DnsServer::start();
    let usual = ResolverOptions { private_addresses: ResolverOptions::default().private_addresses, ..options(&dns) };
    let resolver = Resolver::new(usual, StaticRoutes::new()).unwrap();
    let inside =
        ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "198.51.100.1"];
    for (n, ip) in inside.into_iter().enumerate() {
        let (domain, host) = (format!("a{n}.test"), format!("mx{n}.test"));
        dns.mx(&domain, 10, &host).a(&host, ip).a(&format!("b{n}.test"), ip);
        dns.mx(&format!("c{n}.test"), 10, ip);
        for domain in [domain, format!("b{n}.test"), format!("c{n}.test"), format!("[{ip}]")] {
            assert_eq!(failure(&resolver, &domain).await, NO_HOSTS, "{domain}, {ip}");
        }
    }
    for (n, ip) in
        ["::1", "fd00::1", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::1"].into_iter().enumerate()
    {
        dns.aaaa(&format!("d{n}.test"), ip);
        for domain in [format!("d{n}.test"), format!("[IPv6:{ip}]")] {
            assert_eq!(failure(&resolver, &domain).await, NO_HOSTS, "{domain}, {ip}");
        }
    }
    dns.mx("some.test", 10, "mx0.test").mx("some.test", 20, "outside.test").a("outside.test", "8.8.8.8");
    assert_eq!(addresses(&route(&resolver, "some.test").await), ["8.8.8.8:25"]);
    assert!(detail(&resolver, "a0.test").await.contains("dns.private_addresses"));
}

/// The relay is relay.test, and listens at 127.0.0.1:25 and at port 2525 of every address.
fn known_to_itself(dns: &DnsServer, routes: StaticRoutes, port: u16) -> Resolver {
    let listeners = vec!["127.0.0.1:25".parse().unwrap(), "0.0.0.0:2525".parse().unwrap()];
    let ourselves = Ourselves { names: vec!["relay.test".into()], listeners, is_here: |ip| ip.to_string() == "192.0.2.77" };
    Resolver::new(ResolverOptions { ourselves, port, ..options(dns) }, routes).unwrap()
}

#[tokio::test]
async fn what_is_no_better_than_ourselves_is_discarded_and_with_nothing_left_mail_loops() {
    let dns = DnsServer::start();
    dns.a("relay.test", "192.0.2.1").a("other.test", "192.0.2.2").a("ours.test", "127.0.0.1").a("ours.test", "192.0.2.3");
    for (domain, own) in [("named", "relay.test"), ("met", "ours.test")] {
        dns.mx(&format!("best.{domain}.test"), 10, own).mx(&format!("best.{domain}.test"), 20, "other.test");
        dns.mx(&format!("equal.{domain}.test"), 10, own).mx(&format!("equal.{domain}.test"), 10, "other.test");
        dns.mx(&format!("unknown.{domain}.test"), 10, own).mx(&format!("unknown.{domain}.test"), 20, "dead.test");
        dns.mx(&format!("worst.{domain}.test"), 10, "other.test").mx(&format!("worst.{domain}.test"), 20, own);
    }
    dns.fault("dead.test", Fault::ServFail);
    let resolver = known_to_itself(&dns, StaticRoutes::new(), 25);
    for domain in ["named", "met"] {
        for left in ["best", "equal", "unknown"] {
            assert_eq!(failure(&resolver, &format!("{left}.{domain}.test")).await, LOOP, "{left}.{domain}.test");
        }
        assert_eq!(names(&route(&resolver, &format!("worst.{domain}.test")).await), ["other.test"]);
    }
    assert_eq!(failure(&resolver, "relay.test").await, LOOP, "without MX the domain is its host");
    assert_eq!(failure(&resolver, "ours.test").await, LOOP);
    assert_eq!(failure(&resolver, "[127.0.0.1]").await, LOOP);
    assert!(detail(&resolver, "[127.0.0.1]").await.contains("loops back to myself"));
    assert_eq!(addresses(&route(&resolver, "[127.0.0.2]").await), ["127.0.0.2:25"]);
    dns.mx("all.test", 10, "here.test").a("here.test", "192.0.2.77");
    assert_eq!(
        failure(&known_to_itself(&dns, StaticRoutes::new(), 2525), "all.test").await,
        LOOP,
        "a listener on all addresses has this one"
    );
    assert_eq!(addresses(&route(&resolver, "all.test").await), ["192.0.2.77:25"], "another server may have the port");
}

#[tokio::test]
async fn a_static_route_that_comes_to_lead_back_is_not_followed() {
    let dns = DnsServer::start();
    dns.a("smart.test", "127.0.0.1").a("spare.test", "192.0.2.1");
    let mut routes = StaticRoutes::new();
    routes.add("a.test", &["smart.test"]).unwrap();
    routes.add("b.test", &["smart.test", "spare.test"]).unwrap();
    let resolver = known_to_itself(&dns, routes, 25);
    assert_eq!(failure(&resolver, "a.test").await, UNAVAILABLE);
    assert!(detail(&resolver, "a.test").await.contains("this relay itself"));
    assert_eq!(names(&route(&resolver, "b.test").await), ["spare.test"]);
}

#[tokio::test]
async fn odd_records_are_passed_over() {
    let dns = DnsServer::start();
    let odd = Name::from_labels([&b"mail server"[..], b"\xff\0", b"test"]).unwrap();
    dns.record("some.test", RData::MX(MX::new(1, odd.clone()))).mx("some.test", 2, "mx_1.test").a("mx_1.test", "192.0.2.1");
    dns.record("none.test", RData::MX(MX::new(1, odd)));
    let resolver = resolver(&dns);
    assert_eq!(names(&route(&resolver, "some.test").await), ["mx_1.test"]);
    assert_eq!(failure(&resolver, "none.test").await, NO_HOSTS);
}

#[tokio::test]
async fn an_answer_too_long_for_udp_comes_by_tcp() {
    let dns = DnsServer::start();
    for n in 1..=150 {
        dns.mx("example.test", n, &format!("a-rather-long-host-name-number-{n}.number-{n}.example{n}.test"));
    }
    dns.a("a-rather-long-host-name-number-1.number-1.example1.test", "192.0.2.1");
    let route = route(&resolver(&dns), "example.test").await;
    assert_eq!(route.provider.as_str(), "example1.test");
    assert!(dns.questions_over_tcp() > 0);
}

#[tokio::test]
async fn a_route_lives_as_long_as_its_shortest_record_within_bounds() {
    let dns = DnsServer::start();
    dns.ttl(500).mx("a.test", 1, "mx.a.test").ttl(200).a("mx.a.test", "192.0.2.1");
    dns.ttl(0).mx("b.test", 1, "mx.b.test").a("mx.b.test", "192.0.2.1");
    dns.ttl(80_000).mx("c.test", 1, "mx.c.test").a("mx.c.test", "192.0.2.1");
    let options = ResolverOptions { ipv6: false, ..options(&dns) };
    let resolver = Resolver::new(options, StaticRoutes::new()).unwrap();
    for (domain, ttl) in [("a.test", 200), ("b.test", 5), ("c.test", 3600)] {
        assert_eq!(route(&resolver, domain).await.ttl, Duration::from_secs(ttl), "{domain}");
    }
    assert_eq!(ask(&resolver, "gone.test").await.unwrap_err().ttl, Duration::from_secs(60));
    dns.fault("d.test", Fault::ServFail);
    assert_eq!(ask(&resolver, "d.test").await.unwrap_err().ttl, Duration::from_secs(30));
}

#[tokio::test]
async fn many_who_ask_at_once_cost_one_question() {
    let dns = DnsServer::start();
    dns.mx("example.test", 10, "mx.test").a("mx.test", "192.0.2.1");
    let resolver = resolver(&dns);
    let asked: Vec<_> = (0..50).map(|_| resolver.clone()).map(|r| tokio::spawn(async move { ask(&r, "example.test").await })).collect();
    for one in asked {
        assert_eq!(names(&one.await.unwrap().unwrap()), ["mx.test"]);
    }
    assert_eq!((dns.questions_of("example.test", RecordType::MX), dns.questions_of("mx.test", RecordType::A)), (1, 1));
}

#[tokio::test]
async fn many_domains_at_once_are_all_found() {
    let dns = DnsServer::start();
    for n in 0..2000 {
        dns.mx(&format!("d{n}.test"), 10, &format!("mx{}.test", n % 100)).a(&format!("mx{}.test", n % 100), "192.0.2.1");
    }
    let resolver = resolver(&dns);
    let asked: Vec<_> =
        (0..2000).map(|n| (n, resolver.clone())).map(|(n, r)| tokio::spawn(async move { ask(&r, &format!("d{n}.test")).await })).collect();
    for one in asked {
        assert!(one.await.unwrap().is_ok());
    }
}

/// Thousands of names whose servers are dead are asked for on behalf of the same mail: those whose servers live are found all the same.
#[tokio::test(flavor = "multi_thread")]
async fn dead_names_never_hold_up_living_ones() {
    let dns = DnsServer::start();
    for n in 0..5000 {
        dns.fault(&format!("dead{n}.test"), Fault::Silent);
    }
    for n in 0..40 {
        dns.a(&format!("good{n}.test"), "192.0.2.1");
    }
    let options = ResolverOptions { timeout: Duration::from_secs(1), attempts: 2, ..options(&dns) };
    let resolver = Resolver::new(options, StaticRoutes::new()).unwrap();
    let turns = Turns::new(256);
    let find = |domain: String| {
        let (resolver, asker) = (resolver.clone(), turns.asker(0, false));
        tokio::spawn(async move { resolver.route_for(&asker, &Domain::new(&domain).unwrap()).await })
    };
    let dead: Vec<_> = (0..5000).map(|n| find(format!("dead{n}.test"))).collect();
    // Now the dead ones have all turns, and soon all places.
    assert!(dns.wait_for_questions("dead0.test", 1, Duration::from_secs(30)));
    for good in (0..40).map(|n| find(format!("good{n}.test"))).collect::<Vec<_>>() {
        let found = tokio::time::timeout(Duration::from_secs(5), good).await.expect("it is soon found").unwrap();
        assert_eq!(found.map(|route| route.hosts.len()), Ok(1));
    }
    let mut put_off = 0;
    for one in dead {
        let failure = one.await.unwrap().unwrap_err();
        assert_eq!((failure.permanent, failure.ttl), (false, Duration::from_secs(30)));
        put_off += usize::from(failure.to_string().contains("other look-ups needed the place"));
    }
    assert!(put_off > 3000, "{put_off}");
}

#[tokio::test]
async fn a_family_whose_servers_are_silent_is_not_waited_for() {
    let dns = DnsServer::start();
    dns.a("four.test", "192.0.2.1").fault_of("four.test", RecordType::AAAA, Fault::Silent);
    dns.aaaa("six.test", "2001:db8::1").fault_of("six.test", RecordType::A, Fault::Silent);
    let resolver = resolver(&dns);
    for (domain, address) in [("four.test", "192.0.2.1:25"), ("six.test", "[2001:db8::1]:25")] {
        let found = tokio::time::timeout(Duration::from_secs(3), route(&resolver, domain)).await.expect("not after the time-out of five");
        assert_eq!((addresses(&found), found.ttl), (vec![address.to_owned()], Duration::from_secs(30)));
    }
}

#[tokio::test]
async fn domains_with_the_same_hosts_share_a_key() {
    let dns = DnsServer::start();
    dns.a("mx1.test", "192.0.2.1").a("mx2.test", "192.0.2.2");
    dns.mx("a.test", 10, "mx1.test").mx("a.test", 20, "mx2.test");
    dns.mx("b.test", 5, "mx2.test").mx("b.test", 5, "mx1.test");
    dns.mx("c.test", 5, "mx1.test");
    let resolver = resolver(&dns);
    let (a, b, c) = (route(&resolver, "a.test").await, route(&resolver, "b.test").await, route(&resolver, "c.test").await);
    assert_eq!((&*a.key, &a.key), ("mx1.test:25,mx2.test:25", &b.key));
    assert_ne!(a.key, c.key);
}

#[tokio::test]
async fn a_static_route_goes_before_dns() {
    let dns = DnsServer::start();
    dns.mx("a.test", 10, "mx.test").a("hub.example.test", "192.0.2.7").aaaa("hub.example.test", "2001:db8::7");
    let mut routes = StaticRoutes::new();
    routes.add("a.test", &["[192.0.2.9]:2526", "hub.example.test:2525"]).unwrap();
    routes.add("*", &["hub.example.test"]).unwrap();
    let resolver = Resolver::new(options(&dns), routes).unwrap();
    let a = route(&resolver, "a.test").await;
    assert_eq!(addresses(&a), ["192.0.2.9:2526", "192.0.2.7:2525", "[2001:db8::7]:2525"]);
    assert_eq!((a.static_route, a.provider.as_str()), (true, "192.0.2.9"));
    assert_eq!(&*a.key, "192.0.2.9:2526,hub.example.test:2525");
    let rest = route(&resolver, "gone.test").await;
    assert_eq!((addresses(&rest)[0].as_str(), rest.provider.as_str()), ("192.0.2.7:25", "example.test"));
    assert_eq!((dns.questions("a.test"), dns.questions("gone.test")), (0, 0));
    let without = Resolver::new(options(&dns), StaticRoutes::new()).unwrap();
    assert_eq!(failure(&without, "gone.test").await, NO_SUCH_DOMAIN);
}

#[tokio::test]
async fn a_provider_is_known_by_its_hosts_their_addresses_or_the_operators_word() {
    let dns = DnsServer::start();
    dns.mx("firm.test", 10, "firm-test.mail.protection.outlook.com").a("firm-test.mail.protection.outlook.com", "192.0.2.1");
    dns.mx("own.test", 10, "mx.own.test").a("mx.own.test", "104.47.0.1");
    dns.mx("ours.test", 10, "aspmx.l.google.com").a("aspmx.l.google.com", "192.0.2.2");
    let mut routes = StaticRoutes::new();
    routes.add("routed.test", &["firm-test.mail.protection.outlook.com"]).unwrap();
    let mine = Providers::with(&[("mine.toml", "[provider.ours]\ndomains = [\"ours.test\", \"routed.test\"]")]).unwrap();
    let resolver = Resolver::new(options(&dns), routes).unwrap().with_providers(Arc::new(mine));
    let by_mx = By::Mx("mail.protection.outlook.com".into());
    for (domain, provider, by) in [
        ("firm.test", "microsoft365", by_mx.clone()),
        ("own.test", "microsoft365", By::Address("104.47.0.0/17".parse().unwrap())),
        ("ours.test", "ours", By::Domain("ours.test".into())),
        // If a route sends a domain's mail to other hosts, the provider of those hosts counts.
        ("routed.test", "microsoft365", by_mx),
    ] {
        let route = route(&resolver, domain).await;
        assert_eq!((route.provider.as_str(), &route.by), (provider, &by), "{domain}");
    }
}

#[tokio::test]
async fn a_static_route_that_cannot_be_found_is_never_final() {
    let dns = DnsServer::start();
    let mut routes = StaticRoutes::new();
    routes.add("*", &["typo.test:25", "0.0.0.0:25"]).unwrap();
    let resolver = Resolver::new(options(&dns), routes).unwrap();
    assert_eq!(failure(&resolver, "example.test").await, UNAVAILABLE);
    assert_eq!(
        detail(&resolver, "example.test").await,
        "dns_unavailable: no host of the static route is usable (typo.test: no such name; 0.0.0.0: not to be reached at 0.0.0.0)"
    );
}

#[tokio::test]
async fn another_port_is_another_route() {
    let dns = DnsServer::start();
    dns.a("example.test", "127.0.0.1");
    let route = route(&Resolver::new(ResolverOptions { port: 2525, ..options(&dns) }, StaticRoutes::new()).unwrap(), "example.test").await;
    assert_eq!((addresses(&route), &*route.key), (vec!["127.0.0.1:2525".to_owned()], "example.test:2525"));
}

#[tokio::test]
async fn a_question_that_got_lost_is_asked_again() {
    let dns = DnsServer::start();
    dns.a("example.test", "192.0.2.1").fault("example.test", Fault::Silent);
    let resolver = resolver(&dns);
    let asked = tokio::spawn(async move { ask(&resolver, "example.test").await });
    let dns = tokio::task::spawn_blocking(move || dns.wait_for_questions("example.test", 1, Duration::from_secs(10)).then_some(dns));
    let dns = dns.await.unwrap().expect("a question comes");
    dns.heal("example.test");
    assert_eq!(names(&asked.await.unwrap().unwrap()), ["example.test"]);
}
