//! What strangers write costs the relay what its length costs, however it repeats or nests, and no nesting ends it. Each reader is given texts of
//! the size that the limits allow, made of one piece again and again: read anew for each piece, one of them would take hours.

use std::{fs, net::Ipv4Addr, sync::mpsc, thread, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_bounce::{Context, Quoted, Rules, read_mail};
use posthaste_mail::{Domain, MessageId};
use posthaste_message::{HeaderLimits, Submission, prepare, recode, with_domains};

/// The size of a header that the intake takes (`limits.header`).
const HEADER: usize = 256 << 10;
/// The processor's time that a reader may take for one text. Linear ones take a fraction of a second without optimisation.
const MOST: Duration = Duration::from_secs(4);
/// How long to wait for one that takes more.
const PATIENCE: Duration = Duration::from_secs(100);

/// Pieces of header fields: what opens and never closes, what closes and was never open, what is nearly something; `#` is a number, so that each is
/// another one.
const FIELD_PIECES: [&str; 47] = [
    "a ",
    "a@[ ",
    "a@[",
    "<",
    ">",
    "<a@b.cc>",
    "<a@b.cc>,",
    "a#@b#.cc,",
    "\"a#@b#.cc\" <x#@y#.cc>,",
    "\"a@b.cc\" <a@b.cc>,",
    "\"",
    "\"\" ",
    "\\",
    "\"\\",
    "(",
    ")",
    "(a)",
    "(a@b.cc) ",
    "((",
    "()",
    ",",
    ";",
    ":",
    "a:;",
    "a: b@c.dd;",
    "@",
    "@a,",
    "=?",
    "=?a?b?",
    "=?utf-8?q?a",
    "=?utf-8?q?a?= ",
    "=?utf-8?qq?a",
    "=?utf-8?b?YUBiLmNj?=",
    "=?utf-8?q?=40?= ",
    "=?x",
    "?=",
    "'",
    "a.",
    "..",
    "[",
    "]",
    "\r\n ",
    " \r\n\t",
    "\u{fc}",
    "\u{fc} ",
    "\u{200b}",
    "ａ＠ｂ．ｃｃ ",
];
/// Pieces of parameters, for Content-Type and the like.
const PARAMETER_PIECES: [&str; 12] = [
    ";",
    "; boundary=",
    "; boundary=\"",
    "; a=b",
    "; a*0=b",
    "; a*0*=utf-8''%41",
    "(",
    "(;",
    "message/",
    "multipart/",
    "content-type:",
    "\\\"",
];
/// Pieces of bodies, and of header fields one after the other.
const BODY_PIECES: [&str; 41] = [
    "\n",
    "\r\n",
    "a",
    " ",
    "a: b\n",
    ":",
    "--b\n",
    "--b",
    "--b--\n",
    "--b\nContent-Type: text/html\n\n<p>\n",
    "--b\nContent-Type: multipart/mixed; boundary=b\n\n",
    "--b\nContent-Type: multipart/mixed; boundary=b#\n\n--b#\n",
    "--b\nContent-Type: message/rfc822\n\n",
    "--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nYTogYgo=\n",
    "--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a#@b.cc\nAction: failed\n\n",
    "--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: a#@b.cc\n\n",
    "Final-Recipient: rfc822; a#@b.cc\nAction: failed\nStatus: 5.1.1\n\n",
    "Reporting-MTA: dns; a\n",
    "Original-Rcpt-To: a@b.cc\n",
    "<a#@b.cc>: 550 5.1.1 no such user\n",
    "550 5.1.1 ",
    "550-5.1.1 a\n",
    "a@b.cc ",
    "a#@b.cc ",
    "a#@b.cc\n",
    "@",
    "\"@",
    "> ",
    ">>> RCPT TO:<a@b.cc>\n<<< 550 no\n",
    "Received: by a\n",
    "Return-Path: <a@b.cc>\n",
    "To: a#@b#.cc\n",
    "{\"notificationType\":",
    "[",
    "{\"a\":",
    "=\n",
    "=3D",
    "\u{fc}",
    "Ã®",
    "----- Original message -----\n",
    "DKIM-Signature: v=1; a=rsa-sha256; d=a.cc; s=b; h=from:to; bh=YQ==; b=YQ==\n",
];

fn filled(piece: &str, size: usize) -> String {
    let mut text = String::with_capacity(size);
    for number in 0.. {
        let next = piece.replace('#', &number.to_string());
        if text.len() + next.len() > size {
            break;
        }
        text.push_str(&next);
    }
    text
}

/// Gives a reader all texts, on a thread of the size of the runtime's.
fn read_all(what: &'static str, texts: impl Iterator<Item = (String, Bytes)> + Send + 'static, read: impl Fn(&Bytes) + Send + 'static) {
    let (at, now) = mpsc::channel();
    let reading = move || {
        for (of, text) in texts {
            at.send(Some(of.clone())).unwrap();
            let before = worked();
            read(&text);
            let took = worked() - before;
            assert!(took < MOST, "{what}: {took:?} for {of}");
        }
        at.send(None).unwrap();
    };
    thread::Builder::new().name(what.into()).stack_size(2 << 20).spawn(reading).unwrap();
    let mut last = None;
    loop {
        match now.recv_timeout(PATIENCE) {
            Ok(None) => return,
            Ok(of) => last = of,
            // The thread has said why, if it has ended.
            Err(why) => panic!("{what}: {why} at {last:?}"),
        }
    }
}

/// The processor's time of this thread: what else the machine does is none of it.
fn worked() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    Duration::from_nanos(text.split(' ').next().and_then(|first| first.parse().ok()).expect("a number"))
}

