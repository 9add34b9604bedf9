//! STARTTLS, policy by policy.

use std::sync::{Arc, OnceLock};

use posthaste_mail::{Failure, LocalCause, Stage};
use posthaste_smtp::client::{Connection, Hello, OpenFailure, TlsPolicy, open};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::fake::{Peer, SOON, hello, receiver, send, tell};

/// The only certificate authority that the client trusts.
pub(crate) struct Authority {
    pub(crate) der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

pub(crate) fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Authority { der, issuer: Issuer::new(params, key) }
    })
}

/// A receiver's TLS configuration with a certificate for `name`.
fn acceptor(name: &str) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority().issuer).unwrap();
    let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], secret).unwrap()))
}

fn wanting(tls: TlsPolicy) -> Hello {
    Hello { tls, ..hello() }
}

/// A receiver with a certificate for `name` that accepts one message under TLS.
async fn secured(mut peer: Peer, name: &'static str) -> Option<Vec<u8>> {
    peer.greet("STARTTLS SIZE").await;
    peer.expect(&["STARTTLS"]).await;
    peer.say("220 go\r\n").await;
    let mut peer = peer.into_tls(&acceptor(name)).await.ok()?;
    peer.hello("PIPELINING 8BITMIME").await;
    peer.expect(&["MAIL FROM:<a@x.org>", "RCPT TO:<b@y.org>", "DATA"]).await;
    peer.say("250 ok\r\n250 ok\r\n354 go\r\n").await;
    let message = peer.message().await;
    peer.say("250 taken\r\n").await;
    peer.expect(&["QUIT"]).await;
    peer.say("221 bye\r\n").await;
    Some(message)
}

