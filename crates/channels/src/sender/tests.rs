//! Each way over a real socket, or with a real program.

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use posthaste_host::Roots;
use posthaste_mail::{Address, Name, NextHop};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::{Command, Mail, Notification, Outbox, Severity, notification::tests::opened};

fn tls() -> TlsConfigs {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap().cert;
    roots.add(certificate.der().clone()).unwrap();
    TlsConfigs::new(roots).unwrap()
}

pub(crate) fn sender(way: Way) -> Sender {
    let channel = Channel {
        way,
        rules: Vec::new(),
        severity: Severity::Warn,
        per_hour: std::num::NonZeroU32::new(30).unwrap(),
        timeout: Duration::from_secs(10),
        roots: Roots::System,
    };
    Sender { channel, tls: tls(), hostname: Domain::new("mx1.example.com").unwrap() }
}

fn message() -> Message {
    Message::one(opened("01J1"))
}

fn url(text: &str) -> SecretUrl {
    SecretUrl::new(text.parse().unwrap()).unwrap()
}

/// Answers one request, and returns its header and body.
async fn answer(listener: TcpListener, response: &'static str) -> (String, String) {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut reader = BufReader::new(&mut socket);
    let (mut header, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        header += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.unwrap();
    socket.write_all(response.as_bytes()).await.unwrap();
    (header, String::from_utf8(body).unwrap())
}

async fn endpoint(response: &'static str) -> (u16, JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap().port(), tokio::spawn(answer(listener, response)))
}

#[tokio::test]
async fn a_webhook_gets_json_and_its_authorization() {
    let (port, asked) = endpoint("HTTP/1.1 204 No Content\r\n\r\n").await;
    let authorization = Some(Secret::new("Bearer abc"));
    let sender = sender(Way::Webhook { url: url(&format!("http://127.0.0.1:{port}/hook?x=1")), authorization });
    sender.send(&message(), opened("x").at).await.unwrap();
    let (header, body) = asked.await.unwrap();
    assert!(header.starts_with("POST /hook?x=1 HTTP/1.1\r\n") && header.contains("authorization: Bearer abc\r\n"), "{header}");
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), body::json(&message()));
}

