//! Half a year of ticks, one a day, with the key store on disk and a DNS server that an operator keeps.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::{Mutex as StdMutex, PoisonError},
    thread,
    time::Duration,
};

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{RData, Record, rdata::TXT},
};
use posthaste_dkim::{Algorithm, Canonicalization, Key, Schedule, Signer};
use posthaste_journal::State;
use posthaste_mail::Pattern;
use posthaste_route::Resolver;

use super::*;
use crate::{
    dkim::{Dkim, DkimKey, Signing},
    key_store::keep_key,
};

const START: i64 = 1_790_000_000;
const DAY: i64 = 24 * 3600;

type Zone = Arc<StdMutex<HashMap<String, String>>>;

/// Answers TXT questions from the zone; other names do not exist.
fn serve(zone: Zone) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let query = question.queries[0].clone();
            let mut answer = Message::response(question.metadata.id, OpCode::Query);
            let name = query.name().to_ascii().to_ascii_lowercase();
            match zone.lock().unwrap_or_else(PoisonError::into_inner).get(name.trim_end_matches('.')) {
                Some(text) => answer.answers.push(Record::from_rdata(query.name().clone(), 1, RData::TXT(TXT::new(vec![text.clone()])))),
                None => answer.metadata.response_code = ResponseCode::NXDomain,
            }
            answer.queries.push(query);
            let _ = socket.send_to(&answer.to_vec().unwrap(), from);
        }
    });
    address
}

struct Relay {
    dir: tempfile::TempDir,
    zone: Zone,
    settings: Arc<Settings>,
    rotation: Rotation,
    nameserver: SocketAddr,
}

/// A relay that signs for example.com with this key, s1; a new one every 90 days.
fn settings(dir: &Path, key: Key, nameserver: SocketAddr) -> Settings {
    let day = Duration::from_hours(24);
    let rotation = Schedule { every: Some(90 * day), ahead: 7 * day, keep: 10 * day };
    let key = DkimKey { selector: "s1".parse().unwrap(), file: dir.join("s1.pem"), key };
    let signing = Signing { sign_subdomains: true, identity: None, rotation, keys: vec![key] };
    let headers = ["From", "To", "Subject", "Date"].map(str::to_owned).into();
    let dkim = Dkim {
        domains: [(Pattern::Exact("example.com".parse().unwrap()), signing)].into_iter().collect(),
        also_sign_as: None,
        arc_domain: None,
        expire: None,
        canonicalization: Canonicalization::default(),
        headers,
        oversign: vec!["From".into()],
        threads: None,
        rotation,
    };
    let resolver = move || {
        let options = posthaste_route::ResolverOptions { nameservers: vec![nameserver], min_ttl: Duration::ZERO, ..Default::default() };
        Resolver::new(options, posthaste_route::StaticRoutes::default())
    };
    Settings::new(dkim, HashMap::new(), "mx1.example.org".parse().unwrap(), dir.join("data/dkim"), Box::new(resolver)).unwrap()
}

impl Relay {
    /// A relay that signs for example.com with an Ed25519 key, s1, which DNS has; a new one every 90 days.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (key, pem) = Key::generate(Algorithm::Ed25519Sha256).unwrap();
        keep_key(&dir.path().join("s1.pem"), &pem).unwrap();
        let zone: Zone = Arc::default();
        zone.lock().unwrap().insert("s1._domainkey.example.com".into(), key.public_record());
        let nameserver = serve(zone.clone());
        let settings = Arc::new(settings(dir.path(), key, nameserver));
        let view = settings.clone();
        let rotation = Rotation::new(settings.key_dir.clone(), InForce::new(move || view.clone()));
        Self { dir, zone, settings, rotation, nameserver }
    }

    async fn tick(&self, day: i64) -> Vec<KeyNews> {
        self.rotation.tick(START + day * DAY, |_| true).await.unwrap()
    }

    fn signing(&self) -> Vec<String> {
        self.settings.keyring.load().signers_of("example.com").iter().map(Signer::selector).map(str::to_owned).collect()
    }

    fn dns_has(&self, selector: &str) -> bool {
        self.zone.lock().unwrap().contains_key(&format!("{selector}._domainkey.example.com"))
    }

    fn made_keys(&self) -> usize {
        let files = std::fs::read_dir(self.dir.path().join("data/dkim")).unwrap();
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "pem")).count()
    }
}

/// Does what an operator who reads the log does: publishes new records and removes retired ones.
fn obey(zone: &Zone, news: &KeyNews) {
    let mut zone = zone.lock().unwrap();
    let name = news.detail.split_whitespace().find(|word| word.contains("._domainkey.")).map(|word| word.trim_end_matches('.').to_owned());
    match news.state {
        State::DkimKeyMade => {
            let record = news.detail.split('"').nth(1).unwrap();
            zone.insert(name.unwrap(), record.to_owned());
        }
        State::DkimKeyRetired => drop(zone.remove(&name.unwrap())),
        _ => {}
    }
}

#[tokio::test]
async fn keys_follow_one_another_and_what_signs_is_always_in_dns() {
    let relay = Relay::new();
    let mut history = Vec::new();
    for day in 0..=200 {
        for news in relay.tick(day).await {
            obey(&relay.zone, &news);
            history.push((day, news.state));
        }
        let signing = relay.signing();
        assert_eq!(signing.len(), 1, "day {day}: {signing:?}");
        assert!(relay.dns_has(&signing[0]), "day {day}: {signing:?}");
    }
    let quarter =
        |start: i64| [(start + 83, State::DkimKeyMade), (start + 90, State::DkimKeySwitched), (start + 100, State::DkimKeyRetired)];
    assert_eq!(history, [quarter(0), quarter(90)].concat());
    // Files of retired keys are deleted; a relay that starts now signs with the same key.
    assert_eq!(relay.made_keys(), 1);
    let first = Key::from_pem(&std::fs::read_to_string(relay.dir.path().join("s1.pem")).unwrap()).unwrap();
    let anew = settings(relay.dir.path(), first, relay.nameserver);
    assert_eq!(anew.keyring.load().signers_of("example.com").iter().map(Signer::selector).collect::<Vec<_>>(), relay.signing());
}

#[tokio::test]
async fn a_key_that_nobody_publishes_never_signs_and_that_is_said() {
    let relay = Relay::new();
    let mut said = Vec::new();
    for day in [0, 83, 84, 90, 95, 120] {
        said.extend(relay.tick(day).await.into_iter().map(|news| (day, news.state)));
        assert_eq!(relay.signing(), ["s1"]);
    }
    assert_eq!(said, [(83, State::DkimKeyMade), (90, State::Alarm), (95, State::Alarm), (120, State::Alarm)]);
}

#[tokio::test]
async fn a_key_is_in_dns_as_long_as_mail_that_it_signed_waits() {
    let relay = Relay::new();
    for day in [0, 83, 90] {
        relay.tick(day).await.iter().for_each(|news| obey(&relay.zone, news));
    }
    let now = |day: i64| START + day * DAY;
    assert!(!relay.rotation.may_retire(now(99)).await.unwrap());
    assert!(relay.rotation.may_retire(now(100)).await.unwrap());
    // A message that was accepted on day 89 is held.
    let held = u64::try_from(now(89)).unwrap();
    assert_eq!(relay.rotation.tick(now(100), |until| held > until).await.unwrap(), []);
    let news = relay.rotation.tick(now(101), |_| true).await.unwrap();
    assert_eq!(news[0].state, State::DkimKeyRetired);
    assert!(news[0].detail.contains("s1._domainkey.example.com can be taken out of DNS"), "{news:?}");
}
