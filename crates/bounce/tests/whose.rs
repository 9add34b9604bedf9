//! Whose account, quota, name or list entry a reply is about: the sender's suppresses nobody, and another's list entry stops no lane.

use posthaste_bounce::{Context, Rules, Verdict};
use posthaste_mail::{Action, Class, Failure, Reply, Scope, Stage};

/// The verdict on a reply that was given at this stage.
fn at(stage: Stage, reply: &str) -> Verdict {
    let failure = Failure::Refused { stage, reply: Reply::new(reply[..3].parse().unwrap(), &reply[4..]) };
    Rules::shipped().classify(&failure, &Context::default())
}

/// Fails with all replies whose verdict at RCPT is not as wanted.
fn all(replies: &[&str], wanted: impl Fn(&Verdict) -> bool) {
    let read = replies.iter().map(|reply| (*reply, at(Stage::Rcpt, reply)));
    let wrong: Vec<String> = read.filter(|(_, v)| !wanted(v)).map(|(reply, v)| format!("{reply:?}: {v:?}")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const UNAVAILABLE: &str = "550 Requested action not taken: mailbox unavailable\n";

#[test]
fn the_rules_that_others_ask_for_by_their_ids_are_there() {
    let ids = ["whose.account", "whose.login", "subject.our-account", "text.senders-account"];
    let volume = ["whose.quota", "whose.account-limit", "subject.senders-pace", "text.senders-quota", "exchange.submission-quota"];
    for id in ids.into_iter().chain(volume) {
        assert!(Rules::shipped().meaning_of(id).is_some(), "{id}");
    }
}

#[test]
fn your_account_is_the_senders_in_every_language() {
    let said = [
        "Ihr Konto ist gesperrt",
        "Ihr Konto wurde gesperrt",
        "Ihr Account wurde deaktiviert",
        "Dein Konto ist nicht mehr aktiv",
        "Twoje konto zosta\u{142}o zablokowane",
        "Su cuenta ha sido deshabilitada",
        "Tu cuenta no existe",
        "Votre compte est suspendu",
        "Il tuo account \u{e8} stato disattivato",
        "Sua conta foi suspensa",
        "Uw account is geblokkeerd",
        "Ditt konto \u{e4}r avst\u{e4}ngt",
        "\u{412}\u{430}\u{448}\u{430} \u{443}\u{447}\u{435}\u{442}\u{43d}\u{430}\u{44f} \u{437}\u{430}\u{43f}\u{438}\u{441}\u{44c} \u{437}\u{430}\u{431}\u{43b}\u{43e}\u{43a}\u{438}\u{440}\u{43e}\u{432}\u{430}\u{43d}\u{430}",
        "\u{60a8}\u{7684}\u{5e10}\u{53f7}\u{5df2}\u{88ab}\u{505c}\u{7528}",
        "Your account has been suspended",
        "Absenderkonto gesperrt",
        "La cuenta del remitente est\u{e1} suspendida",
        "L'account del mittente \u{e8} bloccato",
        "Konto nadawcy jest zablokowane",
        "Your account is not verified",
        "Your contract has expired",
        "your monthly plan is exhausted",
        "You are not a known user of this system",
        "No such user (login)",
    ];
    for text in said {
        for reply in [
            format!("550 {text}"),
            format!("550 5.7.1 {text}"),
            format!("550 5.1.1 {text}"),
            format!("550 5.2.1 {text}"),
            format!("{UNAVAILABLE}{text}"),
        ] {
            all(&[&reply], |v| v.is_about_our_account() && v.class == Class::PolicyAuth && v.action == Action::FixConfiguration);
        }
    }
    for text in ["Das Konto ist gesperrt", "Konto zosta\u{142}o zablokowane", "The recipient's account is suspended", "user unknown"] {
        all(&[&format!("550 5.1.1 {text}")], |v| v.scope == Scope::Recipient);
    }
}

#[test]
fn who_may_not_send_as_the_sender_suppresses_nobody_and_is_no_account() {
    for text in ["Unknown user in MAIL FROM", "The authenticated user may not use this sender", "Not allowed to use this sender address"] {
        for reply in [format!("550 {text}"), format!("{UNAVAILABLE}{text}")] {
            all(&[&reply], |v| v.class == Class::PolicyAuth && v.action != Action::Suppress && !v.is_about_our_account());
        }
    }
}

#[test]
fn the_senders_quota_is_not_the_recipients_mailbox() {
    for text in [
        "Ihr Kontingent an ausgehenden Nachrichten ist ersch\u{f6}pft",
        "Vous avez d\u{e9}pass\u{e9} votre quota journalier d'envoi",
        "Your outbound quota is exceeded",
        "Sender mailbox over quota",
        "The sender's mailbox is full",
        "Sie haben Ihr Tageskontingent \u{fc}berschritten",
        "Tageslimit erreicht",
        "Votre quota journalier est atteint",
        "Outbound limit for user shop hit",
        "Ha superado su cuota diaria",
        "Your account is over quota",
    ] {
        for reply in [format!("550 {text}"), format!("552 5.2.2 {text}"), format!("450 4.2.2 {text}"), format!("{UNAVAILABLE}{text}")] {
            all(&[&reply], |v| v.class == Class::RateLimited && !v.permanent && v.action == Action::SlowDown);
        }
    }
    for text in ["Das Postfach des Empf\u{e4}ngers ist voll", "mailbox over quota", "The recipient's mailbox is full", "quota exceeded"] {
        all(&[&format!("552 5.2.2 {text}")], |v| v.class == Class::MailboxFull);
    }
}

#[test]
fn a_list_that_names_something_else_stops_no_lane() {
    all(
        &[
            "550 5.7.1 Envelope sender's MX host 198.51.100.7 is listed at zen.spamhaus.org",
            "550 5.7.1 X-Originating-IP 198.51.100.7 blocked using zen.spamhaus.org",
            "550 5.7.1 message relayed from 198.51.100.7 listed by Spamhaus XBL",
            "550 5.7.1 attachment hash is listed at Spamhaus HBL",
            "550 5.7.1 your reply-to address is listed at ebl.msbl.org",
            "554 5.7.1 Service unavailable; Reverse client host [mail.sender.test] blocked using dbl.spamhaus.org",
            "550 5.7.1 Our system has detected that this message is likely suspicious due to the very low reputation of the sending domain.",
            "550 5.7.1 The MX of sender.test is listed at zen.spamhaus.org",
            "550 5.7.1 Name server of sender.test is listed at zen.spamhaus.org",
            "550 5.7.1 Recipient's mail server is listed at zen.spamhaus.org",
        ],
        |v| !matches!(v.action, Action::PauseLane | Action::SlowDown | Action::Suppress) && v.scope != Scope::SourceIp,
    );
    all(&["550 rejected because sender.test is in a black list at dbl.spamhaus.org"], |v| {
        (v.class, v.scope, v.action) == (Class::IpReputation, Scope::SenderDomain, Action::FixConfiguration)
    });
    all(
        &[
            "550 rejected because 203.0.113.9 is in a black list at zen.spamhaus.org",
            "554 5.7.1 Service unavailable; Client host [203.0.113.9] blocked using zen.spamhaus.org",
            "550 5.7.1 your IP is listed at zen.spamhaus.org",
        ],
        |v| v.action == Action::PauseLane,
    );
}

#[test]
fn a_refusal_of_our_name_or_without_a_reason_stops_no_lane() {
    for text in ["You cannot use my name as EHLO", "5.7.1 go away"] {
        let verdict = at(Stage::Ehlo, &format!("550 {text}"));
        assert!(!verdict.permanent && verdict.action != Action::PauseLane, "{text}: {verdict:?}");
    }
}
