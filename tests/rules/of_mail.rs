//! Providers and their mail.

use support::{
    Act, FakeMx, Step,
    dns::Fault,
    history::{History, Past},
    scene::{Scene, ago, letter, now},
    wait::until,
};

const COUSIN: Past<'static> = Past { stream: "default", domain: "cousin.test", tls: false };

/// Recipients whose names begin with `odd` are answered with this.
fn odd(mx: &FakeMx, reply: &'static str) {
    mx.script(move |_, step| match step {
        Step::Rcpt(rcpt) if rcpt.starts_with("odd") => Act::Say(reply.into()),
        _ => Act::Usual,
    });
}

#[test]
fn a_provider_that_refuses_by_far_more_than_usual_is_an_incident() {
    let mut scene = Scene::start(|relay| {
        let (mut history, now) = (History::begin(relay), now(relay.dir()));
        // A twentieth of cousin.test's answers are refusals on every day.
        for day in 1..=7 {
            let then = ago(now, 24 * 60 * day);
            history.delivered(then, 95, COUSIN).refused(then, 5, COUSIN);
        }
        history.end();
        String::new()
    });
    odd(&scene.mx, "550 5.7.1 Your IP address has a poor reputation and is blocked");
    scene.send("default", "cousin.test", 100, 14);
    scene.send("default", "example.test", 50, 5);
    let key = ("provider_refuses", "provider:example.test");
    scene.lives(key, &["example.test refuses", "5 of 50 (10 %) attempts in 15m"], "posthaste log --provider example.test", 50, |scene| {
        assert!(scene.told("provider_refuses", "provider:cousin.test").is_empty(), "14 % is not three times as much as 5 %");
    });
}

#[test]
fn mail_that_is_due_while_a_host_says_nothing_stands() {
    let mut scene = Scene::start(|_| "delivery.connections_per_lane = 1\ndelivery.patience = \"5m\"\n".into());
    scene.mx.script(|_, step| if let Step::Connect = step { Act::Hang } else { Act::Usual });
    for n in 0..3 {
        scene.relay.send(&letter("default", "sender.test", &[format!("r{n}@example.test")]));
    }
    until("a connection", || (scene.mx.sessions() > 0).then_some(()));
    scene.pass(4);
    scene.silent("mail_stands", "provider:example.test");
    scene.pass(1);
    let cause = ["Mail for example.test stands", "recipients are due since", "in stream default", "nothing was delivered there in 5m"];
    scene.lives(("mail_stands", "provider:example.test"), &cause, "posthaste why ID", 40, |scene| {
        scene.mx.behave();
        scene.mx.hang_up();
        scene.relay.ok(["queue", "retry", "--all"]);
        scene.relay.log().wait_for_many("delivered", "", 3);
    });
}

/// Ten recipients wait for one domain whose mail goes nowhere, and nine for another, which is taken for mistyped.
fn stands(mut scene: Scene, domain: &str, typo: &str, cause: &[&str], next_step: &str, heal: impl FnOnce(&Scene)) {
    scene.send("default", domain, 10, 0);
    scene.send("default", typo, 9, 0);
    scene.pass(4);
    let key = format!("provider:{domain}");
    scene.silent("mail_stands", &key);
    scene.pass(1);
    scene.lives(("mail_stands", &key), cause, next_step, 40, |scene| {
        heal(scene);
        scene.relay.ok(["queue", "retry", "--all"]);
        scene.relay.log().wait_for_many("delivered", "", 10);
        let other = scene.told("mail_stands", &format!("provider:{typo}"));
        assert!(other.is_empty(), "nine recipients at a domain that never took mail");
    });
}

#[test]
fn mail_stands_too_where_no_host_can_be_reached() {
    let scene = Scene::start_with(|_, dns| {
        for domain in ["dead.test", "typo.test"] {
            dns.mx(domain, 10, &format!("mx.{domain}")).a(&format!("mx.{domain}"), "127.0.0.9");
        }
        String::new()
    });
    let cause = ["Mail for dead.test stands: no host of it answers, and 10 recipients wait since", "Last error: "];
    stands(scene, "dead.test", "typo.test", &cause, "posthaste log --provider dead.test --event deferred", |scene| {
        scene.dns.remove("mx.dead.test").a("mx.dead.test", "127.0.0.1");
    });
}

