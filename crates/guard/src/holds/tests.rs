//! Who is held when, and who is left alone.

use jiff::SignedDuration;

use super::*;
use crate::Own;

const HOUR: Duration = Duration::from_hours(1);

fn at(minutes: i64) -> Timestamp {
    "2026-11-29T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minutes)
}

fn user(name: &str) -> MailOf {
    MailOf::User(name.into())
}

fn stream(name: &str) -> MailOf {
    MailOf::Stream(Name::new(name).unwrap())
}

fn seen(of: &MailOf, rule: Rule, explained_by: &[MailOf]) -> Sighting {
    let (why, figure) = (format!("{of} is strange."), "600 recipients, limit 500".to_owned());
    Sighting { of: of.clone(), rule, why, figure, explained_by: explained_by.to_vec() }
}

fn settings() -> Settings {
    Settings {
        enabled: true,
        by_user: true,
        by_stream: true,
        rules: vec![Rule::SenderLeaps, Rule::UnknownUsers],
        grace: 24 * HOUR,
        grace_after_drop: HOUR,
        gone_after: HOUR / 2,
        ..Settings::default()
    }
}

fn ended(now: Timestamp, rules: &[Rule], lasts: Duration, promised: bool) -> Ended {
    let grace = Grace { until: now + lasts, promised, rules: rules.iter().map(|rule| (*rule, now)).collect() };
    Ended { at: now, by: "ann".into(), dropped: None, grace: Some(grace) }
}

fn held(holds: &Holds) -> Vec<String> {
    holds.iter().map(|hold| hold.of.to_string()).collect()
}

#[test]
fn who_is_held_is_what_the_operator_chose() {
    let (shop, news) = (user("shop"), stream("news"));
    let found = [seen(&shop, Rule::SenderLeaps, &[]), seen(&news, Rule::SenderLeaps, &[]), seen(&user("a"), Rule::Complaints, &[])];
    let of = |settings: &Settings| {
        let mut holds = Holds::default();
        holds.look(&found, settings, at(0));
        held(&holds)
    };
    assert_eq!(of(&Settings::default()), [""; 0], "off by default");
    assert_eq!(of(&settings()), ["user:shop", "stream:news"], "complaints do not count here");
    assert_eq!(of(&Settings { by_stream: false, ..settings() }), ["user:shop"]);
    let mut own = Settings { enabled: false, ..settings() };
    assert_eq!(of(&own), [""; 0]);
    own.streams.insert(Name::new("news").unwrap(), Own { enabled: Some(true), rules: None });
    assert_eq!(of(&own), ["stream:news"]);
    assert!(own.is_on());
    own.streams.insert(Name::new("news").unwrap(), Own { enabled: Some(true), rules: Some(vec![Rule::UnknownUsers]) });
    assert_eq!(of(&own), [""; 0]);
    let mut but = settings();
    but.users.insert("shop".into(), Own { enabled: Some(false), rules: None });
    but.users.insert("a".into(), Own { enabled: None, rules: Some(vec![Rule::Complaints]) });
    assert_eq!(of(&but), ["user:a", "stream:news"]);
}

