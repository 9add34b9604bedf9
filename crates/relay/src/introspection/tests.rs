use posthaste_host::{AnyAddress, Host, clock};

use super::*;
use crate::config::Config;

/// A host that has the secret.
struct WithSecret;

impl Host for WithSecret {
    fn name(&self) -> String {
        AnyAddress.name()
    }

    fn has(&self, ip: std::net::IpAddr) -> bool {
        AnyAddress.has(ip)
    }

    fn read(&self, path: &std::path::Path) -> std::io::Result<Vec<u8>> {
        if path.ends_with("secret") { Ok(b"s3cret\n".to_vec()) } else { AnyAddress.read(path) }
    }
}

/// Asks where nobody listens.
fn introspection(keys: &str) -> Introspection {
    let table = "[introspection]\nendpoint = \"http://127.0.0.1:1/\"\nclient = \"c\"\nclient_secret_file = \"secret\"\n";
    let config = Config::parse(&format!("{table}{keys}"), "posthaste.toml", &WithSecret).unwrap();
    let asked = config.introspection.unwrap();
    assert!(!format!("{asked:?}").contains("s3cret"));
    let tls = posthaste_smtp::client::TlsConfigs::with_verifier(
        rustls::client::WebPkiServerVerifier::builder_with_provider(some_roots(), Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build()
            .unwrap(),
    );
    Introspection::new(&asked, &tls.unwrap().strict)
}

fn some_roots() -> Arc<rustls::RootCertStore> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rcgen::generate_simple_self_signed(["x.test".into()]).unwrap().cert.der().clone()).unwrap();
    Arc::new(roots)
}

fn both() -> (Instant, Timestamp) {
    (clock::instant(), clock::now())
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_trouble_and_the_operator_hears_of_it() {
    let asks = introspection("");
    let (whose, news) = asks.whose("token", both).await;
    assert_eq!(whose, Whose::Trouble);
    let detail = news.unwrap().detail;
    assert!(detail.contains("refused") && !detail.contains("token\""), "{detail}");
    assert_eq!(asks.whose("token", both).await, (Whose::Trouble, None), "and only once");
}

#[tokio::test]
async fn past_so_many_that_wait_a_token_is_not_looked_at_and_the_endpoint_not_blamed() {
    let asks = introspection("questions = 1\ntimeout = \"100ms\"");
    let turn = asks.turns.acquire().await.unwrap();
    assert_eq!(asks.whose("token", both).await, (Whose::Trouble, None), "no turn came within the time");
    drop(turn);
    let _full = asks.waiting.acquire_many(u32::try_from(asks.waiting.available_permits()).unwrap()).await.unwrap();
    assert_eq!(asks.whose("token", both).await, (Whose::Trouble, None));
    assert_eq!(asks.whose(&"x".repeat(TOKEN_MAX + 1), both).await, (Whose::Nobody, None));
}

#[test]
fn a_right_token_is_remembered_as_long_as_it_lasts_and_as_the_operator_says() {
    let (now, time) = both();
    let after = |seconds| now + Duration::from_secs(seconds);
    for (keys, exp, lasts) in [("", 3600, 60), ("", 20, 20), ("remember = \"5m\"", 3600, 300), ("remember = 0", 3600, 0)] {
        let asks = introspection(keys);
        let key = asks.memory().key("token");
        // Whole seconds, as exp has them.
        let time = Timestamp::from_second(time.as_second()).unwrap();
        let answer = format!(r#"{{"active":true,"username":"app","exp":{}}}"#, time.as_second() + exp);
        assert_eq!(asks.understand(key, Ok(answer.into()), (now, time)), (Whose::Named("app".into()), None));
        let known: Vec<u64> = [0, 19, 20, 59, 60, 299, 300].into_iter().filter(|n| asks.known(&key, after(*n)).is_some()).collect();
        assert!(known.iter().all(|n| *n < lasts) && known.last().map_or(0, |n| n + 1) == lasts, "{keys} {exp}: {known:?}");
    }
}

#[test]
fn a_wrong_token_is_not_remembered_and_is_no_news() {
    let asks = introspection("");
    let key = asks.memory().key("token");
    assert_eq!(asks.understand(key, Ok(br#"{"active":false}"#.to_vec()), both()), (Whose::Nobody, None));
    assert!(asks.known(&key, clock::instant()).is_none());
}
