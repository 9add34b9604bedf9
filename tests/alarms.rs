//! Word of incidents arrives whatever is dead: the provider that the incident is about, the endpoint for an hour, the disk. Nobody hears it twice,
//! nor a hundred times.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use rustix::io::Errno;
use serde_json::Value;
use support::{
    FakeMx,
    relay::free_port,
    scene::{Scene, letter},
    shim::{SystemFault, WRITE},
    wait::until,
};

/// A web service that takes JSON by POST, for as long as the test runs.
struct Endpoint(Arc<Mutex<Vec<Value>>>);

impl Endpoint {
    /// Begins to listen.
    fn start(port: u16) -> Self {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("the port is free");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = heard.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream);
                let (mut line, mut length) = (String::new(), 0);
                while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().expect("a number");
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("the whole body");
                hears.lock().unwrap().push(serde_json::from_slice(&body).expect("JSON"));
                let _ = reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        Self(heard)
    }

    /// The messages so far.
    fn heard(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }

    /// What it was told about a rule: the states, in order.
    fn states(&self, rule: &str) -> Vec<String> {
        let all = self.heard();
        let incidents = all.iter().flat_map(|message| message["incidents"].as_array().expect("incidents").clone());
        incidents
            .filter(|incident| incident["rule"] == rule)
            .map(|incident| incident["state"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

/// Ten recipients wait for a domain whose host is dead.
fn dead(scene: &mut Scene, domains: &[String]) {
    for domain in domains {
        let to: Vec<String> = (0..10).map(|n| format!("r{n}@{domain}")).collect();
        scene.relay.send(&letter("default", "sender.test", &to));
    }
    scene.relay.log().wait_for_many("deferred", "", 10 * domains.len());
    scene.pass(5);
}

fn webhook(port: u16, rule: &str) -> String {
    format!("alarm.web = {{ kind = \"webhook\", url = \"http://127.0.0.1:{port}/alarm\", rules = [\"{rule}\"] }}\n")
}

#[test]
fn word_arrives_by_mail_while_the_provider_is_dead() {
    let ops = FakeMx::start();
    let mut scene = Scene::start_with(|_, dns| {
        dns.mx("dead.test", 10, "mx.dead.test").a("mx.dead.test", "127.0.0.9");
        format!(
            "alarm.ops = {{ kind = \"mail\", from = \"relay@dead.test\", to = [\"ops@dead.test\"], server = \"{}\", rules = [\"mail_stands\"] }}\n",
            ops.address()
        )
    });
    dead(&mut scene, &["dead.test".into()]);
    let got = ops.wait_for(1).remove(0);
    assert_eq!((got.from.as_str(), got.rcpts.as_slice()), ("relay@dead.test", ["ops@dead.test".to_owned()].as_slice()));
    let text = String::from_utf8_lossy(&got.data).into_owned();
    assert!(text.contains("dead.test stands") && text.contains("posthaste log --provider dead.test"), "{text}");
    assert!(scene.relay.log().of("accepted", "ops@dead.test").is_empty(), "it is not in the queue that is stuck");
}

#[test]
fn a_webhook_that_is_dead_for_an_hour_is_told_once_when_it_is_back() {
    let port = free_port();
    let mut scene = Scene::start_with(|_, dns| {
        dns.mx("dead.test", 10, "mx.dead.test").a("mx.dead.test", "127.0.0.9");
        webhook(port, "mail_stands")
    });
    dead(&mut scene, &["dead.test".into()]);
    scene.opened("mail_stands", "provider:dead.test");
    let failed = |event: &Value| event["state"] == "alarm" && event["part"] == "channels";
    scene.relay.log().wait_until("the alarm about the channel", failed);
    for minutes in [20, 20, 20] {
        scene.pass(minutes);
        scene.looked();
    }
    scene.restart();
    scene.looked();
    let endpoint = Endpoint::start(port);
    // The longest wait between two tries is a quarter of an hour.
    scene.pass(16);
    until("word", || (!endpoint.heard().is_empty()).then_some(()));
    scene.restart();
    scene.looked();
    scene.looked();
    assert_eq!(endpoint.states("mail_stands"), ["opened"], "told once");
    scene.relay.log().wait_until("the end of the alarm", |event| event["state"] == "alarm_over" && event["part"] == "channels");
    // Its end is told as well, and once.
    scene.dns.remove("mx.dead.test").a("mx.dead.test", "127.0.0.1");
    scene.relay.ok(["queue", "retry", "--all"]);
    scene.relay.log().wait_for_many("delivered", "", 10);
    scene.looked();
    scene.pass(40);
    until("word of the end", || (endpoint.states("mail_stands").len() == 2).then_some(()));
    assert_eq!(endpoint.states("mail_stands"), ["opened", "closed"]);
}

#[test]
fn a_storm_is_one_message_and_not_a_hundred() {
    let port = free_port();
    let endpoint = Endpoint::start(port);
    let domains: Vec<String> = (0..40).map(|n| format!("dead{n}.test")).collect();
    let mut scene = Scene::start_with(|_, dns| {
        for domain in &domains {
            dns.mx(domain, 10, &format!("mx.{domain}")).a(&format!("mx.{domain}"), "127.0.0.9");
        }
        webhook(port, "mail_stands")
    });
    dead(&mut scene, &domains);
    scene.opened("mail_stands", "provider:dead39.test");
    let told = |endpoint: &Endpoint| {
        let messages = endpoint.heard();
        messages
            .iter()
            .map(|message| message["incidents"].as_array().unwrap().len() as u64 + message["more"].as_u64().unwrap_or(0))
            .sum::<u64>()
    };
    until("word of all", || (told(&endpoint) >= 40).then_some(()));
    scene.looked();
    scene.looked();
    assert!(
        endpoint.heard().len() <= 6 && told(&endpoint) == 40,
        "{} messages about {} incidents",
        endpoint.heard().len(),
        told(&endpoint)
    );
}

#[test]
fn a_full_disk_is_told_while_it_is_full_and_mail_goes_on_once_there_is_room() {
    let port = free_port();
    let endpoint = Endpoint::start(port);
    let mut scene = Scene::start(|_| webhook(port, "house"));
    scene.send("default", "example.test", 1, 0);
    let full = |part| SystemFault { mask: WRITE, part, error: Some(Errno::NOSPC), count: u64::MAX, per_mille: 1000, torn: false, delay: 0 };
    for (n, part) in ["data/log", "data/spool"].into_iter().enumerate() {
        scene.shim.begin(&full(part));
        let rcpt = format!("full{n}@example.test");
        let submit = || scene.relay.submit(&letter("default", "sender.test", std::slice::from_ref(&rcpt)));
        until("mail to be refused", || (submit().code / 100 == 4).then_some(()));
        let about = |message: &Value| message.to_string().contains("no mail is taken");
        until("word of it", || (endpoint.heard().iter().filter(|message| about(message)).count() > n).then_some(()));
        scene.shim.lift();
        until("mail to be taken", || submit().id().map(drop));
        scene.relay.log().wait_for("delivered", &rcpt);
    }
    scene.looked();
    scene.pass(31);
    until("word of the ends", || (endpoint.states("house").iter().filter(|state| *state == "closed").count() >= 2).then_some(()));
}
