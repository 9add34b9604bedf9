//! Mail that came back, one format at a time.

use posthaste_bounce::{Kind, Report, Rules, read_mail};
use posthaste_mail::{Class, EnhancedCode};

fn read(mail: &str) -> Vec<Report> {
    read_mail(mail.as_bytes(), Rules::shipped())
}

fn one(mail: &str) -> Report {
    let mut reports = read(mail);
    assert_eq!(reports.len(), 1, "{reports:#?}");
    reports.remove(0)
}

fn class(report: &Report) -> Option<Class> {
    report.verdict.as_ref().map(|v| v.class)
}

const DSN: &str = r#"Return-Path: <>
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
To: bounce@example.com
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b1"

--b1
Content-Type: text/plain

<gone@example.org>: host mx.example.org[192.0.2.5] said: 550 5.1.1 no such person (in reply to RCPT TO command)

--b1
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
Original-Envelope-Id: E1-77
Arrival-Date: Mon, 3 Aug 2026 10:00:00 +0000

Final-Recipient: rfc822; gone@example.org
Original-Recipient: rfc822;alias@example.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.example.org
Diagnostic-Code: smtp; 550 5.1.1 <gone@example.org>:
 no such person

Final-Recipient: rfc822; slow@example.org
Action: delayed
Status: 4.4.1
Diagnostic-Code: smtp; 451 4.4.1 connection timed out

--b1
Content-Type: message/rfc822

Message-ID: <m1@example.com>
From: a@example.com
To: alias@example.com
Subject: hello

hi
--b1--
"#;

#[test]
fn a_delivery_status_is_read_per_recipient() {
    let reports = read(DSN);
    assert_eq!(reports.len(), 2);
    let gone = &reports[0];
    assert_eq!((gone.kind, gone.rcpt.as_deref(), class(gone)), (Kind::Bounce, Some("gone@example.org"), Some(Class::InvalidRecipient)));
    assert_eq!(gone.original_rcpt.as_deref(), Some("alias@example.com"));
    assert_eq!(gone.smtp_enhanced, Some(EnhancedCode::new(5, 1, 1)));
    assert_eq!((gone.message_id.as_deref(), gone.envid.as_deref()), (Some("m1@example.com"), Some("E1-77")));
    assert_eq!((gone.reporting_mta.as_deref(), gone.remote_mta.as_deref()), (Some("mx.example.net"), Some("mx.example.org")));
    assert!(gone.diagnostic.as_deref().unwrap().ends_with("no such person"));
    assert_eq!((reports[1].kind, class(&reports[1])), (Kind::Delayed, Some(Class::ConnectionFailure)));
}

#[test]
fn a_delivery_status_survives_lost_types_and_empty_lines() {
    let damaged = DSN.replace("message/delivery-status", "text/plain").replace("hello", "x");
    assert_eq!(read(&damaged).len(), 2);
    let squeezed = DSN.replace("no such person\n\nFinal", "no such person\nFinal");
    assert_eq!(read(&squeezed).len(), 2);
    let forwarded: String = "From: a@example.com\nTo: b@example.com\nSubject: Fwd: fyi\n\n".to_owned()
        + &DSN.lines().skip(14).map(|l| format!("> {l}\n")).collect::<String>();
    assert_eq!(read(&forwarded)[0].rcpt.as_deref(), Some("gone@example.org"));
}

#[test]
fn a_success_notice_is_no_bounce() {
    let reports = read(&DSN.replace("Action: failed", "Action: delivered").replace("Status: 5.1.1", "Status: 2.0.0"));
    assert_eq!((reports[0].kind, reports[0].verdict.is_none()), (Kind::Delivered, true));
}

#[test]
fn exims_notice_names_each_recipient() {
    let reports = read(
        "Return-path: <>\nX-Failed-Recipients: a@example.org, b@example.org\nFrom: Mail Delivery System <Mailer-Daemon@mx.example.net>\nTo: s@example.com\n\
         Subject: Mail delivery failed: returning message to sender\n\nA message that you sent could not be delivered to one or more of its recipients.\n\
         The following address(es) failed:\n\n  a@example.org\n    SMTP error from remote mail server after RCPT TO:<a@example.org>:\n    550 5.1.1 unknown user\n\
         \x20 b@example.org\n    mailbox is full\n\n------ This is a copy of the message, including all the headers. ------\n\n\
         Message-ID: <m2@example.com>\nTo: c@example.org\n",
    );
    let said: Vec<_> = reports.iter().map(|r| (r.rcpt.as_deref().unwrap(), class(r).unwrap())).collect();
    assert_eq!(said, [("a@example.org", Class::InvalidRecipient), ("b@example.org", Class::MailboxFull)]);
    assert_eq!(reports[0].message_id.as_deref(), Some("m2@example.com"));
}

