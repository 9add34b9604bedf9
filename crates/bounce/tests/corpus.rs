//! The classifier is measured against the labelled corpora beside the repository, if they are there.

use std::{collections::HashMap, path::PathBuf};

use posthaste_bounce::{Kind, Report, Rules, read_mail};
use posthaste_mail::Action;
use serde_json::Value;

/// The folder of the corpora; without it, `None` and a note on standard error.
fn corpora() -> Option<PathBuf> {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    if base.join("replies.jsonl").is_file() {
        return Some(base);
    }
    eprintln!("SKIPPED: no corpora at {}", base.display());
    None
}

fn rows(base: &std::path::Path, name: &str) -> Vec<Value> {
    std::fs::read_to_string(base.join(name)).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn accepted(row: &Value) -> Vec<&str> {
    row["accept"].as_array().map(|a| a.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// The class in the corpora's spelling.
fn spelled(class: posthaste_mail::Class) -> String {
    class.as_str().replace('_', "-")
}

/// Whether no accepted label is about the recipient.
fn is_about_something_else(row: &Value) -> bool {
    let about = ["invalid-recipient", "inactive-mailbox", "bad-domain"];
    !row["label"].is_null() && !accepted(row).iter().any(|a| about.contains(a))
}

/// Replies whose label contradicts their text: no rule is made to fit them.
const WRONGLY_LABELLED_REPLIES: [(&str, &str); 4] = [
    ("r0196", "550 … is not a registered gateway user, labelled policy-auth"),
    ("r0931", "452 4.3.1 Insufficient system resources, labelled mailbox-full"),
    ("r1000", "550 5.1.8 Domain of sender address does not exist, labelled invalid-recipient"),
    ("r1222", "Deferred: Connection refused, labelled ip-reputation"),
];

#[test]
fn the_replies_are_classified_above_the_bars() {
    let Some(base) = corpora() else { return };
    for (corpus, strict, lenient) in [("replies.jsonl", 0.94, 0.97), ("more/replies.jsonl", 0.90, 0.96)] {
        let mut score = Score::default();
        for row in rows(&base, corpus) {
            let verdict = Rules::shipped().classify_text(row["reply"].as_str().unwrap(), None);
            let class = spelled(verdict.class);
            score.add(row["label"] == class, accepted(&row).contains(&class.as_str()));
            let excused = WRONGLY_LABELLED_REPLIES.iter().any(|(id, _)| row["id"] == *id);
            let false_suppression = verdict.action == Action::Suppress && is_about_something_else(&row) && !excused;
            assert!(!false_suppression, "{} suppresses at {row}", verdict.rule);
        }
        assert!(score.is_above(strict, lenient), "{corpus}: {score:?}");
    }
}

/// Mails whose label contradicts their text: no rule is made to fit them.
const WRONGLY_LABELLED: [(&str, &str); 58] = [
    ("mails/sisimai_lhost-amazonworkmail-05.eml", "given up for good (Action: failed, or words that say so), labelled delayed"),
    ("mails/sisimai_lhost-dragonfly-29.eml", "given up for good (Action: failed, or words that say so), labelled delayed"),
    ("mails/sisimai_lhost-exchange2007-05.eml", "given up for good (Action: failed, or words that say so), labelled delayed"),
    ("mails/sisimai_lhost-exim-08.eml", "given up for good (Action: failed, or words that say so), labelled delayed"),
    ("mails/sisimai_lhost-gmx-04.eml", "given up for good (Action: failed, or words that say so), labelled delayed"),
    ("mails/sisimai_lhost-imailserver-04.eml", "given up for good (Action: failed, or words that say so), labelled delayed"),
    ("mails/sisimai_lhost-outlook-07.eml", "given up for good (Action: failed, or words that say so), labelled delayed"),
    ("mails/sisimai_lhost-sendmail-12.eml", "given up for good (Action: failed, or words that say so), labelled delayed"),
    ("mails/sisimai_lhost-v5sendmail-01.eml", "given up for good (Action: failed, or words that say so), labelled delayed"),
    ("mails/sisimai_lhost-x2-05.eml", "given up for good (Action: failed, or words that say so), labelled delayed"),
    ("mails/sisimai_lhost-x3-02.eml", "given up for good (Action: failed, or words that say so), labelled delayed"),
    ("mails/sisimai_rhost-gsuite-07.eml", "given up for good (Action: failed, or words that say so), labelled delayed"),
    ("mails/sisimai_lhost-exim-41.eml", "a notice of delay that promises further tries, labelled bounce"),
    ("mails/sisimai_lhost-opensmtpd-04.eml", "a notice of delay that promises further tries, labelled bounce"),
    ("mails/cws_bounce_420_001.eml", "a notice of delay that promises further tries, labelled bounce"),
    ("mails/cws_bounce_420_002.eml", "a notice of delay that promises further tries, labelled bounce"),
    ("mails/bounced_tt_1234177688.eml", "554 … Nonexistent user, labelled protocol-error after its status 5.5.x"),
    ("mails/bounced_tt_1234285532.eml", "554 This user doesn't have a yahoo.com account, labelled protocol-error likewise"),
    ("mails/bounced_tt_1234285668.eml", "552 … does not have enough space, labelled protocol-error likewise"),
    ("mails/bounced_tt_1234211929.eml", "maildir has overdrawn his diskspace quota, labelled message-too-large after its status 5.2.3"),
    ("mails/bounced_tt_bounce_16.eml", "the same"),
    ("mails/cws_bounce_512_001.eml", "Spanish: the mailbox has expired for want of use, labelled bad-domain after its status"),
    ("mails/cws_fbl_hotmail_002.eml", "a Postfix bounce, labelled feedback"),
    ("mails/crisp_550_5_2_1_recipient_unknown.txt", "Addressee unknown, labelled inactive-mailbox after its code"),
    ("mails/crisp_unknown_server_unknown_variant_3.txt", "No route to host, labelled bad-domain"),
    ("mails/crisp_default.txt", "the one word Hello, labelled bounce"),
    (
        "mails/sisimai_lhost-mfilter-04.eml",
        "550 5.4.1 … Access denied of Microsoft 365: an address that its directory does not hold, labelled policy-auth",
    ),
    ("mails/sisimai_rfc3464-35.eml", "550 … is not a registered gateway user, labelled policy-auth"),
    ("mails/sisimai_rhost-gsuite-04.eml", "NXDOMAIN, labelled connection-failure"),
    ("mails/sisimai_rhost-gsuite-13.eml", "NOERROR without MX or address, labelled connection-failure"),
    ("mails/sisimai_arf-12.eml", "an address that stands nowhere in the mail"),
    ("mails/sisimai_arf-15.eml", "the same"),
    (
        "mails/cws_bounce_511_022.eml",
        "This account has been disabled or discontinued, labelled invalid-recipient after the file's number; all other sources say inactive",
    ),
    ("mails/cws_bounce_511_025.eml", "the same"),
    ("mails/cws_bounce_511_041.eml", "the same"),
    ("mails/bounced_tt_1234210666.eml", "Latvian: an automatic reply of somebody out of office, labelled not-bounce"),
    (
        "mails/crisp_550_5_1_1_no_such_recipient_variant_20.txt",
        "unauthorized sender, with the sender's address, labelled invalid-recipient",
    ),
    ("mails/flufl_yale_01.txt", "addresses that stand nowhere in the mail"),
    ("mails/sisimai_arf-11.eml", "an address that stands nowhere in the mail"),
    ("mails/sisimai_lhost-apachejames-01.eml", "an address with another number of digits than the mail has"),
    ("mails/sisimai_lhost-qmail-25.eml", "552 5.2.2 Mailbox full of one recipient, labelled invalid-recipient of the other"),
    ("mails/sisimai_rfc3464-01.eml", "550 5.1.1 User Unknown of one recipient, labelled mailbox-full of the other"),
    ("mails/sisimai_lhost-mailru-10.eml", "retry timeout exceeded: given up, labelled delayed"),
    ("mails/sisimai_lhost-x2-03.eml", "I'm not going to try again: given up, labelled delayed"),
    ("mails/sisimai_lhost-exim-38.eml", "a notice of delay that promises further tries, labelled bounce"),
    ("mails/sisimai_lhost-opensmtpd-13.eml", "a notice of delay that promises further tries, labelled bounce"),
    ("mails/mdsbp_warning-8.msg", "a notice of delay that promises further tries, labelled bounce"),
    ("mails/flufl_dsn_08.txt", "a notice of delay that promises further tries, labelled bounce"),
    ("mails/kumomta_rfc3464-2.eml", "Action: delayed of one recipient, labelled bounce"),
    ("mails/crisp_550_5_7_1_reputation.txt", "Gmail will retry for 47 more hours, labelled bounce"),
    ("mails/bounced_bounce-auto-respond.eml", "a feedback report (RFC 5965), labelled bounce"),
    ("mails/mdsbp_spam-lots-of-bogus-addresses.msg", "spam, labelled bounce"),
    ("mails/mdsbp_spam-with-badly-parsed-email.msg", "spam, labelled bounce"),
    ("mails/cws_unknown_007.eml", "a mail with the one sign \".\", labelled bounce"),
    ("mails/sisimai_lhost-sendmail-21.eml", "Deferred: Connection refused, given up, labelled ip-reputation"),
    ("mails/sisimai_rhost-gsuite-05.eml", "NXDOMAIN, labelled connection-failure"),
    ("mails/sisimai_rfc3464-64.eml", "NXDOMAIN, labelled connection-failure"),
    ("mails/sisimai_rfc3464-06.eml", "554 … Service unavailable, labelled invalid-recipient"),
];

#[test]
fn the_mails_are_read_as_well_as_before_and_suppress_nobody_falsely() {
    let Some(base) = corpora() else { return };
    for (corpus, of_every, of_sound) in [(base.clone(), (0.85, 0.91), (0.88, 0.95)), (base.join("more"), (0.87, 0.93), (0.92, 0.97))] {
        let (every, sound) = read_all(&corpus);
        assert!(every.is_above(of_every.0, of_every.1), "all rows of {}: {every:?}", corpus.display());
        assert!(sound.is_above(of_sound.0, of_sound.1), "without the wrong labels of {}: {sound:?}", corpus.display());
    }
}

/// The scores of all rows, and of those without the wrong labels.
fn read_all(base: &std::path::Path) -> (Score, Score) {
    let mut read: HashMap<String, Vec<Report>> = HashMap::new();
    let (mut every, mut sound) = (Score::default(), Score::default());
    for row in rows(base, "mails.jsonl").into_iter().filter(|row| row["kind"] != "delivered") {
        let file = row["file"].as_str().unwrap().to_owned();
        let reports = read.entry(file.clone()).or_insert_with(|| read_mail(&std::fs::read(base.join(&file)).unwrap(), Rules::shipped()));
        let (kind, class, accept) = held_against(&row, reports);
        every.add(kind && class, kind && accept);
        let excused = WRONGLY_LABELLED.iter().any(|(f, _)| *f == file);
        if !excused {
            sound.add(kind && class, kind && accept);
        }
        if is_about_something_else(&row) && !excused {
            let wrong = about(&row, reports).into_iter().find(|r| r.verdict.as_ref().is_some_and(|v| v.action == Action::Suppress));
            assert!(wrong.is_none(), "{wrong:#?} at {row}");
        }
        if matches!(row["kind"].as_str(), Some("vacation" | "auto-reply" | "not-bounce")) {
            assert!(reports.iter().all(|r| r.kind != Kind::Bounce), "{reports:#?} at {row}");
        }
    }
    (every, sound)
}

#[derive(Debug, Default)]
struct Score {
    all: f64,
    strict: f64,
    lenient: f64,
}

impl Score {
    fn add(&mut self, strict: bool, lenient: bool) {
        self.all += 1.0;
        self.strict += f64::from(strict);
        self.lenient += f64::from(lenient);
    }

    fn is_above(&self, strict: f64, lenient: f64) -> bool {
        self.strict / self.all >= strict && self.lenient / self.all >= lenient
    }
}

/// The reports about the recipient of a row; all of them if it names none.
fn about<'r>(row: &Value, reports: &'r [Report]) -> Vec<&'r Report> {
    let wanted = row["recipient"].as_str().unwrap_or_default().to_lowercase();
    reports.iter().filter(|r| wanted.is_empty() || r.rcpt.as_deref().unwrap_or_default().to_lowercase() == wanted).collect()
}

/// Whether the kind is right, the class is the labelled one, and the class is among those accepted.
fn held_against(row: &Value, reports: &[Report]) -> (bool, bool, bool) {
    let kind = match row["kind"].as_str().unwrap_or_default() {
        "delayed" => Kind::Delayed,
        "feedback" => Kind::Feedback,
        "vacation" | "auto-reply" | "challenge" => Kind::AutoReply,
        "not-bounce" => Kind::NotBounce,
        "delivered" => Kind::Delivered,
        _ => Kind::Bounce,
    };
    let of_row = about(row, reports);
    let whole = matches!(kind, Kind::AutoReply | Kind::NotBounce);
    let right = if whole { reports.iter().any(|r| r.kind == kind) } else { of_row.iter().any(|r| r.kind == kind) };
    if kind != Kind::Bounce || row["label"].is_null() {
        return (right, true, true);
    }
    let classes: Vec<String> = of_row.iter().filter_map(|r| r.verdict.as_ref()).map(|v| spelled(v.class)).collect();
    (right, classes.iter().any(|c| row["label"] == *c), classes.iter().any(|c| accepted(row).contains(&c.as_str())))
}
