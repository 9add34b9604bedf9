use std::{net::SocketAddr, time::Duration};

use posthaste_mail::{Domain, Name};

use super::{By, ProviderLimits, Providers, table::SHIPPED_NAME};
use crate::Host;

fn host(preference: u16, name: &str, addresses: &[&str]) -> Host {
    let at = |ip: &&str| SocketAddr::new(ip.parse().unwrap(), 25);
    Host { name: name.into(), preference, addresses: addresses.iter().map(at).collect() }
}

fn provider(hosts: &[(u16, &str)]) -> String {
    let hosts: Vec<Host> = hosts.iter().map(|(preference, name)| host(*preference, name, &[])).collect();
    Providers::shipped().find(Some(&Domain::new("somebody.example").unwrap()), &hosts).0.to_string()
}

fn own(text: &str) -> Providers {
    Providers::with(&[("mine.toml", text)]).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn errors(text: &str) -> Vec<String> {
    Providers::with(&[("mine.toml", text)]).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn everybody_knows_these() {
    for (host, name) in [
        ("gmail-smtp-in.l.google.com", "google"),
        ("aspmx.l.google.com", "google"),
        ("outlook-com.olc.protection.outlook.com", "microsoft"),
        ("hotmail-com.olc.protection.outlook.com", "microsoft"),
        ("example-com.mail.protection.outlook.com", "microsoft365"),
        ("example-com.o-v1.mx.microsoft", "microsoft365"),
        ("mta5.am0.yahoodns.net", "yahoo"),
        ("mx01.mail.icloud.com", "apple"),
        ("mx00.gmx.net", "gmx"),
        ("mx-ha02.web.de", "gmx"),
        ("mx00.ionos.de", "ionos"),
        ("mx0a-00112233.pphosted.com", "proofpoint"),
        ("eu-smtp-inbound-1.mimecast.com", "mimecast"),
        ("d1.ess.barracudanetworks.com", "barracuda"),
        ("mx1.hc123-45.eu.iphmx.com", "cisco"),
        ("smtp-in.orange.fr", "orange"),
        ("mx1.free.fr", "free"),
        ("mxs.mail.ru", "mail.ru"),
        ("mx3.qq.com", "tencent"),
        ("163mx01.mxmail.netease.com", "netease"),
        ("in1-smtp.messagingengine.com", "fastmail"),
        ("cxr.mx.a.cloudfilter.net", "cox"),
        ("mx2h1.comcast.net", "comcast"),
        ("ff-ip4-mx-vip1.prodigy.net", "att"),
        ("mx.mnd.ukmail.iss.as9143.net", "virgin"),
        ("mx.mnd.mail.iss.as9143.net", "ziggo"),
        ("smtpin.rzone.de", "strato"),
        ("mx.tlen.pl", "o2"),
    ] {
        assert_eq!(provider(&[(5, host)]), name, "{host}");
    }
}

#[test]
fn the_names_are_those_of_the_bounce_rules_and_the_curves() {
    let shipped = Providers::shipped();
    let bounce: toml::Table = include_str!("../../../../config/bounce/providers.toml").parse().unwrap();
    let names: Vec<&str> = bounce["provider"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert!(names.len() > 30);
    // Only the bounce rules have Facebook's hosts.
    for name in names.into_iter().filter(|name| *name != "facebook") {
        assert!(shipped.get(name).is_some(), "config/bounce/providers.toml knows {name}");
    }
    let curves: toml::Table = include_str!("../../../../config/curves.toml").parse().unwrap();
    let curves = curves["curve"].as_table().unwrap().values();
    let variants: Vec<&String> =
        curves.flat_map(|curve| curve.as_table().unwrap().iter()).filter(|(_, v)| v.is_table()).map(|(k, _)| k).collect();
    let variants: Vec<&&String> = variants.iter().filter(|v| !["hold", "step_back"].contains(&v.as_str())).collect();
    assert!(variants.len() >= 2);
    for name in variants {
        assert!(shipped.get(name).is_some(), "config/curves.toml has a variant for {name}");
    }
}

#[test]
fn each_shipped_entry_says_all_that_a_lane_needs() {
    let shipped = Providers::shipped();
    assert!(shipped.iter().count() > 90);
    for provider in shipped.iter() {
        let l = &provider.limits;
        let all = l.connections.is_some() && l.messages_per_connection.is_some() && l.recipients_per_transaction.is_some();
        assert!(all && l.first_pause.is_some(), "{}", provider.name);
        assert!(l.connections <= Some(25) && l.recipients_per_transaction <= Some(100), "{}: {l:?}", provider.name);
        assert!(provider.origin.file.as_ref() == SHIPPED_NAME && provider.origin_of("mx").is_some(), "{}", provider.name);
    }
}

#[test]
fn the_registrable_domain_of_the_best_host_is_the_provider_of_the_rest() {
    assert_eq!(provider(&[(5, "mx.a.example.net"), (10, "gmail-smtp-in.l.google.com")]), "example.net");
    assert_eq!(provider(&[(1, "mx.example.co.uk")]), "example.co.uk");
    assert_eq!(provider(&[]), "somebody.example");
    // A suffix consists of whole labels, not of letters.
    assert_eq!(provider(&[(1, "mx.notgoogle.com")]), "notgoogle.com");
    assert_eq!(provider(&[(1, "mail.protection.outlook.com.example.net")]), "example.net");
    for own in ["192.0.2.1", "2001:db8::1", "localhost", "com"] {
        assert_eq!(provider(&[(1, own)]), own);
    }
}

#[test]
fn the_order_of_equals_does_not_change_the_provider() {
    assert_eq!(provider(&[(1, "mx.b.example"), (1, "mx.a.example")]), provider(&[(1, "mx.a.example"), (1, "mx.b.example")]));
    assert_eq!(provider(&[(1, "mx.b.example"), (2, "mx.a.example")]), "b.example");
}

#[test]
fn a_name_too_long_keeps_its_end() {
    let long = [&*"x".repeat(63), &*"y".repeat(63), &*"z".repeat(63)].join(".");
    let name = provider(&[(1, &long)]);
    assert!(name.len() <= Name::MAX && long.ends_with(&name));
}

#[test]
fn a_host_under_a_customers_own_name_is_known_by_its_address() {
    let shipped = Providers::shipped();
    let domain = Domain::new("firm.example").unwrap();
    let (name, by) = shipped.find(Some(&domain), &[host(1, "mail.firm.example", &["104.47.1.2"])]);
    assert_eq!((name.as_str(), by.to_string()), ("microsoft365", "MX hosts in 104.47.0.0/17".to_owned()));
    let (name, _) = shipped.find(Some(&domain), &[host(1, "mail.firm.example", &["2607:f8b0:4004::1a"])]);
    assert_eq!(name.as_str(), "google");
    let (name, by) = shipped.find(Some(&domain), &[host(1, "mail.firm.example", &["192.0.2.1", "2001:db8::1"])]);
    assert_eq!((name.as_str(), by), ("firm.example", By::Registrable));
    let smaller = own("[provider.small]\naddresses = [\"104.47.1.0/24\"]\n");
    let (name, _) = smaller.find(Some(&domain), &[host(1, "mail.firm.example", &["104.47.1.2"])]);
    assert_eq!(name.as_str(), "small");
}

#[test]
fn a_domain_goes_before_its_hosts_but_not_before_a_static_route() {
    let mine = own("[provider.us]\ndomains = [\"Our.Example\"]\n");
    let hosts = [host(1, "aspmx.l.google.com", &[])];
    let (us, other) = (Domain::new("our.example").unwrap(), Domain::new("sub.our.example").unwrap());
    assert_eq!(mine.find(Some(&us), &hosts), (Name::new("us").unwrap(), By::Domain("our.example".into())));
    assert_eq!(mine.find(Some(&other), &hosts).0.as_str(), "google");
    assert_eq!(mine.find(None, &hosts).1, By::Mx("google.com".into()));
    let literal = Domain::new("[192.0.2.1]").unwrap();
    assert_eq!(mine.find(Some(&literal), &[host(0, "192.0.2.1", &["192.0.2.1"])]).0.as_str(), "192.0.2.1");
}

#[test]
fn an_operators_entry_replaces_single_keys_and_says_where_each_comes_from() {
    let text = "[provider.google]\nconnections = 3\nper_hour = 500\n\n[provider.\"example.net\"]\nfirst_pause = \"90s\"\n";
    let mine = own(text);
    let google = mine.get("google").unwrap();
    let shipped = Providers::shipped();
    let before = shipped.get("google").unwrap();
    let changed = ProviderLimits { connections: Some(3), per_hour: Some(500), ..before.limits.clone() };
    assert_eq!(google.limits, changed);
    let place = |key| google.origin_of(key).unwrap().to_string();
    assert_eq!((place("connections"), google.origin.to_string()), ("mine.toml:2".to_owned(), "mine.toml:1".to_owned()));
    assert_eq!(google.origin_of("first_pause"), before.origin_of("first_pause"));
    assert!(place("mx").starts_with("config/providers.toml:") && google.origin_of("per_day").is_none());
    assert_eq!(mine.get("example.net").unwrap().limits.first_pause, Some(Duration::from_secs(90)));
    let hosts = [host(1, "aspmx.l.google.com", &[])];
    assert_eq!(mine.find(Some(&Domain::new("x.example").unwrap()), &hosts).0.as_str(), "google");
}

#[test]
fn the_first_file_goes_before_the_second_and_both_before_the_shipped_one() {
    let one = "[provider.a]\nmx = [\"x.example\", \"aspmx.l.google.com\"]\nconnections = 1\n";
    let two = "[provider.b]\nmx = [\"x.example\", \"y.example\", \"google.com\"]\n[provider.a]\nconnections = 2\nper_day = 9\nmx = [\"z.example\"]\n";
    let both = Providers::with(&[("one.toml", one), ("two.toml", two)]).unwrap();
    let of = |name: &str| both.find(Some(&Domain::new("d.example").unwrap()), &[host(1, name, &[])]).0.to_string();
    assert_eq!((of("mx.x.example"), of("mx.y.example")), ("a".to_owned(), "b".to_owned()));
    assert_eq!((of("alt1.aspmx.l.google.com"), of("gmail-smtp-in.l.google.com")), ("a".to_owned(), "b".to_owned()));
    // A list in the first file replaces the whole list.
    assert_eq!(of("mx.z.example"), "z.example");
    let a = &both.get("a").unwrap().limits;
    assert_eq!((a.connections, a.per_day), (Some(1), Some(9)));
}

#[test]
fn each_error_names_its_line_key_and_remedy() {
    let keys = "mx, reports, domains, addresses, connections, messages_per_connection, recipients_per_transaction, per_second, \
                per_minute, per_hour, per_day, first_pause";
    for (text, expected) in [
        ("[provider.a]\nmx = \"x.example\"", "mine.toml:2: provider.a.mx: expected a list of texts in quotes"),
        (
            "[provider.a]\n\nmx = [\".x.example\"]",
            "mine.toml:3: provider.a.mx: \".x.example\" is no domain; write it without a leading dot: \"mx.example.net\"",
        ),
        (
            "[provider.a]\naddresses = [\"192.0.2.1/24\"]",
            "mine.toml:2: provider.a.addresses: \"192.0.2.1/24\" has address bits behind its length: write \"192.0.2.0/24\"",
        ),
        ("[provider.a]\naddresses = [\"x\"]", "mine.toml:2: provider.a.addresses: \"x\" is no address range such as \"192.0.2.0/24\""),
        ("[provider.a]\nconnections = 0", "mine.toml:2: provider.a.connections: expected a whole number from 1 to 4294967295"),
        (
            "[provider.a]\nfirst_pause = \"3 weeks\"",
            "mine.toml:2: provider.a.first_pause: expected a time from \"1s\" to \"48h\", such as \"10m\"",
        ),
        ("[provider]\na = 5", "mine.toml:2: provider.a: a provider is a table: [provider.a]"),
        ("[providers.a]\nmx = []", "mine.toml:1: providers: unknown; providers are tables: [provider.NAME]"),
        ("[provider.a]\nmx = [\"x.example\"]\n[provider.b]\nmx = [\"x.example\"]", "mine.toml:4: provider.b.mx: x.example is a's already"),
        ("[provider.a]\nspeed = 3", &format!("mine.toml:2: provider.a.speed: unknown; keys are: {keys}")),
    ] {
        assert_eq!(errors(text), [expected], "{text}");
    }
    assert!(errors("[provider.\"a b\"]\nconnections = 5")[0].starts_with("mine.toml:1: provider.a b: \"a b\" is not a name"));
    assert!(errors("[provider.a\nmx = []")[0].starts_with("mine.toml:1: "));
    assert_eq!(errors("[provider.a]\nconnections = 0\n[provider.b]\nmx = 5\nper_day = -1").len(), 3);
}
