//! A smart host that refuses the relay's login: mail waits, an operator is told, and all is well again after a reload.

use support::{Act, FakeMx, Mail, Relay, Step, dns::DnsServer, wait, world};

fn relay_by(mx: &FakeMx, dns: &DnsServer, more: &str) -> Relay {
    let route = format!("route.\"*\" = {{ hosts = [\"{}\"]{more} }}\nretry.schedule = [\"1h\"]\n", mx.address());
    world::relay(dns, 25, &route)
}

fn alarm(relay: &Relay, state: &str) -> String {
    wait::until(state, || {
        let events = relay.log().events();
        let found = events.iter().find(|e| e["event"] == "relay" && e["state"] == state && e["part"] == "delivery");
        found.map(|event| event["detail"].as_str().unwrap().to_owned())
    })
}

#[test]
fn a_password_that_is_refused_bounces_nothing_and_is_an_alarm_until_it_is_right() {
    for reply in ["535 5.7.8 wrong password", "534 5.7.9 too weak", "454 4.7.0 not now", "538 5.7.11 encryption required", "530 5.7.0 no"] {
        let (dns, mx) = (DnsServer::start(), FakeMx::start());
        mx.extensions(&["AUTH PLAIN"]);
        let said = reply.to_owned();
        mx.script(move |_, step| if let Step::Auth(_) = step { Act::Say(said.clone()) } else { Act::Usual });
        let password = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(password.path(), "old").unwrap();
        let relay = relay_by(&mx, &dns, &format!(", user = \"relay\", password_file = {:?}", password.path()));
        for n in 0..3 {
            relay.send(&Mail::new("me@sender.test", &[&format!("r@d{n}.test")], "one"));
        }
        let log = relay.log();
        let deferred = log.wait_for_many("deferred", "", 3);
        assert!(deferred.iter().any(|e| e["rule"] == "route.login" && e["class"] == "policy_auth"), "{deferred:?}");
        assert!(alarm(&relay, "alarm").contains(reply.split_once(' ').unwrap().1), "{reply}");
        mx.script(|_, step| if let Step::Auth(_) = step { Act::Say("235 2.7.0 welcome".into()) } else { Act::Usual });
        std::fs::write(password.path(), "new").unwrap();
        relay.ok(["reload"]);
        log.wait_for_many("delivered", "", 3);
        alarm(&relay, "alarm_over");
        assert_eq!(log.of("bounced", "").len(), 0);
    }
}

#[test]
fn what_waits_for_a_login_goes_at_once_by_another_route_and_the_alarm_is_over() {
    let (dns, mx, other) = (DnsServer::start(), FakeMx::start(), FakeMx::start());
    mx.extensions(&["AUTH PLAIN"]);
    mx.script(|_, step| if let Step::Auth(_) = step { Act::Say("535 5.7.8 wrong".into()) } else { Act::Usual });
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "old").unwrap();
    let relay = relay_by(&mx, &dns, &format!(", user = \"relay\", password_file = {:?}", password.path()));
    for n in 0..3 {
        relay.send(&Mail::new("me@sender.test", &[&format!("r@d{n}.test")], "one"));
    }
    relay.log().wait_for_many("deferred", "", 3);
    alarm(&relay, "alarm");
    relay.change_config(&format!(
        "route.\"*\" = \"{}\"\nretry.schedule = [\"1h\"]\ndns.nameservers = [\"{}\"]",
        other.address(),
        dns.address()
    ));
    relay.ok(["reload"]);
    relay.log().wait_for_many("delivered", "", 3);
    assert!(alarm(&relay, "alarm_over").contains("no longer in use"));
    assert_eq!(other.messages().len(), 3);
}

