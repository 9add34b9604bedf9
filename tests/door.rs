//! Who may send, and how: TLS, AUTH, certificates, load balancers, and bans for guessing.

use std::{
    net::TcpListener,
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use base64::prelude::{BASE64_STANDARD, Engine};
use support::{
    Client, Mail, Relay, World,
    certs::{authority_pem, certified_pem, trusting},
    people::{HOST, add_user, auth_plain, certificate},
    relay::{binary, free_port},
    wait,
    world::listening,
};

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";

/// A relay with STARTTLS, a user "app" with the password "pencil", and more keys for the listener.
fn world(listener: &str, more: &str, user: &[&str]) -> World {
    listening(|relay| {
        let certificate = certificate(relay);
        add_user(relay, "app", "pencil", user);
        format!("[listen.default]\ntls = \"starttls\"\n{certificate}{listener}\n{more}")
    })
}

fn secure(world: &World) -> Client {
    Client::starttls(world.relay.port(), HOST, &trusting(None)).unwrap()
}

#[test]
fn a_user_logs_in_under_tls_and_the_log_and_the_received_field_know() {
    let world = world("require_auth = true", "", &[]);
    let mut plain = Client::hello(world.relay.port()).unwrap();
    assert_eq!(plain.say(&auth_plain("app", "pencil")).unwrap().code, 538, "not without TLS");
    assert_eq!(plain.say(&format!("MAIL FROM:<{FROM}>")).unwrap().code, 530);
    let mut client = secure(&world);
    let announced = client.say("EHLO client.test").unwrap().text();
    assert!(announced.contains("AUTH SCRAM-SHA-256 PLAIN LOGIN") && !announced.contains("STARTTLS"), "{announced}");
    assert_eq!(client.say(&format!("MAIL FROM:<{FROM}>")).unwrap().code, 530);
    assert_eq!(client.say(&auth_plain("app", "pencil")).unwrap().code, 235);
    assert_eq!(client.submit(&Mail::new(FROM, &[TO], "one")).unwrap().code, 250);
    assert_eq!(world.relay.log().wait_for("accepted", TO)["user"], "app");
    let got = String::from_utf8(world.mx.wait_for(1).remove(0).data).unwrap();
    assert!(got.contains(" with ESMTPSA id "), "{got}");
}

#[test]
fn a_user_of_the_page_alone_logs_in_and_sends_nothing() {
    let world = world("require_auth = true", "", &["--role", "viewer"]);
    let mut client = secure(&world);
    assert_eq!(client.say(&auth_plain("app", "pencil")).unwrap().code, 235);
    for from in [FROM, ""] {
        let answer = client.say(&format!("MAIL FROM:<{from}>")).unwrap();
        assert!(answer.code == 550 && answer.text().contains("user app may not send mail"), "{answer:?}");
    }
}

#[test]
fn the_mechanisms_are_those_of_the_listener() {
    let world = world("auth_mechanisms = [\"SCRAM-SHA-256-PLUS\", \"PLAIN\"]", "", &[]);
    let mut client = secure(&world);
    let announced = client.say("EHLO client.test").unwrap().text();
    assert!(announced.contains("AUTH SCRAM-SHA-256-PLUS PLAIN\n") || announced.ends_with("AUTH SCRAM-SHA-256-PLUS PLAIN"), "{announced}");
    assert_eq!(client.say("AUTH LOGIN").unwrap().code, 504);
    assert_eq!(client.say(&auth_plain("app", "pencil")).unwrap().code, 235);
}

#[test]
fn who_guesses_is_told_the_same_for_every_name_and_shut_out_in_the_end() {
    let world = world("", "[bans]\nfailures = 3\ndelay = \"0s\"\nexempt = []", &[]);
    let mut client = secure(&world);
    let wrong = client.say(&auth_plain("app", "pen")).unwrap();
    let nobody = client.say(&auth_plain("nobody", "pen")).unwrap();
    assert_eq!((wrong.code, wrong.text()), (nobody.code, nobody.text()));
    assert_eq!(client.say(&auth_plain("app", "pen")).unwrap().code, 535);
    assert!(client.say("NOOP").is_ok_and(|last| last.code == 421), "the session is over");
    let event = world.relay.log().wait_for_relay("banned");
    assert!(event["detail"].as_str().unwrap().contains("127.0.0.1 is shut out"), "{event}");
    let (_, refused) = Client::connect(world.relay.port()).unwrap();
    assert!(refused.code == 421 && refused.text().contains("too many wrong passwords"), "{refused:?}");
    let rejected = world.relay.log().wait_for_many("rejected", "", 4);
    let said: Vec<_> = rejected.iter().map(|e| (e["reason"].as_str().unwrap(), e["user"].as_str())).collect();
    let app = ("auth_failed", Some("app"));
    assert_eq!(said, [app, ("auth_failed", Some("no such user")), app, ("banned", None)]);
}

/// People type their password where their name belongs, and a log is read by more people than a password is meant for.
#[test]
fn what_is_typed_in_the_place_of_the_name_is_not_in_the_log() {
    let world = world("", "[bans]\nfailures = 100\ndelay = \"0s\"\nexempt = []", &[]);
    let secret = "correct-horse-battery";
    let mut client = secure(&world);
    assert_eq!(client.say(&auth_plain(secret, "x")).unwrap().code, 535);
    assert_eq!(client.say("AUTH LOGIN").unwrap().code, 334);
    assert_eq!(client.say(&BASE64_STANDARD.encode(secret)).unwrap().code, 334);
    assert_eq!(client.say(&BASE64_STANDARD.encode("x")).unwrap().code, 535);
    salt(&mut client, secret);
    assert_eq!(client.say("*").unwrap().code, 501);
    let rejected = world.relay.log().wait_for_many("rejected", "", 3);
    assert!(rejected.iter().all(|event| event["user"] == "no such user"), "{rejected:?}");
    assert!(!format!("{rejected:?}").contains(secret), "{rejected:?}");
}

/// Asks for the salt of a name, as SCRAM begins (RFC 5802 §5); returns salt and iterations.
fn salt(client: &mut Client, name: &str) -> String {
    let first = BASE64_STANDARD.encode(format!("n,,n={name},r=abc"));
    let challenge = client.say(&format!("AUTH SCRAM-SHA-256 {first}")).unwrap();
    assert_eq!(challenge.code, 334, "{challenge:?}");
    let told = String::from_utf8(BASE64_STANDARD.decode(challenge.text()).unwrap()).unwrap();
    told.split_once(',').unwrap().1.to_owned()
}

#[test]
fn salts_tell_nobody_who_is_a_user_not_even_after_a_restart() {
    let mut world = world("", "", &[]);
    let asked = |world: &World| {
        ["app", "nobody", "else"].map(|name| {
            let mut client = secure(world);
            let told = salt(&mut client, name);
            assert_eq!(client.say("*").unwrap().code, 501);
            told
        })
    };
    let first = asked(&world);
    world.relay.stop();
    world.relay.run();
    assert_eq!(asked(&world), first);
    let form = |told: &String| told.split_once(",i=").map(|(salt, iterations)| (salt.len(), iterations.to_owned()));
    assert!(first.iter().all(|told| form(told) == form(&first[0])), "{first:?}");
}

#[test]
fn whoever_asks_for_salts_and_proves_nothing_guesses() {
    let world = world("", "[bans]\nfailures = 3\ndelay = \"0s\"\nexempt = []", &[]);
    // A user's name costs what any other does; so does cancelling, nonsense, and going away.
    let mut client = secure(&world);
    salt(&mut client, "app");
    assert_eq!(client.say("*").unwrap().code, 501);
    salt(&mut client, "nobody");
    assert_eq!(client.say("?").unwrap().code, 501);
    salt(&mut client, "else");
    drop(client);
    let event = world.relay.log().wait_for_relay("banned");
    assert!(event["detail"].as_str().unwrap().contains("127.0.0.1 is shut out"), "{event}");
    assert_eq!(Client::connect(world.relay.port()).unwrap().1.code, 421);
    let rejected = world.relay.log().wait_for_many("rejected", "", 4);
    let said: Vec<_> = rejected.iter().map(|e| (e["reason"].as_str().unwrap(), e["user"].as_str())).collect();
    let expected =
        [("cancelled", Some("app")), ("syntax", Some("no such user")), ("auth_abandoned", Some("no such user")), ("banned", None)];
    assert_eq!(said, expected);
}

#[test]
fn a_client_of_no_network_must_be_a_user_and_may_not_more_than_that_user() {
    let user = ["--sender", "sender.test", "--daily-quota", "3"];
    let mut world = world("allow = []", "", &user);
    let mut client = secure(&world);
    assert_eq!(client.say(&format!("MAIL FROM:<{FROM}>")).unwrap().code, 530);
    assert_eq!(client.say(&auth_plain("app", "pencil")).unwrap().code, 235);
    assert_eq!(client.say("MAIL FROM:<ceo@other.test>").unwrap().code, 550);
    let forged = Mail::raw(FROM, &[TO], b"From: ceo@other.test\r\n\r\nHello.\r\n");
    assert_eq!(client.submit(&forged).unwrap().code, 550);
    let hidden = Mail::raw(FROM, &[TO], b"From: writer@sender.test\r\nFrom: ceo@other.test\r\n\r\nHello.\r\n");
    assert_eq!(client.submit(&hidden).unwrap().code, 554, "which of the two is read, nobody knows");
    assert_eq!(client.submit(&Mail::new(FROM, &[TO, "second@example.test"], "one")).unwrap().code, 250);
    let too_many = client.submit(&Mail::new(FROM, &[TO, "second@example.test"], "two")).unwrap();
    assert!(too_many.code == 452 && too_many.text().contains("3 recipients a day"), "{too_many:?}");
    world.relay.stop();
    world.relay.run();
    let mut client = secure(&world);
    client.say(&auth_plain("app", "pencil")).unwrap();
    assert_eq!(client.submit(&Mail::new(FROM, &[TO, "second@example.test"], "two")).unwrap().code, 452, "a restart grants nothing");
    client.say("RSET").unwrap();
    assert_eq!(client.submit(&Mail::new(FROM, &[TO], "two")).unwrap().code, 250);
    let reasons: Vec<_> =
        world.relay.log().wait_for_many("rejected", "", 6).iter().map(|e| e["reason"].as_str().unwrap().to_owned()).collect();
    let expected = ["auth_required", "sender_not_allowed", "sender_not_allowed", "many_froms", "user_quota", "user_quota"];
    assert_eq!(reasons, expected);
}

#[test]
fn a_certificate_is_as_good_as_a_password() {
    let world = listening(|relay| {
        let certificate = certificate(relay);
        std::fs::write(relay.dir().join("ca.pem"), authority_pem()).unwrap();
        let listener = format!("[listen.default]\ntls = \"implicit\"\nallow = []\nclient_ca = \"ca.pem\"\n{certificate}");
        format!("{listener}[user.shop]\ncertificates = [\"shop.test\"]")
    });
    let hello = |own: Option<&str>| {
        let own = own.map(certified_pem);
        let mut client = Client::raw(world.relay.port()).unwrap();
        client.secure(HOST, &trusting(own.as_ref())).unwrap();
        client.answer().unwrap();
        client.say("EHLO client.test").unwrap();
        client
    };
    for (own, code) in [(None, 530), (Some("stranger.test"), 530), (Some("shop.test"), 250)] {
        assert_eq!(hello(own).submit(&Mail::new(FROM, &[TO], "one")).unwrap().code, code, "{own:?}");
    }
    assert_eq!(world.relay.log().wait_for("accepted", TO)["user"], "shop");
}

#[test]
fn a_new_certificate_is_shown_to_those_who_come_and_costs_nobody_a_connection() {
    let world = world("", "", &[]);
    let mut old = secure(&world);
    certificate(&world.relay);
    world.relay.log().wait_for_relay("renewed");
    let new = secure(&world);
    assert_ne!(old.certificate(), new.certificate());
    assert_eq!(old.submit(&Mail::new(FROM, &[TO], "one")).unwrap().code, 250);
}

#[test]
fn without_a_certificate_one_is_made_up_and_that_is_said() {
    let relay = Relay::start("listen.default.tls = \"starttls\"");
    assert!(relay.ok(["check"]).contains("caution: listen.default has no certificate"));
    wait::until("the caution", || relay.stderr().contains("listen.default has no certificate").then_some(()));
    let mut client = Client::hello(relay.port()).unwrap();
    assert_eq!(client.say("STARTTLS").unwrap().code, 220);
    assert!(client.secure("relay.test", &trusting(None)).is_err(), "nobody vouches for it");
    let event = relay.log().wait_for("rejected", "");
    assert_eq!((&event["command"], &event["reason"]), (&"starttls".into(), &"tls_handshake".into()));
}

#[test]
fn a_balancer_says_who_the_client_is_and_nobody_else_can() {
    let world = World::start("listen.default.proxy_from = [\"127.0.0.1\"]\nlisten.default.allow = [\"192.0.2.0/24\"]");
    let greeted = |header: &str| {
        let mut client = Client::raw(world.relay.port()).unwrap();
        client.send(header.as_bytes()).unwrap();
        (client.answer().unwrap(), client)
    };
    let (greeting, mut client) = greeted("PROXY TCP4 192.0.2.7 127.0.0.1 40000 25\r\n");
    assert_eq!(greeting.code, 220);
    client.say("EHLO client.test").unwrap();
    assert_eq!(client.submit(&Mail::new(FROM, &[TO], "one")).unwrap().code, 250);
    assert_eq!(world.relay.log().wait_for("accepted", TO)["client_ip"], "192.0.2.7");
    let (refused, _) = greeted("PROXY TCP4 203.0.113.7 127.0.0.1 40000 25\r\n");
    assert!(refused.code == 554 && refused.text().contains("203.0.113.7"), "{refused:?}");
    let (refused, _) = greeted("EHLO client.test\r\n");
    assert_eq!(refused.code, 421);
    assert_eq!(world.relay.log().wait_for_many("rejected", "", 2)[1]["reason"], "no_proxy_header");
}

#[test]
fn a_socket_that_systemd_opened_is_used() {
    let relay = Relay::prepare("");
    let port = free_port();
    let socket = TcpListener::bind(("127.0.0.1", port)).unwrap();
    // As systemd does: the socket is descriptor 3, and the environment says so.
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=default exec \"$0\" run";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).arg(binary()).current_dir(relay.dir()).env("POSTHASTE_CONFIG", relay.config_path());
    command.stdin(Stdio::from(OwnedFd::from(socket))).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let greeting = wait::within(wait::PATIENCE, || Client::connect(port).ok().map(|(_, greeting)| greeting.code));
    let own = Client::connect(relay.port()).is_err();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(greeting, Some(220));
    assert!(own, "the listener's own address is not used");
}

