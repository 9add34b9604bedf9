//! Mail from a client to a receiver found in DNS.

use std::{io::Read, net::TcpStream, process::Command};

use support::{
    Act, Client, FakeMx, Mail, Relay, Step, World,
    dns::{DnsServer, Fault},
    tools::{Sink, have},
    world::relay,
};

const FROM: &str = "writer@sender.test";

#[test]
fn a_message_reaches_the_mx_that_dns_names_and_its_reply_carries_the_queue_id() {
    let world = World::start("");
    let id = world.relay.send(&Mail::new(FROM, &["reader@example.test"], "one"));
    let got = world.mx.wait_for(1).remove(0);
    assert_eq!((got.from.as_str(), got.rcpts.as_slice()), (FROM, &["reader@example.test".to_owned()][..]));
    assert_eq!(got.ehlo, "relay.test");
    let event = world.relay.log().wait_for("delivered", "reader@example.test");
    assert_eq!(event["message"], id.as_str());
    assert_eq!((&event["mx_host"], &event["provider"]), (&"mx1.example.test".into(), &"example.test".into()));
    assert_eq!((&event["smtp_code"], &event["attempt"]), (&250.into(), &1.into()));
    assert_eq!(world.relay.log().history("reader@example.test"), ["accepted", "delivered"]);
    let accepted = world.relay.log().wait_for("accepted", "reader@example.test");
    assert_eq!((&accepted["client_ip"], &accepted["client_ehlo"]), (&"127.0.0.1".into(), &"client.test".into()));
}

