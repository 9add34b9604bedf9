//! A verdict is about a recipient only at RCPT or later, and it suppresses only where the whole reply is about the recipient.

use std::path::{Path, PathBuf};

use posthaste_bounce::{Context, Quoted, Rules, Verdict};
use posthaste_mail::{Action, Class, Failure, Reply, Scope, Stage};
use proptest::prelude::*;

/// What was said before any recipient was named (RFC 5321 §3.3).
const BEFORE_RCPT: [Stage; 7] = [Stage::Dns, Stage::Connect, Stage::Banner, Stage::Ehlo, Stage::Starttls, Stage::Auth, Stage::Mail];
/// Receivers whose own rules apply too.
const PROVIDERS: [Option<&str>; 6] = [None, Some("google"), Some("microsoft"), Some("yahoo"), Some("gmx"), Some("orange")];

/// Words about the recipient, each of which suppresses when it stands alone.
const ABOUT_RECIPIENT: [&str; 12] = [
    "5.1.1 <ann@example.org>: Recipient address rejected: User unknown in virtual mailbox table",
    "5.1.1 The email account that you tried to reach does not exist",
    "no such user here",
    "5.1.1 unknown or illegal alias: ann@example.org",
    "5.2.1 This mailbox is disabled",
    "<ann@example.org>: invalid address",
    "5.1.1 Adresse d au moins un destinataire invalide",
    "Empfänger unbekannt",
    "Пользователь не найден",
    "用户不存在",
    "sorry, no mailbox here by that name. (#5.1.1)",
    "5.1.1 mailbox not found",
];

/// Words about the sender, the sending host or the pace.
const ABOUT_OTHERS: [&str; 20] = [
    "Sender address rejected: User unknown in virtual mailbox table",
    "Sender verify failed",
    "Sender address is not allowed.",
    "Reject due to SPF policy.",
    "the message fails the DMARC policy of example.com",
    "your envelope sender is in my badmailfrom list",
    "Client host [192.0.2.4] blocked using zen.spamhaus.org",
    "your IP address is on our block list",
    "your IP has been blocked for sending spam",
    "the very low reputation of the sending IP address",
    "cannot find your reverse hostname, [192.0.2.4]",
    "Service unavailable; Sender address [a@example.com] blocked using dbl.spamhaus.org",
    "too many connections from your host",
    "Too many unknown users, slow down",
    "message rate limit exceeded, try again later",
    "Failure sending mail. Try again later.",
    "daily sending quota exceeded",
    "Relaying denied - your IP has been identified as spammer",
    "possible directory harvest attack",
    "Greylisted, please come back in 300 seconds",
];

/// The RFC's own words for 550 and 450.
const RFC_WORDS: [&str; 3] = [
    "Requested action not taken: mailbox unavailable",
    "Requested mail action not taken: mailbox unavailable",
    "5.1.1 mailbox unavailable",
];

fn at(stage: Stage, code: u16, text: &str, provider: Option<&str>) -> Verdict {
    let failure = Failure::Refused { stage, reply: Reply::new(code, text) };
    Rules::shipped().classify(&failure, &Context { provider, mx_host: None })
}

#[test]
fn a_refusal_of_the_ehlo_name_is_a_matter_of_the_hostname_and_says_so() {
    for (code, text) in [
        (501, "5.5.4 Invalid domain name"),
        (501, "5.0.0 Invalid domain name"),
        (501, "Syntactically invalid HELO argument(s)"),
        (501, "5.5.4 HELO/EHLO argument \"relay\" invalid, closing connection."),
        (501, "what kind of a name is that?"),
        (504, "5.5.2 <relay>: Helo command rejected: need fully-qualified hostname"),
        (504, "<localhost>: Helo command rejected: Invalid name"),
        (550, "Host name is invalid for configuration"),
        (550, "5.7.1 <relay.test>: Helo command rejected: Host not found"),
        (450, "4.7.1 <relay.test>: Helo command rejected: Host not found"),
    ] {
        let verdict = at(Stage::Ehlo, code, text, None);
        assert!(matches!(verdict.class, Class::PolicyAuth | Class::ProtocolError), "{code} {text}: {verdict:?}");
        assert_eq!((verdict.scope, verdict.action), (Scope::Local, Action::FixConfiguration), "{code} {text}: {verdict:?}");
        assert!(verdict.why.contains("hostname"), "{code} {text}: {verdict:?}");
    }
    let listed = at(Stage::Ehlo, 550, "5.7.1 Client host [192.0.2.4] blocked using zen.spamhaus.org", None);
    assert_eq!((listed.class, listed.action), (Class::IpReputation, Action::PauseLane));
}