#[test]
fn who_sends_a_byte_now_and_then_is_not_waited_for() {
    let relay = Relay::start(
        "limits.command_timeout = \"1s\"\nlimits.data_timeout = \"1s\"\nlimits.data_rate = \"1 MiB\"\nlimits.session_idle = \"2s\"",
    );
    // Each byte arrives in time, but the command is never complete.
    let mut slow = Client::hello(relay.port()).unwrap();
    assert_eq!(trickle(&mut slow, b"N"), 421);
    let mut slow = Client::hello(relay.port()).unwrap();
    for line in [format!("MAIL FROM:<{FROM}>"), format!("RCPT TO:<{TO}>"), "DATA".to_owned()] {
        slow.say(&line).unwrap();
    }
    assert_eq!(trickle(&mut slow, b"x"), 421);
    // Every command is complete, but no mail is ever submitted.
    let mut idle = Client::hello(relay.port()).unwrap();
    let last = wait::until("the end of patience", || idle.say("NOOP").ok().filter(|answer| answer.code != 250));
    assert_eq!(last.code, 421);
}

/// The answer to bytes that are sent one by one.
fn trickle(client: &mut Client, byte: &[u8]) -> u16 {
    client.patience(std::time::Duration::from_millis(100));
    wait::until("an answer", || {
        // The relay may have closed the connection; its last reply can still be read.
        let _ = client.send(byte);
        client.answer().ok().map(|answer| answer.code)
    })
}

