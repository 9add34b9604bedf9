//! Returned mail: bounces and complaints are matched to their message, recorded once, and stop further mail.

use std::{sync::Mutex, thread};

use serde_json::Value;
use support::{Act, Client, Mail, Relay, Step, Transaction, World, relay::free_port, wait};

const APP: &str = "app@sender.test";
const GONE: &str = "gone@example.test";
const ANGRY: &str = "angry@example.test";
const FBL: &str = "fbl@reports.test";

/// A relay with a bounce domain, and the port for returned mail.
struct Place {
    world: World,
    port: u16,
}

impl Place {
    fn start(extra: &str) -> Self {
        let port = free_port();
        let config = format!(
            "returns.domain = \"bounce.relay.test\"\nreturns.addresses = [\"{FBL}\"]\n\
             listen.back.address = \"127.0.0.1:{port}\"\nlisten.back.role = \"returns\"\n{extra}"
        );
        let world = World::start(&config);
        world.dns.mx("sender.test", 10, "mx1.example.test");
        world.mx.extensions(&["PIPELINING", "8BITMIME", "SIZE 104857600", "ENHANCEDSTATUSCODES", "DSN"]);
        Self { world, port }
    }

    fn relay(&self) -> &Relay {
        &self.world.relay
    }

    /// Sends one message; returns what the receiver got for each recipient, in order.
    fn sent(&self, to: &[&str]) -> Vec<Transaction> {
        let before = self.world.mx.messages().len();
        self.relay().send(&Mail::new(APP, to, "Offer"));
        let got = self.world.mx.wait_for(before + to.len()).split_off(before);
        let of =
            |rcpt: &&str| got.iter().find(|t| t.rcpts == [*rcpt]).unwrap_or_else(|| panic!("nothing for {rcpt} alone: {got:?}")).clone();
        to.iter().map(of).collect()
    }

    /// Submits returned mail; returns the reply's code and first line.
    fn comes_back(&self, to: &str, mail: &str) -> (u16, String) {
        let answer = Client::hello(self.port).and_then(|mut c| c.submit(&Mail::raw("", &[to], mail.as_bytes()))).expect("an answer");
        (answer.code, answer.text())
    }

    #[track_caller]
    fn taken(&self, to: &str, mail: &str) {
        let answer = self.comes_back(to, mail);
        assert_eq!(answer.0, 250, "{answer:?}");
    }

    /// Every event about returned mail.
    fn returns(&self) -> Vec<Value> {
        let what = |e: &Value| ["late_bounced", "complained", "unsubscribed"].contains(&e["event"].as_str().unwrap_or_default());
        self.relay().log().events().into_iter().filter(what).collect()
    }
}

/// A report in the format of RFC 3464.
fn dsn(rcpt: &str, action: &str, status: &str, diagnostic: &str) -> String {
    format!(
        "From: Mail Delivery System <MAILER-DAEMON@mx1.example.test>\r\nTo: <sender@bounce.relay.test>\r\n\
         Subject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nYour message could not be delivered.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx1.example.test\r\n\r\n\
         Final-Recipient: rfc822; {rcpt}\r\nAction: {action}\r\nStatus: {status}\r\nRemote-MTA: dns; store.example.test\r\n\
         Diagnostic-Code: smtp; {diagnostic}\r\n\r\n--b--\r\n"
    )
}

fn no_such_user(rcpt: &str) -> String {
    dsn(rcpt, "failed", "5.1.1", &format!("550 5.1.1 <{rcpt}>: Recipient address rejected: User unknown in virtual mailbox table"))
}

/// A complaint in the format of RFC 5965, from a feedback loop that omits who complained and returns the mail as received.
fn complaint(about: &Transaction) -> String {
    format!(
        "From: <feedback@isp.test>\r\nTo: <{FBL}>\r\nSubject: FW: Offer\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nThis is an abuse report.\r\n\
         --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: Isp/1.0\r\nVersion: 1\r\n\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\n{}\r\n--b--\r\n",
        String::from_utf8_lossy(&about.data)
    )
}

/// The code in the header of what a receiver got.
fn field(got: &Transaction) -> String {
    let text = String::from_utf8_lossy(&got.data).into_owned();
    text.strip_prefix("X-Posthaste-Return: <").and_then(|rest| rest.split('@').next()).expect("the field comes first").to_owned()
}

