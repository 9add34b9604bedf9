//! Connections to receivers: shared, kept, limited, lost.

use support::{Act, Client, FakeMx, Gate, Mail, Step, World, dns::DnsServer, wait, world::relay};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";

/// Answers the final dot of the first connection like this; afterwards everything is accepted.
fn once_at_the_dot(act: Act) -> impl Fn(usize, Step<'_>) -> Act + Send + Sync {
    move |session, step| match step {
        Step::Dot(_) if session == 1 => act.clone(),
        _ => Act::Usual,
    }
}

#[test]
fn mail_for_two_domains_with_the_same_hosts_shares_a_connection() {
    let world = World::start("");
    world.dns.mx("cousin.test", 10, "mx1.example.test");
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    let first = world.relay.log().wait_for("delivered", TO);
    world.relay.send(&Mail::new(FROM, &["reader@cousin.test"], "two"));
    let second = world.relay.log().wait_for("delivered", "reader@cousin.test");
    assert_eq!((&first["session"], &first["provider"]), (&second["session"], &second["provider"]));
}

#[test]
fn one_connection_carries_several_messages() {
    let world = World::start("");
    let gate = Gate::new();
    let held = gate.clone();
    world.mx.script(move |_, step| if let Step::Connect = step { Act::Wait(held.clone()) } else { Act::Usual });
    // All wait for the first connections; the remaining messages use those.
    let to: Vec<String> = (0..60).map(|i| format!("r{i}@example.test")).collect();
    let mut client = Client::hello(world.relay.port()).unwrap();
    for rcpt in &to {
        assert_eq!(client.submit(&Mail::new(FROM, &[rcpt], "one")).unwrap().code, 250);
    }
    gate.open();
    let delivered = world.relay.log().wait_for_many("delivered", "", 60);
    let mut sessions: Vec<_> = delivered.iter().map(|e| e["session"].as_str().unwrap()).collect();
    sessions.sort_unstable();
    sessions.dedup();
    assert!(sessions.len() <= 20, "{} sessions, and delivery.connections_per_lane is 20", sessions.len());
    assert!(world.mx.sessions() <= 20);
    // Only the first message of a connection records the time to connect.
    assert_eq!(delivered.iter().filter(|e| e.get("connect_ms").is_some()).count(), sessions.len());
}

#[test]
fn a_connection_ends_after_as_many_messages_as_are_allowed() {
    let world = World::start("delivery.connections_per_lane = 1\ndelivery.messages_per_connection = 3");
    let mut client = Client::hello(world.relay.port()).unwrap();
    for i in 0..7 {
        client.submit(&Mail::new(FROM, &[&format!("r{i}@example.test")], "one")).unwrap();
    }
    let got = world.mx.wait_for(7);
    for session in 1..=world.mx.sessions() {
        assert!(got.iter().filter(|t| t.session == session).count() <= 3);
    }
}

#[test]
fn a_connection_that_died_while_idle_costs_no_attempt() {
    let world = World::start("delivery.idle = \"5m\"");
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    world.relay.log().wait_for("delivered", TO);
    world.mx.hang_up();
    world.mx.wait_until_alone();
    world.relay.send(&Mail::new(FROM, &["second@example.test"], "two"));
    let event = world.relay.log().wait_for("delivered", "second@example.test");
    assert_eq!(event["attempt"], 1);
    assert_eq!(world.relay.log().history("second@example.test"), ["accepted", "delivered"]);
}

#[test]
fn idle_connections_are_closed_with_quit() {
    let world = World::start("delivery.idle = \"0s\"");
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    world.mx.wait_for_command("QUIT");
    world.mx.wait_until_alone();
}

#[test]
fn a_connection_lost_behind_the_final_dot_is_ambiguous_and_tried_again() {
    let world = World::start("");
    world.mx.script(once_at_the_dot(Act::Close));
    let id = world.relay.send(&Mail::new(FROM, &[TO], "one"));
    let log = world.relay.log();
    let deferred = log.wait_for("deferred", TO);
    assert_eq!(
        (&deferred["ambiguous"], &deferred["cause"], &deferred["smtp_stage"]),
        (&true.into(), &"connection_lost".into(), &"dot".into())
    );
    assert_eq!(log.wait_for("delivered", TO)["attempt"], 2);
    let copies = world.mx.wait_for(2);
    assert_eq!(copies[0].data, copies[1].data);
    assert!(world.relay.ok(["trace", &id]).contains("it may have arrived"));
    assert!(world.relay.assert_balanced().contains("possible duplicates"));
}

