//! The promises of the rule set: every rule decides its own examples, operators' rules go first, errors name the line.

use posthaste_bounce::{Context, Rules};
use posthaste_mail::{Action, Class, Failure, LocalCause, Reply, Scope, Stage};

fn refused(stage: Stage, code: u16, text: &str) -> Failure {
    Failure::Refused { stage, reply: Reply::new(code, text) }
}

#[test]
fn every_rule_decides_its_own_examples() {
    let failures = Rules::shipped().check_examples();
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(Rules::shipped().len() > 300, "{}", Rules::shipped().len());
}

#[test]
fn enhanced_codes_keep_their_whole_numbers() {
    let judge = |text| Rules::shipped().classify(&refused(Stage::Mail, 550, text), &Context { provider: Some("microsoft"), mx_host: None });
    assert_eq!(judge("5.7.511 no").class, Class::IpReputation);
    assert_ne!(judge("5.7.255 no").rule, judge("5.7.511 no").rule);
}

#[test]
fn a_5xx_that_asks_to_slow_down_is_tried_again() {
    let verdict =
        Rules::shipped().classify(&refused(Stage::Rcpt, 550, "5.7.1 Too many messages from your host, slow down"), &Context::default());
    assert_eq!(
        (verdict.class, verdict.permanent, verdict.action, verdict.scope),
        (Class::RateLimited, false, Action::SlowDown, Scope::Lane)
    );
}

#[test]
fn a_4xx_is_never_final_whatever_it_says() {
    let verdict = Rules::shipped().classify(&refused(Stage::Rcpt, 450, "4.1.1 <a@example.org>: User unknown"), &Context::default());
    assert_eq!((verdict.class, verdict.permanent, verdict.action), (Class::InvalidRecipient, false, Action::Retry));
}