#[test]
fn a_5xx_before_mail_is_tried_again_unless_the_host_says_that_it_takes_no_mail() {
    for (stage, code, text, permanent) in [
        (Stage::Banner, 554, "5.7.1 you are not welcome", false),
        (Stage::Banner, 554, "No SMTP service here", false),
        (Stage::Banner, 550, "blah", false),
        (Stage::Banner, 521, "5.7.1 Service unavailable; client [192.0.2.4] blocked using zen.spamhaus.org", false),
        (Stage::Banner, 521, "mx.example.org does not accept mail from 192.0.2.4", false),
        (Stage::Ehlo, 550, "5.7.1 what kind of a name is that", false),
        (Stage::Ehlo, 504, "5.5.2 <relay>: Helo command rejected: need fully-qualified hostname", false),
        (Stage::Ehlo, 521, "go away", false),
        (Stage::Banner, 521, "mx.example.org does not accept mail", true),
        (Stage::Ehlo, 556, "5.1.10 null MX", true),
        (Stage::Mail, 550, "5.7.1 you are not welcome", true),
        (Stage::Rcpt, 556, "5.1.10 Recipient address has null MX", true),
        (Stage::Rcpt, 521, "5.7.1 blocked", true),
    ] {
        let verdict = at(stage, code, text, None);
        assert_eq!(verdict.permanent, permanent, "{stage} {code} {text}: {verdict:?}");
        assert!(permanent || verdict.action != Action::None, "{stage} {code} {text}: {verdict:?}");
    }
    // An operator may see it otherwise.
    let own = r#"
[[rule]]
id = "own.closed"
text = ["closed for good"]
class = "policy_auth"
permanent = true
confidence = 0.9
example = ["554 closed for good"]
source = "a call with the partner"
"#;
    let failure = Failure::Refused { stage: Stage::Banner, reply: Reply::new(554, "closed for good") };
    assert!(Rules::with(&[("own.toml", own)]).unwrap().classify(&failure, &Context::default()).permanent);
}

fn is_about_recipient(verdict: &Verdict) -> bool {
    matches!(verdict.class, Class::InvalidRecipient | Class::InactiveMailbox | Class::MailboxFull)
        || verdict.scope == Scope::Recipient
        || verdict.action == Action::Suppress
}

/// The examples of all shipped rules, and the labelled replies if they lie beside the repository.
fn replies() -> Vec<String> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut replies = Vec::new();
    for entry in std::fs::read_dir(home.join("../../config/bounce")).unwrap() {
        let file: toml::Table = std::fs::read_to_string(entry.unwrap().path()).unwrap().parse().unwrap();
        let rules = file.get("rule").and_then(toml::Value::as_array).into_iter().flatten();
        let examples = rules.filter_map(|r| r.get("example")?.as_array()).flatten();
        replies.extend(examples.filter_map(|e| e.as_str().map(str::to_owned)));
    }
    for corpus in ["../../../shared/corpora/replies.jsonl", "../../../shared/corpora/more/replies.jsonl"].map(PathBuf::from) {
        let Ok(rows) = std::fs::read_to_string(home.join(&corpus)) else {
            eprintln!("SKIPPED: no corpus at {}", corpus.display());
            continue;
        };
        let rows = rows.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        replies.extend(rows.map(|r| r["reply"].as_str().unwrap().to_owned()));
    }
    replies
}

#[test]
fn whatever_is_said_before_rcpt_is_not_about_a_recipient() {
    let replies = replies();
    assert!(replies.len() > 300, "{}", replies.len());
    for reply in &replies {
        for stage in BEFORE_RCPT {
            for provider in PROVIDERS {
                let quoted = Quoted { stage: Some(stage), ..Quoted::read(reply) };
                let verdict = Rules::shipped().classify_quoted(&quoted, &Context { provider, mx_host: None });
                assert!(!is_about_recipient(&verdict), "{stage}, {provider:?}: {reply}\n{verdict:#?}");
            }
        }
    }
}

