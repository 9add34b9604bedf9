//! Hostile input causes no panic, no flood of reports and no long work.

use posthaste_bounce::{Kind, Rules, codes_in, read_mail};
use proptest::prelude::*;

const PIECES: [&str; 18] = [
    "Content-Type: multipart/report; boundary=b\n",
    "\n--b\n",
    "\n--b--\n",
    "Content-Type: message/delivery-status\n\n",
    "Final-Recipient: rfc822; ",
    "a@b.org",
    "@",
    "\"",
    "Action: failed\n",
    "Status: 5.1.1\n",
    "From: MAILER-DAEMON\n",
    "Subject: failure notice\n",
    "\n\n",
    "<<<",
    "550 5.1.1 <é@ü.org>... no",
    "Content-Type: message/rfc822\n\n",
    "{\"notificationType\":\"Bounce\",",
    "🙂",
];

proptest! {
    #[test]
    fn any_reply_gets_a_verdict(text in ".{0,300}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for raw in [text, String::from_utf8_lossy(&bytes).into_owned()] {
            let verdict = Rules::shipped().classify_text(&raw, Some("google"));
            prop_assert!((0.0..=1.0).contains(&verdict.confidence));
            codes_in(&raw);
        }
    }

    #[test]
    fn any_bytes_are_read_as_some_mail(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(!read_mail(&bytes, Rules::shipped()).is_empty());
    }

    #[test]
    fn any_mixture_of_report_pieces_is_read(order in proptest::collection::vec(0..PIECES.len(), 0..60)) {
        let mail: String = order.into_iter().map(|i| PIECES[i]).collect();
        prop_assert!(!read_mail(mail.as_bytes(), Rules::shipped()).is_empty());
    }
}

#[test]
fn ten_thousand_recipients_give_a_hundred_reports() {
    let recipients: String =
        (0..10_000).map(|i| format!("Final-Recipient: rfc822; u{i}@example.org\nAction: failed\nStatus: 5.1.1\n\n")).collect();
    let mail = format!(
        "From: MAILER-DAEMON@x.org\nTo: s@example.com\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n{recipients}\n--b--\n"
    );
    let reports = read_mail(mail.as_bytes(), Rules::shipped());
    assert_eq!((reports.len(), reports[0].kind), (100, Kind::Bounce));
}

#[test]
fn mails_inside_mails_end_somewhere() {
    let head = "From: MAILER-DAEMON@x.org\nTo: s@example.com\nSubject: failure notice\nContent-Type: message/rfc822\n\n";
    assert!(!read_mail(head.repeat(5_000).as_bytes(), Rules::shipped()).is_empty());
    let parts: String = (0..5_000).map(|i| format!("Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n")).collect();
    assert!(!read_mail(parts.as_bytes(), Rules::shipped()).is_empty());
}

#[test]
fn huge_texts_are_cut() {
    assert!(!read_mail(&vec![b'@'; 3 << 20], Rules::shipped()).is_empty());
    let verdict = Rules::shipped().classify_text(&format!("550 {}", "recipient user mailbox not ".repeat(100_000)), None);
    assert!(verdict.permanent);
}