#[test]
fn a_connection_lost_before_the_final_dot_is_not_ambiguous() {
    let world = World::start("");
    world.mx.script(|session, step| match step {
        Step::Data if session == 1 => Act::Close,
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    let deferred = world.relay.log().wait_for("deferred", TO);
    assert_eq!((&deferred["cause"], deferred.get("ambiguous")), (&"connection_lost".into(), None));
    world.relay.log().wait_for("delivered", TO);
    assert_eq!(world.mx.messages().len(), 1);
}

#[test]
fn a_receiver_that_says_nothing_is_given_up_after_the_configured_time() {
    let world = World::start("delivery.timeouts.rcpt = \"1s\"\ndelivery.timeouts.banner = \"1s\"");
    world.mx.script(|session, step| match step {
        Step::Connect if session == 1 => Act::Hang,
        Step::Rcpt(_) if session == 2 => Act::Hang,
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    world.relay.log().wait_for("delivered", TO);
    let deferred = world.relay.log().of("deferred", TO);
    let said: Vec<_> = deferred.iter().map(|e| (e["cause"].as_str().unwrap(), e["smtp_stage"].as_str().unwrap())).collect();
    assert_eq!(said, [("timeout", "banner"), ("timeout", "rcpt")]);
}

#[test]
fn a_421_in_the_middle_closes_the_connection_and_the_mail_goes_by_another() {
    let world = World::start("");
    world.mx.script(|session, step| match step {
        Step::Mail(_) if session == 1 => Act::SayAndClose("421 4.3.2 shutting down".into()),
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    let deferred = world.relay.log().wait_for("deferred", TO);
    assert_eq!((&deferred["smtp_code"], &deferred["smtp_stage"]), (&421.into(), &"mail".into()));
    assert_eq!(world.relay.log().wait_for("delivered", TO)["attempt"], 2);
    assert_eq!(world.mx.messages()[0].session, 2);
}

#[test]
fn a_421_at_the_greeting_defers() {
    let world = World::start("");
    world.mx.script(|session, step| match step {
        Step::Connect if session == 1 => Act::SayAndClose("421 4.3.2 shutting down".into()),
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    let deferred = world.relay.log().wait_for("deferred", TO);
    assert_eq!((&deferred["smtp_code"], &deferred["smtp_stage"]), (&421.into(), &"banner".into()));
    world.relay.log().wait_for("delivered", TO);
}

/// RFC 5321 §3.1, RFC 7504 §3: before MAIL a receiver knows of us only.
#[test]
fn a_refusal_before_mail_is_about_us_and_defers_unless_the_host_takes_no_mail_at_all() {
    type Is = fn(&Step<'_>) -> bool;
    let all: [(&str, Is, &str); 5] = [
        ("banner", |step| matches!(step, Step::Connect), "554 5.7.1 mail from 127.0.0.1 is not welcome"),
        ("banner", |step| matches!(step, Step::Connect), "554 No SMTP service here"),
        ("banner", |step| matches!(step, Step::Connect), "521 5.7.1 Service unavailable; client [127.0.0.1] blocked"),
        ("ehlo", |step| matches!(step, Step::Ehlo(_)), "550 5.7.1 what kind of a name is that"),
        ("ehlo", |step| matches!(step, Step::Ehlo(_)), "504 5.5.2 need a fully-qualified hostname"),
    ];
    for (stage, at, text) in all {
        let world = World::start("");
        world.mx.script(move |session, step| if session == 1 && at(&step) { Act::Say(text.into()) } else { Act::Usual });
        world.relay.send(&Mail::new(FROM, &[TO], "one"));
        let deferred = world.relay.log().wait_for("deferred", TO);
        assert_eq!((&deferred["smtp_code"].to_string()[..], &deferred["smtp_stage"]), (&text[..3], &stage.into()), "{deferred}");
        if deferred["action"] == "pause_lane" {
            world.relay.ok(["warmup", "resume", "default/example.test", "--reason", "delisted"]);
        }
        world.relay.log().wait_for("delivered", TO);
    }
    let world = World::start("");
    world.mx.script(|_, step| match step {
        Step::Connect => Act::SayAndClose("521 5.3.2 mx.example.test does not accept mail (RFC 7504)".into()),
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    assert_eq!(world.relay.log().wait_for("bounced", TO)["smtp_stage"], "banner");
}

#[test]
fn a_slow_destination_does_not_hold_up_another() {
    let [slow, fast] = FakeMx::group(["127.0.0.1", "127.0.0.2"]);
    let gate = Gate::new();
    let held = gate.clone();
    slow.script(move |_, step| if let Step::Dot(_) = step { Act::Wait(held.clone()) } else { Act::Usual });
    let dns = DnsServer::start();
    dns.mx("slow.test", 10, "mx.slow.test").a("mx.slow.test", "127.0.0.1");
    dns.mx("fast.test", 10, "mx.fast.test").a("mx.fast.test", "127.0.0.2");
    let relay = relay(&dns, slow.port(), "delivery.connections_per_lane = 4\ndelivery.connections = 8");
    let mut client = Client::hello(relay.port()).unwrap();
    for i in 0..40 {
        client.submit(&Mail::new(FROM, &[&format!("r{i}@slow.test")], "one")).unwrap();
    }
    for i in 0..40 {
        client.submit(&Mail::new(FROM, &[&format!("r{i}@fast.test")], "one")).unwrap();
    }
    fast.wait_for(40);
    assert_eq!(slow.messages().len(), 0);
    gate.open();
    slow.wait_for(40);
}

/// With four connections and two for those that were told to leave.
#[test]
fn receivers_that_stall_at_any_step_hold_up_other_mail_of_their_stream_for_the_patience() {
    for (stage, hosts) in [("banner", 12), ("ehlo", 12), ("mail", 12), ("rcpt", 12), ("data", 12), ("dot", 5)] {
        let [slow, fast] = FakeMx::group(["127.0.0.1", "127.0.0.2"]);
        slow.script(move |_, step| match (stage, step) {
            ("banner", Step::Connect)
            | ("ehlo", Step::Ehlo(_))
            | ("mail", Step::Mail(_))
            | ("rcpt", Step::Rcpt(_))
            | ("data", Step::Data)
            | ("dot", Step::Dot(_)) => Act::Hang,
            _ => Act::Usual,
        });
        let dns = DnsServer::start();
        let to: Vec<String> = (0..hosts).map(|n| format!("r@stall{n}.test")).collect();
        for n in 0..hosts {
            dns.mx(&format!("stall{n}.test"), 10, &format!("mx.stall{n}.test")).a(&format!("mx.stall{n}.test"), "127.0.0.1");
        }
        dns.mx("fast.test", 10, "mx.fast.test").a("mx.fast.test", "127.0.0.2");
        let short = "delivery.connections = 4\ndelivery.connections_per_lane = 1\ndelivery.patience = \"1s\"\n";
        let relay = relay(&dns, slow.port(), &format!("{short}delivery.timeouts.quit = \"1s\""));
        relay.send(&Mail::new(FROM, &to.iter().map(String::as_str).collect::<Vec<_>>(), "one"));
        wait::until("all connections to be taken", || (slow.sessions() >= 4).then_some(()));
        for n in 0..5 {
            relay.send(&Mail::new(FROM, &[&format!("r{n}@fast.test")], "one"));
        }
        fast.wait_for(5);
        if stage != "dot" {
            let deferred = relay.log().wait_for_many("deferred", "", 1);
            let said = deferred[0]["detail"].as_str().unwrap_or_default();
            assert!(said.contains("other mail needed the connection"), "{stage}: {said}");
        }
    }
}

#[test]
fn a_receiver_without_pipelining_gets_its_mail_command_by_command() {
    let world = World::start("");
    world.mx.extensions(&["8BITMIME"]);
    world.relay.send(&Mail::new(FROM, &[TO, "second@example.test"], "one"));
    assert_eq!(world.mx.wait_for(1)[0].rcpts.len(), 2);
}

#[test]
fn a_message_with_a_short_life_is_tried_again_although_its_host_was_just_out_of_reach() {
    let world = World::start("delivery.host_down = \"60s\"\nretry.schedule = [\"2s\"]\nretry.expire = \"20s\"");
    world.mx.script(|session, step| match step {
        Step::Connect if session == 1 => Act::Say("421 4.3.2 not now".into()),
        _ => Act::Usual,
    });
    world.relay.send(&Mail::new(FROM, &[TO], "your one-time password"));
    let event = world.relay.log().wait_for("delivered", TO);
    assert_eq!((event["attempt"].as_u64(), world.mx.sessions()), (Some(2), 2), "two attempts, two connections");
    assert_eq!(world.relay.log().of("deferred", TO).len(), 1);
}

#[test]
fn what_is_passed_over_says_so_and_is_no_attempt() {
    let world = World::start("delivery.host_down = \"60s\"\nretry.schedule = [\"1h\"]");
    world.mx.script(|_, step| if let Step::Connect = step { Act::Say("421 4.3.2 not now".into()) } else { Act::Usual });
    world.relay.send(&Mail::new(FROM, &[TO], "one"));
    assert_eq!(world.relay.log().wait_for("deferred", TO)["attempt"], 1);
    world.relay.send(&Mail::new(FROM, &["second@example.test"], "two"));
    let event = world.relay.log().wait_for("deferred", "second@example.test");
    assert_eq!((event["attempt"].as_u64(), world.mx.sessions()), (Some(0), 1));
    assert!(event["detail"].as_str().unwrap().starts_with("not tried, the hosts just refused a connection"), "{event}");
    assert_eq!(event["not_tried"], true, "{event}");
}
