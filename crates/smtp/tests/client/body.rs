//! The body, the final dot, and how both can fail.

use posthaste_smtp::client::{Connection, Hello, Timeouts};
use tokio::task::JoinHandle;

use crate::fake::{Peer, SOON, hello, send, session, session_with, tell};

/// Accepts the envelope; `script` continues after the 354.
async fn at_the_body<F, T>(script: impl FnOnce(Peer) -> F + Send + 'static) -> (Connection, JoinHandle<T>)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    at_the_body_with(hello().timeouts, script).await
}

async fn at_the_body_with<F, T>(timeouts: Timeouts, script: impl FnOnce(Peer) -> F + Send + 'static) -> (Connection, JoinHandle<T>)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let hello = Hello { timeouts, ..hello() };
    session_with(&hello, "PIPELINING", |peer| async move { script(with_envelope(peer).await).await }).await
}

async fn with_envelope(mut peer: Peer) -> Peer {
    peer.expect(&["MAIL FROM:<a@x.org>", "RCPT TO:<b@y.org>", "RCPT TO:<c@y.org>", "DATA"]).await;
    peer.say("250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n").await;
    peer
}

/// The result for b; c was refused before.
async fn told(connection: &mut Connection, body: &[u8]) -> String {
    let mut told = tell(&send(connection, &["b", "c"], body).await);
    assert_eq!(told.pop().unwrap(), "failed rcpt 550 no");
    told.pop().unwrap()
}

#[tokio::test]
async fn bodies_arrive_as_they_were_given() {
    let cases: &[&[u8]] = &[
        b".\r\nMAIL FROM:<evil@x.org>\r\n.\r\n",
        b"..\r\n...\r\n",
        b"",
        b"\r\n",
        b"no line end",
        b".",
        b"\xff\x00\x80 eight bits\r\n",
        &[&[b'x'; 1000][..], b"\r\n.\r\n"].concat(),
    ];
    for body in cases {
        let (mut connection, fake) = at_the_body(|mut peer| async move {
            let message = peer.message().await;
            peer.say("250 taken\r\n").await;
            (message, peer)
        })
        .await;
        assert_eq!(told(&mut connection, body).await, "delivered 250 taken");
        let mut expected = body.to_vec();
        if !expected.is_empty() && !expected.ends_with(b"\r\n") {
            expected.extend_from_slice(b"\r\n");
        }
        assert_eq!(fake.await.unwrap().0, expected);
        assert!(connection.usable());
    }
}

#[tokio::test]
async fn twenty_five_megabytes_arrive_byte_for_byte() {
    let long = [&[b'y'; 98][..], b"\r\n"].concat().repeat(130_000);
    let dotted = b".a line\r\n..\r\n".repeat(1_000_000);
    let body = [dotted, long].concat();
    assert!(body.len() > 25_000_000);
    let (mut connection, fake) = at_the_body(|mut peer| async move {
        let message = peer.message().await;
        peer.say("250 taken\r\n").await;
        message
    })
    .await;
    assert_eq!(told(&mut connection, &body).await, "delivered 250 taken");
    assert!(fake.await.unwrap() == body, "the body was changed on its way");
}

#[tokio::test]
async fn a_bare_line_end_is_never_sent() {
    let (mut connection, fake) = session("PIPELINING", |mut peer| async move { peer.until_closed().await }).await;
    for body in [&b"a\n.\r\nMAIL FROM:<x@y.z>\r\n"[..], b"a\r.\r\n", b"a\r\n\r", b"\n"] {
        assert_eq!(tell(&send(&mut connection, &["b"], body).await), ["failed data local_error"]);
    }
    assert!(connection.usable());
    drop(connection);
    assert_eq!(fake.await.unwrap(), b"");
}

#[tokio::test]
async fn the_answer_to_the_dot_is_the_outcome() {
    for (answer, expected, usable) in [
        ("250-2.0.0 queued\r\n250 as 17\r\n", "delivered 250 2.0.0 queued\nas 17", true),
        ("451 4.7.1 later\r\n", "failed dot 451 4.7.1 later", true),
        ("554 5.7.1 spam\r\n", "failed dot 554 5.7.1 spam", true),
        ("421 4.7.0 slow down\r\n", "failed dot 421 4.7.0 slow down", false),
        ("354 more?\r\n", "unknown dot not_smtp", false),
        ("what\r\n", "unknown dot not_smtp", false),
    ] {
        let (mut connection, fake) = at_the_body(move |mut peer| async move {
            peer.message().await;
            peer.say(answer).await;
            peer.until_closed().await
        })
        .await;
        assert_eq!(told(&mut connection, b"hi\r\n").await, expected);
        assert_eq!(connection.usable(), usable, "{answer:?}");
        drop(connection);
        assert_eq!(fake.await.unwrap(), b"");
    }
}