#[test]
fn a_login_that_is_refused_is_tried_by_one_session_at_a_time() {
    const MESSAGES: usize = 20;
    let (dns, mx) = (DnsServer::start(), FakeMx::start());
    mx.extensions(&["AUTH PLAIN"]);
    mx.script(|_, step| if let Step::Auth(_) = step { Act::Say("535 5.7.8 wrong".into()) } else { Act::Usual });
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "old").unwrap();
    let relay = relay_by(&mx, &dns, &format!(", user = \"relay\", password_file = {:?}", password.path()));
    let log = relay.log();
    for n in 0..MESSAGES {
        relay.send(&Mail::new("me@sender.test", &[&format!("r@d{n}.test")], "one"));
        log.wait_for("deferred", &format!("r@d{n}.test"));
    }
    let tried = || mx.commands().iter().filter(|command| command.starts_with("AUTH")).count();
    let before = tried();
    relay.ok(["queue", "retry", "--all"]);
    log.wait_for_many("deferred", "", 2 * MESSAGES);
    assert!((1..=5).contains(&(tried() - before)), "{} logins with a wrong password", tried() - before);
}

#[test]
fn what_a_route_without_a_login_lacks_is_said_and_bounces_nothing() {
    for (at_rcpt, reply, alarm_says, advice) in [
        (false, "530 5.7.0 Must issue a STARTTLS command first", "without a login or encryption", "Set tls = \"require\""),
        (false, "530 5.7.1 Authentication required", "without a login or encryption", "Add user and password_file"),
        (true, "554 5.7.1 Relay access denied", "does not relay for this relay", "Have its operator allow that"),
    ] {
        let (dns, mx) = (DnsServer::start(), FakeMx::start());
        mx.script(move |_, step| match step {
            Step::Mail(_) if !at_rcpt => Act::Say(reply.into()),
            Step::Rcpt(_) if at_rcpt => Act::Say(reply.into()),
            _ => Act::Usual,
        });
        let relay = relay_by(&mx, &dns, "");
        relay.send(&Mail::new("me@sender.test", &["r@d.test"], "one"));
        assert_eq!(relay.log().wait_for("deferred", "r@d.test")["rule"], "route.login", "{reply}");
        let said = alarm(&relay, "alarm");
        assert!(said.contains(alarm_says) && !said.contains("refuses the relay's login"), "{said}");
        let why = relay.ok(["why", "r@d.test"]);
        assert!(why.contains(advice), "{why}");
    }
}

#[test]
fn the_alarm_about_a_login_is_over_after_a_restart_without_its_route() {
    let [mx, other] = FakeMx::group(["127.0.0.1", "127.0.0.2"]);
    let dns = DnsServer::start();
    mx.script(|_, step| if let Step::Mail(_) = step { Act::Say("530 5.7.0 log in first".into()) } else { Act::Usual });
    let mut relay = relay_by(&mx, &dns, "");
    relay.send(&Mail::new("me@sender.test", &["r@d.test"], "one"));
    alarm(&relay, "alarm");
    relay.stop();
    relay.run();
    assert!(relay.ok(["alarms"]).contains("log in first"), "it stands while the route is there");
    relay.change_config(&format!("route.\"*\" = \"{}\"\ndns.nameservers = [\"{}\"]", other.address(), dns.address()));
    relay.stop();
    relay.run();
    assert!(alarm(&relay, "alarm_over").contains("no longer in use"));
    assert!(!relay.ok(["alarms"]).contains("log in first"));
}

#[test]
fn a_start_says_of_what_waits_for_a_login_what_was_said_before_and_tries_it() {
    let (dns, mx) = (DnsServer::start(), FakeMx::start());
    mx.extensions(&["AUTH PLAIN"]);
    mx.script(|_, step| if let Step::Auth(_) = step { Act::Say("535 5.7.8 wrong".into()) } else { Act::Usual });
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "old").unwrap();
    let mut relay = relay_by(&mx, &dns, &format!(", user = \"relay\", password_file = {:?}", password.path()));
    relay.send(&Mail::new("me@sender.test", &["r@d.test"], "one"));
    let log = relay.log();
    log.wait_for("deferred", "r@d.test");
    let told = |relay: &Relay| {
        wait::until("the reason", || {
            let (queue, why) = (relay.ok(["queue"]), relay.ok(["why", "r@d.test"]));
            (queue.contains("login") && why.contains("does not accept the relay's login") && why.contains("535 5.7.8 wrong")).then_some(())
        });
    };
    told(&relay);
    relay.stop();
    relay.run();
    told(&relay);
    assert_eq!(log.wait_for_many("deferred", "r@d.test", 2)[1]["rule"], "route.login");
    // An operator who sets the password right and starts the relay again is heard.
    relay.stop();
    mx.script(|_, step| if let Step::Auth(_) = step { Act::Say("235 2.7.0 welcome".into()) } else { Act::Usual });
    relay.run();
    log.wait_for("delivered", "r@d.test");
    alarm(&relay, "alarm_over");
}