#[test]
fn a_hold_is_new_once_and_notes_what_else_is_found() {
    let (mut holds, shop) = (Holds::default(), user("shop"));
    assert_eq!(holds.look(&[seen(&shop, Rule::SenderLeaps, &[])], &settings(), at(0)).len(), 1);
    let both = [seen(&shop, Rule::SenderLeaps, &[]), seen(&shop, Rule::UnknownUsers, &[])];
    assert_eq!(holds.look(&both, &settings(), at(1)), []);
    assert_eq!(holds.look(&[], &settings(), at(500)), []);
    let hold = holds.get(&shop).expect("it is held until somebody ends it");
    assert_eq!((hold.since, &hold.rules[..]), (at(0), &[Rule::SenderLeaps, Rule::UnknownUsers][..]));
    assert!(hold.detail().contains("sender_leaps: 600 recipients, limit 500"), "{}", hold.detail());
    assert!(hold.detail().contains("`posthaste guard release user:shop`"), "{}", hold.detail());
    assert_eq!(Holds::from_bytes(&holds.to_bytes()).unwrap(), holds);
    let text = String::from_utf8(holds.to_bytes()).unwrap();
    assert!(Holds::from_bytes(text.replace(r#""version":1"#, r#""version":2"#).as_bytes()).is_err());
}

#[test]
fn the_same_figures_hold_nothing_after_a_release_until_they_are_gone() {
    let (mut holds, shop) = (Holds::default(), user("shop"));
    let leaps = [seen(&shop, Rule::SenderLeaps, &[])];
    holds.look(&leaps, &settings(), at(0));
    assert!(holds.end(&shop, ended(at(5), &[Rule::SenderLeaps], 24 * HOUR, false)) && !holds.end(&shop, ended(at(5), &[], HOUR, false)));
    for minute in 6..60 {
        assert_eq!(holds.look(&leaps, &settings(), at(minute)), [], "{minute}: they stand");
    }
    // Others are news.
    let both = [leaps[0].clone(), seen(&shop, Rule::UnknownUsers, &[])];
    assert_eq!(holds.clone().look(&both, &settings(), at(60)).len(), 1);
    assert_eq!(holds.look(&[], &settings(), at(80)), []);
    assert_eq!(holds.clone().look(&leaps, &settings(), at(81)), [], "gone for twenty minutes is not gone");
    holds.look(&[], &settings(), at(89));
    assert_eq!(holds.look(&leaps, &settings(), at(90)).len(), 1, "a new leap, half an hour later");
}

#[test]
fn a_grace_has_an_end_and_a_promise_is_kept() {
    let (mut holds, shop) = (Holds::default(), user("shop"));
    let leaps = [seen(&shop, Rule::SenderLeaps, &[])];
    holds.look(&leaps, &settings(), at(0));
    let mut promised = holds.clone();
    holds.end(&shop, ended(at(0), &[Rule::SenderLeaps], HOUR, false));
    assert_eq!(holds.look(&leaps, &settings(), at(59)), []);
    assert_eq!(holds.look(&leaps, &settings(), at(60)).len(), 1);
    promised.end(&shop, ended(at(0), &[], 10 * HOUR, true));
    promised.look(&[], &settings(), at(300));
    let other = [seen(&shop, Rule::UnknownUsers, &[])];
    assert_eq!(promised.look(&other, &settings(), at(599)), [], "whatever the figures are, and however long they were gone");
    assert_eq!(promised.look(&other, &settings(), at(600)).len(), 1);
    promised.end(&shop, ended(at(600), &[], Duration::ZERO, false));
    assert_eq!(promised.look(&leaps, &settings(), at(601)).len(), 1, "without a grace");
}

#[test]
fn a_stream_is_not_held_for_the_mail_of_users_that_are() {
    let (shop, news) = (user("shop"), stream("news"));
    let found = [seen(&news, Rule::SenderLeaps, std::slice::from_ref(&shop)), seen(&shop, Rule::SenderLeaps, &[])];
    let mut holds = Holds::default();
    holds.look(&found, &settings(), at(0));
    assert_eq!(held(&holds), ["user:shop"]);
    holds.end(&shop, ended(at(1), &[Rule::SenderLeaps], 24 * HOUR, false));
    assert_eq!(holds.look(&found, &settings(), at(2)), [], "what was released is no reason either");
    let mut streams = Holds::default();
    streams.look(&found, &Settings { by_user: false, ..settings() }, at(0));
    assert_eq!(held(&streams), ["stream:news"], "where users are not guarded, the stream is held");
    let name = Name::new("news").unwrap();
    assert_eq!(
        (holds.of(Some("shop"), &name).count(), streams.of(Some("anybody"), &name).count(), streams.of(None, &name).count()),
        (0, 1, 1)
    );
}

#[test]
fn what_was_on_its_way_ends_as_its_hold_did() {
    let (mut holds, shop, name) = (Holds::default(), user("shop"), Name::new("news").unwrap());
    holds.look(&[seen(&shop, Rule::SenderLeaps, &[])], &settings(), at(0));
    assert_eq!(holds.ended_of(Some("shop"), &name), None);
    holds.end(&shop, Ended { dropped: Some("stolen".into()), grace: None, ..ended(at(1), &[], HOUR, false) });
    let (of, how) = holds.ended_of(Some("shop"), &name).unwrap();
    assert_eq!((of, how.dropped.as_deref()), (&shop, Some("stolen")));
    assert_eq!(holds.ended_of(None, &name), None);
    holds.look(&[], &settings(), at(1 + 24 * 60));
    assert_eq!(holds.ended_of(Some("shop"), &name), None, "forgotten after a day");
    assert!(holds.is_empty());
    assert_eq!(holds.adopt(&shop, at(9999)).rules, [], "what is held without a hold gets one");
}
