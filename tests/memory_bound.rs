//! Clients of all kinds who want memory at once get what the configuration says and no more, and a good client is served beside them.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::Duration,
};

use serde_json::json;
use support::{
    Client, Mail, Relay,
    http::{Api, Connection, config},
    relay::free_port,
};

const MIB: u64 = 1024;
/// The limits that the relay has here, in MiB: for messages being received, for HTTP, for bodies that wait, for the spool's index.
const LIMITS: [u64; 4] = [24, 60, 8, 8];
/// What connections take beside that: most of them wait for a command, and have short buffers.
const CONNECTIONS: u64 = 400 * 64;
/// What malloc keeps, and what one step of work takes for a moment on each thread.
const REST: u64 = 16 * MIB;

/// Attackers of one kind, so many of them.
type Attack<'a> = (&'a str, usize, &'a (dyn Fn(usize) -> Vec<TcpStream> + Sync));

/// Peak resident memory, in KiB.
fn peak(relay: &Relay) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", relay.pid())).expect("the relay runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn open(port: u16, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("there are places");
    stream.set_read_timeout(Some(Duration::from_secs(20))).and_then(|()| stream.set_write_timeout(Some(Duration::from_secs(20)))).unwrap();
    // The relay may hang up meanwhile.
    let _ = stream.write_all(bytes);
    stream
}

/// Waits until the relay has answered with this text, or refused the message, or hung up.
fn open_and_hear(port: u16, bytes: &[u8], text: &str) -> TcpStream {
    let mut stream = open(port, bytes);
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    let is_over = |heard: &[u8]| [text, "\r\n421", "\r\n552"].iter().any(|end| String::from_utf8_lossy(heard).contains(end));
    while !is_over(&heard)
        && let Ok(read @ 1..) = stream.read(&mut buffer)
    {
        heard.extend_from_slice(&buffer[..read]);
    }
    stream
}

/// A transaction with this many recipients, whose replies are read, and what follows; the client then falls silent.
fn recipients(port: u16, count: usize, then: &[u8]) -> TcpStream {
    let spell =
        |n: usize| "postmaster".char_indices().map(|(i, c)| if n >> i & 1 == 1 { c.to_ascii_uppercase() } else { c }).collect::<String>();
    let mut text = String::from("EHLO client.test\r\nMAIL FROM:<>\r\n");
    for n in 0..count {
        let _ = write!(text, "RCPT TO:<{}@bounce.test> ORCPT=rfc822;{}\r\n", spell(n), "o".repeat(490));
    }
    let mut stream = open(port, b"");
    let mut reader = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut heard, mut buffer) = (0, [0; 4096]);
            while heard < count + 1
                && let Ok(read @ 1..) = reader.read(&mut buffer)
            {
                heard += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
            }
        });
        let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.write_all(then));
    });
    stream
}

/// A request whose body is as announced here, and as much of it as is sent.
fn request(port: u16, token: &str, path: &str, kind: &str, length: &str, body: &[u8]) -> TcpStream {
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: {kind}\r\n{length}\r\n\r\n");
    open(port, &[head.as_bytes(), body].concat())
}

fn whole(port: u16, token: &str, path: &str, kind: &str, body: &[u8]) -> TcpStream {
    let mut stream = request(port, token, path, kind, &format!("Connection: close\r\nContent-Length: {}", body.len()), body);
    let _ = stream.read_to_end(&mut Vec::new());
    stream
}

