use posthaste_host::{Roots, clock};
use posthaste_mail::Secret;

use super::*;

/// Introspection at an address where nobody listens, with its endpoint changed by `change`.
fn introspection(change: impl FnOnce(&mut Endpoint)) -> Introspection {
    let mut endpoint = Endpoint {
        uri: "http://127.0.0.1:1/".parse().unwrap(),
        client: "c".into(),
        secret: Secret::new("s3cret"),
        roots: Roots::System,
        rules: TokenRules { username: UserField::Username, scope: None, audience: None },
        timeout: Duration::from_secs(5),
        remember: Some(Duration::from_secs(60)),
        questions: 16,
    };
    change(&mut endpoint);
    assert!(!format!("{endpoint:?}").contains("s3cret"));
    let tls = posthaste_smtp::client::TlsConfigs::with_verifier(
        rustls::client::WebPkiServerVerifier::builder_with_provider(some_roots(), Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .build()
            .unwrap(),
    );
    Introspection::new(&endpoint, &tls.unwrap().strict)
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
    let introspection = introspection(|_| {});
    let (owner, news) = introspection.owner("token", both).await;
    assert_eq!(owner, TokenOwner::Trouble);
    let detail = news.unwrap().detail;
    assert!(detail.contains("refused") && !detail.contains("token\""), "{detail}");
    assert_eq!(introspection.owner("token", both).await, (TokenOwner::Trouble, None), "and only once");
}

#[tokio::test]
async fn past_so_many_that_wait_a_token_is_not_looked_at_and_the_endpoint_not_blamed() {
    let introspection = introspection(|endpoint| (endpoint.questions, endpoint.timeout) = (1, Duration::from_millis(100)));
    let turn = introspection.turns.acquire().await.unwrap();
    assert_eq!(introspection.owner("token", both).await, (TokenOwner::Trouble, None), "no turn came within the time");
    drop(turn);
    let _full = introspection.waiting.acquire_many(u32::try_from(introspection.waiting.available_permits()).unwrap()).await.unwrap();
    assert_eq!(introspection.owner("token", both).await, (TokenOwner::Trouble, None));
    assert_eq!(introspection.owner(&"x".repeat(TOKEN_MAX + 1), both).await, (TokenOwner::Nobody, None));
}

#[test]
fn a_right_token_is_remembered_as_long_as_it_lasts_and_as_the_operator_says() {
    let (now, time) = both();
    let after = |seconds| now + Duration::from_secs(seconds);
    for (remember, exp, lasts) in [(60, 3600, 60), (60, 20, 20), (300, 3600, 300), (0, 3600, 0)] {
        let introspection = introspection(|endpoint| endpoint.remember = Some(Duration::from_secs(remember)).filter(|d| !d.is_zero()));
        let key = introspection.memory().key("token");
        // Whole seconds, as exp has them.
        let time = Timestamp::from_second(time.as_second()).unwrap();
        let answer = format!(r#"{{"active":true,"username":"app","exp":{}}}"#, time.as_second() + exp);
        assert_eq!(introspection.understand(key, Ok(answer.into()), (now, time)), (TokenOwner::Named("app".into()), None));
        let known: Vec<u64> =
            [0, 19, 20, 59, 60, 299, 300].into_iter().filter(|n| introspection.known(&key, after(*n)).is_some()).collect();
        assert!(known.iter().all(|n| *n < lasts) && known.last().map_or(0, |n| n + 1) == lasts, "{remember} {exp}: {known:?}");
    }
}

#[test]
fn a_wrong_token_is_not_remembered_and_is_no_news() {
    let introspection = introspection(|_| {});
    let key = introspection.memory().key("token");
    assert_eq!(introspection.understand(key, Ok(br#"{"active":false}"#.to_vec()), both()), (TokenOwner::Nobody, None));
    assert!(introspection.known(&key, clock::instant()).is_none());
}