#[test]
fn mail_stands_too_where_dns_says_nothing() {
    let scene = Scene::start_with(|_, dns| {
        dns.fault("lame.test", Fault::ServFail).fault("typo.test", Fault::ServFail);
        String::new()
    });
    let cause = ["Mail for lame.test stands: DNS gives no answer about it, and 10 recipients wait since", "Last error: DNS: "];
    stands(scene, "lame.test", "typo.test", &cause, "`dig MX lame.test`", |scene| {
        scene.dns.heal("lame.test").mx("lame.test", 10, "mx.example.test");
    });
}

#[test]
fn mail_that_needs_tls_and_gets_none_stands_for_that() {
    let mut scene = Scene::start(|_| "tls.domain.\"cousin.test\" = { policy = \"require\" }\n".into());
    scene.send("default", "cousin.test", 10, 0);
    scene.pass(5);
    let cause = ["Mail for cousin.test stands: the TLS that is required there does not come about", "Last error: "];
    scene.lives(("mail_stands", "provider:cousin.test"), &cause, "[tls.domain]", 40, |scene| {
        scene.relay.ok(["queue", "drop", "--all", "--reason", "the bank is told"]);
    });
}

#[test]
fn a_stream_that_is_late_at_two_looks_is_an_incident() {
    // The rule looks when an hour ends, which this test brings about: few tests run while one ends by itself.
    let mut scene = Scene::start(|_| "stream.default.aim = \"10m\"\nrules.late.every = \"1h\"\n".into());
    odd(&scene.mx, "451 4.3.2 later");
    scene.send("letters", "example.test", 1, 1);
    scene.send("default", "cousin.test", 1, 1);
    scene.pass(60);
    scene.silent("late", "stream:default");
    scene.pass(60);
    let cause = ["Mail of stream default is late", "the oldest has waited for cousin.test for 2h", "its aim is 10m"];
    scene.lives(("late", "stream:default"), &cause, "stream.default.aim", 100, |scene| {
        assert!(scene.told("late", "stream:letters").is_empty(), "its aim is four hours");
        scene.mx.behave();
        scene.relay.ok(["queue", "retry", "--all"]);
        scene.relay.log().wait_for_many("delivered", "", 2);
    });
}

#[test]
fn replies_that_no_rule_knows_are_an_incident() {
    let mut scene = Scene::start(|_| "rules.lane.enabled = false\n".into());
    let answer = |known: usize| {
        move |_: usize, step: Step<'_>| match step {
            Step::Rcpt(rcpt) if rcpt.starts_with("odd") => {
                let number: usize = rcpt["odd".len()..].split('@').next().unwrap().parse().unwrap();
                Act::Say(if number < known { "550 5.1.1 no such user here" } else { "450 xyzzy plugh" }.into())
            }
            _ => Act::Usual,
        }
    };
    scene.mx.script(answer(99));
    scene.send("default", "cousin.test", 100, 100);
    scene.mx.script(answer(98));
    scene.send("default", "example.test", 100, 100);
    let cause = ["No rule knows what example.test says", "2 of 100 (2 %) refusals in 1d"];
    scene.lives(("unknown_replies", "provider:example.test"), &cause, "posthaste bounce unknown", 26 * 60, |scene| {
        assert!(scene.told("unknown_replies", "provider:cousin.test").is_empty(), "one of a hundred is 1 %");
        scene.mx.behave();
    });
}