#[tokio::test]
async fn what_a_server_does_not_take_is_told_without_the_url() {
    let cases = [
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 11\r\n\r\nno_team\u{1b}[2J", "127.0.0.1 answers with status 404: no_team\\u001b[2J"),
        ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "redirects are not followed"),
        ("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "answers with status 500"),
    ];
    for (response, said) in cases {
        let (port, asked) = endpoint(response).await;
        let sender = sender(Way::Slack(url(&format!("http://127.0.0.1:{port}/services/SECRET"))));
        let error = sender.send(&message(), opened("x").at).await.unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains("SECRET"), "{error}");
        assert!(!format!("{sender:?}").contains("SECRET"));
        asked.await.unwrap();
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = sender(Way::Slack(url(&format!("http://127.0.0.1:{nobody}/SECRET")))).send(&message(), opened("x").at).await.unwrap_err();
    assert!(error.to_string().contains("refused") && !error.to_string().contains("SECRET"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = sender(Way::Slack(url(&format!("http://127.0.0.1:{port}/")))).send(&message(), opened("x").at).await.unwrap_err();
    assert!(matches!(error, SendError::Late(_)), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_is_dead_for_an_hour_hears_it_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let sender = sender(Way::Slack(url(&format!("http://{address}/"))));
    let ops = Name::new("ops").unwrap();
    let (mut outbox, start) = (Outbox::default(), opened("x").at);
    outbox.set_channels([(ops.clone(), (&sender.channel).into())].into());
    outbox.offer(opened("01J1"), start);
    let mut now = start;
    while now.duration_since(start) < jiff::SignedDuration::from_hours(1) {
        let (_, message) = outbox.due(now).pop().unwrap();
        sender.send(&message, now).await.unwrap_err();
        assert_eq!(outbox.failed(&ops, now), 0);
        now = outbox.next_due().unwrap();
    }
    let listener = TcpListener::bind(address).await.unwrap();
    let heard = tokio::spawn(answer(listener, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
    let (_, message) = outbox.due(now).pop().unwrap();
    sender.send(&message, now).await.unwrap();
    outbox.succeeded(&ops, now);
    assert!(heard.await.unwrap().1.contains("microsoft refuses mail"));
    assert_eq!((outbox.next_due(), outbox.waiting(&ops)), (None, 0), "it was told");
}

fn script(dir: &Path, text: &str) -> Way {
    let program = dir.join("alarm.sh");
    std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Way::Command(Command { program, arguments: vec![dir.display().to_string(), "$(id); *".into()] })
}

#[tokio::test]
async fn a_command_reads_json_and_gets_its_arguments_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let way = script(dir.path(), "cat > \"$1/json\"\nprintf %s \"$2\" > \"$1/argument\"\nenv > \"$1/env\"");
    sender(way).send(&message(), opened("x").at).await.unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&read("json")).unwrap(), body::json(&message()));
    assert_eq!(read("argument"), "$(id); *");
    assert!(!read("env").contains("CARGO"), "the relay's environment is not the command's business");
}

#[tokio::test]
async fn a_command_that_fails_says_why_and_one_that_reads_nothing_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let fails = sender(script(dir.path(), "echo no modem >&2; exit 3"));
    for _ in 0..30 {
        let error = fails.send(&message(), opened("x").at).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("no modem"), "{error}");
    }
    let leaves = script(dir.path(), "(exec sleep 1000) & echo $! > \"$1/pid\"; echo no modem >&2; exit 3");
    let error = sender(leaves).send(&message(), opened("x").at).await.unwrap_err().to_string();
    assert!(error.ends_with("no modem"), "nothing waits for what it left behind: {error}");
    let left = std::fs::read_to_string(dir.path().join("pid")).unwrap().trim().parse().ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(left.unwrap(), rustix::process::Signal::KILL).unwrap();
    let many: Vec<Notification> = (0..20).map(|n| Notification { detail: "x".repeat(700), ..opened(&n.to_string()) }).collect();
    let large = Message { news: many, ..message() };
    sender(script(dir.path(), "exit 0")).send(&large, opened("x").at).await.unwrap();
    let missing = Way::Command(Command { program: dir.path().join("nothing"), arguments: Vec::new() });
    let error = sender(missing).send(&message(), opened("x").at).await.unwrap_err().to_string();
    assert!(error.contains("cannot be started"), "{error}");
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_what_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let mut sender = sender(script(dir.path(), "sleep 1000 & echo $! > \"$1/child\"; mv \"$1/child\" \"$1/pid\"; wait"));
    sender.channel.timeout = Duration::from_secs(2);
    let error = sender.send(&message(), opened("x").at).await.unwrap_err();
    assert!(matches!(error, SendError::Late(_)), "{error}");
    let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap();
    let lives = || {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // A zombie is one that whoever adopted it has not noticed yet.
        !state.is_empty() && !state.contains(") Z ")
    };
    let dies = async {
        while lives() {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(Duration::from_secs(10), dies).await.is_ok(), "it lives on");
}

fn mail_to(port: u16) -> Way {
    let address = |text: &str| Address::new(text).unwrap();
    let server = NextHop { host: Domain::new("[127.0.0.1]").unwrap(), port };
    Way::Mail(Mail {
        from: address("posthaste@example.com"),
        to: vec![address("ops@example.org"), address("b@example.org")],
        server,
        auth: None,
    })
}

/// A small SMTP server: one session, whose second recipient does not exist. Returns what it heard.
async fn smtp(listener: TcpListener, first_recipient: &'static str) -> String {
    let (socket, _): (TcpStream, _) = listener.accept().await.unwrap();
    let mut socket = BufReader::new(socket);
    let (mut heard, mut recipients, mut in_data) = (String::new(), 0, false);
    socket.get_mut().write_all(b"220 mail.example.org ESMTP\r\n").await.unwrap();
    let mut line = String::new();
    while socket.read_line(&mut line).await.unwrap_or(0) > 0 {
        heard += &line;
        let said = line.trim_end().to_ascii_uppercase();
        line.clear();
        recipients += usize::from(!in_data && said.starts_with("RCPT"));
        let reply = match () {
            () if in_data && said == "." => {
                in_data = false;
                "250 2.0.0 taken"
            }
            () if in_data => continue,
            () if said.starts_with("RCPT") && recipients == 1 => first_recipient,
            () if said.starts_with("RCPT") => "550 5.1.1 no such user",
            () if said == "DATA" && first_recipient.starts_with('2') => {
                in_data = true;
                "354 go on"
            }
            () if said == "DATA" => "554 5.5.1 no valid recipients",
            () => "250 ok",
        };
        let written = socket.get_mut().write_all(format!("{reply}\r\n").as_bytes()).await;
        if written.is_err() || said == "QUIT" {
            break;
        }
    }
    heard
}

#[tokio::test]
async fn mail_goes_by_a_session_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(smtp(listener, "250 2.1.5 ok"));
    sender(mail_to(port)).send(&message(), opened("x").at).await.unwrap();
    let heard = heard.await.unwrap();
    let wanted = [
        "EHLO mx1.example.com\r\n",
        "MAIL FROM:<posthaste@example.com>",
        "RCPT TO:<ops@example.org>",
        "Auto-Submitted: auto-generated\r\n",
    ];
    assert!(wanted.iter().all(|part| heard.contains(part)), "{heard}");
    assert!(heard.contains("Subject: [posthaste mx1] Critical: microsoft refuses mail for reputation\r\n"), "{heard}");
}

#[tokio::test]
async fn mail_that_nobody_takes_is_told_with_the_reply_and_elsewhere_tls_is_needed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(smtp(listener, "550 5.1.1 who is that"));
    let error = sender(mail_to(port)).send(&message(), opened("x").at).await.unwrap_err().to_string();
    assert!(error.contains("550 5.1.1"), "{error}");
    heard.await.unwrap();
    // A name that is this machine only by DNS is a server elsewhere.
    let sender = sender(mail_to(1));
    let Way::Mail(mail) = mail_to(587) else { unreachable!() };
    let server = NextHop { host: Domain::new("mail.example.org").unwrap(), port: 587 };
    let elsewhere = Mail { server, ..mail };
    assert_eq!(
        super::mail::hello(&elsewhere, By { hostname: &sender.hostname, tls: &sender.tls, limit: sender.channel.timeout }).tls,
        posthaste_smtp::client::TlsPolicy::Verify
    );
}