#[tokio::test]
async fn mail_goes_through_tls_and_the_facts_are_told() {
    for (policy, name, verified) in [
        (TlsPolicy::Verify, "mx.example.org", true),
        (TlsPolicy::Require, "mx.example.org", true),
        (TlsPolicy::Opportunistic, "mx.example.org", true),
        (TlsPolicy::Require, "other.example.org", false),
        (TlsPolicy::Opportunistic, "other.example.org", false),
    ] {
        let (socket, fake) = receiver(move |peer| secured(peer, name)).await;
        let mut connection = open(socket, &wanting(policy)).await.unwrap();
        let facts = connection.tls().clone();
        assert_eq!((facts.tls_version, facts.tls_verified, facts.tls_policy), (Some("TLSv1.3"), Some(verified), Some(policy.as_str())));
        assert!(facts.tls_cipher.unwrap().starts_with("TLS_") && facts.tls_fallback.is_none());
        // Extensions announced before the handshake are discarded (RFC 3207 §4.2).
        assert!(connection.extensions().pipelining && connection.extensions().size.is_none());
        assert!(connection.timings().tls_ms.is_some());
        let body = [b"x\r\n".repeat(100_000), b".y\r\n".repeat(50_000)].concat();
        assert_eq!(tell(&send(&mut connection, &["b"], &body).await), ["delivered 250 taken"]);
        connection.quit().await;
        assert_eq!(fake.await.unwrap(), Some(body));
    }
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused_where_names_count() {
    let (socket, fake) = receiver(|peer| secured(peer, "other.example.org")).await;
    let OpenFailure { failure, tls } = failure(open(socket, &wanting(TlsPolicy::Verify)).await);
    assert!(matches!(&failure, Failure::Local { stage: Stage::Starttls, cause: LocalCause::TlsFailed, .. }), "{failure}");
    assert_eq!(tls, None);
    assert_eq!(fake.await.unwrap(), None);
}

fn failure(got: Result<Connection, OpenFailure>) -> OpenFailure {
    match got {
        Ok(_) => panic!("no session should have come to be"),
        Err(failure) => failure,
    }
}

#[tokio::test]
async fn without_starttls_each_policy_goes_its_way() {
    for policy in [TlsPolicy::None, TlsPolicy::Opportunistic] {
        let (socket, _fake) = receiver(|mut peer| async move { (peer.greet("PIPELINING").await, peer) }).await;
        let connection = open(socket, &wanting(policy)).await.unwrap();
        assert_eq!((connection.tls().tls_version, connection.tls().tls_fallback.clone()), (None, None));
    }
    for policy in [TlsPolicy::Require, TlsPolicy::Verify] {
        let (socket, _fake) = receiver(|mut peer| async move { (peer.greet("PIPELINING").await, peer) }).await;
        let OpenFailure { failure, tls } = failure(open(socket, &wanting(policy)).await);
        assert!(matches!(&failure, Failure::Local { stage: Stage::Starttls, cause: LocalCause::TlsRequired, .. }), "{failure}");
        assert_eq!(tls, None);
    }
}

#[tokio::test]
async fn a_refused_starttls_is_plain_text_for_the_opportunist_only() {
    for policy in [TlsPolicy::Opportunistic, TlsPolicy::Require, TlsPolicy::Verify] {
        let (socket, fake) = receiver(|mut peer| async move {
            peer.greet("STARTTLS").await;
            peer.expect(&["STARTTLS"]).await;
            peer.say("454 4.3.0 no TLS today\r\n").await;
            peer
        })
        .await;
        let got = open(socket, &wanting(policy)).await;
        let _peer = fake.await.unwrap();
        if policy == TlsPolicy::Opportunistic {
            let connection = got.unwrap();
            assert!(connection.usable());
            assert_eq!(connection.tls().tls_fallback.as_deref(), Some("STARTTLS was answered 454 4.3.0 no TLS today"));
            assert_eq!(connection.tls().tls_policy, Some("opportunistic"));
        } else {
            let OpenFailure { failure, tls } = failure(got);
            assert!(matches!(&failure, Failure::Local { cause: LocalCause::TlsRequired, .. }), "{failure}");
            assert!(failure.to_string().contains("454 4.3.0") && tls.is_none());
        }
    }
}

#[tokio::test]
async fn a_failed_handshake_says_whether_plain_text_may_be_tried() {
    for (policy, may) in [(TlsPolicy::Opportunistic, true), (TlsPolicy::Require, false), (TlsPolicy::Verify, false)] {
        let (socket, _fake) = receiver(|mut peer| async move {
            peer.greet("STARTTLS").await;
            peer.expect(&["STARTTLS"]).await;
            peer.say("220 go\r\n").await;
            peer.say_bytes(b"this is no handshake").await;
            peer.until_closed().await
        })
        .await;
        let OpenFailure { failure, tls } = failure(open(socket, &wanting(policy)).await);
        // TLS fails whether the bytes arrive with the 220 or after it.
        assert!(matches!(&failure, Failure::Local { stage: Stage::Starttls, cause: LocalCause::TlsFailed, .. }), "{failure}");
        assert!(may || tls.is_none());
    }
    let mut impatient = wanting(TlsPolicy::Opportunistic);
    impatient.timeouts.starttls = SOON;
    let (socket, _fake) = receiver(|mut peer| async move {
        peer.greet("STARTTLS").await;
        peer.expect(&["STARTTLS"]).await;
        peer.say("220 go\r\n").await;
        peer.until_closed().await
    })
    .await;
    let OpenFailure { tls, .. } = failure(open(socket, &impatient).await);
    let why = tls.expect("plain text may be tried");

    impatient.tls_fallback = Some(why.clone());
    let (socket, fake) = receiver(|mut peer| async move {
        peer.greet("STARTTLS").await;
        peer
    })
    .await;
    let connection = open(socket, &impatient).await.unwrap();
    assert_eq!(connection.tls().tls_fallback, Some(why));
    drop((connection, fake.await.unwrap()));
}

#[tokio::test]
async fn plain_text_behind_the_answer_to_starttls_ends_it() {
    for injected in ["220 go\r\n250 injected\r\n", "220 go\r\n250-inj"] {
        let (socket, fake) = receiver(move |mut peer| async move {
            peer.greet("STARTTLS").await;
            peer.expect(&["STARTTLS"]).await;
            peer.say(injected).await;
            peer.until_closed().await
        })
        .await;
        let OpenFailure { failure, tls } = failure(open(socket, &wanting(TlsPolicy::Opportunistic)).await);
        assert!(matches!(&failure, Failure::Local { stage: Stage::Starttls, cause: LocalCause::TlsFailed, .. }), "{failure}");
        assert_eq!(tls, None);
        assert_eq!(fake.await.unwrap(), b"", "no handshake was begun");
    }
}

#[tokio::test]
async fn a_421_to_starttls_is_the_receivers_word() {
    let (socket, _fake) = receiver(|mut peer| async move {
        peer.greet("STARTTLS").await;
        peer.expect(&["STARTTLS"]).await;
        peer.say("421 4.3.2 closing\r\n").await;
    })
    .await;
    let OpenFailure { failure, tls } = failure(open(socket, &wanting(TlsPolicy::Opportunistic)).await);
    assert!(matches!(&failure, Failure::Refused { stage: Stage::Starttls, reply } if reply.code == 421), "{failure}");
    assert_eq!(tls, None);
}
