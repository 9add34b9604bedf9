//! MAIL, RCPT and DATA, with and without pipelining; the result of each recipient; the state of the connection afterwards.

use bytes::Bytes;
use posthaste_mail::{Address, BodyKind, EsmtpParameters, ReversePath, Stage};
use posthaste_smtp::client::{Needs, Transaction, open};
use tokio::{io::BufStream, net::TcpSocket};

use crate::fake::{PATIENCE, Peer, SOON, hello, receiver, send, session, session_with, tell};

const BODY: &[u8] = b"Subject: x\r\n\r\nhi\r\n";

#[tokio::test]
async fn a_pipelined_envelope_comes_in_one_piece() {
    let (mut connection, fake) = session("PIPELINING SIZE=0 8BITMIME", |mut peer| async move {
        peer.expect(&["MAIL FROM:<a@x.org> SIZE=18", "RCPT TO:<b@y.org>", "RCPT TO:<c@y.org>", "DATA"]).await;
        peer.say("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n").await;
        let message = peer.message().await;
        peer.say("250 2.0.0 queued as 1\r\n").await;
        message
    })
    .await;
    let report = send(&mut connection, &["b", "c"], BODY).await;
    assert_eq!(tell(&report), ["delivered 250 2.0.0 queued as 1"; 2]);
    assert!(report.body_ms.is_some());
    assert_eq!(fake.await.unwrap(), BODY);
}

#[tokio::test]
async fn each_recipient_has_its_own_answer() {
    for extensions in ["PIPELINING", ""] {
        let (mut connection, fake) = session(extensions, move |mut peer| async move {
            let answers = [
                ("MAIL FROM:<a@x.org>", "250 ok\r\n"),
                ("RCPT TO:<b@y.org>", "250 2.1.5 ok\r\n"),
                ("RCPT TO:<c@y.org>", "550-5.1.1 no such\r\n550 5.1.1 user\r\n"),
                ("RCPT TO:<d@y.org>", "452 4.2.2 full\r\n"),
                ("RCPT TO:<e@y.org>", "251 will forward\r\n"),
                ("DATA", "354 go\r\n"),
            ];
            for (command, answer) in answers {
                peer.expect(&[command]).await;
                peer.say(answer).await;
            }
            let message = peer.message().await;
            peer.say("250 taken\r\n").await;
            (message, peer)
        })
        .await;
        let report = send(&mut connection, &["b", "c", "d", "e"], BODY).await;
        let expected =
            ["delivered 250 taken", "failed rcpt 550 5.1.1 no such\n5.1.1 user", "failed rcpt 452 4.2.2 full", "delivered 250 taken"];
        assert_eq!(tell(&report), expected, "with {extensions:?}");
        assert!(connection.usable());
        assert_eq!(fake.await.unwrap().0, BODY);
    }
}

#[tokio::test]
async fn without_pipelining_nothing_is_said_before_the_answer() {
    let (mut connection, fake) = session("", |mut peer| async move {
        peer.expect(&["MAIL FROM:<a@x.org>"]).await;
        peer.say("450 4.7.1 later\r\n").await;
        // No RCPT follows a refused MAIL: the next transaction begins at once.
        peer.expect(&["RSET"]).await;
        peer.say("250 ok\r\n").await;
        peer.expect(&["MAIL FROM:<a@x.org>"]).await;
        peer.say("250 ok\r\n").await;
        peer.expect(&["RCPT TO:<b@y.org>"]).await;
        peer.say("550 no\r\n").await;
        // No DATA follows if no recipient was accepted.
        peer.expect(&["RSET"]).await;
        peer.say("250 ok\r\n").await;
        peer.expect(&["MAIL FROM:<a@x.org>"]).await;
        peer.say("450 4.7.1 still later\r\n").await;
        peer.until_closed().await
    })
    .await;
    assert_eq!(tell(&send(&mut connection, &["b"], BODY).await), ["failed mail 450 4.7.1 later"]);
    assert_eq!(tell(&send(&mut connection, &["b"], BODY).await), ["failed rcpt 550 no"]);
    assert_eq!(tell(&send(&mut connection, &["b"], BODY).await), ["failed mail 450 4.7.1 still later"]);
    assert!(connection.usable());
    drop(connection);
    assert_eq!(fake.await.unwrap(), b"");
}