#[test]
fn who_only_reads_a_message_stops_none_to_its_recipient() {
    let place = Place::start("");
    let passed_on = place.sent(&[GONE]).remove(0);
    let id = place.relay().log().wait_for("delivered", GONE)["message"].as_str().unwrap().to_owned();
    // As an address the header's code is a forgery.
    for address in ["b+", ""].map(|prefix| format!("{prefix}{}@bounce.relay.test", field(&passed_on))) {
        let (answer, text) = place.comes_back(&address, &no_such_user(GONE));
        assert!(answer == 550 && text.starts_with("5.1.1"), "{answer} {text}");
    }
    // In what is returned, it is a hint, and a bounce that does not come to its reverse-path has no other effect than its line.
    let returned = format!("\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\n{}\r\n--b--\r\n", String::from_utf8_lossy(&passed_on.data));
    let bounce = no_such_user(GONE).replace("\r\n--b--\r\n", &returned);
    place.taken("postmaster@bounce.relay.test", &bounce);
    assert_eq!(place.relay().log().wait_for("late_bounced", GONE)["matched_by"], "content");
    place.taken("postmaster@bounce.relay.test", &complaint(&passed_on));
    assert_eq!(place.relay().log().wait_for("complained", GONE)["matched_by"], "content");
    place.taken(FBL, &bounce);
    assert!(!place.relay().cli(["suppress", "list", GONE]).status.success(), "{id}");
    assert_eq!(place.relay().log().of("delivered", APP).len(), 0, "nobody is told of a bounce that is made up");
    // What a feedback loop reports to its own address stops this stream's mail for a while.
    place.taken(FBL, &complaint(&passed_on));
    let listed = place.relay().ok(["suppress", "list", "--json", GONE]);
    assert!(listed.contains("stream:default") && listed.contains("until"), "{listed}");
}

#[test]
fn what_comes_back_is_part_of_one_story_and_told_once() {
    let mut place = Place::start("");
    let [gone, angry, far]: [Transaction; 3] = place.sent(&[GONE, ANGRY, "weg@example.test"]).try_into().unwrap();
    place.relay().log().wait_for_many("delivered", "", 3);
    let id = place.relay().log().wait_for("delivered", GONE)["message"].as_str().unwrap().to_owned();
    assert!(gone.from.starts_with("b+") && gone.from.ends_with("@bounce.relay.test") && gone.from != angry.from, "{}", gone.from);
    assert!(gone.parameters.contains(&format!("ENVID={id}")), "{}", gone.parameters);
    let code = field(&gone);
    assert!(code.len() == 56 && !gone.from.contains(&code), "{code}");

    let fremd = "From: MAILER-DAEMON@mail.fern.test\r\nTo: <x@bounce.relay.test>\r\nSubject: Unzustellbar: Offer\r\n\
                 Content-Type: text/plain; charset=utf-8\r\n\r\nIhre Nachricht konnte nicht zugestellt werden.\r\n\r\n\
                 <weg@example.test>:\r\nEmpfänger unbekannt. Dieses Postfach existiert nicht.\r\n";
    for _ in 0..2 {
        place.taken(&gone.from, &no_such_user(GONE));
        // Some systems change the case of local parts.
        place.taken(&gone.from.to_uppercase(), &no_such_user(GONE));
        place.taken(FBL, &complaint(&angry));
        place.taken(&far.from, fremd);
    }
    assert_eq!(place.relay().log().history(GONE), ["accepted", "delivered", "late_bounced"]);
    assert_eq!(place.relay().log().history(ANGRY), ["accepted", "delivered", "complained"]);
    assert_eq!(place.relay().log().history("weg@example.test"), ["accepted", "delivered", "late_bounced"]);

    let late = &place.relay().log().of("late_bounced", GONE)[0];
    for (field, value) in [
        ("message", id.as_str()),
        ("matched_by", "verp"),
        ("class", "invalid_recipient"),
        ("action", "suppress"),
        ("source", "default"),
        ("reporting_mta", "mx1.example.test"),
        ("from", APP),
    ] {
        assert_eq!(late[field], value, "{late}");
    }
    assert_eq!(late["provider"], place.relay().log().of("delivered", GONE)[0]["provider"]);
    assert_eq!(place.relay().log().of("late_bounced", "weg@example.test")[0]["class"], "invalid_recipient");

    // The application is notified at the reverse-path that it gave.
    let notices: Vec<_> = (0..2).map(|_| APP).collect();
    assert_eq!(place.relay().log().wait_for_many("delivered", APP, notices.len()).len(), 2);
    let told = place.world.mx.messages().into_iter().filter(|t| t.rcpts == [APP]).map(|t| String::from_utf8(t.data).unwrap());
    let told: Vec<_> = told.filter(|t| t.contains(GONE) && t.contains("Status: 5.1.1")).collect();
    assert_eq!(told.len(), 1, "{told:?}");

    assert!(place.relay().ok(["suppress", "list", GONE]).contains("hard_bounce"));
    assert!(place.relay().ok(["suppress", "list", ANGRY]).contains("complaint"));
    place.relay().send(&Mail::new(APP, &[GONE, ANGRY], "Another"));
    let reason = |rcpt| place.relay().log().wait_for("suppressed", rcpt)["reason"].clone();
    assert_eq!((reason(GONE), reason(ANGRY)), ("hard_bounce".into(), "complaint".into()));

    let trace = place.relay().ok(["trace", &id]);
    for part in [
        "late_bounced",
        "invalid_recipient → suppress",
        "User unknown",
        "complained",
        "feedback: abuse",
        "matched by verp",
        "matched by feedback",
        "= delivered after",
    ] {
        assert!(trace.contains(part), "{part}:\n{trace}");
    }
    place.world.relay.stop();
    let sums = place.relay().log().wait_for_relay("returned")["detail"].as_str().unwrap().to_owned();
    assert_eq!(sums, "mails 8, complained 1, late_bounced 2, repeated 5");
}

