//! Tokens of an OAuth 2.0 server instead of passwords: real clients log in with them, and the server is asked (RFC 7662).

use std::{
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use support::{
    Client, World,
    certs::{authority_pem, trusting},
    oauth::{Endpoint, Mood},
    people::{HOST, add_user, certificate},
    relay::text,
    tools::have,
    world::listening,
};

const CURL: &str = "/usr/bin/curl";
const PYTHON: &str = "/usr/bin/python3";
const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";
/// A token that contains every character that a token may have (RFC 6750 §2.1).
const TOKEN: &str = "s3cr3t-._~+/token==";
/// The same in form encoding, as it might appear in a log by mistake.
const TOKEN_PART: &str = "s3cr3t";

/// A relay with the users "app" and "web" that asks this endpoint; `keys` are more keys of its table.
fn world(endpoint: &Endpoint, keys: &str, more: &str) -> World {
    listening(|relay| {
        let certificate = certificate(relay);
        add_user(relay, "app", "pencil", &[]);
        add_user(relay, "web", "pen", &[]);
        fs::write(relay.dir().join("ca.pem"), authority_pem()).unwrap();
        fs::write(relay.dir().join("introspection.secret"), format!("{}\n", Endpoint::SECRET)).unwrap();
        let (address, client) = (endpoint.address(), Endpoint::CLIENT);
        let asked =
            format!("[introspection]\nendpoint = \"{address}\"\nclient = \"{client}\"\nclient_secret_file = \"introspection.secret\"\n");
        format!("[listen.default]\ntls = \"starttls\"\nrequire_auth = true\n{certificate}{asked}roots = \"ca.pem\"\n{keys}\n{more}")
    })
}

/// An answer about a token of `user` with this scope and more fields.
fn active(user: &str, scope: &str, more: &str) -> String {
    format!(r#"{{"active":true,"username":"{user}","scope":"{scope}"{more}}}"#)
}

fn secure(world: &World) -> Client {
    Client::starttls(world.relay.port(), HOST, &trusting(None)).unwrap()
}

/// The reply code after OAUTHBEARER (RFC 7628), with the challenge of a refusal read.
fn bearer(client: &mut Client, user: &str, token: &str) -> u16 {
    let name = if user.is_empty() { String::new() } else { format!("a={user}") };
    let message = format!("n,{name},\x01host={HOST}\x01port=587\x01auth=Bearer {token}\x01\x01");
    let answer = client.say(&format!("AUTH OAUTHBEARER {}", BASE64_STANDARD.encode(message))).unwrap();
    if answer.code == 334 { client.say(&BASE64_STANDARD.encode("\x01")).unwrap().code } else { answer.code }
}

fn login(world: &World, user: &str, token: &str) -> u16 {
    bearer(&mut secure(world), user, token)
}

fn curl(world: &World, mechanism: &str, token: &str, user: &str) -> Output {
    let port = world.relay.port();
    let mut curl = Command::new(CURL);
    curl.args(["--silent", "--show-error", "--ssl-reqd", "--cacert", "ca.pem", "--crlf", "--mail-from", FROM, "--mail-rcpt", TO]);
    curl.args(["--upload-file", "-", "--login-options", &format!("AUTH={mechanism}"), "--oauth2-bearer", token, "--user", user]);
    curl.arg("--resolve").arg(format!("{HOST}:{port}:127.0.0.1")).arg(format!("smtp://{HOST}:{port}"));
    let curl = curl.current_dir(world.relay.dir()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = curl.spawn().unwrap();
    // A refused client reads no mail.
    let _ = child.stdin.take().unwrap().write_all(format!("From: {FROM}\nTo: {TO}\nSubject: {mechanism}\n\nHello.\n").as_bytes());
    child.wait_with_output().unwrap()
}

/// Neither the delivery log nor the diagnostics contain any part of a token or of the secret.
#[track_caller]
fn assert_nothing_leaked(world: &World) {
    let events = format!("{:?}", world.relay.log().events());
    let said = world.relay.stderr();
    for secret in [TOKEN_PART, &BASE64_STANDARD.encode(TOKEN_PART), Endpoint::SECRET, "s%2Bc"] {
        assert!(!events.contains(secret) && !said.contains(secret), "{secret} leaked");
    }
}

#[test]
fn curl_sends_with_a_token_by_both_mechanisms_and_the_server_is_asked_once() {
    if !have(CURL) {
        return;
    }
    let endpoint = Endpoint::start();
    endpoint.knows(TOKEN, &active("app", "read smtp.send", r#","aud":["mail.test"],"exp":4000000000"#));
    let world = world(&endpoint, "scope = \"smtp.send\"\naudience = \"mail.test\"", "[run]\nlog_level = \"trace\"");
    for (count, mechanism) in ["OAUTHBEARER", "XOAUTH2"].into_iter().enumerate() {
        let out = curl(&world, mechanism, TOKEN, "app");
        assert!(out.status.success(), "{}", text(&out.stderr));
        let got = String::from_utf8(world.mx.wait_for(count + 1).pop().unwrap().data).unwrap();
        assert!(got.contains(&format!("Subject: {mechanism}\r\n")) && got.contains(" with ESMTPSA id "), "{got}");
    }
    let accepted = world.relay.log().wait_for_many("accepted", TO, 2);
    assert!(accepted.iter().all(|event| event["user"] == "app"), "{accepted:?}");
    assert_eq!((endpoint.asked(), endpoint.faults()), (vec![TOKEN.to_owned()], vec![]));
    assert_nothing_leaked(&world);
}

#[test]
fn pythons_smtplib_sends_with_a_token() {
    if !have(PYTHON) {
        return;
    }
    let endpoint = Endpoint::start();
    endpoint.knows(TOKEN, &active("app", "", ""));
    let world = world(&endpoint, "", "");
    let script = "\
import smtplib, ssl, sys
port, token, sender, to = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile='ca.pem')
context.check_hostname = False
with smtplib.SMTP('127.0.0.1', port) as client:
    client.starttls(context=context)
    client.ehlo()
    client.auth('XOAUTH2', lambda challenge=None: 'user=app\\x01auth=Bearer ' + token + '\\x01\\x01')
    client.sendmail(sender, [to], 'From: ' + sender + '\\nSubject: python\\n\\nHello.\\n')
";
    let mut python = Command::new(PYTHON);
    let port = world.relay.port().to_string();
    let out = python.args(["-c", script, &port, TOKEN, FROM, TO]).current_dir(world.relay.dir()).output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(world.relay.log().wait_for("delivered", TO)["event"], "delivered");
    assert_eq!(world.relay.log().wait_for("accepted", TO)["user"], "app");
}

#[test]
fn a_token_that_is_not_active_or_for_something_else_is_as_wrong_as_a_password() {
    let endpoint = Endpoint::start();
    for (token, answer) in [
        ("good", active("app", "smtp.send", r#","exp":4000000000"#)),
        ("inactive", r#"{"active":false}"#.into()),
        ("scope", active("app", "smtp.read", "")),
        ("expired", active("app", "smtp.send", r#","exp":1000000000"#)),
        ("early", active("app", "smtp.send", r#","nbf":4000000000"#)),
        ("stranger", active("nobody", "smtp.send", "")),
        ("nameless", r#"{"active":true,"scope":"smtp.send"}"#.into()),
    ] {
        endpoint.knows(token, &answer);
    }
    let world = world(&endpoint, "scope = \"smtp.send\"", "[bans]\ndelay = \"0s\"");
    for user in ["app", ""] {
        assert_eq!(login(&world, user, "good"), 235, "{user:?}");
    }
    let wrong = ["inactive", "scope", "expired", "early", "stranger", "nameless", "unheard-of"];
    for token in wrong {
        assert_eq!(login(&world, "app", token), 535, "{token}");
    }
    assert_eq!(login(&world, "web", "good"), 535, "it is another's");
    let rejected = world.relay.log().wait_for_many("rejected", "", wrong.len() + 1);
    assert!(rejected.iter().all(|event| event["reason"] == "auth_failed"), "{rejected:?}");
    assert_eq!((endpoint.asked().len(), endpoint.faults()), (1 + wrong.len(), vec![]));
    assert_eq!(endpoint.connections(), 1, "one connection serves them all");
}

#[test]
fn who_guesses_tokens_is_shut_out() {
    let endpoint = Endpoint::start();
    let world = world(&endpoint, "", "[bans]\nfailures = 3\ndelay = \"0s\"\nexempt = []");
    for token in ["guess0", "guess1"] {
        assert_eq!(login(&world, "app", token), 535);
    }
    // With the last one the relay closes the connection.
    let third = BASE64_STANDARD.encode("user=app\x01auth=Bearer guess2\x01\x01");
    let _ = secure(&world).say(&format!("AUTH XOAUTH2 {third}"));
    world.relay.log().wait_for_relay("banned");
    assert_eq!(endpoint.asked(), ["guess0", "guess1", "guess2"]);
}

#[test]
fn while_the_endpoint_is_down_logins_are_put_off_and_afterwards_they_are_not() {
    let endpoint = Endpoint::start();
    endpoint.knows("good", &active("app", "", ""));
    endpoint.knows("later", &active("app", "", ""));
    let world = world(&endpoint, "timeout = \"1s\"", "[bans]\nfailures = 1\ndelay = \"0s\"\nexempt = []");
    assert_eq!(login(&world, "", "good"), 235);
    let moods = [Mood::Status(503), Mood::Status(401), Mood::Status(307), Mood::Junk, Mood::Endless, Mood::Silent];
    for mood in moods {
        endpoint.be(mood);
        assert_eq!(login(&world, "", "later"), 454, "{mood:?}");
    }
    assert_eq!(login(&world, "", "good"), 235, "what is remembered needs no question");
    let alarm = world.relay.log().wait_for_relay("alarm");
    assert!(alarm["part"] == "introspection" && alarm["detail"].as_str().unwrap().contains("status 503"), "{alarm}");
    endpoint.be(Mood::Well);
    assert_eq!(login(&world, "", "later"), 235);
    world.relay.log().wait_for_relay("alarm_over");
    let told = |state: &str| world.relay.log().of("relay", "").iter().filter(|event| event["state"] == state).count();
    assert_eq!((told("alarm"), told("alarm_over"), told("banned")), (1, 1, 0));
    assert!(world.relay.log().of("rejected", "").is_empty(), "nobody was refused");
    assert_eq!(endpoint.faults(), Vec::<String>::new());
}

#[test]
fn a_server_that_hangs_up_or_has_another_certificate_is_no_server() {
    let endpoint = Endpoint::start();
    endpoint.knows("good", &active("app", "", ""));
    endpoint.be(Mood::Gone);
    let world = world(&endpoint, "", "");
    assert_eq!(login(&world, "", "good"), 454);
    endpoint.be(Mood::Well);
    assert_eq!(login(&world, "", "good"), 235);
    let strangers = crate::world(&endpoint, "", "");
    let config = fs::read_to_string(strangers.relay.config_path()).unwrap();
    fs::write(strangers.relay.config_path(), config.replace("roots = \"ca.pem\"", "roots = \"relay.pem\"")).unwrap();
    strangers.relay.ok(["reload"]);
    assert_eq!(login(&strangers, "", "good"), 454);
    let alarm = strangers.relay.log().wait_for_relay("alarm");
    assert!(alarm["detail"].as_str().unwrap().contains("certificate"), "{alarm}");
}

#[test]
fn a_token_that_is_not_to_be_remembered_is_asked_about_each_time() {
    let endpoint = Endpoint::start();
    endpoint.knows("good", &active("app", "", ""));
    let world = world(&endpoint, "remember = 0", "");
    for _ in 0..3 {
        assert_eq!(login(&world, "app", "good"), 235);
    }
    endpoint.knows("good", r#"{"active":false}"#);
    assert_eq!(login(&world, "app", "good"), 535, "it was revoked");
    assert_eq!(endpoint.asked().len(), 4);
}