#[tokio::test]
async fn who_says_more_than_was_asked_is_hung_up_on() {
    let (mut connection, fake) = session("", |mut peer| async move {
        peer.expect(&["MAIL FROM:<a@x.org>"]).await;
        peer.say("250 ok\r\n250 and the recipient, too\r\n").await;
        peer.expect(&["RCPT TO:<b@y.org>"]).await;
        peer.until_closed().await
    })
    .await;
    assert_eq!(tell(&send(&mut connection, &["b"], BODY).await), ["failed rcpt not_smtp"]);
    assert!(!connection.usable());
    connection.quit().await;
    assert_eq!(fake.await.unwrap(), b"", "nothing more is said");
}

#[tokio::test]
async fn a_receiver_that_floods_replies_and_reads_nothing_is_left_at_once() {
    let small = |socket: TcpSocket| {
        socket.set_recv_buffer_size(4096).unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        socket
    };
    let listener = small(TcpSocket::new_v4().unwrap());
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(1).unwrap();
    let client = small(TcpSocket::new_v4().unwrap()).connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let fake = tokio::spawn(async move {
        let mut peer = Peer::Plain(BufStream::new(server));
        peer.greet("PIPELINING").await;
        let mut flooded = 0;
        while peer.may_say(&"250\n".repeat(1000)).await {
            flooded += 4000;
        }
        flooded
    });
    let mut connection = open(client, &hello()).await.expect("a session");
    let names: Vec<String> = (0..20_000).map(|n| format!("{}{n}", "u".repeat(50))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let sent = tokio::time::timeout(PATIENCE / 4, send(&mut connection, &names, BODY)).await;
    let report = sent.expect("a flood ends the dialogue, whatever is still to be written");
    assert!(tell(&report).iter().all(|told| !told.starts_with("delivered")), "nobody counts as delivered to");
    assert!(!connection.usable());
    drop(connection);
    assert!(fake.await.unwrap() < 2_000_000);
}

#[tokio::test]
async fn a_refused_mail_is_everyones_refusal_and_the_next_message_passes() {
    let (mut connection, fake) = session("PIPELINING", |mut peer| async move {
        peer.expect(&["MAIL FROM:<a@x.org>", "RCPT TO:<b@y.org>", "RCPT TO:<c@y.org>", "DATA"]).await;
        peer.say("550 5.7.1 bad sender\r\n503 need MAIL\r\n503 need MAIL\r\n503 need MAIL\r\n").await;
        peer.expect(&["RSET", "MAIL FROM:<a@x.org>", "RCPT TO:<d@y.org>", "DATA"]).await;
        peer.say("250 flushed\r\n250 ok\r\n250 ok\r\n354 go\r\n").await;
        let message = peer.message().await;
        peer.say("250 taken\r\n").await;
        // No RSET is needed after a delivered message.
        peer.expect(&["MAIL FROM:<a@x.org>", "RCPT TO:<e@y.org>", "DATA"]).await;
        peer.say("250 ok\r\n250 ok\r\n354 go\r\n").await;
        let second = peer.message().await;
        peer.say("250 taken, too\r\n").await;
        (message, second)
    })
    .await;
    assert_eq!(tell(&send(&mut connection, &["b", "c"], BODY).await), ["failed mail 550 5.7.1 bad sender"; 2]);
    assert!(connection.usable());
    assert_eq!(tell(&send(&mut connection, &["d"], BODY).await), ["delivered 250 taken"]);
    assert_eq!(tell(&send(&mut connection, &["e"], b"second\r\n").await), ["delivered 250 taken, too"]);
    assert_eq!(fake.await.unwrap(), (BODY.to_vec(), b"second\r\n".to_vec()));
}

#[tokio::test]
async fn a_354_for_nobody_gets_a_lone_dot() {
    for mail in ["250 ok", "553 no"] {
        let (mut connection, fake) = session("PIPELINING", move |mut peer| async move {
            peer.expect(&["MAIL FROM:<a@x.org>", "RCPT TO:<b@y.org>", "DATA"]).await;
            peer.say(&format!("{mail}\r\n550 5.1.1 no\r\n354 go on\r\n")).await;
            peer.expect(&["."]).await;
            peer.say("554 no valid recipients\r\n").await;
            peer.expect(&["RSET", "MAIL FROM:<a@x.org>", "RCPT TO:<b@y.org>", "DATA"]).await;
            peer.say("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n").await;
            let message = peer.message().await;
            peer.say("250 taken\r\n").await;
            message
        })
        .await;
        let refused = if mail.starts_with('2') { "failed rcpt 550 5.1.1 no" } else { "failed mail 553 no" };
        assert_eq!(tell(&send(&mut connection, &["b"], BODY).await), [refused]);
        assert_eq!(tell(&send(&mut connection, &["b"], BODY).await), ["delivered 250 taken"]);
        assert_eq!(fake.await.unwrap(), BODY);
    }
}

#[tokio::test]
async fn a_refused_data_is_the_answer_for_those_who_were_accepted() {
    for data in ["451 4.3.0 busy", "554 5.5.1 no"] {
        let (mut connection, _fake) = session("PIPELINING", move |mut peer| async move {
            peer.expect(&["MAIL FROM:<a@x.org>", "RCPT TO:<b@y.org>", "RCPT TO:<c@y.org>", "DATA"]).await;
            peer.say(&format!("250 ok\r\n250 ok\r\n550 no\r\n{data}\r\n")).await;
            peer
        })
        .await;
        assert_eq!(tell(&send(&mut connection, &["b", "c"], BODY).await), [format!("failed data {data}"), "failed rcpt 550 no".into()]);
        assert!(connection.usable());
    }
}

/// What a receiver does after it has sent its lines.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    HangsUp,
    WaitsForTheClientToHangUp,
    LeavesTheNextStepUnanswered,
}