fn with_field(name: &str, piece: &str, behind: &str) -> (String, Bytes) {
    let head = format!("{name}: x <x@y.cc>, ");
    // The whole header is within the limit.
    let value = filled(piece, HEADER - 200);
    (format!("{name} of {piece:?}{behind:?}"), format!("{head}{value}{behind}\r\nSubject: x\r\n\r\nx\r\n").into())
}

/// Messages with long fields; `end`: what stands behind the pieces and may close them.
fn fields(names: &'static [&'static str], end: &'static str) -> impl Iterator<Item = (String, Bytes)> {
    names.iter().flat_map(move |name| FIELD_PIECES.iter().map(move |piece| with_field(name, piece, end)))
}

fn parameters() -> impl Iterator<Item = (String, Bytes)> {
    let names = ["Content-Type", "DKIM-Signature"];
    names.into_iter().flat_map(|name| PARAMETER_PIECES.iter().map(move |piece| with_field(name, piece, "\u{fc}")))
}

fn bodies() -> impl Iterator<Item = (String, Bytes)> {
    let heads = [
        "",
        "From: <MAILER-DAEMON@a.cc>\nTo: <b@c.dd>\nSubject: Undelivered Mail Returned to Sender\nContent-Type: multipart/report; boundary=b\n\n",
        "From: a@b.cc\nSubject: ",
    ];
    heads.into_iter().flat_map(move |head| {
        BODY_PIECES
            .iter()
            .map(move |piece| (format!("{head:?} and {piece:?}"), format!("{head}{}", filled(piece, HEADER - head.len())).into()))
    })
}

#[test]
fn a_message_that_is_handed_in_costs_what_its_length_costs() {
    let submission = |id| Submission {
        client_ip: Ipv4Addr::LOCALHOST.into(),
        helo: "x.cc",
        esmtp: true,
        tls: false,
        authenticated: true,
        http: false,
        reverse_path: "x@y.cc",
        hostname: "relay.cc",
        id,
        now: Timestamp::UNIX_EPOCH,
    };
    let domain = Domain::new("y.cc").unwrap();
    let texts = fields(&["From", "Sender"], "").chain(fields(&["From"], "?=\"")).chain(parameters());
    read_all("the intake", texts, move |text| {
        let whole = with_domains(text, &domain, HEADER);
        let _ = prepare(&whole, &submission(MessageId::new(Timestamp::UNIX_EPOCH, 1)), HeaderLimits::default());
    });
}

#[test]
fn a_message_that_is_encoded_costs_what_its_length_costs() {
    let texts = fields(&["To", "Subject"], "\u{fc}").chain(parameters()).chain(bodies().map(|(of, text)| {
        // In lines, and with what has to be encoded.
        let text = String::from_utf8_lossy(&text).replace("\r\n", "\n").replace('\n', "\r\n");
        (of, format!("{text}\r\n\u{fc}\r\n").into())
    }));
    read_all("the encoder", texts, |text| {
        recode::recode(text);
        recode::hindrance(text);
    });
}

#[test]
fn a_mail_that_comes_back_costs_what_its_length_costs() {
    let rules = Rules::shipped();
    let texts = bodies().chain(fields(&["To"], "")).chain(parameters());
    read_all("the reader of returned mail", texts, move |text| drop(read_mail(text, rules)));
}

#[test]
fn a_signed_mail_costs_what_its_length_costs() {
    read_all("the verifier", bodies().chain(parameters()), |text| {
        drop(posthaste_dkim::author::claims(text));
        drop(posthaste_dkim::arc::names(text));
    });
}

#[test]
fn a_reply_costs_what_its_length_costs() {
    let rules = Rules::shipped();
    read_all("the classifier", bodies(), move |text| {
        drop(rules.classify_quoted(&Quoted::read(&String::from_utf8_lossy(text)), &Context { provider: None, mx_host: None }));
    });
}