#[test]
fn a_receiver_that_refuses_at_once_is_one_ending_and_a_notice_to_the_application() {
    let place = Place::start("");
    place.world.mx.script(|_, step| match step {
        Step::Rcpt(rcpt) if rcpt == GONE => {
            Act::Say("550 5.1.1 <gone@example.test>: Recipient address rejected: User unknown in virtual mailbox table".into())
        }
        _ => Act::Usual,
    });
    place.relay().send(&Mail::new(APP, &[GONE], "Offer"));
    place.relay().log().wait_for("delivered", APP);
    assert_eq!(place.relay().log().history(GONE), ["accepted", "bounced"]);
    let said: Vec<_> = place.world.mx.commands().into_iter().filter(|c| c.starts_with("MAIL")).collect();
    assert!(said[0].starts_with("MAIL FROM:<b+") && said[1].starts_with("MAIL FROM:<> "), "{said:?}");
    wait::until("the address to be listed", || place.relay().cli(["suppress", "list", GONE]).status.success().then_some(()));
    assert!(place.returns().is_empty());
}

#[test]
fn what_is_forged_or_for_somebody_else_is_refused_at_the_door() {
    let place = Place::start("");
    let path = place.sent(&[GONE]).remove(0).from;
    let at = path.find('+').unwrap() + 3;
    let other = if path.as_bytes()[at] == b'a' { "b" } else { "a" };
    let forged = format!("{}{other}{}", &path[..at], &path[at + 1..]);
    let refused = [
        (forged.as_str(), "forged_return", "5.1.1"),
        ("somebody@bounce.relay.test", "unknown_return", "5.1.1"),
        ("somebody@example.test", "relaying_denied", "5.7.1"),
    ];
    for (to, reason, code) in refused {
        let (answer, text) = place.comes_back(to, &no_such_user(GONE));
        assert!(answer == 550 && text.starts_with(code), "{answer} {text}");
        let event = place.relay().log().wait_for("rejected", to);
        assert_eq!((&event["reason"], &event["from"]), (&reason.into(), &"".into()));
    }
    assert!(place.returns().is_empty());
}

#[test]
fn what_is_no_failure_or_matches_nothing_changes_nothing() {
    let mut place = Place::start("");
    let path = place.sent(&[GONE]).remove(0).from;
    place.relay().log().wait_for("delivered", GONE);
    place.taken(&path, &dsn(GONE, "delayed", "4.4.1", "451 4.4.1 connection timed out"));
    place.taken(&path, &dsn(GONE, "delivered", "2.0.0", "250 2.0.0 ok"));
    place.taken(
        &path,
        "From: <gone@example.test>\r\nSubject: Out of office: Offer\r\nAuto-Submitted: auto-replied\r\n\r\nBack on Monday.\r\n",
    );
    place.taken("postmaster@bounce.relay.test", &no_such_user(GONE));
    assert!(place.returns().is_empty());
    assert_eq!(place.relay().log().history(GONE), ["accepted", "delivered", "delayed", "no_report", "auto_reply"]);
    assert_eq!(place.relay().log().of("no_report", GONE)[0]["kind"], "delivery_report");
    let unmatched = place.relay().log().wait_for("unmatched", "postmaster@bounce.relay.test");
    assert_eq!((&unmatched["kind"], &unmatched["reason"]), (&"bounce".into(), &"no_hint".into()));
    assert!(!place.relay().cli(["suppress", "list", GONE]).status.success());
    place.world.relay.stop();
    let sums = place.relay().log().wait_for_relay("returned")["detail"].as_str().unwrap().to_owned();
    assert_eq!(sums, "mails 4, auto_reply 1, delayed 1, no_hint 1, no_report 1");
}