#[tokio::test]
async fn a_connection_that_dies_after_the_dot_leaves_the_outcome_unknown() {
    let (mut connection, _fake) = at_the_body(|mut peer| async move { drop(peer.message().await) }).await;
    assert_eq!(told(&mut connection, b"hi\r\n").await, "unknown dot connection_lost");
    assert!(!connection.usable());

    let (mut connection, _fake) = at_the_body(|mut peer| async move {
        peer.message().await;
        peer.say("250 half an ans").await;
    })
    .await;
    assert_eq!(told(&mut connection, b"hi\r\n").await, "unknown dot connection_lost");

    let impatient = Timeouts { dot: SOON, ..hello().timeouts };
    let (mut connection, _fake) = at_the_body_with(impatient, |mut peer| async move {
        peer.message().await;
        peer.until_closed().await
    })
    .await;
    assert_eq!(told(&mut connection, b"hi\r\n").await, "unknown dot timeout");
}

/// More than the sockets' buffers hold.
fn huge() -> Vec<u8> {
    b"0123456789abcdef0123456789abcdef\r\n".repeat(800_000)
}

#[tokio::test]
async fn a_connection_that_dies_within_the_body_is_no_mystery() {
    let (mut connection, _fake) = at_the_body(|mut peer| async move { drop(peer.line().await) }).await;
    assert_eq!(told(&mut connection, &huge()).await, "failed dot connection_lost");
    assert!(!connection.usable());
}

#[tokio::test]
async fn a_receiver_that_takes_no_more_of_the_body_is_a_time_out() {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let impatient = Timeouts { block: SOON, ..hello().timeouts };
    let (mut connection, _fake) = at_the_body_with(impatient, |mut peer| async move {
        peer.line().await;
        let _ = stopped.await;
    })
    .await;
    assert_eq!(told(&mut connection, &huge()).await, "failed dot timeout");
    drop(stop);
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_huge_body_is_heard() {
    // The receiver closes the connection at once, or keeps it open without reading on.
    let (mut connection, _fake) = at_the_body(|mut peer| async move {
        peer.line().await;
        peer.say("552 5.3.4 too big\r\n").await;
    })
    .await;
    assert_eq!(told(&mut connection, &huge()).await, "failed dot 552 5.3.4 too big");
    assert!(!connection.usable());

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (mut connection, _fake) = at_the_body(|mut peer| async move {
        peer.line().await;
        peer.say("552 5.3.4 too big\r\n").await;
        let _ = stopped.await;
    })
    .await;
    assert_eq!(told(&mut connection, &huge()).await, "failed dot 552 5.3.4 too big");
    assert!(!connection.usable());
    drop(stop);
}

#[tokio::test]
async fn an_answer_before_the_body_is_not_taken_for_the_dots() {
    let (mut connection, _fake) = session("PIPELINING", |mut peer| async move {
        peer.expect(&["MAIL FROM:<a@x.org>", "RCPT TO:<b@y.org>", "DATA"]).await;
        peer.say("250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n").await;
        peer.until_closed().await
    })
    .await;
    assert_eq!(tell(&send(&mut connection, &["b"], b"hi\r\n").await), ["failed dot not_smtp"]);
    assert!(!connection.usable());
}

#[tokio::test]
async fn a_dropped_transaction_makes_the_connection_useless() {
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let (mut connection, _fake) = session("PIPELINING", |mut peer| async move {
        peer.expect(&["MAIL FROM:<a@x.org>"]).await;
        go.send(()).unwrap();
        peer.until_closed().await
    })
    .await;
    tokio::select! {
        _ = send(&mut connection, &["b"], b"hi\r\n") => panic!("nobody answered"),
        asked = wait => asked.unwrap(),
    }
    assert!(!connection.usable());
}
