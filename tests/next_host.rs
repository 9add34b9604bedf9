//! RFC 5321 §5.1: an attempt goes on to the next host and address until one takes the message or gives a 5xx; and what receivers say on the
//! way is kept.

use support::{Act, FakeMx, Mail, Relay, Step, dns::DnsServer, world};

const TO: &str = "b@two.test";

/// A relay and a domain with two hosts.
struct Two {
    relay: Relay,
    best: FakeMx,
    second: FakeMx,
    _dns: DnsServer,
}

impl Two {
    /// MX 10 leads to `best`, MX 20 to `second`.
    fn start(extra: &str) -> Self {
        let (dns, [best, second]) = (DnsServer::start(), FakeMx::group(["127.0.0.1", "127.0.0.2"]));
        dns.mx("two.test", 10, "one.two.test").mx("two.test", 20, "two.two.test");
        dns.a("one.two.test", "127.0.0.1").a("two.two.test", "127.0.0.2");
        let relay = world::relay(&dns, best.port(), &format!("retry.schedule = [\"1h\"]\n{extra}"));
        Self { relay, best, second, _dns: dns }
    }
}

type Is = fn(&Step<'_>) -> bool;

const MAIL: Is = |step| matches!(step, Step::Mail(_));
const RCPT: Is = |step| matches!(step, Step::Rcpt(_));
const DATA: Is = |step| matches!(step, Step::Data);
const DOT: Is = |step| matches!(step, Step::Dot(_));

#[test]
fn what_the_best_host_does_not_take_now_goes_to_the_next_in_the_same_attempt() {
    let say = |text: &str| Act::Say(text.into());
    let leave = |text: &str| Act::SayAndClose(text.into());
    let all: [(&str, Is, Act); 10] = [
        ("mail450", MAIL, say("450 4.3.2 not now")),
        ("mail421", MAIL, leave("421 4.3.2 system not accepting network messages")),
        ("mailgone", MAIL, Act::Close),
        ("rcpt451", RCPT, say("451 4.3.0 not now")),
        ("rcpt421", RCPT, leave("421 4.3.2 not now")),
        ("data451", DATA, say("451 4.3.0 not now")),
        ("data421", DATA, leave("421 4.3.2 not now")),
        ("datagone", DATA, Act::Close),
        ("dot452", DOT, say("452 4.3.1 insufficient system storage")),
        ("dot421", DOT, leave("421 4.3.2 not now")),
    ];
    let two = Two::start("delivery.idle = \"0s\"");
    for (name, at, act) in all {
        for pipelining in [true, false] {
            let is = act.clone();
            two.best.extensions(if pipelining { &["PIPELINING"] } else { &["8BITMIME"] });
            two.best.script(move |_, step| if at(&step) { is.clone() } else { Act::Usual });
            let to = format!("{name}.{pipelining}@two.test");
            two.relay.send(&Mail::new("", &[&to], name));
            let event = two.relay.log().wait_for("delivered", &to);
            assert_eq!((&event["mx_host"], &event["attempt"]), (&"two.two.test".into(), &1.into()), "{event}");
            let other = &event["other_hosts"][0];
            assert_eq!((&other["mx_host"], other["smtp_stage"].is_string()), (&"one.two.test".into(), true), "{event}");
            assert_eq!(two.relay.log().history(&to), ["accepted", "delivered"]);
        }
    }
    // RFC 2920 §3.1: where DATA went out with a refused RCPT and was answered 354, an empty message ends it.
    assert!(two.best.messages().iter().all(|message| message.data.is_empty()));
    assert_eq!(two.second.messages().len(), 20, "each message once");
}

#[test]
fn recipients_refused_for_now_go_on_and_the_others_are_delivered_where_they_were_taken() {
    let two = Two::start("");
    two.best.script(|_, step| match step {
        Step::Rcpt("full@two.test") => Act::Say("452 4.2.2 mailbox full".into()),
        Step::Rcpt("gone@two.test") => Act::Say("550 5.1.1 no such user".into()),
        _ => Act::Usual,
    });
    two.relay.send(&Mail::new("", &["full@two.test", "a@two.test", "gone@two.test", TO], "one"));
    let log = two.relay.log();
    assert_eq!(log.wait_for("delivered", "full@two.test")["mx_host"], "two.two.test");
    assert_eq!(log.wait_for("bounced", "gone@two.test")["mx_host"], "one.two.test");
    for rcpt in ["a@two.test", TO] {
        assert_eq!(log.wait_for("delivered", rcpt)["mx_host"], "one.two.test");
    }
    assert_eq!((two.best.messages()[0].rcpts.len(), &two.second.messages()[0].rcpts[..]), (2, &["full@two.test".to_owned()][..]));
    // One mailbox's trouble does not move a domain's mail to its second host.
    two.relay.send(&Mail::new("", &["later@two.test"], "two"));
    assert_eq!(log.wait_for("delivered", "later@two.test")["mx_host"], "one.two.test");
}

#[test]
fn a_refusal_for_good_ends_the_attempt_and_so_does_a_message_that_may_have_been_taken() {
    let two = Two::start("");
    two.best.script(|_, step| match step {
        Step::Rcpt("gone@two.test") => Act::Say("550 5.1.1 no such user".into()),
        Step::Dot(_) => Act::Close,
        _ => Act::Usual,
    });
    two.relay.send(&Mail::new("", &["gone@two.test"], "one"));
    two.relay.send(&Mail::new("", &[TO], "two"));
    let log = two.relay.log();
    log.wait_for("bounced", "gone@two.test");
    assert_eq!(log.wait_for("deferred", TO)["ambiguous"], true);
    assert_eq!(two.second.sessions(), 0);
}

/// The addresses of the hosts that a message's attempts ended at.
fn hosts(relay: &Relay, to: &str) -> Vec<String> {
    let events = relay.log().events().into_iter().filter(|e| e["rcpt"] == to && (e["event"] == "deferred" || e["event"] == "delivered"));
    events.map(|event| event["mx_ip"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn after_no_answer_at_the_dot_the_next_attempt_begins_with_the_next_host() {
    let (dns, [best, second]) = (DnsServer::start(), FakeMx::group(["127.0.0.1", "127.0.0.2"]));
    dns.mx("two.test", 10, "one.two.test").mx("two.test", 20, "two.two.test");
    dns.a("one.two.test", "127.0.0.1").a("two.two.test", "127.0.0.2");
    dns.mx("one.test", 10, "both.one.test").a("both.one.test", "127.0.0.1").a("both.one.test", "127.0.0.2");
    let (port, mut taken) = (best.port(), 0);
    let route = format!("route.\"route.test\" = [\"127.0.0.1:{port}\", \"127.0.0.2:{port}\"]\n");
    let relay = world::relay(
        &dns,
        port,
        &format!("retry.schedule = [\"1s\"]\ndelivery.host_down = \"0s\"\ndelivery.timeouts.dot = \"1s\"\n{route}"),
    );
    for act in [Act::Close, Act::Hang] {
        best.script(move |_, step| if DOT(&step) { act.clone() } else { Act::Usual });
        for domain in ["two", "one", "route"] {
            taken += 1;
            let to = format!("b{taken}@{domain}.test");
            relay.send(&Mail::new("", &[&to], "one"));
            let event = relay.log().wait_for("delivered", &to);
            assert_eq!((&event["mx_ip"], &event["attempt"]), (&"127.0.0.2".into(), &2.into()), "{event}");
            assert_eq!(relay.log().wait_for("deferred", &to)["ambiguous"], true);
            assert_eq!(second.messages().len(), taken, "within the first attempt no second host heard of it");
        }
    }
}

#[test]
fn hosts_that_leave_a_message_in_doubt_take_turns_and_other_mail_keeps_to_the_best() {
    let two = Two::start("delivery.idle = \"5m\"\ndelivery.host_down = \"0s\"");
    for host in [&two.best, &two.second] {
        host.script(|_, step| match step {
            Step::Dot(message) if message.rcpts[0].starts_with("sick") => Act::Close,
            _ => Act::Usual,
        });
    }
    let log = two.relay.log();
    two.relay.send(&Mail::new("", &["sick@two.test"], "one"));
    log.wait_for("deferred", "sick@two.test");
    for n in 1..=3 {
        // A session with the best host is open and idle when the message is due.
        let other = format!("other{n}@two.test");
        two.relay.send(&Mail::new("", &[&other], "two"));
        assert_eq!(log.wait_for("delivered", &other)["mx_host"], "one.two.test");
        two.relay.ok(["queue", "retry", "--all"]);
        log.wait_for_many("deferred", "sick@two.test", n + 1);
    }
    assert_eq!(hosts(&two.relay, "sick@two.test"), ["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2"]);
}

#[test]
fn an_attempt_begins_with_the_hosts_that_the_one_before_did_not_come_to() {
    let (dns, ips) = (DnsServer::start(), ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    let mxs = FakeMx::group(ips);
    for (n, ip) in (1..).zip(ips) {
        dns.mx("two.test", n * 10, &format!("mx{n}.two.test")).a(&format!("mx{n}.two.test"), ip);
    }
    for mx in &mxs[..2] {
        mx.script(|_, step| if MAIL(&step) { Act::Say("450 4.3.2 not now".into()) } else { Act::Usual });
    }
    let extra = "retry.schedule = [\"1s\"]\ndelivery.host_down = \"0s\"\ndelivery.hosts_per_attempt = 2";
    let relay = world::relay(&dns, mxs[0].port(), extra);
    relay.send(&Mail::new("", &[TO], "one"));
    let event = relay.log().wait_for("delivered", TO);
    assert_eq!((&event["mx_host"], &event["attempt"]), (&"mx3.two.test".into(), &2.into()), "{event}");
}

#[test]
fn a_host_that_wants_less_mail_leaves_the_next_attempt_to_the_next_host() {
    for text in [
        "451 4.7.1 Too many messages, slow down",
        "450 4.7.1 blocked using zen.spamhaus.org",
        "450 4.2.1 The user you are trying to contact is receiving mail too quickly",
    ] {
        let two = Two::start("");
        two.best.script(move |_, step| if RCPT(&step) { Act::Say(text.into()) } else { Act::Usual });
        two.relay.send(&Mail::new("", &[TO], text));
        // The lane is paused, so that the attempt cannot go on.
        let first = two.relay.log().wait_for("deferred", TO);
        assert_eq!(first["mx_host"], "one.two.test", "{first}");
        assert!(!two.second.commands().iter().any(|command| command.starts_with("MAIL")));
        two.relay.ok(["warmup", "resume", "default/two.test", "--reason", "a test"]);
        two.relay.ok(["queue", "retry", "--all"]);
        let end = two.relay.log().wait_for("delivered", TO);
        assert_eq!((&end["mx_host"], &end["attempt"]), (&"two.two.test".into(), &2.into()), "{end}");
    }
}

#[test]
fn an_attempt_ends_after_as_many_hosts_as_configured_and_says_what_each_said() {
    let dns = DnsServer::start();
    let ips = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
    let hosts = FakeMx::group(ips);
    for (n, ip) in (1..).zip(ips) {
        dns.mx("two.test", n * 10, &format!("mx{n}.two.test")).a(&format!("mx{n}.two.test"), ip);
        hosts[usize::from(n) - 1].script(move |_, step| match step {
            Step::Rcpt(_) => Act::Say(format!("450 4.7.1 greylisted by {n}")),
            _ => Act::Usual,
        });
    }
    let extra = "retry.schedule = [\"1h\"]\ndelivery.hosts_per_attempt = 2";
    let relay = world::relay(&dns, hosts[0].port(), extra);
    let id = relay.send(&Mail::new("", &[TO], "one"));
    let event = relay.log().wait_for("deferred", TO);
    assert_eq!((&event["smtp_text"], &event["attempt"]), (&"4.7.1 greylisted by 2".into(), &1.into()));
    assert_eq!(event["other_hosts"][0]["smtp_text"], "4.7.1 greylisted by 1");
    assert_eq!((hosts[0].sessions(), hosts[1].sessions(), hosts[2].sessions()), (1, 1, 0));
    let traced = relay.ok(["trace", &id]);
    assert!(traced.contains("not taken by mx1.two.test [127.0.0.1] at rcpt: 450 4.7.1 greylisted by 1"), "{traced}");
}

#[test]
fn each_host_of_an_attempt_uses_budget_and_without_budget_the_attempt_ends() {
    let offered = |mx: &FakeMx| mx.commands().iter().filter(|command| command.starts_with("RCPT")).count();
    for (cap, event, at_second) in [(1, "deferred", 0), (2, "delivered", 1)] {
        let two = Two::start(&format!("source.default.warmup = \"tiny\"\ncurve.tiny = {{ caps = [{cap}], burst = {cap} }}"));
        two.best.script(|_, step| if MAIL(&step) { Act::Say("450 4.3.2 not now".into()) } else { Act::Usual });
        two.relay.send(&Mail::new("", &[TO], "one"));
        two.relay.log().wait_for(event, TO);
        assert_eq!((offered(&two.best), offered(&two.second)), (1, at_second));
        // The log accounts for each offer, as the ledger does.
        two.relay.ok(["warmup", "audit"]);
    }
}

#[test]
fn too_many_recipients_are_a_matter_of_the_transaction_and_not_of_the_lane() {
    let world = support::World::start("retry.schedule = [\"1h\"]");
    let last = std::sync::Mutex::new(0_usize);
    world.mx.script(move |_, step| {
        let mut taken = last.lock().unwrap();
        match step {
            Step::Mail(_) => *taken = 0,
            Step::Rcpt(_) if *taken == 1 => return Act::Say("452 4.5.3 Recipients belong to multiple regions ATTR38".into()),
            Step::Rcpt(_) => *taken += 1,
            _ => {}
        }
        Act::Usual
    });
    let to = ["a@example.test", "b@example.test", "c@example.test", "d@example.test"];
    world.relay.send(&Mail::new("", &to, "one"));
    let log = world.relay.log();
    log.wait_for_many("delivered", "", 4);
    world.relay.send(&Mail::new("", &to, "two"));
    log.wait_for_many("delivered", "", 8);
    assert_eq!((log.of("deferred", "").len(), log.of("lane", "").len()), (0, 0));
    assert_eq!((world.mx.sessions(), world.mx.messages().len()), (1, 8), "over the same connection, one recipient each");
    let asked = world.mx.commands().iter().filter(|command| command.starts_with("RCPT")).count();
    assert_eq!(asked, 4 + 3 + 4, "what the receiver takes at once is remembered");
}

#[test]
fn a_receiver_that_closes_for_too_many_recipients_gets_the_rest_at_once() {
    let acts: [fn(&str) -> Act; 3] = [
        |_| Act::SayAndClose("452 4.5.3 Too many recipients".into()),
        |_| Act::SayAndClose("421 4.5.3 too many recipients, closing".into()),
        |_| Act::SayAndClose("452 too many recipients\r\n421 4.3.2 closing".into()),
    ];
    for (extensions, act) in [&[][..], &["PIPELINING"]].into_iter().flat_map(|extensions| acts.map(|act| (extensions, act))) {
        let world = support::World::start("retry.schedule = [\"1h\"]");
        world.mx.extensions(extensions);
        let last = std::sync::Mutex::new(0_usize);
        world.mx.script(move |_, step| {
            let mut taken = last.lock().unwrap();
            match step {
                Step::Mail(_) => *taken = 0,
                Step::Rcpt(to) if *taken == 2 => return act(to),
                Step::Rcpt(_) => *taken += 1,
                _ => {}
            }
            Act::Usual
        });
        let to = ["a@example.test", "b@example.test", "c@example.test", "d@example.test", "e@example.test"];
        world.relay.send(&Mail::new("", &to, "one"));
        let log = world.relay.log();
        log.wait_for_many("delivered", "", 5);
        assert_eq!((log.of("deferred", "").len(), log.of("lane", "").len()), (0, 0), "{:?}", world.mx.commands());
        assert_eq!((world.mx.sessions(), world.mx.messages().len()), (2, 3), "two at once, over another connection");
    }
}