const QUESTION: &str = "From: Bob <bob@example.test>\r\nSubject: your server\r\n\r\nIt is broken.\r\n";

#[test]
fn mail_of_people_is_refused_with_a_reason_where_nobody_reads_it() {
    let place = Place::start("");
    let path = place.sent(&[GONE]).remove(0).from;
    place.relay().log().wait_for("delivered", GONE);
    for to in [path.as_str(), "postmaster@bounce.relay.test", "Postmaster", FBL] {
        let (answer, text) = place.comes_back(to, QUESTION);
        assert!(answer == 550 && text.starts_with("5.1.1 nobody reads mail here"), "{to}: {answer} {text}");
    }
    let refused = place.relay().log().wait_for_many("rejected", "", 4);
    assert!(refused.iter().all(|event| event["reason"] == "no_report"), "{refused:?}");
    // Whose reverse-path it was is in that message's story.
    assert_eq!(place.relay().log().history(GONE), ["accepted", "delivered", "no_report"]);
    assert_eq!(place.relay().log().of("no_report", GONE)[0]["kind"], "mail");
}

#[test]
fn mail_of_people_goes_on_to_the_postmaster_and_in_no_circle() {
    let place = Place::start("postmaster = \"admin@example.test\"\nreturns.forwards_per_hour = 3\n");
    let path = place.sent(&[GONE]).remove(0).from;
    place.relay().log().wait_for("delivered", GONE);
    for to in [path.as_str(), "postmaster"] {
        place.taken(to, QUESTION);
    }
    place.relay().log().wait_for_many("delivered", "admin@example.test", 2);
    let passed: Vec<_> = place.world.mx.messages().into_iter().filter(|got| got.rcpts == ["admin@example.test"]).collect();
    let texts: Vec<_> = passed.iter().map(|got| String::from_utf8_lossy(&got.data).into_owned()).collect();
    assert!(passed.iter().all(|got| got.from.is_empty()) && texts.iter().all(|text| text.contains("It is broken.")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("to <gone@example.test>") && text.contains("From: Mail relay")), "{texts:?}");
    let (answer, text) = place.comes_back("postmaster@bounce.relay.test", &texts[0]);
    assert!(answer == 554 && text.contains("circles"), "{answer} {text}");
    place.taken("postmaster@bounce.relay.test", QUESTION);
    let (answer, text) = place.comes_back("postmaster@bounce.relay.test", QUESTION);
    assert!(answer == 451, "{answer} {text}");
}

#[test]
fn the_postmaster_needs_no_domain() {
    let place = Place::start("postmaster = \"admin@example.test\"");
    place.relay().send(&Mail::new(APP, &["Postmaster"], "Help"));
    place.relay().log().wait_for("delivered", "admin@example.test");
}

#[test]
fn addresses_that_exist_are_reached() {
    let world = World::start("");
    let long = format!("reply+{}@example.test", "A7".repeat(40));
    let rewritten = "SRS0=HHHH=TT=mail.customer.example=bounce+0123456789abcdef0123456789abcdef=user=gmail.com@sender.test";
    let all = [long.as_str(), "ab..cd@example.test", "abc.@example.test", ".abc@example.test"];
    world.relay.send(&Mail::new(rewritten, &all, "x"));
    for rcpt in all {
        world.relay.log().wait_for("delivered", rcpt);
    }
    assert!(world.mx.messages().iter().all(|got| got.from == rewritten));
}

#[test]
fn a_match_by_envelope_id_is_written_down_and_suppresses_only_where_the_operator_says_so() {
    for (trust, listed) in [("verp", false), ("hints", true)] {
        let place = Place::start(&format!("returns.trust = \"{trust}\""));
        let sent = place.sent(&[GONE]).remove(0);
        place.relay().log().wait_for("delivered", GONE);
        let envid = sent.parameters.split("ENVID=").nth(1).unwrap().split(' ').next().unwrap();
        let hint = format!("Reporting-MTA: dns; mx1.example.test\r\nOriginal-Envelope-Id: {envid}\r\n");
        place.taken(FBL, &no_such_user(GONE).replace("Reporting-MTA: dns; mx1.example.test\r\n", &hint));
        assert_eq!(place.relay().log().of("late_bounced", GONE)[0]["matched_by"], "envid");
        assert_eq!(place.relay().cli(["suppress", "list", GONE]).status.success(), listed, "{trust}");
    }
}

