//! Mails that come back, in the forms and languages of many mail systems, each read for what it reports.

use posthaste_bounce::{Report, Rules, read_mail};
use posthaste_mail::Class;

/// Mails in words of our own, in the forms that mail systems give theirs. A line `=== kind|class|others|recipient` stands before each: what it is,
/// what its reply means, what else that may be taken for, and whom it is about. Labelled before any rule was made for them.
const NOTICES: &str = include_str!("notices.txt");
/// The least share of mails that are read as their label says, and not as something else that they may be taken for.
const STRICT: f64 = 0.95;

struct Notice<'a> {
    kind: &'a str,
    class: &'a str,
    others: Vec<&'a str>,
    rcpt: &'a str,
    mail: &'a str,
}

impl<'a> Notice<'a> {
    fn read(text: &'a str) -> Self {
        let (label, mail) = text.split_once('\n').unwrap();
        let [kind, class, others, rcpt] = label.split('|').collect::<Vec<_>>()[..] else { panic!("{label}") };
        Self { kind, class, others: others.split(',').collect(), rcpt, mail }
    }

    /// Whether a report says what the label says, and whether it says at least what it allows.
    fn is_read_by(&self, report: &Report) -> (bool, bool) {
        let kind = serde_json::to_value(report.kind).unwrap() == self.kind;
        let whose = self.rcpt.is_empty() || report.rcpt.as_deref() == Some(self.rcpt);
        if self.kind != "bounce" || self.class.is_empty() {
            return (kind && whose, kind && whose);
        }
        let means = |word: &str| report.verdict.as_ref().is_some_and(|verdict| word.parse() == Ok::<Class, _>(verdict.class));
        let (own, other) = (means(self.class), self.others.iter().any(|word| !word.is_empty() && means(word)));
        (kind && whose && own, kind && whose && (own || other))
    }
}

#[test]
fn mails_of_many_systems_are_read_for_what_they_report() {
    let (mut strict, mut all, mut wrong) = (0_usize, 0_usize, Vec::new());
    for text in NOTICES.split("=== ").skip(1) {
        let notice = Notice::read(text);
        let reports = read_mail(notice.mail.as_bytes(), Rules::shipped());
        let read: Vec<_> = reports.iter().map(|report| notice.is_read_by(report)).collect();
        all += 1;
        strict += usize::from(read.iter().any(|(own, _)| *own));
        if !read.iter().any(|(_, allowed)| *allowed) {
            let said: Vec<_> =
                reports.iter().map(|r| (r.kind, r.rcpt.as_deref(), r.verdict.as_ref().map(|v| (v.class, &*v.rule)))).collect();
            wrong.push(format!("{} {} {}: {said:?}", notice.kind, notice.class, notice.mail.lines().nth(2).unwrap_or_default()));
        }
    }
    assert!(wrong.is_empty() && all > 100, "{wrong:#?}");
    assert!(strict as f64 / all as f64 >= STRICT, "{strict} of {all}");
}
