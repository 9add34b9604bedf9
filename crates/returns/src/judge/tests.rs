use std::cell::Cell;

use posthaste_mail::{Class, Domain, MessageFacts, Name};
use posthaste_spool::MemoryFacts as Memory;
use posthaste_suppression::{List, Noted, Reason, SuppressionRules};
use posthaste_verp::{OpenedPath, VerpSecret};
use proptest::prelude::*;

use super::*;
use crate::{
    found::{Belief, Believe, believed},
    handler,
    identity::{identity, is_known, remember, sweep, was_told},
    once::{Claimed, Claims},
    origin::{PeerHost, Way},
    record,
    sent::{DeliveredBy, Ending},
    settle::settle,
};

/// A register that knows who is listed.
fn filled<F: posthaste_spool::Facts>(facts: F) -> posthaste_suppression::Register<F> {
    let register = posthaste_suppression::Register::new(facts);
    register.fill();
    register
}

const DAY: i64 = 86_400;

fn day(n: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + n * DAY).unwrap()
}

fn address(text: &str) -> Address {
    Address::new(text).unwrap()
}

fn verp() -> Verp {
    Verp::new(&[VerpSecret::new([7; 32])], Domain::new("bounce.example.org").unwrap(), "b").unwrap()
}

fn id() -> MessageId {
    MessageId::new(day(0), 42)
}

fn path() -> Address {
    verp().address(id(), 1, &address("dead@example.net"), day(30))
}

/// The host that took the message.
const MX_IP: &str = "192.0.2.1";

/// The way of what that host sends.
fn from_mx() -> &'static Way {
    static WAY: std::sync::LazyLock<Way> = std::sync::LazyLock::new(|| {
        let host = PeerHost { ip: MX_IP.parse().unwrap(), names: None };
        Way { host: Some(host), is_from_nobody: true, authors: Vec::new() }
    });
    &WAY
}

fn providers() -> &'static posthaste_route::Providers {
    static SHIPPED: std::sync::LazyLock<std::sync::Arc<posthaste_route::Providers>> =
        std::sync::LazyLock::new(posthaste_route::Providers::shipped);
    &SHIPPED
}

/// Two recipients of one message; counts how often it is asked.
#[derive(Default)]
struct Ledger(Cell<usize>);

impl Ledger {
    fn all() -> Vec<SentTo> {
        let facts = MessageFacts {
            message: id(),
            message_id: Some("<offer-1@shop.example>".into()),
            stream: Name::new("news").unwrap(),
            user: None,
            from_domain: None,
            dkim: None,
            one_click: false,
            hold_ms: None,
            tags: [].into(),
            meta: [].into(),
            from: "shop@shop.example".into(),
            size: 1000,
        };
        let facts = std::sync::Arc::new(facts);
        ["alive@example.net", "dead@example.net"]
            .map(|a| SentTo {
                facts: facts.clone(),
                address: address(a),
                accepted: day(0),
                ending: Ending::Delivered,
                lane: DeliveredBy { mx_ip: MX_IP.parse().ok(), ..DeliveredBy::default() },
            })
            .to_vec()
    }
}

impl Sent for Ledger {
    fn recipients(&self, message: MessageId) -> Vec<SentTo> {
        self.0.set(self.0.get() + 1);
        if message == id() { Self::all() } else { Vec::new() }
    }
    fn by_message_id(&self, message_id: &str, named: &[Address]) -> Option<SentTo> {
        self.0.set(self.0.get() + 1);
        Self::all().into_iter().find(|s| message_id == "offer-1@shop.example" && named.contains(&s.address))
    }
}

fn judged(rcpt: &Address, mail: &str, now: Timestamp) -> Vec<Return> {
    judged_with(&Ledger::default(), rcpt, mail.as_bytes(), now)
}

fn judged_with(sent: &Ledger, rcpt: &Address, mail: &[u8], now: Timestamp) -> Vec<Return> {
    judge_of(sent, is_feedback(rcpt)).judge(&[Some(rcpt.clone())], mail, now)
}