#[test]
fn one_host_of_a_route_that_refuses_the_login_is_one_alarm() {
    let [bad, good] = FakeMx::group(["127.0.0.1", "127.0.0.2"]);
    let dns = DnsServer::start();
    for mx in [&bad, &good] {
        mx.extensions(&["AUTH PLAIN"]);
    }
    bad.script(|_, step| if let Step::Auth(_) = step { Act::Say("535 5.7.8 wrong".into()) } else { Act::Usual });
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "old").unwrap();
    let hosts = [&bad, &good].map(|mx| mx.address().to_string());
    let route = format!("route.\"*\" = {{ hosts = {hosts:?}, user = \"relay\", password_file = {:?} }}", password.path());
    let relay = world::relay(&dns, 25, &format!("{route}\ndelivery.idle = \"1s\""));
    for n in 0..3 {
        let rcpt = format!("r@d{n}.test");
        relay.send(&Mail::new("me@sender.test", &[&rcpt], "one"));
        relay.log().wait_for("delivered", &rcpt);
        good.wait_until_alone();
    }
    let said = |state: &str| {
        relay.log().events().iter().filter(|e| e["event"] == "relay" && e["state"] == state && e["part"] == "delivery").count()
    };
    assert_eq!((said("alarm"), said("alarm_over"), bad.sessions()), (1, 0, 3));
}

#[test]
fn a_smart_host_that_does_not_relay_for_a_login_bounces_nothing() {
    let (dns, mx) = (DnsServer::start(), FakeMx::start());
    mx.extensions(&["AUTH PLAIN"]);
    mx.script(|_, step| if let Step::Rcpt(_) = step { Act::Say("554 5.7.1 <r@d.test>: Relay access denied".into()) } else { Act::Usual });
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "good").unwrap();
    let route =
        format!("route.\"*\" = {{ hosts = [{:?}], user = \"relay\", password_file = {:?} }}", mx.address().to_string(), password.path());
    let relay = world::relay(&dns, 25, &format!("{route}\nretry.schedule = [\"1h\"]\ndelivery.host_down = \"60s\""));
    relay.send(&Mail::new("me@sender.test", &["r@d.test"], "one"));
    let deferred = relay.log().wait_for("deferred", "r@d.test");
    assert_eq!((&deferred["rule"], &deferred["class"]), (&"route.login".into(), &"relaying_denied".into()));
    assert!(alarm(&relay, "alarm").contains("does not relay for the relay's login"));
    assert!(relay.ok(["why", "d.test"]).contains("Have its operator allow that"));
    // The route is left alone for a while.
    relay.send(&Mail::new("me@sender.test", &["s@e.test"], "two"));
    assert!(relay.log().wait_for("deferred", "s@e.test")["detail"].as_str().unwrap().contains("not tried"));
    mx.behave();
    relay.ok(["reload"]);
    relay.log().wait_for_many("delivered", "", 2);
    alarm(&relay, "alarm_over");
}

#[test]
fn a_smart_host_that_has_locked_the_account_bounces_and_suppresses_nothing_in_any_language() {
    for said in [
        "550 5.7.1 Ihr Konto ist gesperrt",
        "550 5.2.1 Votre compte est suspendu",
        "550 Your account has been suspended",
        "550-Requested action not taken: mailbox unavailable\r\n550 Twoje konto zosta\u{142}o zablokowane",
        "550 5.1.1 You are not a known user of this system",
    ] {
        let (dns, mx) = (DnsServer::start(), FakeMx::start());
        mx.extensions(&["AUTH PLAIN"]);
        mx.script(move |_, step| if let Step::Rcpt(_) = step { Act::Say(said.into()) } else { Act::Usual });
        let password = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(password.path(), "good").unwrap();
        let relay = relay_by(&mx, &dns, &format!(", user = \"relay\", password_file = {:?}", password.path()));
        relay.send(&Mail::new("me@sender.test", &["r@d.test"], "one"));
        let deferred = relay.log().wait_for("deferred", "r@d.test");
        assert_eq!((&deferred["rule"], &deferred["class"]), (&"route.login".into(), &"policy_auth".into()), "{deferred}");
        let alarmed = alarm(&relay, "alarm");
        assert!(alarmed.contains("does not let the relay's account send"), "{alarmed}");
        assert!(relay.ok(["why", "d.test"]).contains("Ask its operator what is wrong with the account"));
        mx.behave();
        relay.ok(["reload"]);
        relay.log().wait_for("delivered", "r@d.test");
        alarm(&relay, "alarm_over");
        assert_eq!((relay.log().of("bounced", "").len(), relay.log().of("suppressed", "").len()), (0, 0));
    }
}