#[test]
fn mail_that_comes_in_all_at_once_has_its_bound() {
    let relay = Relay::start("limits.message_size = \"1 MiB\"\nlimits.receive_memory = \"1 MiB\"");
    let begin = || {
        let mut client = Client::hello(relay.port()).unwrap();
        for line in [format!("MAIL FROM:<{FROM}>"), format!("RCPT TO:<{TO}>"), "DATA".to_owned()] {
            client.say(&line).unwrap();
        }
        client
    };
    let (mut greedy, mut modest) = (begin(), begin());
    let piece = "x".repeat(998) + "\r\n";
    for client in [&mut greedy, &mut modest] {
        client.send(b"Subject: one\r\n\r\n").unwrap();
    }
    modest.send(piece.repeat(300).as_bytes()).unwrap();
    greedy.send(piece.repeat(900).as_bytes()).unwrap();
    // Both are read at once: the greedy client gets its 421 with its next bytes after those of the modest one.
    greedy.patience(std::time::Duration::from_millis(100));
    let told = wait::until("the greedy one to be told", || {
        let _ = greedy.send(piece.as_bytes());
        greedy.answer().ok()
    });
    assert_eq!(told.code, 421);
    let event = relay.log().wait_for("rejected", "");
    assert_eq!((&event["command"], &event["reason"]), (&"data".into(), &"receive_memory".into()));
    modest.send(b".\r\n").unwrap();
    assert_eq!(modest.answer().unwrap().code, 250);
}