fn verps() -> &'static [Verp] {
    static VERPS: std::sync::LazyLock<[Verp; 1]> = std::sync::LazyLock::new(|| [verp()]);
    &*VERPS
}

fn judge_of(sent: &Ledger, is_feedback: bool) -> ReturnJudge<'_> {
    let origins = Origins { way: from_mx(), providers: providers() };
    ReturnJudge { verps: verps(), rules: Rules::shipped(), sent, is_feedback, origins }
}

/// As `returns.addresses` would list it.
fn is_feedback(rcpt: &Address) -> bool {
    rcpt.local() == "fbl"
}

fn code() -> String {
    verp().field(id(), 1, &address("dead@example.net"), day(30))
}

fn the_match(returns: &[Return]) -> &Match {
    match returns {
        [Return::LateBounce(m) | Return::Delayed(m) | Return::Complaint(m) | Return::Unsubscribe(m)] => m,
        other => panic!("no match: {other:?}"),
    }
}

/// An RFC 3464 report about `rcpt`, with the given fields and returned headers.
fn report(rcpt: &str, action: &str, message_fields: &str, returned: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example.net\r\nTo: x@bounce.example.org\r\nSubject: Delivery report\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nAbout your message.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n{message_fields}\r\n\
         Final-Recipient: rfc822; {rcpt}\r\nAction: {action}\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 user unknown\r\n\r\n\
         --b\r\nContent-Type: text/rfc822-headers\r\n\r\n{returned}From: shop@shop.example\r\nSubject: Offer\r\n\r\n--b--\r\n"
    )
}

fn complaint(kind: &str, returned: &str) -> String {
    format!(
        "From: feedback@isp.example\r\nTo: fbl@bounce.example.org\r\nSubject: FW: Offer\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nAn abuse report.\r\n\
         --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: {kind}\r\nUser-Agent: Isp/1.0\r\nVersion: 1\r\n\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\n{returned}From: shop@shop.example\r\nTo: undisclosed\r\nSubject: Offer\r\n\r\nBuy!\r\n--b--\r\n"
    )
}

#[test]
fn a_report_to_a_keyed_path_is_believed() {
    let returns = judged(&path(), &report("dead@example.net", "failed", "", ""), day(3));
    let Return::LateBounce(found) = &returns[0] else { panic!("{returns:?}") };
    assert_eq!((found.sent.address.as_str(), found.trust, found.names), ("dead@example.net", Trust::Verp, Names::Recipient));
    assert_eq!(found.class(), Some(Class::InvalidRecipient));
}

#[test]
fn a_path_says_who_it_was_whomever_the_report_names() {
    // Whoever got the message could name somebody else to have him suppressed.
    let facts = filled(Memory::default());
    let rules = SuppressionRules::default();
    let returns = judged(&path(), &report("alive@example.net", "failed", "", ""), day(3));
    let found = the_match(&returns);
    assert_eq!((found.sent.address.as_str(), found.names), ("dead@example.net", Names::Another));
    assert_eq!(settle(&List::new(&facts, &rules), &returns[0], Believe::Hints, day(3)), Noted::Nothing);
    let inside = judged(&path(), &report("dead@mail3.internal.example", "failed", "", ""), day(3));
    assert_eq!(the_match(&inside).names, Names::Alike);
    assert_eq!(settle(&List::new(&facts, &rules), &inside[0], Believe::Verp, day(3)), Noted::Counted { times: 1, of: 3 });
}

#[test]
fn a_delay_is_no_failure() {
    let facts = filled(Memory::default());
    let rules = SuppressionRules::default();
    let returns = judged(&path(), &report("dead@example.net", "delayed", "", ""), day(3));
    assert!(matches!(&returns[..], [Return::Delayed(_)]), "{returns:?}");
    assert_eq!(settle(&List::new(&facts, &rules), &returns[0], Believe::Hints, day(3)), Noted::Nothing);
}

