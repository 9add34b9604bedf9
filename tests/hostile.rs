//! Many hostile clients at once, beside a good client: the good one is served, and the relay's memory stays within its limit.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use support::{Client, Mail, Relay, World, relay::free_port, wait};

const FROM: &str = "writer@sender.test";
/// Attackers of each kind.
const EACH: usize = 5;
/// Messages of the good client.
const MAILS: usize = 20;
/// The most memory that the relay may use, in KiB. A quarter is for messages being received (`limits.receive_memory`), a quarter for the cache of
/// bodies (`limits.body_cache`), the rest for the program and its sessions.
const MEMORY_MAX: u64 = 256 << 10;

/// One attack over one connection, until the relay ends it or the test does.
type Attack = fn(&mut TcpStream, &AtomicBool) -> io::Result<()>;

const ATTACKS: [(&str, Attack); 8] = [
    ("says nothing", |stream, over| hear_until(stream, over)),
    ("says a byte now and then", |stream, over| {
        for byte in b"EHLO attacker.test".iter().cycle().take_while(|_| !over.load(Relaxed)) {
            stream.write_all(&[*byte])?;
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }),
    ("a line without an end", |stream, over| flood(stream, over, &[b'A'; 16 << 10])),
    ("commands without waiting for an answer", |stream, over| flood(stream, over, &b"NOOP\r\nEHLO x\r\nRSET\r\nVRFY a\r\n".repeat(400))),
    ("recipients without an end", |stream, over| {
        stream.write_all(b"EHLO attacker.test\r\nMAIL FROM:<a@b.test>\r\n")?;
        flood_numbered(stream, over, |n| format!("RCPT TO:<r{n}@example.test>\r\n"))
    }),
    ("a header without an end", |stream, over| {
        stream.write_all(b"EHLO attacker.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")?;
        flood_numbered(stream, over, |n| format!("X-Field-{n}: {}\r\n", "x".repeat(900)))
    }),
    ("a body without an end", |stream, over| {
        stream.write_all(b"EHLO attacker.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nFrom: a@b.test\r\n\r\n")?;
        flood(stream, over, &[[b'y'; 998].as_slice(), b"\r\n"].concat().repeat(16))
    }),
    ("chunks as large as can be said", |stream, over| {
        stream.write_all(
            b"EHLO attacker.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nBDAT 99999999999999999999\r\nBDAT 50000000\r\n",
        )?;
        flood(stream, over, &[b'z'; 16 << 10])
    }),
];

/// Reads what arrives and sends nothing.
fn hear_until(stream: &mut TcpStream, over: &AtomicBool) -> io::Result<()> {
    while !over.load(Relaxed) {
        match stream.read(&mut [0; 512]) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Sends the same bytes again and again and reads no reply.
fn flood(stream: &mut TcpStream, over: &AtomicBool, bytes: &[u8]) -> io::Result<()> {
    while !over.load(Relaxed) {
        stream.write_all(bytes)?;
    }
    Ok(())
}

fn flood_numbered(stream: &mut TcpStream, over: &AtomicBool, line: impl Fn(usize) -> String) -> io::Result<()> {
    for start in (0..).step_by(100).take_while(|_| !over.load(Relaxed)) {
        stream.write_all((start..start + 100).map(&line).collect::<String>().as_bytes())?;
    }
    Ok(())
}

/// Peak resident memory, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the relay runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Submits this many messages over one connection; returns how long that took.
fn good_client(world: &World, name: &str) -> Duration {
    let started = wait::instant();
    let mut client = Client::hello(world.relay.port()).expect("a good client is served");
    for n in 0..MAILS {
        let answer = client.submit(&Mail::new(FROM, &[&format!("{name}{n}@example.test")], "good")).expect("a good client is served");
        assert_eq!(answer.code, 250, "{answer:?}");
    }
    started.elapsed()
}

/// Tells the attackers that it is over.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn under_attack_memory_has_its_bound_and_good_mail_goes_through() {
    let world = World::start("limits.receive_memory = \"64 MiB\"\nlimits.body_cache = \"64 MiB\"\nlimits.message_size = \"50 MiB\"");
    let alone = good_client(&world, "alone");
    let (over, tries) = (AtomicBool::new(false), ATTACKS.map(|_| AtomicUsize::new(0)));
    let attacked = thread::scope(|scope| {
        for ((_, attack), tries) in ATTACKS.iter().zip(&tries) {
            for _ in 0..EACH {
                scope.spawn(|| {
                    while !over.load(Relaxed) {
                        tries.fetch_add(1, Relaxed);
                        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, world.relay.port())) else { continue };
                        let patience = Some(Duration::from_millis(200));
                        stream.set_read_timeout(patience).and_then(|()| stream.set_write_timeout(patience)).expect("a socket");
                        // The relay closed the connection or does not read: both end this attempt.
                        let _ = attack(&mut stream, &over);
                    }
                });
            }
        }
        wait::until("every attack to have begun", || tries.iter().all(|t| t.load(Relaxed) >= EACH).then_some(()));
        // This must happen even if the good client is not served.
        let _end = Ends(&over);
        good_client(&world, "attacked")
    });
    world.relay.log().wait_for("delivered", &format!("attacked{}@example.test", MAILS - 1));
    let peak = peak(world.relay.pid());
    for ((name, _), tries) in ATTACKS.iter().zip(&tries) {
        eprintln!("{name}: {} connections", tries.load(Relaxed));
    }
    eprintln!("{MAILS} messages: {alone:?} alone, {attacked:?} under attack; at most {} MiB", peak >> 10);
    assert!(peak < MEMORY_MAX, "{} MiB", peak >> 10);
}

