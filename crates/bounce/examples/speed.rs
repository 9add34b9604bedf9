//! Measures how many replies and mails one core classifies a second:
//! `cargo run --release -p posthaste-bounce --example speed -- [FOLDER OF replies.jsonl AND mails/]`.
//! Without a folder, it takes the examples of the shipped rules and a few built-in mails.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::{path::Path, time::Instant};

use posthaste_bounce::{Context, Quoted, Rules, read_mail};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1);
    let (replies, mails) = match folder.as_deref().map(Path::new) {
        Some(folder) => (replies_of(folder)?, mails_of(folder)?),
        None => (own_replies()?, MAILS.iter().map(|m| m.as_bytes().to_vec()).collect()),
    };
    let (rules, nobody) = (Rules::shipped(), Context::default());
    let google = Context { provider: Some("google"), mx_host: Some("aspmx.l.google.com") };
    let quoted: Vec<Quoted> = replies.iter().map(|r| Quoted::read(r)).collect();
    rate("replies, taken apart", quoted.len(), || quoted.iter().filter(|q| rules.classify_quoted(q, &nobody).permanent).count());
    rate("replies of a known receiver", quoted.len(), || quoted.iter().filter(|q| rules.classify_quoted(q, &google).permanent).count());
    rate("replies as text", replies.len(), || replies.iter().filter(|r| rules.classify_text(r, None).permanent).count());
    rate("mails", mails.len(), || mails.iter().map(|m| read_mail(m, rules).len()).sum());
    Ok(())
}

fn replies_of(folder: &Path) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let rows = std::fs::read_to_string(folder.join("replies.jsonl"))?;
    let rows = rows.lines().map(serde_json::from_str::<serde_json::Value>).collect::<Result<Vec<_>, _>>()?;
    Ok(rows.iter().filter_map(|r| r["reply"].as_str().map(str::to_owned)).collect())
}

fn mails_of(folder: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    std::fs::read_dir(folder.join("mails"))?.map(|entry| std::fs::read(entry?.path())).collect()
}

/// The examples in `config/bounce/*.toml`.
fn own_replies() -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut replies = Vec::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/bounce"))? {
        let file: toml::Table = std::fs::read_to_string(entry?.path())?.parse()?;
        let rules = file.get("rule").and_then(toml::Value::as_array).into_iter().flatten();
        let examples = rules.filter_map(|r| r.get("example")?.as_array()).flatten();
        replies.extend(examples.filter_map(|e| e.as_str().map(str::to_owned)));
    }
    Ok(replies)
}

/// Runs for about two seconds and prints the number of items per second of processor time, and the time of one.
fn rate(what: &str, each: usize, mut round: impl FnMut() -> usize) {
    let (start, spent) = (Instant::now(), processor_seconds());
    let (mut rounds, mut kept) = (0, 0);
    while start.elapsed().as_secs_f64() < 2.0 {
        kept += std::hint::black_box(round());
        rounds += 1;
    }
    let seconds = processor_seconds() - spent;
    let done = (each * rounds) as f64;
    println!("{what}: {:.0} a second, {:.2} µs each ({rounds} rounds of {each}, {kept} counted)", done / seconds, seconds / done * 1e6);
}

/// The processor time of this thread, which other programs on the machine do not affect.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds: f64 = stat.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(f64::NAN);
    nanoseconds / 1e9
}

/// A delivery report, a notice in free text, a complaint, a vacation note.
const MAILS: [&str; 4] = [
    "From: MAILER-DAEMON@mx.example.org\nTo: b+x@bounce.example.com\nSubject: Undelivered Mail Returned to Sender\n\
     Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: text/plain\n\n\
     This is the mail system at host mx.example.org.\n\n<ann@example.net>: host mx.example.net[192.0.2.1] said: 550 5.1.1\n    \
     <ann@example.net>: Recipient address rejected: User unknown (in reply to RCPT TO command)\n\n--b\n\
     Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\nArrival-Date: Mon, 3 Mar 2025 10:00:00 +0000\n\n\
     Final-Recipient: rfc822; ann@example.net\nAction: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx.example.net\n\
     Diagnostic-Code: smtp; 550 5.1.1 <ann@example.net>: Recipient address rejected: User unknown\n\n--b\n\
     Content-Type: message/rfc822\n\nFrom: news@example.com\nTo: ann@example.net\nSubject: News\nMessage-ID: <1@example.com>\n\nHello\n\n--b--\n",
    "Return-Path: <>\nFrom: postmaster@example.net\nTo: b+x@bounce.example.com\nSubject: failure notice\n\n\
     Hi. This is the qmail-send program at example.net.\nI'm afraid I wasn't able to deliver your message to the following addresses.\n\
     This is a permanent error; I've given up. Sorry it didn't work out.\n\n<bob@example.net>:\n\
     Sorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is a copy of the message.\n\n\
     Return-Path: <news@example.com>\nFrom: news@example.com\nTo: bob@example.net\nSubject: News\n\nHello\n",
    "From: complaints@example.net\nTo: fbl@example.com\nSubject: complaint\n\
     Content-Type: multipart/report; report-type=feedback-report; boundary=c\n\n--c\nContent-Type: text/plain\n\nA complaint.\n\n--c\n\
     Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: Example/1.0\nVersion: 1\nSource-IP: 192.0.2.9\n\
     Original-Rcpt-To: <eve@example.net>\n\n--c\nContent-Type: message/rfc822\n\nFrom: news@example.com\nTo: eve@example.net\n\
     Message-ID: <2@example.com>\n\nHello\n\n--c--\n",
    "From: dan@example.net\nTo: b+x@bounce.example.com\nSubject: Out of office: News\nAuto-Submitted: auto-replied\n\n\
     I am away until Monday.\n",
];
