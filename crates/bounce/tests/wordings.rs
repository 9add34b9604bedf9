//! Wordings that no rule knows as they stand: what the words of a reply say together decides its class, and suppresses nobody.

use posthaste_bounce::{Rules, Verdict};
use posthaste_mail::{Action, Class};

fn read(reply: &str) -> Verdict {
    Rules::shipped().classify_text(reply, None)
}

/// Replies in words of servers seldom met, by what they mean.
const FAMILIES: &[(Class, &[&str])] = &[
    (
        Class::InvalidRecipient,
        &[
            "554 5.7.1 Sorry, we cannot find that mailbox",
            "550 bob: there's nobody with that name",
            "554 5.1.1 No mailbox matches this address",
            "Address bob@example.com is invalid",
            "The following recipients are unknown to this server",
            "554 Rcpt <bob@example.net> unknown",
        ],
    ),
    (
        Class::InactiveMailbox,
        &["550 This user no longer has a mailbox here", "550 the subscriber's contract has ended", "550 Address deprecated"],
    ),
    (
        Class::MailboxFull,
        &[
            "550 Bob's inbox is at 100 % of its quota",
            "452 4.2.2 Recipient's storage is used up",
            "552 5.2.2 too much mail is stored for bob",
            "Message rejected: Maximum storage reached",
        ],
    ),
    (
        Class::RateLimited,
        &[
            "421 Only 10 connections allowed per client",
            "421 Too many clients from one host",
            "450 mailbox is receiving email too quickly",
            "550 5.7.1 You sent more messages than your plan permits for today",
        ],
    ),
    (
        Class::IpReputation,
        &[
            "550 [192.0.2.1] is on our deny list, disconnecting",
            "550 Your domain has been blacklisted",
            "550 5.7.1 sender domain example.org listed in dbl.spamhaus.org",
            "421 4.7.1 Client IP not trusted at this time",
            "554 5.7.1 Mail from 192.0.2.1 rejected: listed by rbl",
        ],
    ),
    (
        Class::ProtocolError,
        &[
            "503 5.5.1 Error: MAIL not allowed here",
            "503 5.5.1 Multiple MAIL commands not allowed.",
            "503 5.5.1 Error: authentication not enabled",
            "501 5.5.4 HELO/EHLO argument \"foo bar\" invalid, closing connection.",
            "501 5.6.0 Data format error",
            "554 5.5.1 Error: no valid recipients",
        ],
    ),
    (
        Class::TransientOther,
        &[
            "451 4.7.1 Milter service unavailable",
            "421 Cannot connect to the content filter",
            "471 4.7.1 scanner timed out",
            "451 4.4.3 recipient table lookup failed",
            "551 5.3.0 command died with status 127: \"/usr/bin/vacation\"",
            "Unable to chdir to maildir. (#4.2.1)",
        ],
    ),
    (
        Class::PolicyAuth,
        &[
            "550 You are sending as a local user without logging in",
            "550 5.7.1 The recipient has blocked you",
            "501 Authentication aborted",
        ],
    ),
    (
        Class::RelayingDenied,
        &["554 Relaying verweigert", "550 not authorised to relay through this host", "550 authentication required to relay"],
    ),
    (
        Class::InvalidRecipient,
        &[
            "553 sorry, that address is not in my list of allowed recipients (#5.7.1)",
            "551 5.1.6 ann is not one of our customers",
            "550 LDAP lookup returned no entry for ann@example.org",
        ],
    ),
    (Class::InactiveMailbox, &["550 User hangup"]),
    (Class::MessageTooLarge, &["552 Requested mail action aborted: exceeded mailsize limit"]),
    (
        Class::RateLimited,
        &["450 4.7.1 Recipient rate for this client exceeded", "450 4.2.1 Mailbox is receiving mail faster than it can be processed"],
    ),
    (
        Class::Greylisting,
        &[
            "451 4.7.1 Try again later in 300 seconds (rspamd greylisting)",
            "451 Temporarily rejected: unknown sender/recipient pair; normal mail servers retry",
            "451 Internal resource temporarily unavailable - https://community.mimecast.com/docs/DOC-1369#451 [xyz.uk12]",
        ],
    ),
    (
        Class::IpReputation,
        &[
            "421 Requested mail action not taken: IP is Hangup",
            "550 Mail content denied. The IP address you are using is blacklisted. http://service.mail.qq.com/cgi-bin/help?subtype=1",
            "554 5.7.1 DAS51 192.0.2.7: Your mail is blocked automatically by anti-spam system. (E06)",
            "501 Connection rejected by policy [7.7] 20805, please visit www.messagelabs.com/support",
        ],
    ),
    (
        Class::PolicyAuth,
        &[
            "550 5.7.1 sender <news@example.org> black listed #127",
            "550 User in blacklist",
            "550 Requested mail action not taken: Fake sender",
            "550 5.2.0 the recipient is only accepting mail from specific email addresses",
        ],
    ),
    (Class::RateLimited, &["421 4.7.0 Trop de messages envoyes depuis votre adresse IP, veuillez patienter. LPN007_510"]),
    (Class::ProtocolError, &["550 5.7.1 Error: content rejected: bare <LF> in message header"]),
    (Class::BadDomain, &["550 This host knows nothing about domain example.org"]),
    (Class::TransientOther, &["452 4.3.1 Out of disk on mail store"]),
    (Class::InvalidRecipient, &["550 5.7.1 Requested action not taken: recipient cannot be verified"]),
    (Class::InactiveMailbox, &["550 5.1.1 Alumni address expired in 2024", "550 Mailbox access revoked by administrator"]),
    (Class::MessageTooLarge, &["550 Mail of more than 15 megabytes is refused by this host"]),
    (
        Class::SpamContent,
        &[
            "554 5.7.1 This mail looks like bulk advertising nobody asked for",
            "550 5.7.9 Message failed URL reputation check: suspicious domain in body",
            "550 5.7.1 Zip with password not taken in",
        ],
    ),
    (
        Class::IpReputation,
        &[
            "550 5.7.1 We take nothing from 192.0.2.0/24 because of previous spam runs",
            "554 5.7.1 No reverse entry for your relay in DNS",
            "550 Your address 192.0.2.7 appears on list bl.example.net",
        ],
    ),
    (Class::PolicyAuth, &["553 5.7.1 <news@example.org> is on the recipient's personal reject list"]),
    (
        Class::RateLimited,
        &["451 4.7.1 You are sending faster than your reputation allows", "421 4.7.0 Session count for this peer is above limit"],
    ),
    (Class::Greylisting, &["451 4.7.1 unknown peer, prove yourself by retrying later"]),
    (Class::TransientOther, &["451 4.3.0 Anti-virus engine is restarting"]),
    (Class::ProtocolError, &["554 5.6.0 Message-ID header appears more than once"]),
    (Class::RelayingDenied, &["551 5.7.1 We will not forward mail to other hosts for you"]),
    (Class::BadDomain, &["550 Domena nie istnieje", "550 Host nonexistent"]),
    (Class::SpamContent, &["550 email content not accepted", "421 4.7.0 suspicious content"]),
];

