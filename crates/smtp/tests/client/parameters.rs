//! ESMTP parameters are passed on as far as the receiver understands them, and a missing required extension is found before MAIL.

use bytes::Bytes;
use posthaste_mail::{Address, BodyKind, EsmtpParameters, Failure, Notify, RcptParameters, Ret, ReversePath};
use posthaste_smtp::client::{Needs, Transaction};

use crate::fake::{session, tell};

fn parameters() -> EsmtpParameters {
    let success = Notify { success: true, failure: true, delay: false };
    EsmtpParameters {
        ret: Some(Ret::Hdrs),
        envid: Some("QQ+1".into()),
        rcpts: vec![RcptParameters { notify: Some(success), orcpt: Some("rfc822;b+x@y.org".into()) }, RcptParameters::default()],
        ..EsmtpParameters::default()
    }
}

fn transaction<'a>(
    from: &'a ReversePath,
    recipients: &'a [&'a Address],
    body: &'a [Bytes],
    parameters: &'a EsmtpParameters,
) -> Transaction<'a> {
    let size = body.iter().map(|part| part.len() as u64).sum();
    Transaction {
        reverse_path: from,
        recipients,
        body_kind: BodyKind::SevenBit,
        has_8bit: false,
        needs: Needs::default(),
        parameters,
        size,
        body,
    }
}

#[tokio::test]
async fn dsn_goes_on_where_it_is_understood() {
    for (extensions, mail, rcpt) in [
        ("DSN", "MAIL FROM:<> RET=HDRS ENVID=QQ+2B1", "RCPT TO:<b@y.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bx@y.org"),
        ("HELP", "MAIL FROM:<>", "RCPT TO:<b@y.org>"),
    ] {
        let (mut connection, fake) = session(extensions, move |mut peer| async move {
            for (command, answer) in
                [(mail, "250 ok\r\n"), (rcpt, "250 ok\r\n"), ("RCPT TO:<c@y.org>", "250 ok\r\n"), ("DATA", "354 go\r\n")]
            {
                peer.expect(&[command]).await;
                peer.say(answer).await;
            }
            drop(peer.message().await);
            peer.say("250 taken\r\n").await;
        })
        .await;
        let (b, c) = (Address::new("b@y.org").unwrap(), Address::new("c@y.org").unwrap());
        let report = connection.transact(transaction(&ReversePath::Null, &[&b, &c], &[Bytes::from_static(b"x\r\n")], &parameters())).await;
        assert_eq!(tell(&report), ["delivered 250 taken"; 2], "{extensions}");
        fake.await.unwrap();
    }
}

#[tokio::test]
async fn a_binary_message_goes_by_bdat_as_it_is() {
    let (mut connection, fake) = session("PIPELINING CHUNKING BINARYMIME", |mut peer| async move {
        peer.expect(&["MAIL FROM:<> BODY=BINARYMIME", "RCPT TO:<b@y.org>"]).await;
        peer.say("250 ok\r\n250 ok\r\n").await;
        peer.expect(&["BDAT 19 LAST", "Subject: x", "", "a\rb"]).await;
        peer.say("250 taken\r\n").await;
        peer.until_closed().await
    })
    .await;
    let b = Address::new("b@y.org").unwrap();
    let body = [Bytes::from_static(b"Subject: x\r\n\r\n"), Bytes::from_static(b"a\rb\r\n")];
    let parameters = EsmtpParameters::default();
    let recipients = [&b];
    let binary = Transaction {
        needs: Needs { binary: true, ..Needs::default() },
        ..transaction(&ReversePath::Null, &recipients, &body, &parameters)
    };
    assert_eq!(tell(&connection.transact(binary).await), ["delivered 250 taken"]);
    drop(connection);
    assert_eq!(fake.await.unwrap(), b"", "the peer has read all of it");
}

#[tokio::test]
async fn what_a_receiver_lacks_is_known_before_anything_is_said() {
    let (plain, utf8) = (Address::new("b@y.org").unwrap(), Address::international("\u{3b4}@y.org").unwrap());
    let needs = |utf8, binary, require_tls| Needs { utf8, binary, require_tls, ..Needs::default() };
    let within = |seconds| Needs { within: Some(seconds), ..Needs::default() };
    let told = |failure: Option<Failure>| failure.map(|f| f.to_string()).unwrap_or_default();
    let (connection, _) = session("PIPELINING", |peer| async move { peer }).await;
    assert_eq!(told(connection.lacks(Needs::default(), &plain)), "");
    for (needs, rcpt, code) in [
        (Needs::default(), &utf8, "550 5.6.7"),
        (needs(true, false, false), &plain, "550 5.6.7"),
        (needs(false, true, false), &plain, "554 5.6.1"),
        (needs(false, false, true), &plain, "550 5.7.10"),
        (within(60), &plain, "554 5.4.7 it is to be delivered within a time, which the receiver does not promise"),
        (within(0), &plain, "451 4.4.7 the time"),
    ] {
        let told = told(connection.lacks(needs, rcpt));
        assert!(told.contains(code), "{needs:?} {rcpt}: {told}");
    }
    let (able, _) = session("SMTPUTF8 CHUNKING BINARYMIME REQUIRETLS DELIVERBY", |peer| async move { peer }).await;
    assert_eq!(told(able.lacks(needs(true, true, false), &utf8)), "");
    assert_eq!(told(able.lacks(within(1), &plain)), "");
    assert!(told(able.lacks(needs(false, false, true), &plain)).contains("5.7.10"), "REQUIRETLS without TLS is worth nothing");
}
