//! Mail that passes two forwarders. dkimpy verifies the seals in tests/second_opinion.rs.

use super::*;
use crate::{SignerOptions, sign_all};

fn signer(domain: &str, selector: &str) -> Signer {
    let pem = match selector {
        "rsa" => include_str!("../../tests/keys/rsa-pkcs8.pem"),
        _ => include_str!("../../tests/keys/ed25519.pem"),
    };
    Signer::new(domain, selector, Key::from_pem(pem).unwrap(), &SignerOptions::default()).unwrap()
}

fn records(signers: &[&Signer]) -> Records {
    let record = |s: &&Signer| (format!("{}._domainkey.{}", s.selector(), s.domain()), Ok(vec![s.key().public_record()]));
    signers.iter().map(record).collect()
}

/// The message as the next host receives it, sealed by `sealer`.
fn pass_on(sealer: &Signer, came: &str, records: &Records) -> Option<String> {
    let passage = Passage { came: came.as_bytes(), goes: &[came.as_bytes()], records, host: "relay.test", client: [192, 0, 2, 1].into() };
    Some(sealer.seal(&passage)? + came)
}

fn signed(author: &Signer, body: &str) -> String {
    let message = format!("From: <a@example.com>\r\nTo: <list@example.org>\r\nSubject: Hello\r\n\r\n{body}");
    sign_all([author], &[message.as_bytes()], 1_790_000_000).unwrap() + &message
}

#[test]
fn a_chain_grows_set_by_set_and_says_what_was_found() {
    let (author, one, two) = (signer("example.com", "rsa"), signer("one.test", "ed"), signer("two.test", "rsa"));
    let dns = records(&[&author, &one, &two]);
    let message = signed(&author, "Hello.\r\n");
    assert_eq!(names(message.as_bytes()), ["rsa._domainkey.example.com"]);
    let first = pass_on(&one, &message, &dns).unwrap();
    assert!(first.starts_with("ARC-Seal: i=1; a=ed25519-sha256; s=ed; d=one.test; cv=none;"), "{first}");
    assert!(first.contains("ARC-Authentication-Results: i=1; relay.test;\r\n\tdkim=pass header.d=example.com"), "{first}");
    let second = pass_on(&two, &first, &dns).unwrap();
    assert!(second.starts_with("ARC-Seal: i=2; a=rsa-sha256; s=rsa; d=two.test; cv=pass;"), "{second}");
    assert!(second.contains("arc=pass"), "{second}");
    assert_eq!(names(second.as_bytes()), ["ed._domainkey.one.test", "rsa._domainkey.two.test", "rsa._domainkey.example.com"]);
}

#[test]
fn a_chain_that_does_not_hold_is_sealed_as_failed_once_and_then_left_alone() {
    let (author, one, two) = (signer("example.com", "rsa"), signer("one.test", "ed"), signer("two.test", "rsa"));
    let dns = records(&[&author, &one, &two]);
    let first = pass_on(&one, &signed(&author, "Hello.\r\n"), &dns).unwrap();
    let failed = pass_on(&two, &first.replace("Hello.", "Goodbye."), &dns).unwrap();
    assert!(failed.starts_with("ARC-Seal: i=2; a=rsa-sha256; s=rsa; d=two.test; cv=fail;"), "{failed}");
    assert_eq!(pass_on(&one, &failed, &dns), None);
    // Without an answer from DNS the chain counts as failed too, and the mail goes on.
    let away: Records = dns.keys().map(|name| (name.clone(), Err(NoAnswer::new(&"no answer")))).collect();
    for unknown in [away, Records::new()] {
        assert!(pass_on(&two, &first, &unknown).unwrap().contains("cv=fail"));
    }
}

#[test]
fn what_is_no_chain_is_left_as_it_is() {
    let one = signer("one.test", "ed");
    for broken in [
        "ARC-Seal: nonsense\r\nFrom: <a@example.com>\r\n\r\nx\r\n",
        "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=x.test; s=s; b=AAAA\r\nFrom: <a@example.com>\r\n\r\nx\r\n",
        "ARC-Authentication-Results: i=1; x.test; none\r\nFrom: <a@example.com>\r\n\r\nx\r\n",
    ] {
        assert_eq!(pass_on(&one, broken, &Records::new()), None, "{broken}");
    }
}

#[test]
fn lines_of_blanks_at_the_end_break_neither_signature_nor_chain() {
    let (author, one, two) = (signer("example.com", "rsa"), signer("one.test", "ed"), signer("two.test", "rsa"));
    let dns = records(&[&author, &one, &two]);
    for body in ["", " \r\n\t\r\n", "Hello.\r\n \r\n\t \r\n", "\r\n\r\n"] {
        let first = pass_on(&one, &signed(&author, body), &dns).unwrap();
        assert!(first.contains("dkim=pass"), "{body:?}: {first}");
        assert!(pass_on(&two, &first, &dns).unwrap().contains("cv=pass"), "{body:?}");
        // A failure of a signature is reported as it is.
        assert!(pass_on(&one, &signed(&author, body), &Records::new()).unwrap().contains("dkim=temperror"), "{body:?}");
    }
    // A signature over a "simple" body covers every blank.
    let strict = SignerOptions { canonicalization: "relaxed/simple".parse().unwrap(), ..SignerOptions::default() };
    let strict = Signer::new("example.com", "rsa", author.key().clone(), &strict).unwrap();
    assert!(pass_on(&one, &signed(&strict, "Hello.\r\n \r\n"), &dns).unwrap().contains("dkim=pass"));
}

#[test]
fn a_message_with_very_many_signatures_costs_few_look_ups() {
    let author = signer("example.com", "ed");
    let mut message = signed(&author, "x\r\n");
    let one = message.split("From: <").next().unwrap().to_owned();
    for n in 0..100 {
        message = one.replace("d=example.com", &format!("d=x{n}.test")) + &message;
    }
    assert_eq!(names(message.as_bytes()).len(), LOOKUPS_MAX);
}

#[test]
fn forwarded_mail_is_known_by_what_it_brings() {
    assert!(is_forwarded(b"Received: x\r\ndkim-signature: v=1\r\n"));
    assert!(is_forwarded(b"ARC-Seal: i=1\r\n"));
    assert!(!is_forwarded(b"From: a\r\nSubject: DKIM-Signature: v=1\r\n"));
    assert!(!is_forwarded(b""));
}