#[test]
fn only_the_sure_and_final_suppress() {
    let judge = |code, text| Rules::shipped().classify(&refused(Stage::Rcpt, code, text), &Context::default());
    assert_eq!(judge(550, "5.1.1 User unknown").action, Action::Suppress);
    assert_eq!(judge(550, "no").action, Action::None);
    assert_eq!(judge(554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org").action, Action::PauseLane);
    assert_eq!(judge(552, "5.2.2 Mailbox full").action, Action::Retry);
}

#[test]
fn a_reputation_block_under_a_code_for_dead_addresses_is_no_dead_address() {
    let text = "5.1.1 Your message was rejected because your IP is listed on our blacklist";
    let verdict = Rules::shipped().classify(&refused(Stage::Rcpt, 550, text), &Context::default());
    assert_eq!(verdict.class, Class::IpReputation);
}

#[test]
fn an_unknown_reply_is_decided_from_code_and_stage_with_low_confidence() {
    let at = |stage| Rules::shipped().classify(&refused(stage, 550, "computer says no"), &Context::default());
    assert_eq!(at(Stage::Rcpt).class, Class::InvalidRecipient);
    assert_eq!(at(Stage::Banner).class, Class::IpReputation);
    assert_eq!(at(Stage::Mail).class, Class::PolicyAuth);
    assert_eq!(at(Stage::Dot).class, Class::SpamContent);
    assert!([Stage::Rcpt, Stage::Banner, Stage::Mail, Stage::Dot].into_iter().all(|s| at(s).confidence < 0.6));
}

#[test]
fn local_causes_are_classified_too() {
    let local = |cause| Failure::Local { stage: Stage::Connect, cause, detail: String::new() };
    let judge = |cause| Rules::shipped().classify(&local(cause), &Context::default());
    assert_eq!(judge(LocalCause::NullMx).class, Class::BadDomain);
    assert_eq!(judge(LocalCause::TlsFailed).class, Class::TlsFailure);
    assert_eq!(judge(LocalCause::DnsUnavailable).class, Class::DnsFailure);
    assert_eq!(judge(LocalCause::ConnectTimeout).class, Class::ConnectionFailure);
}

#[test]
fn the_host_that_answered_tells_the_provider() {
    let judge = |mx_host| {
        Rules::shipped().classify(&refused(Stage::Rcpt, 550, "5.4.1 refused"), &Context { provider: None, mx_host: Some(mx_host) })
    };
    assert_eq!(&*judge("example-org.mail.protection.outlook.com.").rule, "microsoft.recipient-codes");
    assert_ne!(&*judge("mx.example.org").rule, "microsoft.recipient-codes");
}

const OWN: &str = r#"
[[rule]]
id = "own.partner"
text = ["recipient * moon"]
class = "greylisting"
confidence = 0.3
why = "the partner's moon phase"
example = ["550 5.1.1 user unknown: recipient is on the moon"]
source = "a call with the partner"
"#;

#[test]
fn an_operators_rule_goes_before_all_others() {
    let rules = Rules::with(&[("own.toml", OWN)]).unwrap();
    assert!(rules.check_examples().is_empty());
    let verdict = rules.classify_text("550 5.1.1 User unknown, recipient lives on the moon", None);
    assert_eq!((&*verdict.rule, verdict.class), ("own.partner", Class::Greylisting));
    assert_eq!(&*rules.classify_text("550 5.1.1 User unknown", None).rule, "text.user-unknown");
}

#[test]
fn an_operators_rule_replaces_the_shipped_one_of_its_name() {
    let own = OWN.replace("own.partner", "text.user-unknown");
    let rules = Rules::with(&[("own.toml", &own)]).unwrap();
    assert_eq!(rules.len(), Rules::shipped().len());
    assert_ne!(&*rules.classify_text("550 5.1.1 User unknown", None).rule, "text.user-unknown");
}

#[test]
fn a_bad_rule_file_is_refused_by_file_line_and_key() {
    let refused = |from: &str, to: &str| Rules::with(&[("own.toml", &OWN.replace(from, to))]).unwrap_err().to_string();
    let cases = [
        (refused("greylisting", "graylisting"), "own.toml:5: class: "),
        (refused("0.3", "30"), "own.toml:6: confidence: confidence is a number between"),
        (refused("text = [\"recipient * moon\"]", "enhanced = [\"5.1\"]"), "own.toml:4: enhanced: \"5.1\" is not an enhanced code"),
        (refused("text = [\"recipient * moon\"]", "code = [700]"), "own.toml:4: code: \"700\" is not a reply code"),
        (refused("text = [\"recipient * moon\"]", "text = [\" . \"]"), "own.toml:2: the pattern \" . \""),
        (refused("text = [\"recipient * moon\"]", ""), "own.toml:2: a rule needs a condition"),
        (refused("why =", "because ="), "own.toml:7: because: unknown field"),
        (refused("example = [\"550 5.1.1 user unknown: recipient is on the moon\"]", "example = []"), "own.toml:8: example: a rule needs"),
        (refused("a call with the partner", ""), "own.toml:9: source: say where"),
        (refused("source = \"a call with the partner\"", ""), "own.toml:2: missing field `source`"),
        (refused("class = \"greylisting\"", "class = "), "own.toml:5: class: "),
        (Rules::with(&[("own.toml", &OWN.repeat(2))]).unwrap_err().to_string(), "own.toml:11: there are two rules with the id"),
    ];
    for (said, wanted) in cases {
        assert!(said.starts_with(wanted), "{said:?} does not begin with {wanted:?}");
    }
}

#[test]
fn quoted_replies_are_read_whatever_stands_before_them() {
    let class = |raw| Rules::shipped().classify_text(raw, None).class;
    assert_eq!(class("550-5.7.1 [192.0.2.1] this message is likely\n550 5.7.1 unsolicited mail"), Class::SpamContent);
    assert_eq!(class("smtp; 452 4.2.2 Over quota"), Class::MailboxFull);
    assert_eq!(
        class("host mx.spam.example[192.0.2.9] said: 550 5.1.1 <a@b.example>: user unknown (in reply to RCPT TO command)"),
        Class::InvalidRecipient
    );
    assert_eq!(class("Postfach des Empfängers ist voll"), Class::MailboxFull);
    assert_eq!(class("yfiordvnkl"), Class::TransientOther);
}

#[test]
fn a_verdict_names_the_receivers_page() {
    let page = |reply: &str, provider| Rules::shipped().classify_text(reply, provider).link.map(|l| l.to_string()).unwrap_or_default();
    for (reply, provider, host) in [
        ("421 4.7.28 Gmail has detected an unusual rate of mail originating from your DKIM domain", Some("google"), "support.google.com"),
        ("550 5.7.511 Access denied, banned sender[192.0.2.1]", None, "sender.office.com"),
        (
            "550 5.7.515 Access denied, the sending domain does not meet the required authentication level",
            Some("microsoft"),
            "learn.microsoft.com",
        ),
        ("550 5.7.1 part of their network is on our block list (S3140)", None, "sendersupport.olc.protection.outlook.com"),
        ("550 5.7.1 part of their network is on our block list (S3150)", None, "sendersupport.olc.protection.outlook.com"),
        ("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred", None, "senders.yahooinc.com"),
        ("554 5.7.1 [HM08] Message rejected due to local policy", Some("apple"), "support.apple.com"),
        ("421 Trop de connexions. Too many connections, slow down. OFR004_104 [104]", None, "postmaster.orange.fr"),
        ("550 Requested action not taken: mailbox unavailable", Some("gmx"), "postmaster.gmx.net"),
        ("421 Too many errors from your ip, please visit http://postmaster.free.fr/", None, "postmaster.free.fr"),
        ("552 5.2.2 mailbox full", Some("mx.icloud.com"), "support.apple.com"),
    ] {
        assert!(page(reply, provider).contains(host), "{reply}: {:?}", page(reply, provider));
    }
    assert_eq!(page("550 5.1.1 user unknown", None), "");
}

#[test]
fn replies_that_were_read_wrongly_are_read_rightly() {
    for (reply, class, action) in [
        ("550 5.2.5 Folder full", Class::MailboxFull, Action::Retry),
        (
            "550 <u@x.test> Benutzer hat zuviele Mails auf dem Server. / User has too many messages on the server.",
            Class::MailboxFull,
            Action::Retry,
        ),
        (
            "550-Requested action not taken: mailbox unavailable\n550 Sender address is not allowed.",
            Class::PolicyAuth,
            Action::FixConfiguration,
        ),
        (
            "550-Requested action not taken: mailbox unavailable\n550 Failure sending mail. Try again later.",
            Class::RateLimited,
            Action::SlowDown,
        ),
        (
            "554 5.7.1 Service unavailable; Sender address [user@example.com] blocked using dbl.spamhaus.org; Error: open resolver; https://check.spamhaus.org/returnc/pub/192.0.2.4/",
            Class::PolicyAuth,
            Action::None,
        ),
        ("450 Too many recipient attempts", Class::RateLimited, Action::SlowDown),
        ("501-5.5.4 Empty HELO/EHLO argument not allowed, closing connection.", Class::ProtocolError, Action::FixConfiguration),
        ("554 5.6.1 Body type not supported by Remote Host", Class::ProtocolError, Action::FixMessage),
        ("552 5.1.1 Boîte aux lettres pleine", Class::MailboxFull, Action::Retry),
        ("550 Relaying denied - your IP has been identified as spammer", Class::IpReputation, Action::PauseLane),
        ("554 5.4.6 Message exceeded 50 hops, this may indicate a mail loop", Class::ConnectionFailure, Action::None),
        (
            "421 4.7.29 Your email has been rate limited because this message wasn't sent over a TLS connection",
            Class::TlsFailure,
            Action::Retry,
        ),
        ("550 5.5.0 Boite du destinataire archivee.", Class::InactiveMailbox, Action::Suppress),
    ] {
        let verdict = Rules::shipped().classify_text(reply, None);
        assert_eq!((verdict.class, verdict.action), (class, action), "{reply}: {}", verdict.rule);
    }
}

#[test]
fn googles_rate_and_tls_codes_mean_the_same_with_and_without_its_words() {
    let judge = |text| Rules::shipped().classify_text(text, Some("google")).class;
    assert_eq!(
        (judge("421-4.7.28 no"), judge("421-4.7.29 no"), judge("421-4.7.27 no")),
        (Class::IpReputation, Class::TlsFailure, Class::PolicyAuth)
    );
    let words = "421 4.7.28 Gmail has detected an unusual rate of email originating from your IP Netblock";
    assert_eq!(judge(words), Rules::shipped().classify_text(words, None).class);
}
