//! Replies of many receivers, each by the class that it means.

use posthaste_bounce::Rules;
use posthaste_mail::{Action, Class};

/// One reply a line: its class, others that its wording allows, and its text.
const REPLIES: &str = include_str!("receivers.txt");
/// The least share of replies that get their own class, and not another one that their wording allows.
const STRICT: f64 = 0.92;

#[test]
fn replies_of_many_receivers_get_a_class_that_they_mean() {
    let class = |word: &str| word.parse::<Class>().unwrap();
    let (mut wrong, mut right, mut all) = (Vec::new(), 0_usize, 0_usize);
    for line in REPLIES.lines().filter(|line| !line.starts_with('#')) {
        let [own, others, reply] = line.splitn(3, '|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let verdict = Rules::shipped().classify_text(&reply.replace("\\n", "\n"), None);
        all += 1;
        right += usize::from(verdict.class == class(own));
        let allowed = others.split(',').filter(|other| !other.is_empty()).any(|other| class(other) == verdict.class);
        let about_recipient = |word: &str| matches!(class(word), Class::InvalidRecipient | Class::InactiveMailbox | Class::BadDomain);
        let blames_another = ![own].into_iter().chain(others.split(',')).any(|word| !word.is_empty() && about_recipient(word));
        if verdict.action == Action::Suppress && blames_another {
            wrong.push(format!("{reply}: suppressed by {}", verdict.rule));
        }
        if verdict.class != class(own) && !allowed {
            wrong.push(format!("{reply}: {} by {}, not {own}", verdict.class, verdict.rule));
        }
    }
    assert!(wrong.is_empty() && all > 700, "{wrong:#?}");
    assert!(right as f64 / all as f64 >= STRICT, "{right} of {all}");
}