#[test]
fn missing_date_and_message_id_are_added_and_bcc_is_taken_out() {
    let world = World::start("");
    let text = b"From: <writer@sender.test>\r\nBcc: <secret@example.test>,\r\n <other@example.test>\r\nSubject: bare\r\n\r\nHello.\r\n";
    let id = world.relay.send(&Mail::raw(FROM, &["reader@example.test"], text));
    let got = String::from_utf8(world.mx.wait_for(1).remove(0).data).unwrap();
    let (header, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(header.starts_with("Received: from client.test "), "{header}");
    assert!(header.contains(&id), "{header}");
    assert_eq!(header.matches("\r\nDate: ").count(), 1, "{header}");
    assert_eq!(header.matches("\r\nMessage-ID: <").count(), 1, "{header}");
    assert!(!header.contains("Bcc") && !header.contains("secret") && !header.contains("other@"), "{header}");
    assert_eq!(body, "Hello.\r\n");
}

#[test]
fn date_and_message_id_that_are_there_stay() {
    let world = World::start("");
    let text = b"Date: Mon, 1 Jun 2026 10:00:00 +0200\r\nMessage-ID: <one@sender.test>\r\nFrom: <writer@sender.test>\r\n\r\nHello.\r\n";
    world.relay.send(&Mail::raw(FROM, &["reader@example.test"], text));
    let got = world.mx.wait_for(1).remove(0).data;
    assert!(got.ends_with(text), "{}", String::from_utf8_lossy(&got));
    assert_eq!(world.relay.log().wait_for("delivered", "reader@example.test")["message_id"], "<one@sender.test>");
}

#[test]
fn the_best_preference_is_tried_first() {
    let [best, worse] = FakeMx::group(["127.0.0.1", "127.0.0.2"]);
    let dns = DnsServer::start();
    dns.mx("example.test", 20, "b.example.test").a("b.example.test", "127.0.0.2");
    dns.mx("example.test", 10, "a.example.test").a("a.example.test", "127.0.0.1");
    let relay = relay(&dns, best.port(), "");
    relay.send(&Mail::new(FROM, &["reader@example.test"], "one"));
    assert_eq!(best.wait_for(1).len(), 1);
    assert_eq!(relay.log().wait_for("delivered", "reader@example.test")["mx_host"], "a.example.test");
    assert_eq!(worse.sessions(), 0);
}

#[test]
fn the_second_host_gets_the_mail_when_the_first_refuses_connections() {
    let [first, second] = FakeMx::group(["127.0.0.1", "127.0.0.2"]);
    let port = second.port();
    drop(first);
    let dns = DnsServer::start();
    dns.mx("example.test", 10, "a.example.test").a("a.example.test", "127.0.0.1");
    dns.mx("example.test", 20, "b.example.test").a("b.example.test", "127.0.0.2");
    let relay = relay(&dns, port, "");
    relay.send(&Mail::new(FROM, &["reader@example.test"], "one"));
    second.wait_for(1);
    let event = relay.log().wait_for("delivered", "reader@example.test");
    assert_eq!((&event["mx_host"], &event["attempt"]), (&"b.example.test".into(), &1.into()));
}

#[test]
fn the_second_host_gets_the_mail_when_the_first_greets_with_421() {
    let [first, second] = FakeMx::group(["127.0.0.1", "127.0.0.2"]);
    first.script(|_, step| match step {
        Step::Connect => Act::SayAndClose("421 4.3.2 not now".into()),
        _ => Act::Usual,
    });
    let dns = DnsServer::start();
    dns.mx("example.test", 10, "a.example.test").a("a.example.test", "127.0.0.1");
    dns.mx("example.test", 20, "b.example.test").a("b.example.test", "127.0.0.2");
    let relay = relay(&dns, second.port(), "");
    relay.send(&Mail::new(FROM, &["reader@example.test"], "one"));
    second.wait_for(1);
    assert_eq!(first.sessions(), 1);
    assert_eq!(relay.log().wait_for("delivered", "reader@example.test")["mx_host"], "b.example.test");
}

#[test]
fn a_domain_without_mx_is_its_own_host() {
    let world = World::start("");
    world.dns.a("plain.test", "127.0.0.1");
    world.relay.send(&Mail::new(FROM, &["reader@plain.test"], "one"));
    world.mx.wait_for(1);
    assert_eq!(world.relay.log().wait_for("delivered", "reader@plain.test")["mx_host"], "plain.test");
}

#[test]
fn domains_that_take_no_mail_or_do_not_exist_bounce_at_once() {
    let world = World::start("");
    world.dns.null_mx("null.test");
    let to = ["reader@null.test", "reader@nowhere.test"];
    world.relay.send(&Mail::new("", &to, "one"));
    let log = world.relay.log();
    let null = log.wait_for("bounced", to[0]);
    assert_eq!((&null["cause"], &null["smtp_stage"], &null["class"]), (&"null_mx".into(), &"dns".into(), &"bad_domain".into()));
    let nowhere = log.wait_for("bounced", to[1]);
    assert_eq!((&nowhere["cause"], &nowhere["attempt"]), (&"no_such_domain".into(), &1.into()));
    assert_eq!(log.history(to[0]), ["accepted", "bounced"]);
}

#[test]
fn broken_dns_is_for_now_and_mail_goes_out_once_it_works() {
    let world = World::start("");
    world.dns.mx("late.test", 10, "mx1.example.test").fault("late.test", Fault::ServFail);
    world.relay.send(&Mail::new(FROM, &["reader@late.test"], "one"));
    let event = world.relay.log().wait_for("deferred", "reader@late.test");
    assert_eq!((&event["cause"], &event["class"]), (&"dns_unavailable".into(), &"dns_failure".into()));
    world.dns.heal("late.test");
    world.relay.ok(["queue", "retry", "--all"]);
    world.mx.wait_for(1);
    world.relay.log().wait_for("delivered", "reader@late.test");
}

#[test]
fn a_stranger_is_refused_and_logged() {
    let relay = Relay::start(r#"listen.default.allow = ["192.0.2.0/24"]"#);
    let (_, greeting) = Client::connect(relay.port()).unwrap();
    assert_eq!(greeting.code, 554);
    assert!(greeting.text().starts_with("5.7.1 ") || greeting.text().contains("127.0.0.1 may not send"), "{greeting:?}");
    let event = relay.log().wait_for("rejected", "");
    let said = (&event["command"], &event["reason"], &event["client_ip"], &event["smtp_code"]);
    assert_eq!(said, (&"connect".into(), &"not_allowed".into(), &"127.0.0.1".into(), &554.into()));
}

#[test]
fn what_is_too_much_is_refused_and_logged() {
    let relay = Relay::start("limits.message_size = \"64 KiB\"\nlimits.header_size = \"16 KiB\"\nlimits.recipients = 100");
    let mut client = Client::hello(relay.port()).unwrap();
    assert_eq!(client.say("MAIL FROM:<a@sender.test> SIZE=70000").unwrap().code, 552);
    let large = Mail::raw(FROM, &["b@example.test"], &[&b"Subject: x\r\n\r\n"[..], &b"0123456789\r\n".repeat(6000)].concat());
    assert_eq!(client.submit(&large).unwrap().code, 552);
    let header = Mail::raw(FROM, &["b@example.test"], &[&b"X: 0123456789\r\n".repeat(1200)[..], b"\r\n"].concat());
    assert_eq!(client.submit(&header).unwrap().code, 552);
    client.say("MAIL FROM:<a@sender.test>").unwrap();
    for i in 0..100 {
        assert_eq!(client.say(&format!("RCPT TO:<b{i}@example.test>")).unwrap().code, 250);
    }
    assert_eq!(client.say("RCPT TO:<onemore@example.test>").unwrap().code, 452);
    assert_eq!(client.say("RSET").unwrap().code, 250);
    assert_eq!(client.say("FROBNICATE").unwrap().code, 500);
    assert_eq!(client.say("MAIL FROM:<no-domain>").unwrap().code, 501);
    assert_eq!(client.say("RCPT TO:<b@example.test>").unwrap().code, 503);
    let events = relay.log().wait_for_many("rejected", "", 7);
    let told: Vec<_> = events.iter().map(|e| (e["command"].as_str().unwrap(), e["reason"].as_str().unwrap())).collect();
    assert_eq!(told[..4], [("mail", "too_large"), ("dot", "too_large"), ("dot", "header_too_large"), ("rcpt", "too_many_recipients")]);
    assert_eq!(events[3]["rcpt"], "onemore@example.test");
    assert!(told[4..].iter().any(|(_, reason)| *reason == "bad_address"), "{told:?}");
}

#[test]
fn clients_of_allow_are_forgiven_what_harms_nobody() {
    let world = World::start("origin = \"sender.test\"");
    let names: [&[u8]; 5] = [b"j\xfcrgens-pc", b"localhost.(none)", b"[IPv6:fe80::1%4]", b"my host", b"DESKTOP-ABC$"];
    for (n, name) in names.into_iter().enumerate() {
        let (mut client, _) = Client::connect(world.relay.port()).unwrap();
        client.send(&[b"EHLO ", name, b"\r\n"].concat()).unwrap();
        assert_eq!(client.answer().unwrap().code, 250, "{}", name.escape_ascii());
        assert_eq!(client.say("MAIL FROM:a@sender.test SIZE=100").unwrap().code, 250);
        assert_eq!(client.say(&format!("RCPT TO: b{n}@example.test")).unwrap().code, 250);
        client.say("DATA").unwrap();
        client.send(b"From shop Mon Sep 17 00:00:00 2001\nFrom: shop\nSubject: LF\n\none\n.\ntwo\r\n.\r\n").unwrap();
        assert_eq!(client.answer().unwrap().code, 250);
    }
    let got = String::from_utf8(world.mx.wait_for(5).remove(0).data).unwrap();
    assert!(
        got.is_ascii() && got.contains("\r\nFrom: shop@sender.test\r\nSubject: LF\r\n") && got.ends_with("one\r\n.\r\ntwo\r\n"),
        "{got}"
    );
    assert_eq!(world.relay.log().wait_for("accepted", "b0@example.test")["client_ehlo"], "j\\xfcrgens-pc");
}

#[test]
fn a_client_that_knows_no_crlf_is_answered() {
    let world = World::start("");
    let (mut client, _) = Client::connect(world.relay.port()).unwrap();
    for line in ["EHLO script.test", "MAIL FROM:<a@sender.test>", "RCPT TO:<b@example.test>", "DATA"] {
        client.send(format!("{line}\n").as_bytes()).unwrap();
        assert!(client.answer().unwrap().code < 400, "{line}");
    }
    client.send(b"From: <a@sender.test>\nSubject: LF\n\none\n..two\n.\n").unwrap();
    assert_eq!(client.answer().unwrap().code, 250);
    let got = String::from_utf8(world.mx.wait_for(1).remove(0).data).unwrap();
    assert!(got.ends_with("\r\n\r\none\r\n.two\r\n"), "{got:?}");
}

#[test]
fn an_author_that_is_written_in_an_odd_way_and_has_one_meaning_is_taken() {
    let world = World::start("");
    let authors =
        ["\"ab..cd\"@sender.test", "Taro <\"abc.\"@sender.test>", "a@sender.test <a@SENDER.test>", "'a@sender.test' <a@sender.test>"];
    for (n, author) in authors.iter().enumerate() {
        let text = format!("From: {author}\r\nSender: {author}\r\nSubject: x\r\n\r\none\r\n");
        world.relay.send(&Mail::raw("a@sender.test", &[&format!("b{n}@example.test")], text.as_bytes()));
        world.relay.log().wait_for("delivered", &format!("b{n}@example.test"));
    }
    let got: Vec<String> = world.mx.wait_for(authors.len()).into_iter().map(|mail| String::from_utf8(mail.data).unwrap()).collect();
    assert!(authors.iter().all(|author| got.iter().any(|text| text.contains(&format!("From: {author}\r\n")))), "{got:?}");
}

#[test]
fn a_client_that_smuggles_is_heard_no_further() {
    let relay = Relay::start("listen.default.bare_line_ends = \"refuse\"");
    let mut client = Client::hello(relay.port()).unwrap();
    client.say("MAIL FROM:<a@sender.test>").unwrap();
    client.say("RCPT TO:<b@example.test>").unwrap();
    client.say("DATA").unwrap();
    client.send(b"Subject: x\r\n\r\none\n.\r\nMAIL FROM:<evil@sender.test>\r\n.\r\n").unwrap();
    assert_eq!(client.answer().unwrap().code, 550);
    assert_eq!(client.answer().unwrap().code, 421);
    client.answer().expect_err("the connection is closed");
    let line = relay.log().wait_for("rejected", "");
    assert_eq!(line["reason"], "bare_lf");
    assert!(line["smtp_text"].as_str().unwrap().contains("listen.default.bare_line_ends = \"fix\""), "{line}");
}

#[test]
fn too_many_connections_from_one_address_are_refused() {
    let relay = Relay::start("listen.default.max_connections_per_ip = 1");
    let first = Client::hello(relay.port());
    // The connection that waited for the listener may not be closed yet.
    let _first = first.unwrap_or_else(|_| support::wait::until("a place", || Client::hello(relay.port()).ok()));
    let (_, refused) = Client::connect(relay.port()).unwrap();
    assert_eq!(refused.code, 421);
    let event = relay.log().wait_for("rejected", "");
    assert_eq!((&event["command"], &event["reason"]), (&"connect".into(), &"too_many_connections".into()));
}

#[test]
fn a_silent_client_does_not_hold_up_others() {
    let world = World::start("");
    let silent = TcpStream::connect(("127.0.0.1", world.relay.port())).unwrap();
    let mut half = Client::hello(world.relay.port()).unwrap();
    half.say("MAIL FROM:<a@sender.test>").unwrap();
    world.relay.send(&Mail::new(FROM, &["reader@example.test"], "one"));
    world.mx.wait_for(1);
    let mut greeting = [0; 3];
    (&silent).read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220");
}

#[test]
fn a_thousand_messages_of_smtp_source_are_all_in_smtp_sink() {
    const SOURCE: &str = "/usr/sbin/smtp-source";
    if !have(SOURCE) || !have(Sink::PROGRAM) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::start(folder.path());
    let relay = Relay::start(&format!("route.\"*\" = \"127.0.0.1:{}\"\ntls.policy = \"none\"", sink.port()));
    let mut source = Command::new(SOURCE);
    source.args(["-s", "10", "-m", "1000", "-l", "2048", "-N", "-f", FROM, "-t", "reader@example.test"]);
    assert!(source.arg(format!("127.0.0.1:{}", relay.port())).status().unwrap().success());
    let delivered = relay.log().wait_for_many("delivered", "", 1000);
    assert_eq!(delivered.len(), 1000);
    let mut rcpts: Vec<_> = delivered.iter().map(|e| e["rcpt"].as_str().unwrap().to_owned()).collect();
    rcpts.sort_unstable();
    rcpts.dedup();
    assert_eq!(rcpts.len(), 1000);
    let dump = sink.dump();
    for rcpt in &rcpts {
        assert!(dump.contains(&format!("<{rcpt}>")), "{rcpt} is not in the sink");
    }
}

#[test]
fn swaks_hands_in_a_message_with_an_attachment() {
    const SWAKS: &str = "/usr/bin/swaks";
    if !have(SWAKS) {
        return;
    }
    let world = World::start("");
    let mut swaks = Command::new(SWAKS);
    swaks.args(["--from", FROM, "--to", "reader@example.test", "--h-Subject", "from swaks", "--attach", "@/dev/null", "--pipeline"]);
    let out = swaks.arg("--server").arg(format!("127.0.0.1:{}", world.relay.port())).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    let got = String::from_utf8(world.mx.wait_for(1).remove(0).data).unwrap();
    assert!(got.contains("\r\nSubject: from swaks\r\n") && got.contains("multipart/mixed"), "{got}");
}