/// The results of the recipients b and c if the receiver answers the group with `said` and then ends like this.
async fn ends(said: &'static str, then: Then, pipelining: bool) -> (Vec<String>, bool) {
    let mut hello = hello();
    if then == Then::LeavesTheNextStepUnanswered {
        match said.lines().count() {
            0 => hello.timeouts.mail = SOON,
            1 | 2 => hello.timeouts.rcpt = SOON,
            _ => hello.timeouts.data = SOON,
        }
    }
    let extensions = if pipelining { "PIPELINING" } else { "" };
    let (mut connection, fake) = session_with(&hello, extensions, move |mut peer: Peer| async move {
        let mut answers = said.split_inclusive('\n');
        for command in ["MAIL", "RCPT", "RCPT", "DATA"] {
            assert!(peer.line().await.starts_with(command));
            match answers.next() {
                Some(answer) => peer.say(answer).await,
                None => break,
            }
            if said.ends_with("421 bye\r\n") && answers.clone().next().is_none() {
                break;
            }
        }
        if then != Then::HangsUp {
            peer.until_closed().await;
        }
    })
    .await;
    let told = tell(&send(&mut connection, &["b", "c"], BODY).await);
    let usable = connection.usable();
    drop(connection);
    fake.await.unwrap();
    (told, usable)
}

#[tokio::test]
async fn a_421_ends_the_session_at_each_step() {
    for pipelining in [true, false] {
        let cases: [(&str, [&str; 2]); 4] = [
            ("421 bye\r\n", ["failed mail 421 bye"; 2]),
            ("250 ok\r\n421 bye\r\n", ["failed rcpt 421 bye", "not_offered rcpt 421 bye"]),
            ("250 ok\r\n250 ok\r\n421 bye\r\n", ["failed rcpt 421 bye"; 2]),
            ("250 ok\r\n250 ok\r\n250 ok\r\n421 bye\r\n", ["failed data 421 bye"; 2]),
        ];
        for (said, expected) in cases {
            let (told, usable) = ends(said, Then::WaitsForTheClientToHangUp, pipelining).await;
            assert_eq!((told, usable), (expected.map(str::to_owned).to_vec(), false), "{said:?}");
        }
    }
}

#[tokio::test]
async fn a_lost_connection_offers_the_unanswered_again() {
    for pipelining in [true, false] {
        let cases: [(&str, [&str; 2]); 4] = [
            ("", ["not_offered mail connection_lost"; 2]),
            ("250 ok\r\n", ["not_offered rcpt connection_lost"; 2]),
            ("250 ok\r\n250 ok\r\n", ["failed rcpt connection_lost", "not_offered rcpt connection_lost"]),
            ("250 ok\r\n550 no\r\n250 ok\r\n", ["failed rcpt 550 no", "failed data connection_lost"]),
        ];
        for (said, expected) in cases {
            let (told, usable) = ends(said, Then::HangsUp, pipelining).await;
            assert_eq!((told, usable), (expected.map(str::to_owned).to_vec(), false), "{said:?} {pipelining}");
        }
    }
}

