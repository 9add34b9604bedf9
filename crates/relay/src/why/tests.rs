use jiff::Timestamp;
use posthaste_config::Config;
use posthaste_host::Host;
use posthaste_queue::{Held, StageNow, Standing};

use super::*;

/// A machine that has every address, and one file.
struct Anywhere;

impl Host for Anywhere {
    fn name(&self) -> String {
        "mx.example.org".into()
    }

    fn has(&self, _: IpAddr) -> bool {
        true
    }

    fn read(&self, path: &std::path::Path) -> std::io::Result<Vec<u8>> {
        match path.to_str() {
            Some("mine.toml") => Ok(b"[provider.google]\nconnections = 3\nper_hour = 500\n".to_vec()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

const CONFIG: &str = r#"
[delivery]
providers = ["mine.toml"]
recipients_per_transaction = 50
[stream.default]
per_minute = 600
[curve.mine]
caps = [10, 20, 40]
overflow = "spill"
[source.ip1]
address = "127.0.0.1"
warmup = "mine"
[source.ip2]
address = "127.0.0.2"
[route]
"inside.example" = "192.0.2.9"
"#;

fn settings() -> Settings {
    let config = Config::parse(CONFIG, "posthaste.toml", &Anywhere).unwrap_or_else(|errors| panic!("{errors}"));
    Settings::new(config).unwrap()
}

fn route(provider: &str, by: posthaste_route::By, static_route: bool) -> Route {
    let host = |name: &str, preference, ip: &str| posthaste_route::Host {
        name: name.into(),
        preference,
        addresses: vec![std::net::SocketAddr::new(ip.parse().unwrap(), 25)],
    };
    Route {
        provider: Name::new(provider).unwrap(),
        by,
        hosts: vec![host("gmail-smtp-in.l.google.com", 5, "142.250.1.26"), host("alt1.gmail-smtp-in.l.google.com", 10, "2a00:1450::1a")],
        static_route,
        ttl: std::time::Duration::from_secs(300),
        key: "key".into(),
    }
}

fn google() -> Why {
    let domain = Domain::new("gmail.com").unwrap();
    Why::of(&settings(), &domain, &Ok(route("google", posthaste_route::By::Mx("google.com".into()), false)))
}

fn limit(why: &Why, source: &str, name: &str) -> (String, String) {
    let lane = why.lanes.iter().find(|lane| lane.source.as_str() == source).unwrap();
    let limit = lane.limits.iter().find(|limit| limit.name == name).unwrap_or_else(|| panic!("{name}: {:?}", lane.limits));
    (limit.value.clone(), limit.from.clone())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn each_limit_names_the_line_that_it_comes_from() {
    let why = google();
    let is = |source, name, value: &str, from: &str| assert_eq!(limit(&why, source, name), (value.to_owned(), from.to_owned()), "{name}");
    is("ip1", "connections", "3", "mine.toml:2");
    is("ip1", "per_hour", "500", "mine.toml:3");
    is("ip1", "warmup", "mine", "posthaste.toml:12");
    is("ip1", "caps", "10 to 40 a day in 3 stages", "posthaste.toml:8");
    is("ip1", "overflow", "spill", "posthaste.toml:9");
    let (value, from) = limit(&why, "ip2", "recipients_per_transaction");
    assert!(value == "100" && from.starts_with("config/providers.toml:"), "{value} {from}");
    assert!(why.lanes.iter().all(|lane| lane.source.as_str() != "ip2" || lane.limits.iter().all(|l| l.name != "warmup")));
    let entry = why.provider.unwrap().from.unwrap();
    assert!(entry.starts_with("config/providers.toml:"), "{entry}");
    let general: Vec<_> = why.general.iter().map(|limit| (limit.name.as_str(), limit.from.as_str())).collect();
    assert_eq!(general[1], ("stream.default.per_minute", "posthaste.toml:6"));
    assert!(general[0].0 == "delivery.connections" && general[0].1.starts_with("default (config/posthaste.toml:"));
}

#[test]
fn who_is_not_in_the_table_has_the_general_limits() {
    let domain = Domain::new("inside.example").unwrap();
    let why = Why::of(&settings(), &domain, &Ok(route("192.0.2.9", posthaste_route::By::Registrable, true)));
    assert_eq!(limit(&why, "ip1", "recipients_per_transaction"), ("50".to_owned(), "posthaste.toml:4".to_owned()));
    assert!(limit(&why, "ip1", "connections").1.starts_with("default (config/posthaste.toml:"));
    let provider = why.provider.unwrap();
    assert_eq!((provider.from, why.route.as_deref()), (None, Some("posthaste.toml:16")));
    assert_eq!(provider.by, "the first host of its route");
}

#[test]
fn a_subject_is_an_id_an_address_or_a_domain() {
    let id = "01KAQ2V3W4X5Y6Z7A8B9C0D1E2";
    assert!(matches!(id.parse(), Ok(Subject::Message(_))));
    assert!(matches!("a@example.org".parse(), Ok(Subject::Address(_))));
    assert!(matches!("example.org".parse(), Ok(Subject::Domain(_))));
    for bad in ["a@", "a b", ""] {
        assert!(bad.parse::<Subject>().is_err(), "{bad:?}");
    }
}

#[test]
fn an_address_is_told_of_alone_and_a_domain_with_its_total() {
    let waits = |seq, rcpt| WaitingRecipient {
        seq,
        id: "01KAQ2V3W4X5Y6Z7A8B9C0D1E2".parse().unwrap(),
        rcpt,
        domain: "gmail.com".into(),
        stream: Name::new("default").unwrap(),
        arrived: at("2026-11-23T11:57:00Z"),
        expires: at("2026-11-28T11:57:00Z"),
        attempts: 0,
        standing: Standing { state: "budget".into(), held: Held { until: None, why: "why".into() } },
    };
    let envelope = |seq| (seq != 3).then(|| ["a@gmail.com", "b@gmail.com"].map(|a| Address::new(a).unwrap()).to_vec());
    let all = vec![waits(1, 0), waits(1, 1), waits(2, 1), waits(3, 0)];
    let of = |subject: &str| WaitingMail::read(&subject.parse().unwrap(), all.clone(), 4, envelope);
    let (domain, address) = (of("gmail.com"), of("b@gmail.com"));
    assert_eq!((domain.total, domain.first.len()), (4, 3));
    assert_eq!((address.total, address.first.iter().all(|(a, ..)| a == "b@gmail.com")), (2, true));
}

#[test]
fn people_read_it_like_this() {
    let mut why = google();
    why.lanes[0].now = Some(LaneNow {
        connections: 2,
        most_connections: 3,
        ready: 1,
        hold: Some(Held {
            until: Some(at("2026-11-23T12:10:00Z")),
            why: "ip1 at google: 8 of the day's 10 are used, the rest comes as the day goes by".into(),
        }),
        stage: Some(StageNow { stage: Some(1), stages: 3, cap: Some(10), used: 8, accepted: 7, next_cap: Some(20) }),
        last_error: Some((at("2026-11-23T11:50:00Z"), "421 4.7.28 slow down".into())),
    });
    why.lanes[1].here = false;
    let waits = WaitingRecipient {
        seq: 1,
        id: "01KAQ2V3W4X5Y6Z7A8B9C0D1E2".parse().unwrap(),
        rcpt: 0,
        domain: "gmail.com".into(),
        stream: Name::new("default").unwrap(),
        arrived: at("2026-11-23T11:57:00Z"),
        expires: at("2026-11-28T11:57:00Z"),
        attempts: 1,
        standing: Standing {
            state: "budget".into(),
            held: Held {
                until: Some(at("2026-11-23T12:10:00Z")),
                why: "ip1 at google: 8 of the day's 10 are used, the rest comes as the day goes by".into(),
            },
        },
    };
    let told = Told {
        time: "2026-11-23T11:58:00.000Z".into(),
        event: "deferred".into(),
        message: Some(waits.id),
        address: "reader@gmail.com".into(),
        host: Some("mx.google.com".into()),
        stage: Some("rcpt".into()),
        class: None,
        said: Some("421 4.7.28 slow down".into()),
        meaning: Some("the receiver limits messages".into()),
        advice: Some("send less".into()),
    };
    let gone = Told {
        time: "2026-11-23T11:00:00.000Z".into(),
        event: "bounced".into(),
        address: "gone@gmail.com".into(),
        class: None,
        said: Some("550 5.1.1 no such user\n550 more".into()),
        meaning: Some("there is no such mailbox".into()),
        advice: None,
        ..told.clone()
    };
    why.waiting = Some(WaitingMail { total: 3, first: vec![("reader@gmail.com".into(), waits, Some(told))] });
    why.ended = vec![gone];
    let (address, since) = (Address::new("gone@gmail.com").unwrap(), at("2026-11-23T11:00:00Z"));
    let listed = |reason| SuppressionEntry::new(address.clone(), "global".parse().unwrap(), reason, since, None, Default::default());
    why.suppressed = vec![listed(posthaste_suppression::Reason::HardBounce)];
    let page = why.page(at("2026-11-23T12:00:00Z")).to_string();
    // Lines of the shipped files move when these are changed.
    let numberless = |line: &str| match line.split_once("config/").and_then(|(before, rest)| Some((before, rest.split_once(':')?))) {
        Some((before, (file, rest))) => format!("{before}config/{file}:N{}", rest.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => line.to_owned(),
    };
    let text: Vec<String> = page.lines().map(numberless).collect();
    assert_eq!(text.join("\n") + "\n", include_str!("golden.txt"));
}