#[test]
fn a_rate_at_one_recipient_stops_nobody_else_and_one_at_the_door_does() {
    let (dns, mx) = (DnsServer::start(), FakeMx::start());
    mx.script(|_, step| match step {
        Step::Rcpt("busy@a.test") => Act::Say("450 4.7.1 <busy@a.test>: too many messages to this user, try again later".into()),
        Step::Rcpt("full@a.test") => Act::Say("452 4.2.2 too many messages for this mailbox".into()),
        Step::Rcpt("rate@a.test") => Act::Say("451 4.7.1 Rate limit exceeded".into()),
        _ => Act::Usual,
    });
    let relay = relay_by(&mx, &dns, "");
    for to in ["busy@a.test", "full@a.test", "rate@a.test"] {
        relay.send(&Mail::new("", &[to], "one"));
        relay.log().wait_for("deferred", to);
        relay.send(&Mail::new("", &["other@b.test"], "two"));
    }
    relay.log().wait_for_many("delivered", "other@b.test", 3);
    assert_eq!(relay.log().of("lane", "").len(), 0);
    mx.script(|_, step| if let Step::Mail(_) = step { Act::Say("421 4.7.0 too many messages, slow down".into()) } else { Act::Usual });
    relay.send(&Mail::new("", &["more@b.test"], "three"));
    assert_eq!(relay.log().wait_for("lane", "")["change"], "paused");
}

#[test]
fn a_smart_host_that_wants_a_login_and_has_none_bounces_nothing() {
    for at_rcpt in [false, true] {
        let (dns, mx) = (DnsServer::start(), FakeMx::start());
        mx.script(move |_, step| match step {
            Step::Mail(_) if !at_rcpt => Act::Say("530 5.7.0 log in first".into()),
            Step::Rcpt(_) if at_rcpt => Act::Say("550 5.7.1 authentication required".into()),
            _ => Act::Usual,
        });
        let relay = relay_by(&mx, &dns, "");
        relay.send(&Mail::new("me@sender.test", &["r@d.test"], "one"));
        assert_eq!(relay.log().wait_for("deferred", "r@d.test")["rule"], "route.login");
        alarm(&relay, "alarm");
        mx.behave();
        relay.ok(["queue", "retry", "--all"]);
        relay.log().wait_for("delivered", "r@d.test");
        alarm(&relay, "alarm_over");
    }
}

#[test]
fn what_a_smart_host_says_of_one_recipient_stops_nobody_else() {
    let (dns, mx) = (DnsServer::start(), FakeMx::start());
    mx.script(|_, step| match step {
        Step::Rcpt("listed@a.test") => {
            Act::Say("554 5.7.1 Service unavailable; Client host [203.0.113.9] blocked using zen.spamhaus.org".into())
        }
        _ => Act::Usual,
    });
    let relay = relay_by(&mx, &dns, "");
    relay.send(&Mail::new("", &["listed@a.test"], "one"));
    relay.log().wait_for("bounced", "listed@a.test");
    relay.send(&Mail::new("", &["other@b.test"], "two"));
    relay.log().wait_for("delivered", "other@b.test");
    assert_eq!(relay.log().of("lane", "").len(), 0);
}