#[test]
fn forged_expired_and_forgotten_paths_change_nothing() {
    let mail =
        report("dead@example.net", "failed", &format!("Original-Envelope-Id: {}\r\n", id()), "Message-ID: <offer-1@shop.example>\r\n");
    let forged = path().as_str().replacen(|c: char| c.is_ascii_digit(), "z", 1);
    assert_ne!(forged, path().as_str());
    let unmatched = |rcpt: &Address, now| match &judged(rcpt, &mail, now)[..] {
        [Return::Unmatched { why, .. }] => *why,
        other => panic!("{other:?}"),
    };
    assert_eq!(unmatched(&address(&forged), day(3)), Mismatch::Forged);
    assert_eq!(unmatched(&path(), day(31)), Mismatch::Expired);
    let other = verp().address(MessageId::new(day(0), 43), 0, &address("dead@example.net"), day(30));
    assert_eq!(unmatched(&other, day(3)), Mismatch::NotInLog);
    let stranger = verp().address(id(), 0, &address("stranger@example.net"), day(30));
    assert_eq!(unmatched(&stranger, day(3)), Mismatch::NotInLog);
}

#[test]
fn a_match_by_guessable_ids_is_a_hint_and_suppresses_nobody() {
    let facts = filled(Memory::default());
    let rules = SuppressionRules::default();
    let list = List::new(&facts, &rules);
    let postmaster = address("postmaster@bounce.example.org");
    let by_envid = judged(&postmaster, &report("dead@example.net", "failed", &format!("Original-Envelope-Id: {}\r\n", id()), ""), day(3));
    let by_own_id = judged(&postmaster, &report("dead@example.net", "failed", "", &format!("Message-ID: <{}@mx1>\r\n", id())), day(3));
    let by_id = judged(&postmaster, &report("DEAD@example.net", "failed", "", "Message-ID: <offer-1@shop.example>\r\n"), day(3));
    assert_eq!([&by_envid, &by_own_id].map(|r| the_match(r).trust), [Trust::Envid, Trust::MessageId]);
    assert!(matches!(&by_id[..], [Return::Unmatched { why: Mismatch::NotInLog, .. } | Return::LateBounce(_)]), "{by_id:?}");
    for returns in [&by_envid, &by_own_id] {
        assert_eq!(settle(&list, &returns[0], Believe::Verp, day(3)), Noted::Nothing);
    }
    assert!(facts.facts().0.borrow().is_empty());
    assert!(matches!(settle(&list, &by_envid[0], Believe::Hints, day(3)), Noted::Suppressed(_)));
}

#[test]
fn a_stranger_reads_no_more_of_the_log_than_allowed() {
    let sent = Ledger::default();
    let mut mail = report("a@x.org", "failed", "", "Message-ID: <unknown@shop.example>\r\n");
    let block = "\r\nFinal-Recipient: rfc822; NAME@x.org\r\nAction: failed\r\nStatus: 5.1.1\r\n";
    let blocks: String = (0..50).map(|n| block.replace("NAME", &format!("u{n}"))).collect();
    mail = mail
        .replace("\r\n\r\n--b\r\nContent-Type: text/rfc822-headers", &format!("\r\n{blocks}\r\n--b\r\nContent-Type: text/rfc822-headers"));
    let returns = judged_with(&sent, &address("fbl@bounce.example.org"), mail.as_bytes(), day(3));
    assert!(returns.len() > HINTS_MAX && returns.iter().all(|r| matches!(r, Return::Unmatched { .. })));
    assert_eq!(sent.0.get(), HINTS_MAX);
}

