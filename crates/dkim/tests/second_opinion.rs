//! Three other implementations verify our signatures: mail-auth, dkimpy and OpenDKIM. None of them uses DNS.

mod messages;
mod verifiers;

use std::time::Duration;

use posthaste_dkim::{
    Key, Signer, SignerOptions,
    arc::{Passage, Records},
};

use messages::{Case, cases};
use verifiers::{Record, Sample, dkimpy, mail_auth, opendkim};

const NOW: u64 = 1_790_000_000;
const CENTURY: Duration = Duration::from_secs(100 * 365 * 86400);

/// A signer for each algorithm; one whose signatures expire, with an identity; one for each other canonicalization.
fn signers() -> [Signer; 6] {
    let rsa = || Key::from_pem(include_str!("keys/rsa-pkcs1.pem")).unwrap();
    let ed25519 = Key::from_pem(include_str!("keys/ed25519.pem")).unwrap();
    let expiring = SignerOptions { expire: Some(CENTURY), identity: Some("news@eu.example.com".into()), ..SignerOptions::default() };
    let by = |c: &str| SignerOptions { canonicalization: c.parse().unwrap(), ..SignerOptions::default() };
    [
        Signer::new("example.com", "rsa", rsa(), &SignerOptions::default()).unwrap(),
        Signer::new("example.com", "ed", ed25519, &SignerOptions::default()).unwrap(),
        Signer::new("example.com", "year", rsa(), &expiring).unwrap(),
        Signer::new("example.com", "rs", rsa(), &by("relaxed/simple")).unwrap(),
        Signer::new("example.com", "sr", rsa(), &by("simple/relaxed")).unwrap(),
        Signer::new("example.com", "ss", rsa(), &by("simple/simple")).unwrap(),
    ]
}

fn records() -> Vec<Record> {
    let name = |s: &Signer| format!("{}._domainkey.{}", s.selector(), s.domain());
    signers().iter().map(|s| Record { name: name(s), text: s.key().public_record() }).collect()
}

/// Every message, signed by one of the signers.
fn signed(signer: &Signer) -> Vec<Sample> {
    let sign = |case: &Case| Sample {
        what: format!("{} ({})", case.what, signer.selector()),
        message: [signer.sign(&case.parts(), NOW).unwrap().into_bytes(), case.whole()].concat(),
        valid: true,
        misjudged_by: case.misjudged_by,
    };
    cases().iter().map(sign).collect()
}

/// Messages changed after signing, in ways that a reader would see.
fn forged() -> Vec<Sample> {
    let [signer, ..] = signers();
    let original = b"From: <a@example.com>\r\nSubject: Pay 100\r\n\r\nHello  world\r\n \r\nend\r\n";
    let signature = signer.sign(&[original], NOW).unwrap();
    let text = String::from_utf8(original.to_vec()).unwrap();
    let forge = |what: &str, changed: String| Sample {
        what: what.into(),
        message: (signature.clone() + &changed).into_bytes(),
        valid: false,
        misjudged_by: &[],
    };
    vec![
        forge("a word of the body", text.replace("world", "wold")),
        forge("a line added at the end", text.clone() + "more\r\n"),
        forge("the empty line in the middle", text.replace(" \r\n", "")),
        forge("a word of the subject", text.replace("100", "900")),
        forge("a second subject on top", format!("Subject: Pay 900\r\n{text}")),
        forge("a second From on top", format!("From: <b@example.com>\r\n{text}")),
        forge("a Reply-To that was not there", format!("Reply-To: <b@example.com>\r\n{text}")),
        forge("a List-Unsubscribe that was not there", format!("List-Unsubscribe: <https://evil.example/>\r\n{text}")),
        forge("a MIME-Version that was not there", format!("MIME-Version: 1.0\r\n{text}")),
    ]
}

fn samples_for(verifier: &str) -> Vec<Sample> {
    signers().iter().flat_map(signed).chain(forged()).filter(|sample| !sample.misjudged_by.contains(&verifier)).collect()
}

fn assert_judged_right(verifier: &str, samples: &[Sample], verdicts: &[bool]) {
    assert_eq!(samples.len(), verdicts.len());
    let wrong: Vec<&str> = samples.iter().zip(verdicts).filter(|(s, v)| s.valid != **v).map(|(s, _)| s.what.as_str()).collect();
    assert!(wrong.is_empty(), "{verifier} disagrees about: {wrong:#?}");
}

