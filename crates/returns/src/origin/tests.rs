use std::sync::Arc;

use jiff::Timestamp;
use posthaste_bounce::Rules;
use posthaste_mail::{Domain, MessageFacts, MessageId, Name};
use posthaste_spool::MemoryFacts;
use posthaste_suppression::{List, Register, SuppressionRules};
use posthaste_verp::VerpSecret;
use proptest::prelude::*;

use super::*;
use crate::{
    found::{Belief, Believe, Return, believed},
    identity::{identity, is_known, remember},
    judge::ReturnJudge,
    sent::{DeliveredBy, Sent},
    settle::settle,
};

const DAY: i64 = 86_400;

fn day(n: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + n * DAY).unwrap()
}

fn id(n: u128) -> MessageId {
    MessageId::new(day(0), n)
}

fn address(text: &str) -> Address {
    Address::new(text).unwrap()
}

fn verps() -> [Verp; 1] {
    [Verp::new(&[VerpSecret::new([7; 32])], Domain::new("bounce.example.org").unwrap(), "b").unwrap()]
}

const RCPT: &str = "dead@firm.example";

fn path(n: u128) -> Address {
    verps()[0].address(id(n), 0, &address(RCPT), day(30))
}

/// Ten messages to one recipient, whose host took all but the last.
struct Shop;

impl Sent for Shop {
    fn recipients(&self, message: MessageId) -> Vec<SentTo> {
        let n = (0..10).find(|n| id(*n) == message);
        n.map(sent).into_iter().collect()
    }
    fn by_message_id(&self, _: &str, _: &[Address]) -> Option<SentTo> {
        None
    }
}

fn sent(n: u128) -> SentTo {
    let facts = MessageFacts {
        message: id(n),
        message_id: None,
        stream: Name::new("news").unwrap(),
        from_domain: None,
        dkim: None,
        one_click: false,
        hold_ms: None,
        tags: [].into(),
        meta: [].into(),
        from: "shop@shop.example".into(),
        size: 1000,
        user: None,
    };
    let lane = DeliveredBy {
        provider: Name::new("google").ok(),
        source: Name::new("ip1").ok(),
        mx_host: Some("mx1.mail.hoster.example".into()),
        mx_ip: "192.0.2.25".parse().ok(),
    };
    let ending = if n == 9 { Ending::Otherwise } else { Ending::Delivered };
    SentTo { facts: Arc::new(facts), address: address(RCPT), accepted: day(0), ending, lane }
}

fn way(ip: &str, names: &[&str]) -> Way {
    let names = Some(names.iter().map(|name| (*name).to_owned()).collect());
    Way { host: Some(PeerHost { ip: ip.parse().unwrap(), names }), is_from_nobody: true, authors: Vec::new() }
}

fn origin(way: &Way, n: u128) -> Origin {
    Origins { way, providers: &Providers::shipped() }.of(&sent(n), &verps())
}

fn claim(domain: &str, from: &str, to: &Address) -> AuthorClaim {
    AuthorClaim { domain: domain.into(), key_name: format!("s._domainkey.{domain}"), from: from.into(), to: to.to_string() }
}

#[test]
fn the_receiving_side_is_known_by_address_name_or_provider() {
    let mx = way("198.51.100.7", &[]);
    assert_eq!(origin(&mx, 0), Origin::Elsewhere);
    assert_eq!(origin(&way("192.0.2.25", &[]), 0), Origin::Network);
    assert_eq!(origin(&way("::ffff:192.0.2.25", &[]), 0), Origin::Network);
    assert_eq!(origin(&way("192.0.2.26", &[]), 0), Origin::Elsewhere, "a neighbour at the same hoster");
    for name in ["mx1.mail.hoster.example", "MX1.mail.hoster.example.", "mail.firm.example", "firm.example"] {
        assert_eq!(origin(&way("198.51.100.7", &["x.test", name]), 0), Origin::Name, "{name}");
    }
    assert_eq!(origin(&way("198.51.100.7", &["mail-oi1-f200.google.com"]), 0), Origin::Provider);
    for name in ["hoster.example.evil.test", "nothoster.example", "example", "mail-oi1-f200.outlook.com", "notgoogle.com", ""] {
        assert_eq!(origin(&way("198.51.100.7", &[name]), 0), Origin::Elsewhere, "{name}");
    }
    let mut unknown = mx;
    unknown.host.as_mut().unwrap().names = None;
    assert_eq!(origin(&unknown, 0), Origin::Elsewhere);
}