#[test]
fn a_complaint_is_matched_by_the_path_in_the_mail_it_returns() {
    for returned in
        [format!("Return-Path: <{}>\r\n", path()), format!("Received: from a by b (envelope-from {})\r\n", path().as_str().to_uppercase())]
    {
        let returns = judged(&address("fbl@bounce.example.org"), &complaint("abuse", &returned), day(3));
        let Return::Complaint(found) = &returns[0] else { panic!("{returns:?}") };
        assert_eq!((found.sent.address.as_str(), found.trust), ("dead@example.net", Trust::Feedback));
    }
    let field = format!("x-posthaste-return:\r\n <{}@BOUNCE.example.org>\r\n", code().to_uppercase());
    let found = judged(&address("fbl@bounce.example.org"), &complaint("abuse", &field), day(3));
    assert_eq!((the_match(&found).sent.address.as_str(), the_match(&found).trust), ("dead@example.net", Trust::Feedback));
    let returns = judged(&address("fbl@bounce.example.org"), &complaint("abuse", ""), day(3));
    assert!(matches!(returns[..], [Return::Unmatched { kind: Kind::Feedback, .. }]), "{returns:?}");
}

#[test]
fn a_path_broken_by_quoted_printable_is_found() {
    let text = path().to_string();
    let broken = |text: &str| format!("{}=\r\n{}\r\n", &text[..30], &text[30..]);
    let OpenedPath::Valid(token) = verp().open(&path(), day(3)) else { panic!("not valid") };
    for mail in [broken(&format!("Return-Path: <{text}>")), broken(&format!("X-Posthaste-Return: {}", code()))] {
        assert_eq!(tokens::find(verps(), &[Some(address("fbl@bounce.example.org"))], mail.as_bytes(), day(3)), Codes::Inside((0, token)));
    }
}

#[test]
fn of_several_paths_none_is_meant() {
    let other = verp().address(id(), 0, &address("alive@example.net"), day(30));
    let returned = format!("Return-Path: <{}>\r\nX-Other: <{other}>\r\n", path());
    let returns = judged(&address("fbl@bounce.example.org"), &complaint("abuse", &returned), day(3));
    assert!(matches!(returns[..], [Return::Unmatched { why: Mismatch::Several, .. }]), "{returns:?}");
    let twice = format!("Return-Path: <{}>\r\nX-Other: <{}>\r\n", path(), path());
    assert!(matches!(judged(&address("fbl@bounce.example.org"), &complaint("abuse", &twice), day(3))[..], [Return::Complaint(_)]));
}