#[test]
fn a_pause_is_one_line_and_every_answer_names_its_end_and_the_command_that_lifts_it() {
    let world = support::World::start("retry.schedule = [\"1h\"]");
    world.mx.script(|_, step| match step {
        Step::Rcpt(_) => Act::Say("554 5.7.1 Service unavailable; Client host [127.0.0.1] blocked using zen.spamhaus.org".into()),
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new("", &["a@example.test"], "one"));
    let log = world.relay.log();
    log.wait_for("bounced", "a@example.test");
    world.mx.behave();
    world.relay.send(&Mail::new("", &["b@example.test"], "two"));
    let held = log.wait_for("held", "b@example.test");
    let lifts = "posthaste warmup resume default/example.test --reason";
    assert!(held["detail"].as_str().unwrap().contains(lifts), "{held}");
    let lanes = log.of("lane", "");
    assert_eq!(lanes.len(), 1, "{lanes:?}");
    assert!(lanes[0]["detail"].as_str().unwrap().contains(lifts) && lanes[0]["until"].is_string(), "{}", lanes[0]);
    let retried = world.relay.ok(["queue", "retry", "--all"]);
    for said in [&retried, &world.relay.ok(["queue"]), &world.relay.ok(["why", "b@example.test"])] {
        assert!(said.contains("until ") && said.contains(lifts), "{said}");
    }
    assert!(retried.contains("1 recipient waits"), "{retried}");
    world.relay.ok(["warmup", "resume", "default/example.test", "--reason", "delisted"]);
    log.wait_for("delivered", "b@example.test");
}

#[test]
fn what_a_receiver_says_to_ehlo_is_kept_when_it_hangs_up() {
    for (n, text) in
        ["501-5.5.4 HELO/EHLO argument \"relay.test\" invalid, closing connection.\r\n501 5.5.4 see postmaster page", "550 5.7.1 go away"]
            .into_iter()
            .enumerate()
    {
        let world = support::World::start("retry.schedule = [\"1h\"]");
        world.mx.script(move |_, step| if let Step::Ehlo(_) = step { Act::SayAndClose(text.into()) } else { Act::Usual });
        let rcpt = format!("r{n}@example.test");
        world.relay.send(&Mail::new("", &[&rcpt], "one"));
        let event = wait::until("an answer", || {
            world.relay.log().events().into_iter().find(|e| e["rcpt"] == rcpt.as_str() && e["event"] != "accepted" && e["event"] != "held")
        });
        assert_eq!((&event["smtp_stage"], event["smtp_code"].as_u64()), (&"ehlo".into(), text[..3].parse().ok()), "{event}");
        assert!(event["smtp_text"].as_str().unwrap().starts_with(text[4..].split('\r').next().unwrap()), "{event}");
    }
}

#[test]
fn a_refusal_that_breaks_off_is_kept_and_judged_by_what_came() {
    type Is = fn(&Step<'_>) -> bool;
    let all: [(Is, &str, &str, &str); 5] = [
        (|step| matches!(step, Step::Connect), "554-5.7.1 Access denied, see https://a.test", "banner", "deferred"),
        (|step| matches!(step, Step::Ehlo(_)), "554-5.7.1 Access denied, see https://a.test", "ehlo", "deferred"),
        (|step| matches!(step, Step::Mail(_)), "550-5.1.8 the sender does not exist", "mail", "bounced"),
        (|step| matches!(step, Step::Rcpt(_)), "550-5.1.1 no such user here", "rcpt", "bounced"),
        (|step| matches!(step, Step::Dot(_)), "554-5.7.1 it is spam", "dot", "bounced"),
    ];
    for (at, text, stage, event) in all {
        let world = support::World::start("retry.schedule = [\"1h\"]");
        world.mx.script(move |_, step| if at(&step) { Act::SayAndClose(text.into()) } else { Act::Usual });
        world.relay.send(&Mail::new("", &["r@example.test"], "one"));
        let end = world.relay.log().wait_for(event, "r@example.test");
        assert_eq!((&end["smtp_stage"], end["smtp_code"].as_u64()), (&stage.into(), text[..3].parse().ok()), "{end}");
        assert_eq!(end["smtp_text"], text[4..], "{end}");
        assert!(world.relay.ok(["why", "r@example.test"]).contains(&text[10..]), "{text}");
    }
}