#[test]
fn another_customer_of_the_receivers_hoster_is_not_the_receiving_side() {
    for (mx, provider, neighbour) in [
        ("static.1.2.3.4.clients.your-server.de", "your-server.de", "static.9.clients.your-server.de"),
        ("www1.your-server.de", "your-server.de", "evil.your-server.de"),
        ("mail.your-server.de", "your-server.de", "dedi9.your-server.de"),
        ("vps-1.vps.ovh.net", "ovh", "vps-9.vps.ovh.net"),
        ("mx1.mail.ovh.net", "ovh", "vps-9.vps.ovh.net"),
        ("vm1.westeurope.cloudapp.azure.com", "azure.com", "vm9.westeurope.cloudapp.azure.com"),
        ("4.3.2.1.bc.googleusercontent.com", "googleusercontent.com", "9.bc.googleusercontent.com"),
        ("gmail-smtp-in.l.google.com", "google", "vm.bc.googleusercontent.com"),
        ("firm-example.mail.protection.outlook.com", "microsoft365", "mail-am6.outbound.protection.outlook.com"),
        ("firm-example.mail.protection.outlook.com", "microsoft365", "evil-test.mail.protection.outlook.com"),
        ("mail1.secureserver.net", "godaddy", "s9.secureserver.net"),
        ("mx.free.fr", "free", "someone.fbx.proxad.net"),
        ("mx1.hoster.example", "hoster.example", "customer9.hoster.example"),
    ] {
        let mut sent = sent(0);
        sent.lane.mx_host = Some(mx.into());
        sent.lane.provider = Name::new(provider).ok();
        let (way, providers) = (way("192.0.2.26", &[neighbour]), Providers::shipped());
        assert_eq!(Origins { way: &way, providers: &providers }.of(&sent, &verps()), Origin::Elsewhere, "{mx} {neighbour}");
        let from = format!("postmaster@{neighbour}");
        let signed = Way { authors: vec![claim(neighbour, &from, &path(0))], ..way };
        assert_eq!(Origins { way: &signed, providers: &providers }.of(&sent, &verps()), Origin::Elsewhere, "signed: {mx} {neighbour}");
    }
}

#[test]
fn nor_is_a_customer_of_a_hoster_that_mail_was_sent_to() {
    for neighbour in ["static.9.clients.your-server.de", "vps9.your-server.de", "dedi-9.your-server.de"] {
        let sent = SentTo { address: address("info@your-server.de"), ..sent(0) };
        let way = way("192.0.2.26", &[neighbour]);
        assert_eq!(Origins { way: &way, providers: &Providers::shipped() }.of(&sent, &verps()), Origin::Elsewhere, "{neighbour}");
    }
}

#[test]
fn a_customers_line_is_no_host_of_the_provider() {
    for name in
        ["c-198-51-100-7.hoster.example", "7.100.51.198.dyn.hoster.example", "ip198051100007.hoster.example", "xc6336407.hoster.example"]
    {
        assert_eq!(origin(&way("198.51.100.7", &[name]), 0), Origin::Elsewhere, "{name}");
    }
    let v6 = "2001:db8::1234:56ff:fe78:9abc".parse().unwrap();
    assert!(is_a_lines("h0000123456fffe789abc.hoster.example", v6));
    assert!(is_a_lines("c.b.a.9.8.7.e.f.f.f.6.5.4.3.2.1.0.0.0.0.hoster.example", v6));
    assert!(!is_a_lines("mx7.hoster.example", v6));
}

#[test]
fn what_the_receiving_side_does_not_send_proves_nothing() {
    let mut user = way("192.0.2.25", &["mx1.mail.hoster.example"]);
    assert_eq!(origin(&user, 9), Origin::Ended);
    user.is_from_nobody = false;
    assert_eq!(origin(&user, 0), Origin::Sender);
    assert_eq!(origin(&Way::default(), 0), Origin::Mailbox);
    let open = SentTo { ending: Ending::Open, ..sent(0) };
    let way = way("192.0.2.25", &[]);
    assert_eq!(Origins { way: &way, providers: &Providers::shipped() }.of(&open, &verps()), Origin::Undelivered);
}

#[test]
fn a_signature_proves_what_a_mail_system_wrote_to_this_path() {
    let signed = |claim| Way { authors: vec![claim], ..Way::default() };
    for (domain, from) in [
        ("firm.example", "mailer-daemon@firm.example"),
        ("mail.hoster.example", "postmaster@hoster.example"),
        ("googlemail.com", "mailer-daemon@googlemail.com"),
    ] {
        assert_eq!(origin(&signed(claim(domain, from, &path(0))), 0), Origin::Signature, "{domain} {from}");
    }
    for (domain, from, to) in [
        // A user of the provider; another domain than the one that signs; a domain that has nothing to do with it; another's report, sent again.
        ("googlemail.com", "ann@googlemail.com", path(0)),
        ("googlemail.com", "mailer-daemon@firm.example", path(0)),
        ("evil.test", "mailer-daemon@evil.test", path(0)),
        ("firm.example", "mailer-daemon@firm.example", path(1)),
        ("firm.example", "mailer-daemon@firm.example", address("me@firm.example")),
    ] {
        assert_eq!(origin(&signed(claim(domain, from, &to)), 0), Origin::Mailbox, "{domain} {from} {to}");
    }
    assert_eq!(origin(&signed(claim("firm.example", "mailer-daemon@firm.example", &path(9))), 9), Origin::Ended);
}

