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

/// What repeats in a mail of a hundred thousand levels, of which the reader sees the first MiB.
const LEVELS: [&str; 12] = [
    "Content-Type: message/rfc822\n\n",
    "content-type:MESSAGE/GLOBAL;a=b\n\n",
    "Content-Type:\n message/rfc822\n\n",
    "Con tent-type : (;/) message/rfc822\r\n\r\n",
    "Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n",
    "Content-Type: message/delivery-status\n\nContent-Type: message/rfc822\n\n",
    "Content-Type: multipart/mixed; boundary=b\n\n--b\n",
    "Content-Type: multipart/digest; boundary=b\n\n--b\n\n",
    "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nx\n--b\nContent-Type: message/rfc822\n\nSubject: x\n",
    "Content-Type: multipart/mixed; boundary=b\n\n--bContent-Type: message/rfc822\n\n",
    "(",
    "a:b,",
];

#[test]
fn mails_inside_mails_end_somewhere() {
    let encoded = |head: &str, inner: &str| {
        let inner = base64(inner.as_bytes());
        format!("{head}Content-Type: message/global\nContent-Transfer-Encoding: base64\n\n{inner}\n")
    };
    let head = "From: MAILER-DAEMON@x.org\nTo: s@example.com\nSubject: failure notice\n";
    for level in LEVELS {
        let nested = format!("{head}{}\n\nx\n", level.repeat(100_000));
        let short = &nested[..700_000.min(nested.len())];
        let twice = encoded(head, &encoded(head, &short[..400_000.min(short.len())]));
        for mail in [&nested, &encoded(head, short), &twice, &nested.replacen(head, "", 1)] {
            assert!(!read_mail(mail.as_bytes(), Rules::shipped()).is_empty(), "{level}");
        }
    }
    let parts: String = (0..30_000).map(|i| format!("Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n")).collect();
    assert!(!read_mail(parts.as_bytes(), Rules::shipped()).is_empty());
}

/// What nests is no report; what is a report, is one inside two mails too, and in any encoding.
#[test]
fn a_report_is_read_inside_a_few_mails_and_not_inside_many() {
    let report = "From: MAILER-DAEMON@x.org\nTo: s@example.com\nContent-Type: multipart/report; boundary=b\n\n--b\n\
                  Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822; u@example.org\nAction: failed\nStatus: 5.1.1\n\n--b--\n";
    let level = "From: list@x.org\nTo: s@example.com\nContent-Type: message/rfc822\n\n";
    let kinds = [0, 1, 5_000].map(|levels| read_mail(format!("{}{report}", level.repeat(levels)).as_bytes(), Rules::shipped())[0].kind);
    assert_eq!(kinds, [Kind::Bounce, Kind::Bounce, Kind::NotBounce]);
    let encoded = format!(
        "From: list@x.org\nTo: s@example.com\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{}\n",
        base64(report.as_bytes())
    );
    assert_eq!(read_mail(encoded.as_bytes(), Rules::shipped())[0].kind, Kind::Bounce);
}

/// RFC 4648 §4, in lines as mail has them.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (line, some) in bytes.chunks(57).enumerate() {
        text.push_str(if line == 0 { "" } else { "\n" });
        for three in some.chunks(3) {
            let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            for place in 0..4 {
                let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
                text.push(if place <= three.len() { char::from(letter) } else { '=' });
            }
        }
    }
    text
}

#[test]
fn huge_texts_are_cut() {
    assert!(!read_mail(&vec![b'@'; 3 << 20], Rules::shipped()).is_empty());
    let verdict = Rules::shipped().classify_text(&format!("550 {}", "recipient user mailbox not ".repeat(100_000)), None);
    assert!(verdict.permanent);
}
