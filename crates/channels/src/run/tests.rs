//! The running task, with real sockets.

use std::{num::NonZeroU32, path::Path};

use posthaste_host::Roots;
use posthaste_journal::stamp;
use posthaste_mail::{Domain, Secret};
use posthaste_monitor::{EventLog, LogOptions};
use posthaste_smtp::client::TlsConfigs;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{Change, Channel, SecretUrl, Severity, Way, notification::tests::opened};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn journal(dir: &Path) -> Journal {
    let node = InForce::fixed(name("mx1"));
    let (log, _) = EventLog::open(LogOptions::new(dir.join("log")), clock::now, stamp(node.clone()), |_, _| ()).unwrap();
    Journal::new(log, node)
}

fn settings(port: u16) -> InForce<Settings> {
    let certificate = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap().cert;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let url = SecretUrl::new(format!("http://127.0.0.1:{port}/").parse().unwrap()).unwrap();
    let channel = Channel {
        way: Way::Webhook { url, authorization: None::<Secret> },
        rules: Vec::new(),
        severity: Severity::Warn,
        per_hour: NonZeroU32::new(30).unwrap(),
        timeout: Duration::from_secs(10),
        roots: Roots::System,
    };
    let channels = [(name("ops"), (channel, TlsConfigs::new(roots).unwrap()))].into();
    InForce::fixed(Settings {
        node: name("mx1"),
        hostname: Domain::new("mx1.example.com").unwrap(),
        channels,
        heartbeat: None,
        report: None,
    })
}

/// Takes the next request, and answers that all is well.
async fn heard(listener: &TcpListener) -> String {
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut text = String::new();
    while !text.ends_with("}") {
        let mut buffer = [0; 4096];
        let n = socket.read(&mut buffer).await.unwrap();
        assert!(n > 0, "{text}");
        text += std::str::from_utf8(&buffer[..n]).unwrap();
    }
    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    text
}

/// What the log says about channels.
fn said(dir: &Path, journal: &Journal) -> Vec<String> {
    journal.flush().unwrap();
    let text = std::fs::read_to_string(dir.join("log/delivery.log")).unwrap();
    text.lines().filter(|line| line.contains(r#""part":"channels""#)).map(str::to_owned).collect()
}

#[tokio::test]
async fn word_is_sent_once_and_survives_a_restart_while_nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let start = || {
        let channels = Channels::new(settings(port), journal.clone(), dir.path());
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(channels.clone().run(stopped));
        (channels, stop, running)
    };
    let end = async |stop: watch::Sender<bool>, running: JoinHandle<()>| {
        stop.send_replace(true);
        running.await.unwrap();
    };

    // Nobody listens: it fails, and that is said once.
    let (channels, stop, running) = start();
    channels.offer([opened("01J1")]);
    while said(dir.path(), &journal).is_empty() {
        tokio::task::yield_now().await;
    }
    end(stop, running).await;
    let lines = said(dir.path(), &journal);
    assert!(lines.len() == 1 && lines[0].contains(r#""state":"alarm""#) && lines[0].contains("alarm.ops"), "{lines:?}");

    // After a restart somebody does.
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let (channels, stop, running) = start();
    channels.offer([opened("01J1")]);
    let text = heard(&listener).await;
    assert!(text.contains(r#""id":"01J1""#) && text.contains(r#""state":"opened""#), "{text}");
    end(stop, running).await;

    // After another one it is known that it was told: only its end is news.
    let (channels, stop, running) = start();
    channels.offer([opened("01J1"), crate::Notification { change: Change::Closed, ..opened("01J1") }]);
    let text = heard(&listener).await;
    assert!(text.contains(r#""state":"closed""#), "{text}");
    end(stop, running).await;
    let (_, stop, running) = start();
    end(stop, running).await;
    assert!(timeout(Duration::ZERO, listener.accept()).await.is_err(), "nothing more comes");
}

#[tokio::test]
async fn a_test_says_for_each_channel_how_it_went() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let channels = Channels::new(settings(listener.local_addr().unwrap().port()), journal(dir.path()), dir.path());
    let (tested, text) = tokio::join!(channels.test(None), heard(&listener));
    assert_eq!(tested.unwrap(), [Tested { channel: name("ops"), kind: "webhook".into(), failed: None }]);
    assert!(text.contains(r#""state":"test""#), "{text}");
    drop(listener);
    let tested = channels.test(Some(&name("ops"))).await.unwrap();
    assert!(tested[0].failed.as_ref().is_some_and(|why| why.contains("refused")), "{tested:?}");
    let unknown = channels.test(Some(&name("opps"))).await.unwrap_err();
    assert_eq!(unknown.to_string(), "there is no channel opps; channels are: ops");
}

#[tokio::test]
async fn a_damaged_file_is_put_aside_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(dir.path());
    std::fs::write(dir.path().join("channels.json"), "{").unwrap();
    drop(Channels::new(settings(1), journal.clone(), dir.path()));
    assert!(said(dir.path(), &journal)[0].contains("cannot be used"));
    assert!(!dir.path().join("channels.json").exists());
}
