//! 220, EHLO, HELO, AUTH.

use posthaste_mail::{Failure, LocalCause, Stage};
use posthaste_smtp::client::{Connection, Credentials, Hello, OpenFailure, PasswordNeeds, TlsPolicy, open};

use crate::fake::{Peer, SOON, hello, receiver, send, session, tell};

/// Opens a session with a receiver whose script ends by itself; returns the result.
async fn opened<F>(hello: &Hello, script: impl FnOnce(Peer) -> F + Send + 'static) -> Result<Connection, OpenFailure>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (socket, fake) = receiver(script).await;
    let got = open(socket, hello).await;
    if got.is_err() {
        fake.await.unwrap();
    }
    got
}

fn failure(got: Result<Connection, OpenFailure>) -> (Stage, String) {
    let Err(OpenFailure { failure, tls: None }) = got else { panic!("a failure that has nothing to do with TLS") };
    match failure {
        Failure::Refused { stage, reply } => (stage, reply.to_string()),
        Failure::Local { stage, cause, .. } => (stage, cause.as_str().to_owned()),
    }
}

#[tokio::test]
async fn a_session_opens_and_knows_the_extensions() {
    let (connection, fake) = session("PIPELINING SIZE=1000", |mut peer| async move {
        peer.expect(&["QUIT"]).await;
        peer.say("221 bye\r\n").await;
        peer.until_closed().await
    })
    .await;
    assert!(connection.usable() && connection.extensions().pipelining && !connection.extensions().eight_bit_mime);
    assert_eq!((connection.extensions().size, connection.tls().tls_policy, connection.tls().tls_version), (Some(1000), Some("none"), None));
    assert_eq!(connection.timings().tls_ms, None);
    connection.quit().await;
    assert_eq!(fake.await.unwrap(), b"");
}

#[tokio::test]
async fn a_banner_that_refuses_is_kept_whole() {
    for banner in ["554-5.7.1 listed\r\n554 see http://bl.test\r\n", "421 4.7.0 later\r\n", "450 no\r\n"] {
        let got = opened(&hello(), move |mut peer| async move { peer.say(banner).await }).await;
        let (stage, text) = failure(got);
        assert_eq!((stage, text[..3].to_owned()), (Stage::Banner, banner[..3].to_owned()));
        assert_eq!(text.contains("see http://bl.test"), banner.starts_with("554"));
    }
}

#[tokio::test]
async fn a_banner_that_is_no_smtp_is_told_at_once() {
    for banner in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}", "354 go\r\n"] {
        let got = opened(&hello(), move |mut peer| async move {
            peer.say(banner).await;
            peer.until_closed().await;
        })
        .await;
        assert_eq!(failure(got), (Stage::Banner, LocalCause::NotSmtp.as_str().into()), "{banner:?}");
    }
}

#[tokio::test]
async fn a_banner_without_end_ends() {
    let got = opened(&hello(), |mut peer| async move {
        peer.say(&"220-welcome\r\n".repeat(200)).await;
        peer.until_closed().await;
    })
    .await;
    assert_eq!(failure(got), (Stage::Banner, "not_smtp".into()));
    let got = opened(&hello(), |mut peer| async move {
        peer.say(&format!("220 {}", "x".repeat(100_000))).await;
        peer.until_closed().await;
    })
    .await;
    assert_eq!(failure(got), (Stage::Banner, "not_smtp".into()));
}

#[tokio::test]
async fn silence_and_hanging_up_are_told_apart_at_each_step() {
    let mut impatient = hello();
    impatient.timeouts.banner = SOON;
    let got = opened(&impatient, |mut peer| async move { drop(peer.until_closed().await) }).await;
    assert_eq!(failure(got), (Stage::Banner, "timeout".into()));

    let got = opened(&hello(), |peer| async move { drop(peer) }).await;
    assert_eq!(failure(got), (Stage::Banner, "connection_lost".into()));

    let got = opened(&hello(), |mut peer| async move { peer.say("220-half a").await }).await;
    assert_eq!(failure(got), (Stage::Banner, "connection_lost".into()));

    let mut impatient = hello();
    impatient.timeouts.ehlo = SOON;
    let got = opened(&impatient, |mut peer| async move {
        peer.say("220 hi\r\n").await;
        peer.until_closed().await;
    })
    .await;
    assert_eq!(failure(got), (Stage::Ehlo, "timeout".into()));

    let got = opened(&hello(), |mut peer| async move {
        peer.say("220 hi\r\n").await;
        peer.expect(&["EHLO relay.test"]).await;
    })
    .await;
    assert_eq!(failure(got), (Stage::Ehlo, "connection_lost".into()));
}

#[tokio::test]
async fn a_421_glued_to_the_220_is_not_lost() {
    let got = opened(&hello(), |mut peer| async move { peer.say("220 hi\r\n421 4.3.2 shutting down\r\n").await }).await;
    assert_eq!(failure(got), (Stage::Ehlo, "421 4.3.2 shutting down".into()));
}