#[test]
fn qmails_notice_is_read() {
    let reports = read(
        "Return-Path: <>\nFrom: MAILER-DAEMON@example.net\nTo: s@example.com\nSubject: failure notice\n\nHi. This is the qmail-send program at example.net.\n\
         I'm afraid I wasn't able to deliver your message to the following addresses.\n\n<a@example.org>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n\
         --- Below this line is a copy of the message.\n\nReturn-Path: <s@example.com>\nMessage-ID: <m3@example.com>\nTo: a@example.org\n",
    );
    assert_eq!((reports[0].rcpt.as_deref(), class(&reports[0])), (Some("a@example.org"), Some(Class::InvalidRecipient)));
    assert_eq!((reports[0].smtp_enhanced, reports[0].message_id.as_deref()), (Some(EnhancedCode::new(5, 1, 1)), Some("m3@example.com")));
}

#[test]
fn a_german_notice_is_read() {
    let reports = read(
        "Return-Path: <>\nFrom: Postmaster <postmaster@example.de>\nTo: s@example.com\nSubject: Unzustellbar: Hallo\nContent-Type: text/plain; charset=utf-8\n\n\
         Ihre Nachricht konnte nicht zugestellt werden an folgende Empfänger:\n\nfrau.mueller@example.de\nDas Postfach ist voll.\n",
    );
    assert_eq!((reports[0].rcpt.as_deref(), class(&reports[0])), (Some("frau.mueller@example.de"), Some(Class::MailboxFull)));
}

#[test]
fn a_delay_notice_is_no_failure() {
    let reports = read(
        "Return-Path: <>\nFrom: MAILER-DAEMON@example.net\nTo: s@example.com\nSubject: Warning: could not send message for past 4 hours\n\n\
         THIS IS A WARNING MESSAGE ONLY. YOU DO NOT NEED TO RESEND YOUR MESSAGE.\n\n<a@example.org>... Deferred: Connection timed out\n\
         Will keep trying until message is 5 days old\n",
    );
    assert_eq!((reports[0].kind, reports[0].rcpt.as_deref()), (Kind::Delayed, Some("a@example.org")));
}

#[test]
fn a_vacation_note_is_no_bounce() {
    for headers in [
        "Auto-Submitted: auto-replied (vacation)\nSubject: Re: hello",
        "Subject: Out of Office: hello",
        "X-Autoreply: yes\nSubject: Re: hello",
        "Subject: Abwesenheitsnotiz: hallo",
    ] {
        let reports = read(&format!(
            "From: Ann <ann@example.org>\nTo: s@example.com\n{headers}\n\nI am away. Mail to ann@example.org could not be delivered by hand.\n"
        ));
        assert_eq!(
            (reports.len(), reports[0].kind, reports[0].rcpt.as_deref()),
            (1, Kind::AutoReply, Some("ann@example.org")),
            "{headers}"
        );
    }
}

#[test]
fn a_persons_mail_is_nothing() {
    let reports =
        read("From: Ann <ann@example.org>\nTo: s@example.com\nSubject: lunch?\n\nShall we? bob@example.org said: 550 user unknown\n");
    assert_eq!((reports.len(), reports[0].kind), (1, Kind::NotBounce));
    assert_eq!(read("")[0].kind, Kind::NotBounce);
}

#[test]
fn a_feedback_report_names_who_complained() {
    let mail = "From: fbl@example.net\nTo: abuse@example.com\nSubject: FW: hello\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\nContent-Type: text/plain\n\nA complaint.\n--b\n\
         Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: X/1\nVersion: 1\nSource-IP: 192.0.2.1\nOriginal-Rcpt-To: <ann@example.org>\n--b\n\
         Content-Type: message/rfc822\n\nMessage-ID: <m4@example.com>\nTo: undisclosed\n\nhi\n--b--\n";
    let report = &read(mail)[0];
    assert_eq!(
        (report.kind, report.rcpt.as_deref(), report.feedback_type.as_deref()),
        (Kind::Feedback, Some("ann@example.org"), Some("abuse"))
    );
    assert_eq!((report.source_ip.as_deref(), report.message_id.as_deref()), (Some("192.0.2.1"), Some("m4@example.com")));
}

#[test]
fn microsofts_complaint_is_known_without_a_report() {
    let mail = "From: staff@hotmail.com\nTo: abuse@example.com\nSubject: complaint about message from 192.0.2.1\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: ann@hotmail.com\nMessage-ID: <m5@example.com>\nTo: Ann <ann@hotmail.com>\n\nhi\n--b--\n";
    let report = &read(mail)[0];
    assert_eq!(
        (report.kind, report.rcpt.as_deref(), report.message_id.as_deref()),
        (Kind::Feedback, Some("ann@hotmail.com"), Some("m5@example.com"))
    );
}

#[test]
fn json_reports_of_amazon_ses_are_read() {
    let mail = "From: no-reply@sns.amazonaws.com\nTo: s@example.com\nSubject: AWS Notification Message\n\n\
         {\"notificationType\":\"Bounce\",\"bounce\":{\"bouncedRecipients\":[{\"emailAddress\":\"a@example.org\",\"status\":\"5.1.1\",\"diagnosticCode\":\"smtp; 550 5.1.1 user unknown\"}]},\
         \"mail\":{\"commonHeaders\":{\"messageId\":\"<m6@example.com>\"}}}\n\n--\nunsubscribe\n";
    let report = &read(mail)[0];
    assert_eq!((report.kind, report.rcpt.as_deref(), class(report)), (Kind::Bounce, Some("a@example.org"), Some(Class::InvalidRecipient)));
    assert_eq!(report.message_id.as_deref(), Some("m6@example.com"));
}