#[test]
fn seldom_wordings_are_read_by_what_they_say() {
    let wrong: Vec<String> = FAMILIES
        .iter()
        .flat_map(|(class, replies)| replies.iter().map(move |reply| (*class, *reply, read(reply))))
        .filter(|(class, _, verdict)| verdict.class != *class)
        .map(|(class, reply, verdict)| format!("{reply:?} is {:?} by {}, not {class:?}", verdict.class, verdict.rule))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn words_in_any_order_suppress_nobody() {
    for reply in [
        "554 5.1.1 this address is not served by our machine",
        "550 5.1.1 a mailbox of this kind: nobody knows it",
        "550 5.2.1 the contract of this customer was terminated",
        "550 the account at hand was withdrawn",
    ] {
        let verdict = read(reply);
        assert!(!verdict.rule.starts_with("spread.") || verdict.action != Action::Suppress, "{reply:?}: {verdict:?}");
    }
}

#[test]
fn what_blames_the_sender_the_host_or_the_pace_suppresses_nobody_in_seldom_words_either() {
    for reply in [
        "550 5.1.1 Address is invalid: the sender's domain has been banned",
        "550 this user is unknown to you, for your IP is not trusted",
        "550 mailbox: only 10 messages per hour from one host",
        "554 recipient refused: your network was denied",
        "550 5.7.1 mailbox closed to you: forged sender",
        "550 session closed due to inactivity of the client",
        "550 5.7.1 certificate of the sending host is not valid",
    ] {
        let verdict = read(reply);
        assert_ne!(verdict.action, Action::Suppress, "{reply:?}: {verdict:?}");
    }
}
