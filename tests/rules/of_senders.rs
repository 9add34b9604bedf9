//! Streams, their lists, and what comes back.

use support::{
    Act, Client, Mail, Step, Transaction,
    history::{History, Past},
    relay::free_port,
    scene::{Scene, ago, letter, now},
};

const FBL: &str = "fbl@reports.test";
const LETTERS: Past<'static> = Past { stream: "letters", domain: "example.test", tls: false };

/// The configuration that takes returned mail at this port.
fn returns(port: u16) -> String {
    format!(
        "returns.domain = \"bounce.relay.test\"\nreturns.addresses = [\"{FBL}\"]\n\
         listen.back.address = \"127.0.0.1:{port}\"\nlisten.back.role = \"returns\"\n"
    )
}

/// A complaint in the format of RFC 5965 about this mail, or about one that nobody sent.
fn complains(port: u16, about: &[u8]) {
    let report = format!(
        "From: <feedback@isp.test>\r\nTo: <{FBL}>\r\nSubject: FW: Offer\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nThis is an abuse report.\r\n\
         --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: Isp/1.0\r\nVersion: 1\r\n\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\n{}\r\n--b--\r\n",
        String::from_utf8_lossy(about)
    );
    let mail = Mail::raw("", &[FBL], report.as_bytes());
    let answer = Client::hello(port).and_then(|mut client| client.submit(&mail)).expect("an answer");
    assert_eq!(answer.code, 250, "{answer:?}");
}

#[test]
fn complaints_beyond_their_interval_are_an_incident() {
    let port = free_port();
    let mut scene = Scene::start(|relay| {
        let (mut history, then) = (History::begin(relay), ago(now(relay.dir()), 90));
        history.delivered(then, 1000, Past::default()).delivered(then, 1000, LETTERS).end();
        returns(port)
    });
    for (stream, readers) in [("letters", ["a", "b"].as_slice()), ("default", &["c", "d", "e"])] {
        for reader in readers {
            let before = scene.mx.messages().len();
            let mail = letter(stream, "sender.test", &[format!("{reader}@example.test")]);
            scene.relay.send(&Mail { from: "app@sender.test".into(), ..mail });
            let got: Transaction = scene.mx.wait_for(before + 1).pop().unwrap();
            complains(port, &got.data);
        }
    }
    scene.relay.log().wait_for_many("complained", "", 5);
    let cause = ["Recipients of stream default complain", "3 of 1003", "were reported as spam"];
    scene.lives(("complaints", "stream:default"), &cause, "posthaste queue hold --stream default", 26 * 60, |scene| {
        assert!(scene.told("complaints", "stream:letters").is_empty(), "two of a thousand may be chance");
    });
}

#[test]
fn reports_that_match_no_message_are_an_incident() {
    let port = free_port();
    let mut scene = Scene::start(|_| returns(port));
    let stranger = |n: usize| format!("From: <other@isp.test>\r\nMessage-ID: <{n}@isp.test>\r\nSubject: Offer\r\n\r\nHello.\r\n");
    (0..4).for_each(|n| complains(port, stranger(n).as_bytes()));
    scene.relay.log().wait_for_many("unmatched", "", 4);
    scene.silent("reports_unmatched", "relay:returns");
    complains(port, stranger(4).as_bytes());
    let cause = ["5 of 5 (100 %)"];
    scene.lives(("reports_unmatched", "relay:returns"), &cause, "posthaste", 26 * 60, |_| ());
}

#[test]
fn a_list_with_too_many_unknown_users_is_an_incident() {
    let mut scene = Scene::start(|_| "rules.unknown_replies.enabled = false\n".into());
    scene.mx.script(|_, step| match step {
        Step::Rcpt(rcpt) if rcpt.starts_with("odd") => Act::Say("550 5.1.1 no such user here".into()),
        _ => Act::Usual,
    });
    scene.send("letters", "cousin.test", 100, 1);
    scene.send("default", "example.test", 100, 2);
    let cause = ["The list of stream default is bad", "2 of 100 (2 %) recipients that were finished in 1d do not exist"];
    scene.lives(("unknown_users", "stream:default"), &cause, "posthaste log --stream default --event bounced", 26 * 60, |scene| {
        assert!(scene.told("unknown_users", "stream:letters").is_empty(), "one of a hundred");
    });
}

#[test]
fn a_sender_that_leaps_is_an_incident() {
    let mut scene = Scene::start(|relay| {
        let (mut history, now) = (History::begin(relay), now(relay.dir()));
        // On each of 13 days an hour with so many: 500 are five times as much as 100, and not as 104.
        for day in 1..=13 {
            let then = ago(now, 24 * 60 * day);
            history.delivered(then, 100, Past::default()).delivered(then, 104, LETTERS);
        }
        history.end();
        String::new()
    });
    scene.send("letters", "cousin.test", 510, 0);
    scene.send("default", "example.test", 510, 0);
    let cause = ["Stream default sends far more than ever: 510 recipients in 60 minutes", "its busiest hours of 14 days have 100"];
    scene.lives(("sender_leaps", "stream:default"), &cause, "posthaste queue hold --stream default", 95, |scene| {
        assert!(scene.told("sender_leaps", "stream:letters").is_empty(), "104 * 5 are 520");
    });
}

#[test]
fn a_sender_that_guesses_addresses_is_an_incident() {
    let mut scene = Scene::start(|_| "rules.unknown_users.enabled = false\n".into());
    scene.mx.script(|_, step| match step {
        Step::Rcpt(rcpt) if rcpt.starts_with("odd") => Act::Say("550 5.1.1 no such user here".into()),
        _ => Act::Usual,
    });
    scene.send("letters", "cousin.test", 24, 24);
    scene.send("default", "example.test", 25, 25);
    let cause = ["Stream default writes to addresses that do not exist: 25 of them in 60 minutes"];
    scene.lives(("sender_leaps", "stream:default"), &cause, "posthaste queue hold --stream default", 95, |scene| {
        assert!(scene.told("sender_leaps", "stream:letters").is_empty(), "24 of them");
    });
}

#[test]
fn a_stream_that_falls_silent_is_an_incident() {
    let mut scene = Scene::start(|relay| {
        let (mut history, now) = (History::begin(relay), now(relay.dir()));
        // This hour and the one before, so that it does not matter if an hour ends just now.
        for day in 1..=7 {
            let then = ago(now, 24 * 60 * day);
            history.delivered(then, 1, Past::default()).delivered(ago(then, 60), 1, Past::default());
            if day < 7 {
                history.delivered(then, 1, LETTERS).delivered(ago(then, 60), 1, LETTERS);
            }
        }
        history.end();
        String::new()
    });
    let cause = ["Nobody submits mail to stream default", "on each of the last 7 days some did"];
    scene.lives(("silence", "stream:default"), &cause, "posthaste log --event rejected", 31, |scene| {
        assert!(scene.told("silence", "stream:letters").is_empty(), "a week ago it had none");
        scene.send("default", "example.test", 1, 0);
    });
}
