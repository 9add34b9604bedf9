//! The spool, the log and deliveries keep the files that they need, however few the relay may have open and however many clients there are.

use std::net::TcpStream;

use support::{Client, FakeMx, Mail, Relay, wait};

const FROM: &str = "writer@sender.test";

/// A relay that may have so many files open, and its receiver.
fn relay(files: u32) -> (Relay, FakeMx) {
    let mx = FakeMx::start();
    let many = "listen.default.max_connections = 1000\nlisten.default.max_connections_per_ip = 1000";
    let mut relay = Relay::prepare(&format!("route.\"*\" = \"{}\"\n{many}", mx.address()));
    relay.files(files);
    (relay, mx)
}

#[test]
fn with_few_files_and_many_clients_mail_is_taken_and_delivered_and_nothing_is_short() {
    let (mut relay, mx) = relay(160);
    relay.run();
    assert!(relay.stderr().contains("this process may have 160 files open"), "{}", relay.stderr());
    let mut client = Client::hello(relay.port()).unwrap();
    let idle: Vec<TcpStream> = (0..400).filter_map(|_| TcpStream::connect(("127.0.0.1", relay.port())).ok()).collect();
    for n in 0..50 {
        assert_eq!(client.submit(&Mail::new(FROM, &[&format!("r{n}@example.test")], "one")).unwrap().code, 250);
    }
    mx.wait_for(50);
    assert!(std::fs::read_dir(format!("/proc/{}/fd", relay.pid())).unwrap().count() < 160);
    assert!(!relay.stderr().contains("Too many open files"), "{}", relay.stderr());
    drop(idle);
    wait::until("a new client's turn", || Client::hello(relay.port()).ok()?.submit(&Mail::new(FROM, &["r@example.test"], "one")).ok());
}

#[test]
fn with_too_few_files_it_does_not_start_and_says_what_it_needs() {
    for files in [24, 64] {
        let (mut relay, _mx) = relay(files);
        relay.spawn();
        assert_eq!(relay.wait().code(), Some(1));
        let said = relay.stderr();
        assert!(said.contains(&format!("this process may have {files} files open")) && said.contains("ulimit -n to 128"), "{said}");
        relay.spoilt();
    }
}