/// What somebody may send who was given messages with Return-Path, from hosts that are not the receiving side's.
fn strangers_mail() -> impl Strategy<Value = (usize, u128, bool, String)> {
    let rcpt = prop::sample::select(vec![RCPT, "dead@mail3.internal.example", "other@firm.example", ""]);
    let reply = prop::sample::select(vec![
        "5.1.1 550 5.1.1 user unknown",
        "5.2.1 550 5.2.1 mailbox disabled",
        "5.2.2 552 5.2.2 mailbox full",
        "5.7.1 550 5.7.1 no",
        "5.0.0 gibberish",
    ]);
    let feedback = prop::sample::select(vec!["abuse", "opt-out", "fraud", "not-spam"]);
    let bounce = (rcpt, reply).prop_map(|(rcpt, reply)| {
        let (status, words) = reply.split_once(' ').unwrap();
        format!(
            "From: MAILER-DAEMON@firm.example\r\nTo: x\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n--b\r\n\r\nfailed\r\n\
             --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx1.mail.hoster.example\r\n\r\n\
             Final-Recipient: rfc822; {rcpt}\r\nAction: failed\r\nStatus: {status}\r\nDiagnostic-Code: smtp; {words}\r\n\r\n--b--\r\n"
        )
    });
    let report = feedback.prop_map(|kind| {
        format!(
            "From: fbl@firm.example\r\nTo: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=\"b\"\r\n\r\n\
             --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: {kind}\r\nVersion: 1\r\n\r\n--b--\r\n"
        )
    });
    (0..6_usize, 0..10_u128, any::<bool>(), prop_oneof![3 => bounce, 1 => report])
}

/// The ways of somebody who is not of the receiving side.
fn strangers_ways(path: &Address) -> [Way; 6] {
    let forged = [
        claim("evil.test", "mailer-daemon@evil.test", path),
        claim("googlemail.com", "ann@googlemail.com", path),
        claim("firm.example", "mailer-daemon@firm.example", &address("me@firm.example")),
    ];
    let sender = Way { is_from_nobody: false, ..way("192.0.2.25", &["mx1.mail.hoster.example"]) };
    let mut unknown = way("198.51.100.7", &[]);
    unknown.host.as_mut().unwrap().names = None;
    [
        way("198.51.100.7", &["mx.evil.test", "c-198-51-100-7.hoster.example", "hoster.example.evil.test"]),
        way("2001:db8::7", &[]),
        Way { authors: forged.to_vec(), ..way("203.0.113.9", &["firm.example.evil.test"]) },
        Way { authors: forged.to_vec(), ..Way::default() },
        sender,
        unknown,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_mails_of_strangers_stop_everybodys_mail_or_stop_it_for_ever(
        mails in prop::collection::vec((strangers_mail(), 0..29_i64), 1..40),
        hints: bool,
        is_feedback: bool,
    ) {
        let believe = if hints { Believe::Hints } else { Believe::Verp };
        let rules = SuppressionRules { complaints_are_global: true, bounces: 2, apart: std::time::Duration::ZERO, ..SuppressionRules::default() };
        let register = Register::new(MemoryFacts::default());
        register.fill();
        let list = List::new(&register, &rules);
        let (verps, providers) = (verps(), Providers::shipped());
        let mut days: Vec<_> = mails;
        days.sort_by_key(|(_, at)| *at);
        for ((who, n, to_all, mail), at) in days {
            let way = &strangers_ways(&path(n))[who];
            let origins = Origins { way, providers: &providers };
            let judge = ReturnJudge { verps: &verps, rules: Rules::shipped(), sent: &Shop, is_feedback, origins };
            let rcpts: Vec<_> = if to_all { (0..10).map(|n| Some(path(n))).collect() } else { vec![Some(path(n))] };
            for found in judge.judge(&rcpts, mail.as_bytes(), day(at)) {
                prop_assert!(believed(&found, believe) < Belief::Proof, "{:?}", found);
                if identity(&found).is_some_and(|identity| !is_known(register.facts(), &identity, day(at))) {
                    settle(&list, &found, believe, day(at));
                    remember(register.facts(), &found, day(at));
                }
            }
        }
        for entry in list.find(&address(RCPT), day(29)) {
            let until = entry.until.expect("no entry is for ever");
            prop_assert!(entry.scope.to_string() == "stream:news" && until <= day(29 + 90), "{:?}", entry);
        }
        // What the receiving side says afterwards counts in full.
        let bounce = "From: x\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\
                      Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n\r\nFinal-Recipient: rfc822; dead@firm.example\r\n\
                      Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 user unknown\r\n\r\n--b--\r\n";
        let way = way("192.0.2.25", &[]);
        let origins = Origins { way: &way, providers: &providers };
        let judge = ReturnJudge { verps: &verps, rules: Rules::shipped(), sent: &Shop, is_feedback, origins };
        let found = judge.judge(&[Some(path(0))], bounce.as_bytes(), day(29)).remove(0);
        prop_assert!(!is_known(register.facts(), &identity(&found).unwrap(), day(29)) && matches!(found, Return::LateBounce(_)));
        settle(&list, &found, believe, day(29));
        prop_assert!(list.find(&address(RCPT), day(29)).iter().any(|entry| entry.scope.to_string() == "global" && entry.until.is_none()));
    }
}