#[tokio::test]
async fn silence_is_a_time_out_of_its_step() {
    for pipelining in [true, false] {
        let cases: [(&str, [&str; 2]); 4] = [
            ("", ["failed mail timeout"; 2]),
            ("250 ok\r\n", ["failed rcpt timeout", "not_offered rcpt timeout"]),
            ("250 ok\r\n250 ok\r\n", ["failed rcpt timeout"; 2]),
            ("250 ok\r\n250 ok\r\n250 ok\r\n", ["failed data timeout"; 2]),
        ];
        for (said, expected) in cases {
            let (told, usable) = ends(said, Then::LeavesTheNextStepUnanswered, pipelining).await;
            assert_eq!((told, usable), (expected.map(str::to_owned).to_vec(), false), "{said:?}");
        }
    }
}

#[tokio::test]
async fn nonsense_is_not_taken_for_a_yes() {
    let cases: [(&str, [&str; 2]); 4] = [
        ("354 what\r\n", ["failed mail not_smtp"; 2]),
        ("250 ok\r\nhello?\r\n", ["failed rcpt not_smtp", "not_offered rcpt not_smtp"]),
        ("250 ok\r\n250 ok\r\n333 ?\r\n", ["failed rcpt not_smtp"; 2]),
        // A receiver that is one reply behind must not take the body for commands.
        ("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n", ["failed data not_smtp"; 2]),
    ];
    for (said, expected) in cases {
        let (told, usable) = ends(said, Then::WaitsForTheClientToHangUp, true).await;
        assert_eq!((told, usable), (expected.map(str::to_owned).to_vec(), false), "{said:?}");
    }
}

#[tokio::test]
async fn a_refused_rset_ends_the_session_and_asks_for_nobody() {
    let (mut connection, _fake) = session("PIPELINING", |mut peer| async move {
        peer.expect(&["MAIL FROM:<a@x.org>", "RCPT TO:<b@y.org>", "DATA"]).await;
        peer.say("250 ok\r\n550 no\r\n503 no\r\n").await;
        peer.expect(&["RSET"]).await;
        peer.say("421 4.4.2 too many errors\r\n").await;
        peer.until_closed().await
    })
    .await;
    assert_eq!(tell(&send(&mut connection, &["b"], BODY).await), ["failed rcpt 550 no"]);
    assert_eq!(tell(&send(&mut connection, &["c"], BODY).await), ["not_offered rset 421 4.4.2 too many errors"]);
    assert!(!connection.usable());
    assert_eq!(tell(&send(&mut connection, &["c"], BODY).await), ["not_offered mail connection_lost"]);
}

#[tokio::test]
async fn a_message_over_the_announced_size_is_not_offered() {
    let (mut connection, fake) = session("PIPELINING SIZE=17", |mut peer| async move { peer.until_closed().await }).await;
    let told = tell(&send(&mut connection, &["b"], BODY).await);
    assert!(told[0].starts_with("failed mail 552 5.3.4 message size 18 exceeds the receiver's limit of 17"), "{told:?}");
    assert!(connection.usable());
    drop(connection);
    assert_eq!(fake.await.unwrap(), b"");
}

#[tokio::test]
async fn the_null_sender_and_eight_bits_are_declared() {
    let (mut connection, fake) = session("PIPELINING 8BITMIME", |mut peer| async move {
        peer.expect(&["MAIL FROM:<> BODY=8BITMIME", "RCPT TO:<b@y.org>", "DATA"]).await;
        peer.say("250 ok\r\n250 ok\r\n354 go\r\n").await;
        let message = peer.message().await;
        peer.say("250 taken\r\n").await;
        message
    })
    .await;
    let (parts, recipient) = ([Bytes::from_static("é\r\n".as_bytes())], Address::new("b@y.org").unwrap());
    let message = Transaction {
        reverse_path: &ReversePath::Null,
        recipients: &[&recipient],
        body_kind: BodyKind::EightBitMime,
        has_8bit: true,
        needs: Needs::default(),
        parameters: &EsmtpParameters::default(),
        size: 4,
        body: &parts,
    };
    assert_eq!(tell(&connection.transact(message).await), ["delivered 250 taken"]);
    assert_eq!(fake.await.unwrap(), "é\r\n".as_bytes());
}