#[test]
fn a_gateway_that_returns_the_dialogue_with_the_mail_is_read() {
    let mail = |rcpt: &str| {
        format!(
            "Return-Path: <postmaster@gate.example>\nFrom: postmaster@gate.example\nTo: writer@example.com\nSubject: Mail could not be delivered\n\
             Content-Type: multipart/mixed; boundary=g\n\n--g\nContent-Type: text/plain\n\n***** Message from the gateway *****\n\n\
             The following mail could not be delivered.\nReason: Unable to deliver message to <{rcpt}>.\n\n--g\n\
             Content-Type: message/rfc822\n\nFrom: writer@example.com\nTo: {rcpt}\nSubject: news\n\n\
             ... while talking to mx.example.org:\n>>> RCPT To:<ann@example.org>\n<<< 550 5.1.1 <ann@example.org>... User unknown\n\n--g--\n"
        )
    };
    let report = one(&mail("ann@example.org"));
    assert_eq!((report.kind, class(&report), report.smtp_code), (Kind::Bounce, Some(Class::InvalidRecipient), Some(550)));
    // A reply about another recipient does not count.
    let report = one(&mail("bob@example.org"));
    assert_ne!(class(&report), Some(Class::InvalidRecipient));
}

#[test]
fn a_routed_recipient_is_named_as_the_report_names_it() {
    let mail = "From: postmaster@example.org\nTo: writer@example.com\nSubject: Delivery Notification: Delivery has failed\n\
        Content-Type: multipart/report; report-type=delivery-status; boundary=r\n\n--r\nContent-Type: message/delivery-status\n\n\
        Reporting-MTA: dns; mta.example.org\n\nOriginal-Recipient: rfc822;ann@example.org\n\
        Final-Recipient: rfc822;@store1.example.org:ann@ims_daemon\nAction: failed\nStatus: 5.2.2\n\n--r--\n";
    let report = one(mail);
    assert_eq!(report.rcpt.as_deref(), Some("@store1.example.org:ann@ims_daemon"));
    assert_eq!(report.original_rcpt.as_deref(), Some("ann@example.org"));
    assert_eq!(class(&report), Some(Class::MailboxFull));
}

#[test]
fn the_quoting_hosts_words_behind_a_reply_do_not_count() {
    let said = "x-unix; host mx.example.org[192.0.2.18] said: 534 SIZE=Message too big. (in reply to MAIL FROM command)";
    let mail = DSN.replace("smtp; 550 5.1.1 <gone@example.org>:\n no such person", said).replace("Status: 5.1.1", "Status: 5.0.0");
    let reports = read(&mail);
    assert_eq!((reports[0].kind, class(&reports[0])), (Kind::Bounce, Some(Class::MessageTooLarge)), "{reports:#?}");
}

#[test]
fn what_was_said_to_mail_is_not_about_the_recipient_in_a_report_either() {
    let said = "smtp; 550 5.1.1 mailbox unavailable (in reply to MAIL FROM command)";
    let reports = read(&DSN.replace("smtp; 550 5.1.1 <gone@example.org>:\n no such person", said));
    assert_eq!(class(&reports[0]), Some(Class::PolicyAuth), "{reports:#?}");
}

#[test]
fn automatic_replies_are_known_in_many_languages() {
    for subject in [
        "[Automatyczna =?iso-8859-2?Q?odpowied=BC?=] test",
        "=?utf-8?B?0JDQstGC0L7QvtGC0LLQtdGC?=: test",
        "Automatische Rückmeldung: Angebot",
        "Automaattivastaus: kysely",
        "Otomatik Cevap: teklif",
        "不在通知",
        "رد تلقائي: عرض",
    ] {
        let mail = format!(
            "Return-Path: <user@wp.example>\nPrecedence: junk\nTo: bounce@example.com\nFrom: User <user@wp.example>\nSubject: {subject}\n\nI am away.\n"
        );
        assert_eq!(one(&mail).kind, Kind::AutoReply, "{subject}");
    }
}

#[test]
fn a_challenge_is_an_automatic_reply_even_as_a_delivery_report() {
    let challenge = DSN.replace("MAILER-DAEMON@mx.example.net (Mail Delivery System)", "noreply@challenge.example").replace(
        "<gone@example.org>: host",
        "Your message has been waitlisted. Please add yourself to my Boxbe Guest List. <gone@example.org>: host",
    );
    assert_eq!(one(&challenge).kind, Kind::AutoReply);
}

#[test]
fn blank_lines_before_the_header_do_not_hide_it() {
    assert_eq!(read(&format!("      \n\n{DSN}")).len(), 2);
}