#[test]
fn what_is_suppressed_for_one_user_is_sent_by_others() {
    let world = world("refuse_suppressed = false", "", &[]);
    world.relay.ok(["suppress", "add", TO, "--scope", "user:app"]);
    let mut client = secure(&world);
    assert_eq!(client.say(&auth_plain("app", "pencil")).unwrap().code, 235);
    assert_eq!(client.submit(&Mail::new(FROM, &[TO], "one")).unwrap().code, 250);
    assert_eq!(world.relay.log().wait_for("suppressed", TO)["scope"], "user:app");
    world.relay.send(&Mail::new(FROM, &[TO], "two"));
    world.relay.log().wait_for("delivered", TO);
    assert_eq!(world.mx.messages().len(), 1);

    let written = std::fs::read_to_string(world.relay.config_path()).unwrap();
    world.relay.write_config(&written.replace("refuse_suppressed = false", "refuse_suppressed = true"));
    world.relay.ok(["reload"]);
    let refused = |client: &mut Client| {
        client.say(&format!("MAIL FROM:<{FROM}>")).unwrap();
        client.say(&format!("RCPT TO:<{TO}>")).unwrap().code
    };
    assert_eq!(refused(&mut client), 550);
    assert_eq!(refused(&mut Client::hello(world.relay.port()).unwrap()), 250);
}