#[test]
fn strangers_who_sit_at_one_listener_leave_places_to_the_clients_of_another() {
    let returns = free_port();
    let relay = Relay::start(&format!(
        "limits.connections = 20\nreturns.domain = \"bounce.test\"\n[listen.returns]\naddress = \"127.0.0.1:{returns}\"\nrole = \"returns\"\n"
    ));
    let idle: Vec<_> = (0..40).map(|_| Client::connect(returns).expect("the relay answers")).collect();
    assert_eq!(idle.iter().filter(|(_, greeting)| greeting.code == 220).count(), 18, "nine tenths of all places");
    for _ in 0..3 {
        relay.send(&Mail::new(FROM, &["reader@example.test"], "one"));
    }
}

#[test]
fn what_strangers_are_refused_pushes_no_line_about_accepted_mail_out_of_the_log() {
    let returns = free_port();
    let mut relay = Relay::start(&format!(
        "log.rotate_size = \"1 MiB\"\nlog.keep_files = 1\nlog.refusals = 40\nlimits.refusals = 100000\nreturns.domain = \"bounce.test\"\n\
         [listen.returns]\naddress = \"127.0.0.1:{returns}\"\nrole = \"returns\"\n"
    ));
    let id = relay.send(&Mail::new(FROM, &["reader@example.invalid"], "one"));
    let path = format!("{}@{}.test", "x".repeat(60), vec!["y".repeat(60); 3].join("."));
    // Not so many that the relay begins to delay the client.
    let flood = format!("EHLO {}\r\nMAIL FROM:<{path}>\r\n{}QUIT\r\n", "z".repeat(250), format!("RCPT TO:<{path}>\r\n").repeat(900));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, returns)).expect("there is a place");
                let mut reader = stream.try_clone().expect("a socket");
                let reading = thread::spawn(move || reader.read_to_end(&mut Vec::new()));
                // It may be told to leave before it has said everything.
                let _ = stream.write_all(flood.as_bytes());
                let _ = reading.join();
            });
        }
    });
    let rejected = relay.log().of("rejected", "").len();
    assert!((1..=80).contains(&rejected), "{rejected} lines within two minutes");
    assert!(relay.ok(["trace", &id]).contains("reader@example.invalid"));
    assert!(relay.stop().success());
    relay.assert_balanced();
}