#[test]
fn less_mail_under_tls_than_the_day_before_is_an_incident() {
    let mut scene = Scene::start(|relay| {
        let (mut history, now) = (History::begin(relay), now(relay.dir()));
        let (yesterday, today) = (ago(now, 30 * 60), ago(now, 20));
        let (tls, cousin) = (Past { tls: true, ..Past::default() }, Past { tls: true, ..COUSIN });
        history.delivered(yesterday, 100, tls).delivered(today, 96, tls);
        history.delivered(yesterday, 100, cousin).delivered(today, 96, cousin);
        history.end();
        String::new()
    });
    scene.send("default", "cousin.test", 4, 0);
    scene.send("default", "example.test", 6, 0);
    let cause = ["Less mail to example.test is delivered under TLS", "96 of 102", "in 24 hours", "6 went in plain text"];
    scene.lives(("tls", "provider:example.test"), &cause, "[tls.domain.", 26 * 60, |scene| {
        assert!(scene.told("tls", "provider:cousin.test").is_empty(), "96 % is not five points less");
    });
}

#[test]
fn mail_without_a_signature_of_its_domain_is_an_incident() {
    let mut scene = Scene::start_with(|relay, dns| signed(relay, dns, "signed.test"));
    for (domain, recipients) in [("bare.test", 50), ("few.test", 49), ("signed.test", 50)] {
        let to: Vec<String> = (0..recipients).map(|n| format!("{}{n}@example.test", &domain[..3])).collect();
        scene.relay.send(&letter("default", domain, &to));
    }
    scene.relay.log().wait_for_many("delivered", "", 149);
    let cause = ["Mail from bare.test goes out without a signature of bare.test", "50 of 50 (100 %) deliveries in 60 minutes"];
    scene.lives(("authentication", "from_domain:bare.test"), &cause, "posthaste dkim new bare.test", 95, |scene| {
        for domain in ["few.test", "signed.test"] {
            assert!(scene.told("authentication", &format!("from_domain:{domain}")).is_empty(), "{domain}");
        }
    });
}

#[test]
fn a_signing_key_that_dns_loses_is_an_incident_until_it_is_back() {
    let mut records = Vec::new();
    let mut scene = Scene::start_with(|relay, dns| {
        let config = signed(relay, dns, "lost.test") + &signed(relay, dns, "kept.test");
        records = ["lost.test", "kept.test"]
            .map(|domain| std::fs::read_to_string(relay.dir().join(format!("{domain}.record"))).unwrap())
            .to_vec();
        config
    });
    let name = "s1._domainkey.lost.test";
    let key = ("authentication", "relay:key/s1._domainkey.lost.test");
    scene.dns.wait_for_questions(name, 2, support::wait::PATIENCE);
    scene.dns.remove(name);
    scene.pass(58);
    scene.silent(key.0, key.1);
    scene.pass(2);
    scene.lives(
        key,
        &["DNS does not have the key s1._domainkey.lost.test that we sign with"],
        "posthaste dkim dns lost.test",
        31,
        |scene| {
            assert!(scene.told(key.0, "relay:key/s1._domainkey.kept.test").is_empty());
            scene.dns.txt(name, &records[0]);
            // A restart looks it up again at once, and so does a reload.
            let asked = scene.dns.questions(name);
            scene.relay.ok(["reload"]);
            assert!(scene.dns.wait_for_questions(name, asked + 1, support::wait::PATIENCE));
        },
    );
}

/// Makes a key for a domain, puts it into DNS and into a file, and returns the configuration that signs with it.
fn signed(relay: &support::Relay, dns: &support::dns::DnsServer, domain: &str) -> String {
    let said = relay.ok(["dkim", "new", domain, "s1", "--algorithm", "ed25519"]);
    let (zone, _) = said.split_once("# for the configuration:").expect("both parts are there");
    let record: String = zone.split('"').skip(1).step_by(2).collect();
    std::fs::write(relay.dir().join(format!("{domain}.record")), &record).unwrap();
    dns.txt(&format!("s1._domainkey.{domain}"), &record);
    format!("dkim.domain.\"{domain}\".keys = [{{ selector = \"s1\", file = \"s1.{domain}.pem\" }}]\n")
}
