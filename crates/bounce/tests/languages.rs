//! Replies in other languages, each by the class that it means.

use posthaste_bounce::Rules;
use posthaste_mail::Class;

#[test]
fn replies_in_many_languages_get_the_class_that_they_mean() {
    let replies = include_str!("languages.txt").lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('|'));
    let (mut all, mut wrong) = (0, Vec::new());
    for (own, reply) in replies {
        all += 1;
        let verdict = Rules::shipped().classify_text(reply, None);
        if verdict.class != own.parse::<Class>().unwrap() {
            wrong.push(format!("{reply}: {} by {}, not {own}", verdict.class, verdict.rule));
        }
    }
    assert!(wrong.is_empty() && all > 150, "{wrong:#?}");
}