#[test]
fn mail_auth_verifies_what_we_sign_and_nothing_else() {
    let samples = samples_for("mail-auth");
    assert_judged_right("mail-auth", &samples, &mail_auth::verify(&samples, &records()));
}

#[test]
fn dkimpy_verifies_what_we_sign_and_nothing_else() {
    let samples = samples_for("dkimpy");
    if let Some(verdicts) = dkimpy::verify(&samples, &records()) {
        assert_judged_right("dkimpy", &samples, &verdicts);
    }
}

#[test]
fn opendkim_verifies_what_we_sign_and_nothing_else() {
    // OpenDKIM 2.11 as Debian builds it checks no Ed25519; and as a milter it never sees the blanks behind a field's colon, which
    // only a header that is signed as "simple" tells apart.
    let not_for_it = ["(ed)", "(sr)", "(ss)"];
    let fit = |sample: &Sample| !not_for_it.iter().any(|end| sample.what.ends_with(end));
    let samples: Vec<Sample> = samples_for("OpenDKIM").into_iter().filter(fit).collect();
    if let Some(verdicts) = opendkim::verify(&samples, &records()) {
        assert_judged_right("OpenDKIM", &samples, &verdicts);
    }
}

#[test]
fn two_signatures_of_one_message_both_verify() {
    let [rsa, ed25519, ..] = signers();
    let sample = |case: &Case, first: &Signer, second: &Signer| {
        let field = |signer: &Signer| signer.sign(&case.parts(), NOW).unwrap().into_bytes();
        Sample {
            what: case.what.into(),
            message: [field(first), field(second), case.whole()].concat(),
            valid: true,
            misjudged_by: case.misjudged_by,
        }
    };
    let fit: Vec<Case> = cases().into_iter().filter(|case| !case.misjudged_by.contains(&"mail-auth")).collect();
    let samples: Vec<Sample> = fit.iter().flat_map(|case| [sample(case, &rsa, &ed25519), sample(case, &ed25519, &rsa)]).collect();
    assert_judged_right("mail-auth", &samples, &mail_auth::verify(&samples, &records()));
}

/// A message signed by its author and sealed by two forwarders, one after the other.
fn forwarded(case: &Case) -> Sample {
    let [author, ..] = signers();
    let records: Records = records().into_iter().map(|record| (record.name, Ok(vec![record.text]))).collect();
    let mut message = [author.sign(&case.parts(), NOW).unwrap().into_bytes(), case.whole()].concat();
    for selector in ["rsa", "year"] {
        let [sealer] = signers().into_iter().filter(|s| s.selector() == selector).collect::<Vec<_>>().try_into().unwrap();
        let passage = Passage { came: &message, goes: &[&message], records: &records, host: "relay.test", client: [192, 0, 2, 1].into() };
        message = [sealer.seal(&passage).unwrap_or_else(|| panic!("{}", case.what)).into_bytes(), message].concat();
    }
    Sample { what: case.what.into(), message, valid: true, misjudged_by: case.misjudged_by }
}

#[test]
fn dkimpy_verifies_the_chains_that_we_seal_and_no_others() {
    // Both forwarders must have found the chain whole: for what mail-auth misjudges, even tidied, they say that it failed.
    let blank_before_colon = |case: &Case| case.misjudged_by.contains(&"dkimpy");
    let mut samples: Vec<Sample> = cases().iter().filter(|case| !blank_before_colon(case)).map(forwarded).collect();
    let changed = |what: &str, from: &str, to: &str| {
        let sample = forwarded(&cases()[0]);
        let text = String::from_utf8(sample.message).unwrap();
        assert!(text.contains(from), "{what}");
        Sample { what: what.into(), message: text.replace(from, to).into_bytes(), valid: false, misjudged_by: &[] }
    };
    samples.push(changed("a word of the body", "Good bye", "Good day"));
    samples.push(changed("the subject", "Subject: Hello", "Subject: Help"));
    samples.push(changed("what was found", "dkim=pass", "dkim=fail"));
    samples.push(changed("what became of the chain", "cv=pass", "cv=none"));
    if let Some(verdicts) = dkimpy::verify_chains(&samples, &records()) {
        assert_judged_right("dkimpy", &samples, &verdicts);
    }
}