#[test]
fn the_words_about_a_recipient_suppress_at_rcpt_when_they_stand_alone() {
    for text in ABOUT_RECIPIENT {
        assert_eq!(at(Stage::Rcpt, 550, text, None).action, Action::Suppress, "{text}");
        assert_eq!(at(Stage::Mail, 550, text, None).action, Action::FixConfiguration, "{text}");
    }
}

#[test]
fn nothing_about_the_sender_the_host_or_the_pace_suppresses() {
    for other in ABOUT_OTHERS {
        for provider in PROVIDERS {
            let alone = [other.to_owned(), format!("5.1.1 {other}"), format!("5.2.1 {other}")];
            let behind = RFC_WORDS.iter().map(|rfc| format!("{rfc}\n{other}"));
            let beside = ABOUT_RECIPIENT.iter().flat_map(|r| [format!("{r}\n{other}"), format!("{other}\n{r}")]);
            for text in alone.into_iter().chain(behind).chain(beside) {
                let verdict = at(Stage::Rcpt, 550, &text, provider);
                assert_ne!(verdict.action, Action::Suppress, "{provider:?}: {text}\n{verdict:#?}");
            }
        }
    }
}

#[test]
fn the_rfcs_first_line_does_not_decide_over_the_second() {
    let class = |text: &str| at(Stage::Rcpt, 550, text, None).class;
    for other in ABOUT_OTHERS {
        let behind = class(&format!("Requested action not taken: mailbox unavailable\n{other}"));
        assert_eq!(behind, class(other), "{other}");
    }
    let unknown = at(Stage::Rcpt, 550, "Requested action not taken: mailbox unavailable\nthe moon is new tonight", None);
    assert_eq!((unknown.class, unknown.action), (Class::PolicyAuth, Action::None), "it is a reason, and not that there is no mailbox");
    let alone = at(Stage::Rcpt, 550, "Requested action not taken: mailbox unavailable", Some("gmx"));
    assert_eq!((alone.class, alone.action), (Class::InvalidRecipient, Action::Suppress));
}

#[test]
fn a_reply_to_the_whole_message_suppresses_none_of_its_recipients() {
    for stage in [Stage::Data, Stage::Dot] {
        for text in ABOUT_RECIPIENT {
            let verdict = at(stage, 550, text, None);
            assert_eq!((is_about_recipient(&verdict), verdict.action), (true, Action::None), "{stage}: {text}");
        }
    }
}

#[test]
fn an_operators_rule_is_held_to_it_too() {
    let own = r#"
[[rule]]
id = "own.closed"
text = ["closed for good"]
class = "inactive_mailbox"
action = "suppress"
confidence = 0.9
example = ["550 closed for good"]
source = "a call with the partner"
"#;
    let rules = Rules::with(&[("own.toml", own)]).unwrap();
    let judge = |stage| {
        let failure = Failure::Refused { stage, reply: Reply::new(550, "closed for good") };
        rules.classify(&failure, &Context::default())
    };
    assert_eq!(&*judge(Stage::Rcpt).rule, "own.closed");
    assert!(!is_about_recipient(&judge(Stage::Mail)));
}

proptest! {
    #[test]
    fn no_text_before_rcpt_is_about_a_recipient(words in proptest::collection::vec(0..ABOUT_RECIPIENT.len() + ABOUT_OTHERS.len(), 1..4),
        code in 400u16..600, stage in 0..BEFORE_RCPT.len(), provider in 0..PROVIDERS.len(), noise in ".{0,40}") {
        let all: Vec<&str> = ABOUT_RECIPIENT.iter().chain(&ABOUT_OTHERS).copied().collect();
        let lines: Vec<&str> = words.into_iter().map(|w| all[w]).chain([noise.as_str()]).collect();
        let verdict = at(BEFORE_RCPT[stage], code, &lines.join("\n"), PROVIDERS[provider]);
        prop_assert!(!is_about_recipient(&verdict), "{verdict:#?}");
    }
}