#[test]
fn a_stream_may_keep_the_applications_reverse_path() {
    let place = Place::start("stream.people.bounce_domain = \"none\"\nstream.news.bounce_domain = \"news.relay.test\"\n");
    let from = |stream: &str| {
        let before = place.world.mx.messages().len();
        let text = format!("X-Posthaste-Stream: {stream}\r\nX-Posthaste-Return: <b+old@bounce.relay.test>\r\nSubject: x\r\n\r\nHello.\r\n");
        place.relay().send(&Mail::raw(APP, &[GONE], text.as_bytes()));
        let got = place.world.mx.wait_for(before + 1).remove(before);
        assert!(!String::from_utf8_lossy(&got.data).contains("b+old"));
        got.from
    };
    assert_eq!(from("people"), APP);
    assert!(from("news").ends_with("@news.relay.test"));
    assert!(from("default").ends_with("@bounce.relay.test"));
}

#[test]
fn a_listener_may_refuse_who_is_on_the_suppression_list() {
    let world = World::start("listen.default.refuse_suppressed = true");
    world.relay.ok(["suppress", "add", GONE]);
    let answer = world.relay.submit(&Mail::new(APP, &[GONE], "one"));
    assert!(answer.code == 550 && answer.text().contains("manual"), "{answer:?}");
    let event = world.relay.log().wait_for("rejected", GONE);
    assert_eq!((&event["reason"], &event["command"], &event["from"]), (&"suppressed".into(), &"rcpt".into(), &APP.into()));
    world.relay.send(&Mail::new(APP, &[ANGRY], "two"));
}

#[test]
fn reports_amid_kills_are_told_once_and_none_is_lost() {
    const RCPTS: usize = 60;
    const KILLS: usize = 3;
    let mut place = Place::start("");
    let rcpts: Vec<String> = (0..RCPTS).map(|n| format!("r{n}@example.test")).collect();
    let to: Vec<&str> = rcpts.iter().map(String::as_str).collect();
    let sent = place.sent(&to);
    place.relay().log().wait_for_many("delivered", "", RCPTS);
    let todo = Mutex::new((0..RCPTS).collect::<Vec<_>>());
    for round in 0..=KILLS {
        let port = place.port;
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut client = Client::hello(port).ok();
                    let next = || todo.lock().unwrap().pop();
                    while let Some(n) = next() {
                        let mail = Mail::raw("", &[&sent[n].from], no_such_user(&rcpts[n]).as_bytes());
                        let answer = client.as_mut().and_then(|c| c.submit(&mail).ok());
                        if answer.is_none_or(|a| a.code != 250) {
                            todo.lock().unwrap().push(n);
                            return;
                        }
                    }
                });
            }
            if round < KILLS {
                let some = RCPTS / (KILLS + 1) * (round + 1);
                wait::until("some reports to be written down", || (place.returns().len() >= some).then_some(()));
                place.world.relay.kill();
            }
        });
        if round < KILLS {
            place.world.relay.run();
            // Reports that were answered are sent again too.
            *todo.lock().unwrap() = (0..RCPTS).collect();
        }
    }
    assert!(todo.lock().unwrap().is_empty(), "{todo:?}");
    for rcpt in &to {
        assert_eq!(place.relay().log().history(rcpt), ["accepted", "delivered", "late_bounced"]);
        assert!(place.relay().cli(["suppress", "list", rcpt]).status.success(), "{rcpt}");
    }
}

#[test]
fn the_log_makes_up_for_what_the_spool_did_not_learn_before_a_crash() {
    let mut place = Place::start("");
    let sent = place.sent(&[GONE, ANGRY]);
    place.taken(&sent[0].from, &no_such_user(GONE));
    place.taken(FBL, &complaint(&sent[1]));
    place.relay().log().wait_for("delivered", APP);
    place.world.relay.stop();
    // Worse than any crash: the spool has nothing of what the log records.
    std::fs::remove_dir_all(place.relay().dir().join("data/spool")).unwrap();
    place.world.relay.run();
    place.taken(&sent[0].from, &no_such_user(GONE));
    place.taken(FBL, &complaint(&sent[1]));
    assert_eq!(place.returns().len(), 2);
    assert!(place.relay().ok(["suppress", "list", GONE]).contains("hard_bounce"));
    assert!(place.relay().ok(["suppress", "list", ANGRY]).contains("complaint"));
}
