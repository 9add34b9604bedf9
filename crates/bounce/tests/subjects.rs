//! What a reply is about goes before the words that stand behind it, and what is about the sender neither pauses a lane nor suppresses.

use posthaste_bounce::{Context, Quoted, Rules, Verdict};
use posthaste_mail::{Action, Class, Scope, Stage};

/// The verdict on a reply that was given at RCPT.
fn at_rcpt(reply: &str) -> Verdict {
    let mut quoted = Quoted::read(reply);
    quoted.stage = Some(Stage::Rcpt);
    Rules::shipped().classify_quoted(&quoted, &Context { provider: None, mx_host: None })
}

/// Fails with all replies whose verdict is not as wanted.
fn all(replies: &[&str], wanted: impl Fn(&Verdict) -> bool) {
    let read = replies.iter().map(|reply| (*reply, at_rcpt(reply)));
    let wrong: Vec<String> = read.filter(|(_, v)| !wanted(v)).map(|(reply, v)| format!("{reply:?}: {v:?}")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether a verdict neither stops nor slows a lane and suppresses nobody.
fn harms_nobody(verdict: &Verdict) -> bool {
    !matches!(verdict.action, Action::Suppress | Action::PauseLane | Action::SlowDown)
}

#[test]
fn commands_out_of_order_and_syntax_are_that_whatever_stands_behind() {
    all(
        &[
            "503 5.5.1 Error: need MAIL command: user unknown",
            "503 RCPT first (#5.5.1) mailbox does not exist",
            "503 5.5.1 Error: need RCPT command: user unknown",
            "501 5.5.2 Syntax error in parameters or arguments: user unknown",
            "555 5.5.4 Unsupported option: user unknown",
            "503 5.5.1 Error: nested MAIL command: mailbox disabled",
            "550 5.5.1 bad sequence of commands, user unknown",
            "503 Sender already specified; blocked by zen.spamhaus.org",
            "501 5.5.4 Syntax: EHLO hostname (policy: spam senders are blocked)",
            "503 valid RCPT command must precede DATA, mailbox full",
            "503 5.5.1 Commands out of order - no such user here",
            "502 5.5.2 Error: command not recognized. blacklisted",
            "503 5.5.1 Polite people say HELO first, account suspended",
            "500 5.5.1 Command unrecognized: mailbox unavailable",
        ],
        |v| v.class == Class::ProtocolError && harms_nobody(v),
    );
}

#[test]
fn who_is_to_log_in_first_says_nothing_about_the_recipient() {
    all(
        &[
            "503 5.5.1 authenticate first, user unknown",
            "550 Login first; mailbox disabled",
            "530 5.7.0 Authentication first, please: no such user",
        ],
        |v| v.class == Class::PolicyAuth && harms_nobody(v),
    );
}

#[test]
fn too_many_hops_are_a_loop_whatever_stands_behind() {
    all(
        &[
            "554 5.4.6 Too many hops: user unknown",
            "550 5.1.1 too many hops; recipient unknown",
            "550 5.4.6 Routing loop detected, no such user",
            "554 5.4.6 Hop count exceeded - mailbox full",
            "550 5.7.1 Mail loop detected, spam",
            "554 too many hops, account disabled",
        ],
        |v| v.class == Class::ConnectionFailure && harms_nobody(v),
    );
}

#[test]
fn a_list_of_the_senders_domain_pauses_no_lane() {
    all(
        &[
            "554 5.7.1 Service unavailable; Sender address [a@sender.test] blocked using dbl.spamhaus.org",
            "554 5.7.1 Your domain sender.test is on the Spamhaus DBL",
            "550 5.7.1 Sender domain sender.test listed in multi.uribl.com",
            "554 5.7.1 <a@sender.test>: Sender address rejected: blocked by rhsbl.sorbs.net",
            "550 Domain sender.test is listed at dbl.spamhaus.org",
            "550 5.7.1 The domain of your From address is listed in rhsbl.sorbs.net",
        ],
        |v| v.scope == Scope::SenderDomain && harms_nobody(v),
    );
}

#[test]
fn an_address_in_the_header_pauses_no_lane() {
    all(
        &[
            "550 5.7.1 Message rejected: originating IP [203.0.113.9] found in Received header is listed at zen.spamhaus.org",
            "550 The IP 203.0.113.77 in the header of your message is listed by bl.spamcop.net",
        ],
        |v| v.class == Class::SpamContent && harms_nobody(v),
    );
    all(&["554 5.7.1 Service unavailable; Client host [203.0.113.9] blocked using zen.spamhaus.org"], |v| v.action == Action::PauseLane);
}

#[test]
fn the_senders_account_suppresses_no_recipient() {
    all(
        &[
            "554 5.1.1 Unknown user account used for authentication",
            "550 5.1.1 sorry, your account does not exist on this smart host",
            "550 5.2.1 your account has been disabled, contact us",
            "550-Requested action not taken: mailbox unavailable\n550 Account of the sender is locked.",
            "550-Requested action not taken: mailbox unavailable\n550 Your subscription does not permit sending",
        ],
        |v| v.class == Class::PolicyAuth && harms_nobody(v),
    );
}

#[test]
fn the_second_line_is_the_reason_where_it_is_the_senders_pace() {
    all(
        &[
            "550-Requested action not taken: mailbox unavailable\n550 Daily volume reached",
            "450-Requested mail action not taken: mailbox unavailable\n450 Sender quota exhausted for today",
        ],
        |v| v.class == Class::RateLimited && v.action != Action::Suppress,
    );
    all(&["550-Requested action not taken: mailbox unavailable\n550 No such recipient here"], |v| v.class == Class::InvalidRecipient);
}

#[test]
fn french_words_and_special_reasons_go_before_the_general() {
    for (reply, class) in [
        ("421 mwinf5c04 ME Trop de connexions, veuillez verifier votre configuration. LPN007_405", Class::RateLimited),
        ("450 4.7.1 Vous envoyez trop de messages, r\u{e9}essayez plus tard", Class::RateLimited),
        ("451 Liste grise, merci de r\u{e9}essayer dans 5 minutes", Class::Greylisting),
        ("550 Relais interdit", Class::RelayingDenied),
        ("550 5.7.1 Relaying denied. IP 192.0.2.1 is listed at bl.spamcop.net", Class::IpReputation),
        ("550 5.7.1 Relaying denied. Proper authentication required.", Class::RelayingDenied),
    ] {
        all(&[reply], |v| v.class == class);
    }
}

#[test]
fn a_reason_that_no_rule_knows_behind_the_rfcs_words_is_not_about_the_mailbox() {
    all(
        &[
            "550-Requested action not taken: mailbox unavailable\n550 Our board has not approved this traffic",
            "550-Requested action not taken: mailbox unavailable\n550 Reason code 47 applies",
            "553-Requested action not taken: mailbox name not allowed\n553 Zyx qwv blorp frum",
        ],
        |verdict| verdict.class == Class::PolicyAuth && verdict.action == Action::None && *verdict.rule == *"code.own-reason",
    );
    // Where nothing more is said, they are all that there is.
    for alone in [
        "550 Requested action not taken: mailbox unavailable",
        "550-Requested action not taken: mailbox unavailable\n550 see https://a.test/",
    ] {
        assert_eq!(at_rcpt(alone).class, Class::InvalidRecipient, "{alone}");
    }
}

#[test]
fn the_reason_behind_the_rfcs_words_decides_for_every_code() {
    for (reply, class) in [
        ("552-Requested mail action aborted: exceeded storage allocation\n552 Sender has used up the daily volume", Class::RateLimited),
        ("553-Requested action not taken: mailbox name not allowed\n553 Your domain is on our block list", Class::IpReputation),
        ("451-Requested action aborted: local error in processing\n451 too many messages from you", Class::RateLimited),
        ("452-Requested action not taken: insufficient system storage\n452 the mailbox of ann is full", Class::MailboxFull),
        ("421-Service not available, closing transmission channel\n421 Your IP has a bad reputation", Class::IpReputation),
        // What is not understood does not hide what the RFC's words say of the host.
        ("552-Requested mail action aborted: exceeded storage allocation\n552 zyx qwv blorp", Class::MailboxFull),
    ] {
        let verdict = at_rcpt(reply);
        assert_eq!(verdict.class, class, "{reply:?}: {verdict:?}");
    }
}