#[test]
fn whatever_clients_do_at_once_memory_has_the_bound_that_the_configuration_gives() {
    let (http, returns) = (free_port(), free_port());
    let [receive, bodies, cache, index] = LIMITS;
    let tokens = config(http, &[("ann", "ann-token", &["send", "read", "suppress"]), ("bob", "bob-token", &["send", "read", "suppress"])]);
    let relay = Relay::start(&format!(
        "{tokens}\nlimits.receive_memory = \"{receive} MiB\"\nhttp.body_memory = \"{bodies} MiB\"\nhttp.body_size = \"12 MiB\"\n\
         limits.body_cache = \"{cache} MiB\"\nspool.index_cache = \"{index} MiB\"\nlimits.message_size = \"8 MiB\"\n\
         http.max_connections_per_ip = 200\nreturns.domain = \"bounce.test\"\n\
         listen.returns.address = \"127.0.0.1:{returns}\"\nlisten.returns.role = \"returns\"\nlisten.returns.max_connections_per_ip = 200\n"
    ));
    let (port, ann, bob) = (relay.port(), Api::new(http, "ann-token"), "bob-token");
    let draft = json!({"from": "ann@sender.test", "to": "reader@example.invalid", "subject": "one", "text": "x"});
    // A message to many, whose story is long.
    let many: Vec<String> = (0..1000).map(|n| format!("r{n}@example.invalid")).collect();
    let long = json!({"from": "bob@sender.test", "to": many, "subject": "many", "text": "x", "meta": {"a": "x".repeat(250), "b": "y".repeat(250)}});
    let id = Api::new(http, bob).mail(&long);
    ann.mail(&draft);
    let before = peak(&relay);

    let json = |body: &[u8]| whole(http, bob, "/v1/messages", "application/json", body);
    let empty_texts = [&br#"{"from":"a@b.test","to":["#[..], &b"\"\",".repeat(3 << 20), b"\"\"]}"].concat();
    let zeros = [&br#"{"messages":["#[..], &b"0,".repeat(5 << 20), b"0]}"].concat();
    let line = [&[b'x'; 998][..], b"\r\n"].concat();
    let begin = b"EHLO client.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n";
    // Each as long as it may be beside those before it.
    let stalled =
        |n: u64| [&begin[..], b"DATA\r\n\r\n", &line.repeat(usize::try_from((receive * 900 / (n + 1)).min(7000)).unwrap())].concat();
    let chunk = [&begin[..], b"BDAT 6000002\r\n\r\n", &line.repeat(6000), b"NOOP\r\n"].concat();
    let keyed = json!({"messages": vec![draft.clone(); 50]}).to_string();
    let attacks: [Attack<'_>; 11] = [
        ("recipients of idle sessions", 190, &|_| vec![recipients(returns, 1000, b"")]),
        ("messages that stop", 1, &|_| (0..30).map(|n| open_and_hear(port, &stalled(n), "354")).collect()),
        ("chunks of messages that stop", 1, &|_| (0..30).map(|_| open_and_hear(port, &chunk, "bytes taken")).collect()),
        ("long lines of AUTH", 20, &|_| vec![open(port, &[&b"EHLO c.test\r\nAUTH PLAIN "[..], &[b'A'; 12_000]].concat())]),
        ("many values in JSON", 3, &|_| vec![json(&empty_texts)]),
        ("many messages in a batch", 3, &|_| vec![whole(http, bob, "/v1/messages/batch", "application/json", &zeros)]),
        ("an import", 2, &|_| vec![whole(http, bob, "/v1/suppressions/import", "text/csv", &b"x\n".repeat(1 << 19))]),
        ("bodies that are only announced", 30, &|_| {
            vec![
                request(http, bob, "/v1/messages", "application/json", "Content-Length: 12000000", b"{"),
                request(http, bob, "/v1/suppressions/import", "text/csv", "Content-Length: 12000000", b"a@b.c"),
            ]
        }),
        ("bodies in chunks that stop", 10, &|_| {
            let body = [&b"400000\r\n"[..], &[b' '; 1 << 22]].concat();
            vec![request(http, bob, "/v1/messages", "application/json", "Transfer-Encoding: chunked", &body)]
        }),
        ("keys", 2, &|n| {
            (0..3)
                .map(|k| {
                    let kind = format!("application/json\r\nIdempotency-Key: {n}-{k}-{}", "k".repeat(200));
                    whole(http, bob, "/v1/messages/batch", &kind, keyed.as_bytes())
                })
                .collect()
        }),
        ("answers that nobody reads", 20, &|_| {
            let ask = |path: &str| open(http, format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bob}\r\n\r\n").as_bytes());
            vec![ask(&format!("/v1/messages/{id}")), ask("/v1/suppressions?limit=1000")]
        }),
    ];
    let held: Vec<TcpStream> = thread::scope(|scope| {
        let attackers: Vec<_> =
            attacks.iter().flat_map(|(_, count, attack)| (0..*count).map(move |n| scope.spawn(move || attack(n)))).collect();
        // Good clients meanwhile.
        for n in 0..5 {
            let answer = Client::hello(port).unwrap().submit(&Mail::new("ann@sender.test", &["reader@example.invalid"], "good")).unwrap();
            assert_eq!(answer.code, 250, "message {n}: {answer:?}");
            ann.mail(&draft);
        }
        attackers.into_iter().flat_map(|attacker| attacker.join().unwrap()).collect()
    });
    ann.mail(&draft);
    assert!(Connection::open(http).is_ok());
    let (after, most) = (peak(&relay), LIMITS.iter().sum::<u64>() * MIB + CONNECTIONS + REST);
    eprintln!("{} connections: {} MiB before, {} MiB at most; bound: {} MiB more", held.len(), before >> 10, after >> 10, most >> 10);
    assert!(after < before + most, "{} MiB before, {} MiB at the most; it may be {} MiB more", before >> 10, after >> 10, most >> 10);
}