#[test]
fn not_spam_is_no_complaint_and_a_vacation_no_bounce() {
    let returned = format!("Return-Path: <{}>\r\n", path());
    assert_eq!(
        judged(&address("fbl@bounce.example.org"), &complaint("not-spam", &returned), day(3)),
        [Return::Aside(Kind::Feedback, None)]
    );
    let vacation =
        "From: dead@example.net\r\nTo: x@y.org\r\nSubject: Out of office: Offer\r\nAuto-Submitted: auto-replied\r\n\r\nBack on Monday.\r\n";
    let aside = |mail: &str| match &judged(&path(), mail, day(3))[..] {
        [Return::Aside(kind, Some(about))] => (*kind, about.sent.address.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(aside(vacation), (Kind::AutoReply, "dead@example.net".into()));
    let subject = |mail: &str| crate::identity::subject(&judged(&path(), mail, day(3))[0]);
    assert_eq!(subject(vacation), subject(&vacation.replace("Auto-Submitted", "X-Loop: 1\r\nAuto-Submitted")), "a repetition");
    assert_ne!(subject(vacation), subject(&vacation.replace("Monday", "Friday")), "another reply");
    let message = "From: dead@example.net\r\nTo: x@y.org\r\nSubject: Re: Offer\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nThanks, I take two.\r\n";
    assert_eq!(aside(message), (Kind::NotBounce, "dead@example.net".into()));
    assert!(judged(&path(), message, day(3)).iter().all(Return::is_mail));
    let elsewhere = judged(&address("postmaster@bounce.example.org"), message, day(3));
    assert!(matches!(elsewhere[..], [Return::Aside(Kind::NotBounce, None)]) && elsewhere[0].is_mail(), "{elsewhere:?}");
}

#[test]
fn the_same_report_counts_once_and_a_complaint_beside_a_bounce() {
    let facts = filled(Memory::default());
    let rules = SuppressionRules::default();
    let list = List::new(&facts, &rules);
    let bounce = judged(&path(), &report("dead@example.net", "failed", "", ""), day(3));
    let complaint = judged(&path(), &complaint("abuse", ""), day(3));
    let first_time = |r: &[Return], now| {
        let new = !is_known(facts.facts(), &identity(&r[0]).unwrap(), now);
        remember(facts.facts(), &r[0], now);
        new
    };
    assert_eq!([&bounce, &bounce, &complaint, &complaint].map(|r| first_time(r, day(3))), [true, false, true, false]);
    assert!(matches!(settle(&list, &bounce[0], Believe::Verp, day(3)), Noted::Suppressed(e) if e.reason == Reason::HardBounce));
    assert!(matches!(settle(&list, &complaint[0], Believe::Verp, day(3)), Noted::Suppressed(e) if e.reason == Reason::Complaint));
    assert_eq!(sweep(facts.facts(), day(62)), 0);
    assert_eq!(sweep(facts.facts(), day(63)), 2);
    assert!(first_time(&bounce, day(64)));
}

#[test]
fn one_mail_that_says_it_twice_says_it_once() {
    let once = report("dead@example.net", "failed", "", "");
    let block = "\r\nFinal-Recipient: rfc822; dead@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n";
    let twice = once
        .replace("\r\n\r\n--b\r\nContent-Type: text/rfc822-headers", &format!("\r\n{block}\r\n--b\r\nContent-Type: text/rfc822-headers"));
    assert_eq!(judged(&path(), &twice, day(3)).len(), 1);
}

#[test]
fn a_huge_mail_costs_no_more_than_its_first_part() {
    let mut mail = complaint("abuse", "").into_bytes();
    mail.extend(std::iter::repeat_n(b"<b+x@bounce.example.org>\r\n".as_slice(), 200_000).flatten());
    mail.extend(format!("Return-Path: <{}>\r\n", path()).bytes());
    let returns = judged_with(&Ledger::default(), &address("fbl@bounce.example.org"), &mail, day(3));
    assert!(matches!(returns[..], [Return::Unmatched { .. }]), "{returns:?}");
}

#[test]
fn the_log_says_enough_to_do_again_what_a_crash_cut_off() {
    let named = |rcpt: &str| judged(&path(), &report(rcpt, "failed", "", ""), day(3)).remove(0);
    let complaint = judged(&path(), &complaint("abuse", ""), day(3)).remove(0);
    let all = [named("dead@example.net"), named("alive@example.net"), named("dead@inside.example"), complaint];
    for found in all {
        let telling = record::Telling { believe: Believe::Verp, client_ip: None, again: false };
        let what = record::what(&found, &telling, day(3)).unwrap();
        let id = posthaste_mail::EventId::new(day(3), 1);
        let event = posthaste_mail::Event { time: day(3), v: 1, id, node: Name::new("mx1").unwrap(), what };
        let (again, at) = record::read(serde_json::to_string(&event).unwrap().as_bytes()).unwrap();
        assert_eq!((identity(&again), at), (identity(&found), day(3)));
        let listed = |found: &Return| {
            let (facts, rules) = (filled(Memory::default()), SuppressionRules::default());
            let noted = settle(&List::new(&facts, &rules), found, Believe::Verp, day(3));
            drop(facts);
            noted
        };
        assert_eq!(listed(&again), listed(&found));
    }
}

#[test]
fn a_lane_hears_of_complaints_and_dead_addresses_that_are_believed() {
    let lane = DeliveredBy { provider: Name::new("google").ok(), source: Name::new("ip1").ok(), ..DeliveredBy::default() };
    let heard = |mut found: Return, lane: &DeliveredBy, believe| {
        if let Return::LateBounce(m) | Return::Complaint(m) | Return::Unsubscribe(m) = &mut found {
            m.sent.lane = lane.clone();
        }
        handler::lane_note(&found, believe).map(|n| (n.source.to_string(), n.provider.to_string(), n.note))
    };
    let bounce = judged(&path(), &report("dead@example.net", "failed", "", ""), day(3)).remove(0);
    let complaint = judged(&path(), &complaint("abuse", ""), day(3)).remove(0);
    let at = |note| Some(("ip1".to_owned(), "google".to_owned(), note));
    assert_eq!(heard(complaint.clone(), &lane, Believe::Verp), at(posthaste_governor::Note::Complaint));
    assert_eq!(heard(bounce, &lane, Believe::Verp), at(posthaste_governor::Note::LateBounce));
    assert_eq!(heard(complaint, &DeliveredBy::default(), Believe::Verp), None, "the log no longer tells which it was");
    let hint = report("dead@example.net", "failed", &format!("Original-Envelope-Id: {}\r\n", id()), "");
    let hint = judged(&address("postmaster@bounce.example.org"), &hint, day(3)).remove(0);
    assert_eq!(heard(hint.clone(), &lane, Believe::Verp), None);
    assert!(heard(hint, &lane, Believe::Hints).is_some());
}

#[test]
fn the_same_report_is_written_down_by_one_alone() {
    let facts = Memory::default();
    let found = judged(&path(), &report("dead@example.net", "failed", "", ""), day(3)).remove(0);
    let claims = Claims::default();
    let turn = || claims.claim(&facts, &found, day(3)).unwrap();
    let Claimed::Granted(first) = turn() else { panic!("nobody had it before") };
    assert!(matches!(turn(), Claimed::UnderWay));
    drop(first);
    let Claimed::Granted(second) = turn() else { panic!("the first gave up") };
    remember(&facts, &found, day(3));
    drop(second);
    assert!(matches!(turn(), Claimed::Known));
}

#[test]
fn proof_after_a_hint_counts_and_is_told_to_nobody_twice() {
    let (facts, mut claims) = (Memory::default(), Vec::new());
    let proof = judged(&path(), &report("dead@example.net", "failed", "", ""), day(3)).remove(0);
    let from = |origin| {
        let mut hint = proof.clone();
        hint.about_mut().unwrap().origin = origin;
        hint
    };
    let hint = from(Origin::Elsewhere);
    let all = Claims::default();
    let told = |found: &Return| was_told(&facts, found, Believe::Verp, day(3));
    assert!(!told(&hint) && !told(&proof));
    claims.push(all.claim(&facts, &hint, day(3)).unwrap());
    assert!(matches!(all.claim(&facts, &proof, day(3)), Some(Claimed::UnderWay)), "only one tells the sender");
    remember(&facts, &hint, day(3));
    claims.clear();
    // Others are the same hint, and the proof is none of it.
    assert!(matches!(all.claim(&facts, &from(Origin::Mailbox), day(3)), Some(Claimed::Known)));
    assert!(matches!(all.claim(&facts, &proof, day(3)), Some(Claimed::Granted(_))));
    assert!(told(&proof));
    // After the proof, a hint has nothing to say.
    let facts = Memory::default();
    remember(&facts, &proof, day(3));
    assert!(matches!(all.claim(&facts, &hint, day(3)), Some(Claimed::Known)));
    // What was not believed told nobody.
    let facts = Memory::default();
    let mut unbelieved = proof.clone();
    unbelieved.about_mut().unwrap().trust = Trust::Content;
    remember(&facts, &unbelieved, day(3));
    assert!(!was_told(&facts, &proof, Believe::Verp, day(3)) && was_told(&facts, &proof, Believe::Hints, day(3)));
}

#[test]
fn a_message_that_bounced_is_not_counted_again_by_a_report() {
    let (facts, rules) = (filled(Memory::default()), SuppressionRules::default());
    let mut bounce = judged(&path(), &report("dead@example.net", "failed", "", ""), day(3)).remove(0);
    bounce.about_mut().unwrap().origin = Origin::Ended;
    for believe in [Believe::Verp, Believe::Hints] {
        assert_eq!(settle(&List::new(&facts, &rules), &bounce, believe, day(3)), Noted::Nothing);
        assert_eq!(handler::lane_note(&bounce, believe), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_report_is_safe_and_about_nobody_else(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let mut mail = report("dead@example.net", "failed", "", &format!("Return-Path: <{}>\r\n", path())).into_bytes();
        let place = at.index(mail.len());
        mail[place] = byte;
        mail.truncate(1 + cut.index(mail.len()));
        for rcpt in [path(), address("fbl@bounce.example.org")] {
            let returns = judged_with(&Ledger::default(), &rcpt, &mail, day(3));
            prop_assert!(!returns.is_empty());
            let trust = if is_feedback(&rcpt) { Trust::Feedback } else { Trust::Verp };
            for found in returns {
                if let Return::LateBounce(m) | Return::Delayed(m) | Return::Complaint(m) | Return::Unsubscribe(m) = found {
                    prop_assert_eq!((m.sent.address.as_str(), m.trust), ("dead@example.net", trust));
                }
            }
        }
    }
}

#[test]
fn one_mail_is_judged_once_and_looks_into_the_log_a_fixed_number_of_times() {
    let blocks: String =
        (0..100).map(|n| format!("Final-Recipient: rfc822; u{n}@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n")).collect();
    let mail = |envid: &dyn Fn(usize) -> MessageId| {
        let part = |n| format!("Reporting-MTA: dns; x\r\nOriginal-Envelope-Id: {}\r\n\r\n{blocks}", envid(n));
        let parts: String = (0..20).map(|n| format!("--b\r\nContent-Type: message/delivery-status\r\n\r\n{}", part(n))).collect();
        format!(
            "From: MAILER-DAEMON@evil.test\r\nTo: x@y.test\r\nSubject: failed\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nfailed\r\n{parts}--b--\r\n"
        )
    };
    let spelt = |local: &str, n: usize| {
        let spelling: String =
            local.char_indices().map(|(i, c)| if i < 10 && n >> i & 1 == 1 { c.to_ascii_uppercase() } else { c }).collect();
        Some(address(&format!("{spelling}@bounce.example.org")))
    };
    let looks = |local: &str, mail: &str| {
        let (ledger, rcpts) = (Ledger::default(), (0..1000).map(|n| spelt(local, n)).collect::<Vec<_>>());
        let returns = judge_of(&ledger, false).judge(&rcpts, mail.as_bytes(), day(3));
        assert!(!returns.is_empty());
        ledger.0.get()
    };
    // To a reverse-path in a thousand spellings; by somebody who never got one, with ids that are made up.
    assert_eq!(looks(path().local(), &mail(&|_| id())), 1);
    assert!((1..=HINTS_MAX).contains(&looks("postmaster", &mail(&|n| MessageId::new(day(1), n as u128)))));
}

#[test]
fn what_everybody_can_read_stops_one_streams_mail_for_a_while_at_most() {
    let rules = SuppressionRules { complaints_are_global: true, ..SuppressionRules::default() };
    let field = format!("X-Posthaste-Return: {}\r\n", code());
    let returned = [field, format!("Return-Path: <{}>\r\n", path()), format!("Authentication-Results: x; smtp.mailfrom={}\r\n", path())];
    let bounce = |returned: &str| report("dead@example.net", "failed", &format!("Original-Envelope-Id: {}\r\n", id()), returned);
    for (returned, to, believe) in returned.iter().flat_map(|returned| {
        let everywhere = ["fbl@bounce.example.org", "postmaster@bounce.example.org"];
        everywhere.into_iter().flat_map(move |to| [Believe::Verp, Believe::Hints].map(|believe| (returned, to, believe)))
    }) {
        for mail in [bounce(returned), complaint("abuse", returned), complaint("opt-out", returned)] {
            let found = judged(&address(to), &mail, day(3)).remove(0);
            let belief = believed(&found, believe);
            assert!(belief < Belief::Proof, "{found:?}");
            let is_a_loops = is_feedback(&address(to)) && !matches!(found, Return::LateBounce(_));
            assert_eq!(belief == Belief::Hint, is_a_loops || believe == Believe::Hints, "{to} {believe:?} {found:?}");
            match settle(&List::new(&filled(Memory::default()), &rules), &found, believe, day(3)) {
                Noted::Nothing => assert_eq!(belief, Belief::Nothing),
                Noted::Suppressed(entry) => {
                    assert_eq!((belief, entry.scope.to_string().as_str()), (Belief::Hint, "stream:news"));
                    assert_eq!(entry.until, Some(day(93)));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn the_fields_code_is_no_address() {
    let as_path = address(&format!("b+{}@bounce.example.org", code()));
    assert_eq!(verp().open(&as_path, day(3)), OpenedPath::Forged);
    assert_eq!(verp().open(&address(&format!("{}@bounce.example.org", code())), day(3)), OpenedPath::NotOurs);
    assert_eq!(verp().open_field(path().local().trim_start_matches("b+"), day(3)), OpenedPath::Forged);
    let returns = judged(&as_path, &report("dead@example.net", "failed", "", ""), day(3));
    assert!(matches!(returns[..], [Return::Unmatched { why: Mismatch::Forged, .. }]), "{returns:?}");
}

#[test]
fn a_mail_to_several_reverse_paths_is_judged_for_each() {
    let other = verp().address(id(), 0, &address("alive@example.net"), day(30));
    let both = [Some(path()), Some(other)];
    let judge = |mail: &str| judge_of(&Ledger::default(), false).judge(&both, mail.as_bytes(), day(3));
    let one = report("dead@example.net", "failed", "", "");
    let second = "\r\nFinal-Recipient: rfc822; alive@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n";
    let two = one
        .replace("\r\n\r\n--b\r\nContent-Type: text/rfc822-headers", &format!("\r\n{second}\r\n--b\r\nContent-Type: text/rfc822-headers"));
    let told = |returns: &[Return]| -> Vec<_> {
        let told = |r: &Return| match r {
            Return::LateBounce(m) => (m.sent.address.to_string(), m.trust, m.names),
            other => (format!("{other:?}"), Trust::MessageId, Names::Another),
        };
        returns.iter().map(told).collect()
    };
    let [dead, alive] = ["dead", "alive"].map(|who| (format!("{who}@example.net"), Trust::Verp, Names::Recipient));
    assert_eq!(told(&judge(&two)), [dead.clone(), alive]);
    assert_eq!(told(&judge(&one))[0], dead);
    assert!(matches!(judge(&one)[1], Return::Aside(..)), "what names the one is nothing about the other: {:?}", judge(&one));
    // To one alone, the block that names it counts, wherever it stands.
    let to_second = judge_of(&Ledger::default(), false).judge(&both[1..], two.as_bytes(), day(3));
    assert_eq!(told(&to_second), [("alive@example.net".to_owned(), Trust::Verp, Names::Recipient)]);
}

#[test]
fn a_fetched_mail_was_sent_to_whom_its_own_header_says() {
    let judge = |mail: &str| judge_of(&Ledger::default(), true).judge(&[None], mail.as_bytes(), day(3)).remove(0);
    let trust = |mail: &str| the_match(&[judge(mail)]).trust;
    let plain = report("dead@example.net", "failed", "", &format!("Return-Path: <{}>\r\n", path()));
    for own in ["Delivered-To: ", "X-Original-To: <", "To:\r\n\t"] {
        assert_eq!(trust(&format!("{own}{}\r\n{plain}", path())), Trust::Verp, "{own}");
    }
    for other in ["", &format!("Return-Path: <{}>\r\n", path()), &format!("Subject: x\r\n To: {}\r\n", path())] {
        assert_eq!(trust(&format!("{other}{plain}")), Trust::Feedback, "{other}");
    }
}