#[tokio::test]
async fn a_receiver_that_knows_no_ehlo_is_greeted_by_helo() {
    let (socket, fake) = receiver(|mut peer| async move {
        peer.say("220 old\n").await;
        peer.expect(&["EHLO relay.test"]).await;
        peer.say("502 what?\n").await;
        peer.expect(&["HELO relay.test"]).await;
        peer.say("250 old\n").await;
        peer.expect(&["MAIL FROM:<a@x.org>"]).await;
        peer.say("250 ok\n").await;
        peer.expect(&["RCPT TO:<b@y.org>"]).await;
        peer.say("250 ok\n").await;
        peer.expect(&["DATA"]).await;
        peer.say("354 go\n").await;
        let message = peer.message().await;
        peer.say("250 taken\n").await;
        message
    })
    .await;
    let mut connection = open(socket, &hello()).await.unwrap();
    assert_eq!(connection.extensions(), &Default::default());
    assert_eq!(tell(&send(&mut connection, &["b"], b"hi\r\n").await), ["delivered 250 taken"]);
    assert_eq!(fake.await.unwrap(), b"hi\r\n");
}

#[tokio::test]
async fn a_refused_hello_is_the_receivers_last_word() {
    let got = opened(&hello(), |mut peer| async move {
        peer.say("220 hi\r\n").await;
        peer.line().await;
        peer.say("550 5.7.1 not you\r\n").await;
        peer.line().await;
        peer.say("550 5.7.1 not you, really\r\n").await;
    })
    .await;
    assert_eq!(failure(got), (Stage::Ehlo, "550 5.7.1 not you, really".into()));

    let got = opened(&hello(), |mut peer| async move {
        peer.say("220 hi\r\n").await;
        peer.line().await;
        peer.say("450 4.3.2 busy\r\n").await;
        assert_eq!(peer.until_closed().await, b"");
    })
    .await;
    assert_eq!(failure(got), (Stage::Ehlo, "450 4.3.2 busy".into()));
}

fn with_login(needs: PasswordNeeds) -> Hello {
    Hello { auth: Some(Credentials { user: "user".into(), password: "pass".into(), needs }), ..hello() }
}

#[tokio::test]
async fn auth_plain_and_auth_login_log_in() {
    let (socket, _fake) = receiver(|mut peer| async move {
        peer.greet("AUTH=PLAIN").await;
        peer.expect(&["AUTH PLAIN AHVzZXIAcGFzcw=="]).await;
        peer.say("235 2.7.0 welcome\r\n").await;
        peer
    })
    .await;
    assert!(open(socket, &with_login(PasswordNeeds::Nothing)).await.unwrap().usable());

    let (socket, _fake) = receiver(|mut peer| async move {
        peer.greet("AUTH=LOGIN").await;
        peer.expect(&["AUTH LOGIN"]).await;
        peer.say("334 VXNlcm5hbWU6\r\n").await;
        peer.expect(&["dXNlcg=="]).await;
        peer.say("334 UGFzc3dvcmQ6\r\n").await;
        peer.expect(&["cGFzcw=="]).await;
        peer.say("235 2.7.0 welcome\r\n").await;
        peer
    })
    .await;
    assert!(open(socket, &with_login(PasswordNeeds::Nothing)).await.unwrap().usable());
}

#[tokio::test]
async fn a_refused_login_and_a_missing_one_are_told() {
    let got = opened(&with_login(PasswordNeeds::Nothing), |mut peer| async move {
        peer.greet("AUTH=PLAIN").await;
        peer.line().await;
        peer.say("535 5.7.8 wrong password\r\n").await;
    })
    .await;
    assert_eq!(failure(got), (Stage::Auth, "535 5.7.8 wrong password".into()));
    let got = opened(&with_login(PasswordNeeds::Nothing), |mut peer| async move {
        peer.greet("AUTH=GSSAPI").await;
        assert_eq!(peer.until_closed().await, b"");
    })
    .await;
    assert_eq!(failure(got), (Stage::Auth, "local_error".into()));
}

#[tokio::test]
async fn a_password_is_not_sent_in_plain_text_by_accident() {
    for tls in [TlsPolicy::None, TlsPolicy::Opportunistic] {
        for needs in [PasswordNeeds::Certificate, PasswordNeeds::Encryption] {
            let got = opened(&Hello { tls, ..with_login(needs) }, |mut peer| async move {
                peer.greet("AUTH=PLAIN").await;
                assert_eq!(peer.until_closed().await, b"");
            })
            .await;
            assert_eq!(failure(got), (Stage::Auth, "tls_required".into()));
        }
    }
}

#[tokio::test]
async fn a_password_that_stays_on_this_machine_needs_nothing() {
    let (socket, _fake) = receiver(|mut peer| async move {
        peer.greet("AUTH=PLAIN").await;
        peer.expect(&["AUTH PLAIN AHVzZXIAcGFzcw=="]).await;
        peer.say("235 2.7.0 welcome\r\n").await;
        peer
    })
    .await;
    let hello = Hello { loopback: true, tls: TlsPolicy::Opportunistic, ..with_login(PasswordNeeds::Certificate) };
    assert!(open(socket, &hello).await.unwrap().usable());
}