#[tokio::test]
async fn the_envelope_id_is_given_to_those_who_can_give_it_back() {
    let (mut connection, fake) = session("DSN PIPELINING", |mut peer| async move {
        peer.expect(&["MAIL FROM:<a@x.org> ENVID=01K3ENVELOPE", "RCPT TO:<b@y.org>", "DATA"]).await;
        peer.say("250 ok\r\n250 ok\r\n354 go\r\n").await;
        peer.message().await;
        peer.say("250 taken\r\n").await;
    })
    .await;
    assert_eq!(tell(&send(&mut connection, &["b"], BODY).await), ["delivered 250 taken"]);
    fake.await.unwrap();
}

#[tokio::test]
async fn a_thousand_recipients_cannot_block_both_sides() {
    const USERS: usize = 3000;
    let (mut connection, fake) = session("PIPELINING", |mut peer| async move {
        peer.line().await;
        peer.say("250 ok\r\n").await;
        let text = "x".repeat(2000);
        for _ in 0..USERS {
            peer.line().await;
            // The replies are larger than the commands: a side that does not read blocks the other.
            peer.say(&format!("250-{text}\r\n250 ok\r\n")).await;
        }
        peer.expect(&["DATA"]).await;
        peer.say("354 go\r\n").await;
        let message = peer.message().await;
        peer.say("250 taken\r\n").await;
        message
    })
    .await;
    let users: Vec<_> = (0..USERS).map(|n| format!("u{n}")).collect();
    let report = send(&mut connection, &users.iter().map(String::as_str).collect::<Vec<_>>(), BODY).await;
    assert_eq!(tell(&report), vec!["delivered 250 taken"; USERS]);
    assert_eq!(fake.await.unwrap(), BODY);
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_noticed() {
    for (said, stage_and_word) in [("421 4.4.2 idle\r\n", "421"), ("", "connection_lost"), ("250 what for\r\n", "not_smtp")] {
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let (mut connection, fake) = session("", move |mut peer| async move {
            wait.await.unwrap();
            peer.say(said).await;
        })
        .await;
        assert!(connection.gone().is_none() && connection.usable());
        go.send(()).unwrap();
        fake.await.unwrap();
        let failure = loop {
            match connection.gone() {
                Some(failure) => break failure,
                None => tokio::task::yield_now().await,
            }
        };
        assert!(failure.to_string().starts_with(stage_and_word), "{failure}");
        assert!(failure.stage() == Stage::Rset && !connection.usable());
        assert_eq!(tell(&send(&mut connection, &["b"], BODY).await), ["not_offered mail connection_lost"]);
    }
}

#[tokio::test]
async fn a_421_between_two_messages_is_no_answer_to_the_second() {
    let (mut connection, _fake) = session("PIPELINING", |mut peer| async move {
        peer.expect(&["MAIL FROM:<a@x.org>", "RCPT TO:<b@y.org>", "DATA"]).await;
        peer.say("250 ok\r\n250 ok\r\n354 go\r\n").await;
        peer.message().await;
        peer.say("250 taken\r\n421 4.4.2 enough for one session\r\n").await;
        assert_eq!(peer.until_closed().await, b"");
    })
    .await;
    assert_eq!(tell(&send(&mut connection, &["b"], BODY).await), ["delivered 250 taken"]);
    assert!(!connection.usable());
    assert_eq!(tell(&send(&mut connection, &["c"], BODY).await), ["not_offered mail 421 4.4.2 enough for one session"]);
}

#[tokio::test]
async fn a_421_before_the_first_message_is_its_answer() {
    let (socket, _fake) = receiver(|mut peer| async move {
        peer.say("220 hi\r\n").await;
        peer.expect(&["EHLO relay.test"]).await;
        peer.say("250 hi\r\n421 4.7.0 too many connections\r\n").await;
        peer.until_closed().await
    })
    .await;
    let mut connection = open(socket, &hello()).await.unwrap();
    assert_eq!(tell(&send(&mut connection, &["b"], BODY).await), ["failed mail 421 4.7.0 too many connections"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_move_between_threads() {
    let (mut connection, _fake) = session("", |mut peer| async move {
        peer.expect(&["MAIL FROM:<a@x.org>"]).await;
        peer.say("550 no\r\n").await;
    })
    .await;
    let report = tokio::spawn(async move { send(&mut connection, &["b"], BODY).await }).await.unwrap();
    assert_eq!(tell(&report), ["failed mail 550 no"]);
}
