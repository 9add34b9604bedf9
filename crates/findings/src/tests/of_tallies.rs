//! Rules that look at the tallies.

use posthaste_mail::Class;

use super::{World, ago, hours, minutes, now, shown};
use crate::{Finding, LimitFrom, ProblemOf, Rule, Rules, Severity, Trouble, Waiting};

const REFUSED: &str = r#""class":"ip_reputation","smtp_code":550,"rule":"microsoft-s3140","provider":"microsoft""#;
const TAKEN: &str = r#""provider":"microsoft""#;
const UNKNOWN: &str = r#""class":"invalid_recipient","smtp_code":550,"rule":"x""#;

fn only(found: Vec<Finding>, rule: Rule) -> Finding {
    let mut own: Vec<Finding> = found.into_iter().filter(|finding| finding.rule == rule).collect();
    assert_eq!(own.len(), 1, "{own:#?}");
    own.remove(0)
}

#[test]
fn a_provider_that_refuses_is_found_with_what_the_lanes_do_about_it() {
    let mut world = World::new();
    world.lines(ago(minutes(10)), 45, "delivered", TAKEN).lines(ago(minutes(2)), 5, "bounced", REFUSED);
    world.facts.lanes =
        vec![crate::LaneFact { source: "ip1".into(), provider: "microsoft".into(), slowed_to: Some(20), ..crate::LaneFact::default() }];
    let finding = only(world.found(), Rule::ProviderRefuses);
    assert_eq!(finding.id, "provider_refuses/provider:microsoft");
    assert_eq!((finding.measure.n, finding.measure.of, &*finding.measure.limit), (5, Some(50), "10 %"));
    assert_eq!((finding.severity, finding.problem_of), (Severity::Critical, ProblemOf::Ours));
    assert!(finding.summary.contains("5 of 50 (10 %) attempts in 15m"), "{}", finding.summary);
    assert!(finding.done.contains("ip1 sends 20 an hour there"), "{}", finding.done);
    assert!(finding.next_step.contains("posthaste log --provider microsoft"), "{}", finding.next_step);
    assert_eq!(finding.query, "posthaste log --provider microsoft --since 2026-11-25T12:19:20Z");
}

#[test]
fn refusals_that_no_rule_knows_are_said_to_be_judged_by_their_code() {
    for (rule, said) in [("code.554", true), ("microsoft-s3140", false)] {
        let mut world = World::new();
        let refused = format!(r#""class":"policy_auth","smtp_code":554,"rule":"{rule}","provider":"microsoft""#);
        world.lines(ago(minutes(10)), 45, "delivered", TAKEN).lines(ago(minutes(2)), 5, "bounced", &refused);
        let finding = only(world.found(), Rule::ProviderRefuses);
        assert_eq!(finding.summary.ends_with("they are judged by their code alone."), said, "{}", finding.summary);
    }
}

#[test]
fn a_provider_is_not_said_to_refuse_without_reason() {
    let refuses = |delivered: u64, refused: u64, fields: &str| {
        let mut world = World::new();
        world.lines(ago(minutes(5)), delivered, "delivered", TAKEN).lines(ago(minutes(5)), refused, "bounced", fields);
        world.of(Rule::ProviderRefuses).len()
    };
    assert_eq!(refuses(0, 50, REFUSED), 1);
    assert_eq!(refuses(0, 49, REFUSED), 0, "one attempt too few");
    assert_eq!(refuses(451, 50, REFUSED), 0, "just below 10 %");
    assert_eq!(refuses(450, 50, REFUSED), 1, "10 %");
    assert_eq!(
        refuses(0, 90, r#""class":"invalid_recipient","smtp_code":550,"provider":"microsoft""#),
        0,
        "unknown users are another rule's"
    );
    // It refuses a twentieth every day: 14 % is not 3 times as much, 16 % is.
    for (refused, found) in [(14, 0), (16, 1)] {
        let mut world = World::new();
        for day in 1..8 {
            world.lines(ago(hours(24 * day)), 95, "delivered", TAKEN).lines(ago(hours(24 * day)), 5, "deferred", REFUSED);
        }
        world.lines(ago(minutes(3)), 100 - refused, "delivered", TAKEN).lines(ago(minutes(3)), refused, "deferred", REFUSED);
        assert_eq!(world.of(Rule::ProviderRefuses).len(), found, "{refused} %");
    }
    // What was more than a quarter of an hour ago is over.
    let mut world = World::new();
    world.lines(ago(minutes(17)), 90, "bounced", REFUSED);
    assert!(world.of(Rule::ProviderRefuses).is_empty());
}

#[test]
fn mail_that_is_due_and_not_delivered_stands() {
    let stands = |due: i64, delivered: Option<i64>| {
        let mut world = World::new();
        if let Some(delivered) = delivered {
            world.lines(ago(minutes(delivered)), 1, "delivered", "");
        }
        let waiting = Waiting { provider: "google".into(), stream: "news".into(), recipients: 9, due: 7, ..Waiting::default() };
        world.facts.waiting = vec![Waiting { due_since: Some(ago(minutes(due))), ..waiting }];
        world.found().into_iter().find(|finding| finding.rule == Rule::MailStands)
    };
    let finding = stands(5, None).unwrap();
    assert_eq!(
        finding.summary,
        "Mail for google stands: 7 recipients are due since 12:29 UTC in stream news, and nothing was delivered there in 5m."
    );
    assert!(finding.next_step.contains("posthaste queue list --provider google"), "{}", finding.next_step);
    assert_eq!(stands(4, None), None, "not for five minutes yet");
    assert_eq!(stands(50, Some(4)), None, "something was delivered");
    assert!(stands(50, Some(7)).is_some(), "that was too long ago");
}

/// So many recipients have waited for google, the oldest so many minutes; ten minutes ago no host answered.
fn unreached(recipients: u64, oldest: i64) -> World {
    let mut world = World::new();
    world.lines(ago(minutes(10)), 3, "deferred", r#""class":"connection_failure""#);
    let oldest = Some(ago(minutes(oldest)));
    world.facts.waiting = vec![Waiting { provider: "google".into(), stream: "news".into(), recipients, oldest, ..Waiting::default() }];
    world
}

#[test]
fn mail_stands_where_no_host_answers_though_it_is_due_for_moments_only() {
    let finding = unreached(10, 5).found().remove(0);
    assert_eq!(shown(std::slice::from_ref(&finding), Rule::MailStands), ["provider:google 300 critical"]);
    assert_eq!(finding.summary, "Mail for google stands: no host of it answers, and 10 recipients wait since 12:29 UTC.");
    assert_eq!(finding.problem_of, crate::ProblemOf::Receiver);
    assert!(finding.next_step.contains("`posthaste log --provider google --event deferred -n 3`"), "{}", finding.next_step);
    assert_eq!(unreached(10, 4).of(Rule::MailStands), [""; 0], "not for five minutes yet");
    assert_eq!(unreached(9, 60).of(Rule::MailStands), [""; 0], "a mistyped domain");
    let with = |event: &str, at: i64, fields: &str| {
        let mut world = unreached(1, 60);
        world.lines(ago(hours(3)), 1, "delivered", "").lines(ago(minutes(at)), 1, event, fields);
        world.of(Rule::MailStands).len()
    };
    assert_eq!(with("accepted", 1, ""), 1, "it took mail three hours ago");
    assert_eq!(with("delivered", 4, ""), 0, "it is reached again");
    assert_eq!(with("deferred", 50, r#""class":"greylisting""#), 0, "a host answered in this hour");
}

/// The last error of a provider's mail.
fn trouble(class: Class, said: &str, login: u64) -> Trouble {
    Trouble { at: Some(ago(minutes(2))), class, said: said.into(), login }
}

#[test]
fn mail_that_stands_says_its_last_error_without_the_mailbox() {
    let with = |trouble: Trouble| {
        let mut world = unreached(10, 5);
        world.facts.troubles.insert("google".into(), trouble);
        world.found().into_iter().find(|finding| finding.rule == Rule::MailStands)
    };
    let finding = with(trouble(Class::TlsFailure, "mx.google.test offers no STARTTLS", 0)).unwrap();
    assert_eq!(
        finding.summary,
        "Mail for google stands: the TLS that is required there does not come about, and 10 recipients wait since 12:29 UTC. Last error: \
         mx.google.test offers no STARTTLS."
    );
    assert!(finding.next_step.contains("[tls.domain]"), "{}", finding.next_step);
    let finding = with(trouble(Class::ConnectionFailure, "421 <ann@y.org> not now", 0)).unwrap();
    assert!(finding.summary.contains("no host of it answers"), "{}", finding.summary);
    assert!(finding.summary.ends_with("Last error: 421 <a…@y.org> not now."), "{}", finding.summary);
    assert_eq!(with(trouble(Class::PolicyAuth, "535 5.7.8 no", 10)), None, "an alarm tells of a login that is refused");
}

#[test]
fn mail_stands_where_dns_says_nothing() {
    let domains = |n: u64, recipients: u64, minute: i64, heard: bool| {
        let mut world = World::new();
        for number in 0..n {
            let provider = format!("d{number}.test");
            if heard {
                world.facts.troubles.insert(provider.clone(), trouble(Class::DnsFailure, "DNS: SERVFAIL for MX", 0));
            }
            let oldest = Some(ago(minutes(minute)));
            world.facts.waiting.push(Waiting { provider, stream: "news".into(), recipients, oldest, ..Waiting::default() });
        }
        world
    };
    let finding = domains(1, 10, 5, true).found().remove(0);
    assert_eq!(shown(std::slice::from_ref(&finding), Rule::MailStands), ["provider:d0.test 300 critical"]);
    assert_eq!(
        finding.summary,
        "Mail for d0.test stands: DNS gives no answer about it, and 10 recipients wait since 12:29 UTC. Last error: DNS: SERVFAIL for MX."
    );
    assert_eq!(finding.problem_of, ProblemOf::Dns);
    assert_eq!(domains(1, 10, 4, true).of(Rule::MailStands), [""; 0], "not for five minutes yet");
    assert_eq!(domains(1, 9, 60, true).of(Rule::MailStands), [""; 0], "a mistyped domain");
    assert_eq!(domains(1, 10, 60, false).of(Rule::MailStands), [""; 0], "nothing is known yet");
    let mut took = domains(1, 1, 60, true);
    took.lines(ago(hours(3)), 1, "delivered", r#""domain":"d0.test","provider":"google""#);
    assert_eq!(took.of(Rule::MailStands).len(), 1, "it took mail three hours ago");
    // DNS is asked once more, which takes a while.
    let (world, mut rules) = (domains(1, 10, 5, true), Rules::default());
    let tallies = world.tallies();
    world.found_by(&mut rules, &tallies, now());
    assert_eq!(shown(&domains(1, 10, 5, false).found_by(&mut rules, &tallies, now()), Rule::MailStands).len(), 1);
    // So many at once are this host's trouble.
    assert_eq!(domains(4, 10, 5, true).of(Rule::MailStands).len(), 4);
    assert_eq!(domains(5, 10, 5, true).of(Rule::MailStands), ["relay:dns 300 critical"]);
    let finding = domains(5, 10, 5, true).found().remove(0);
    assert!(finding.summary.starts_with("Mail for 5 domains stands, d0.test, d1.test, d2.test among them"), "{}", finding.summary);
    assert!(finding.summary.contains("50 recipients wait since 12:29 UTC"), "{}", finding.summary);
}

#[test]
fn a_smart_host_that_refuses_the_login_is_no_provider_that_refuses() {
    let refuses = |login: u64| {
        let mut world = World::new();
        world.lines(ago(minutes(5)), 50, "deferred", r#""class":"policy_auth","smtp_code":535,"rule":"x""#);
        world.facts.waiting =
            vec![Waiting { provider: "google".into(), recipients: 50, oldest: Some(ago(minutes(20))), ..Waiting::default() }];
        world.facts.troubles.insert("google".into(), trouble(Class::PolicyAuth, "535 5.7.8 no", login));
        (world.of(Rule::ProviderRefuses).len(), world.of(Rule::MailStands).len())
    };
    assert_eq!(refuses(50), (0, 0));
    assert_eq!(refuses(49), (1, 1), "others wait for something else");
}

#[test]
fn a_provider_that_nobody_reaches_is_found_between_two_attempts_too() {
    let (world, mut rules) = (unreached(10, 30), Rules::default());
    let tallies = world.tallies();
    let found = |rules: &mut Rules, minute: i64| world.found_by(rules, &tallies, now().checked_add(minutes(minute)).unwrap()).len();
    assert_eq!([found(&mut rules, 0), found(&mut rules, 59), found(&mut rules, 150)], [1, 1, 1]);
    assert_eq!(found(&mut Rules::default(), 150), 0, "without what the rule remembers");
}

#[test]
fn a_stream_is_late_at_the_second_look() {
    // The last one's sender wanted it to be sent four hours later.
    for (wait, held, delivered, late) in
        [(15_000, 0, 20, true), (15_000, 0, 19, false), (14_000, 0, 100, false), (15_000, 14_400, 100, false)]
    {
        let mut world = World::new();
        world.lines(ago(minutes(2)), delivered, "delivered", &format!(r#""age_ms":{},"hold_ms":{}"#, wait * 1000, held * 1000));
        let (mut rules, tallies) = (Rules::default(), world.tallies());
        assert!(shown(&world.found_by(&mut rules, &tallies, now()), Rule::Late).is_empty(), "one look is none");
        let second = now().checked_add(minutes(1)).unwrap();
        assert_eq!(!shown(&world.found_by(&mut rules, &tallies, second), Rule::Late).is_empty(), late, "{wait} s, {delivered}");
        if late {
            let finding = only(world.found_by(&mut rules, &tallies, second), Rule::Late);
            assert!(finding.summary.contains("Mail of stream news is late: a twentieth") && finding.summary.contains("its aim is 4h"));
            assert!(finding.next_step.contains("stream.news.aim"), "{}", finding.next_step);
        }
    }
}

#[test]
fn the_oldest_that_waits_makes_a_stream_late_too() {
    let mut world = World::new();
    let waiting = Waiting { provider: "google".into(), stream: "receipts".into(), recipients: 1, ..Waiting::default() };
    world.facts.waiting = vec![Waiting { oldest: Some(ago(hours(5))), ..waiting }];
    let (mut rules, tallies) = (Rules::default(), world.tallies());
    world.found_by(&mut rules, &tallies, now());
    let finding = only(world.found_by(&mut rules, &tallies, now().checked_add(minutes(5)).unwrap()), Rule::Late);
    assert!(finding.summary.contains("the oldest has waited for google for 5h 5m"), "{}", finding.summary);
    // It goes, and the next look ends it.
    world.facts.waiting.clear();
    assert!(shown(&world.found_by(&mut rules, &tallies, now().checked_add(minutes(10)).unwrap()), Rule::Late).is_empty());
}

#[test]
fn complaints_count_at_the_lower_end_of_their_interval() {
    let complaints = |delivered: u64, complained: u64| {
        let mut world = World::new();
        world.lines(ago(hours(5)), delivered, "delivered", "").lines(ago(hours(2)), complained, "complained", "");
        world.of(Rule::Complaints)
    };
    // Wilson's lower end of 3 of 1,000 is 0.15 %, of 2 of 1,000 0.08 %, of 6 of 1,000 0.36 %.
    assert_eq!(complaints(1000, 3), ["provider:google 3/1000 warn", "stream:news 3/1000 warn", "user:shop 3/1000 warn"]);
    assert_eq!(complaints(1000, 2), [""; 0]);
    assert_eq!(complaints(999, 9), [""; 0], "one delivery too few");
    assert_eq!(complaints(1000, 6).len(), 3);
    assert!(complaints(1000, 6).iter().all(|finding| finding.ends_with("6/1000 critical")));
}

#[test]
fn unknown_users_are_found_by_stream_and_user() {
    let unknown = |delivered: u64, unknown: u64| {
        let mut world = World::new();
        world.lines(ago(hours(20)), delivered, "delivered", "").lines(ago(hours(2)), unknown, "bounced", UNKNOWN);
        world.of(Rule::UnknownUsers)
    };
    assert_eq!(unknown(98, 2), ["stream:news 2/100 warn", "user:shop 2/100 warn"]);
    assert_eq!(unknown(99, 2), [""; 0], "just below 2 %");
    assert_eq!(unknown(95, 4), [""; 0], "one recipient too few");
    assert_eq!(unknown(95, 5), ["stream:news 5/100 critical", "user:shop 5/100 critical"]);
    let mut world = World::new();
    world.lines(ago(hours(2)), 100, "bounced", UNKNOWN);
    world.facts.guarded.insert(crate::Key::new(crate::About::User, "shop"), crate::Guarded::default());
    let (user, _): (Vec<_>, Vec<_>) = world.found().into_iter().partition(|finding| finding.key.to_string() == "user:shop");
    let user = only(user, Rule::UnknownUsers);
    assert!(user.done.contains("the guard holds"), "{}", user.done);
    assert!(user.next_step.contains("posthaste guard list"), "{}", user.next_step);
    // Yesterday's mail is forgotten.
    let mut world = World::new();
    world.lines(ago(hours(26)), 100, "bounced", UNKNOWN);
    assert!(world.of(Rule::UnknownUsers).is_empty());
}

/// Where one user leaps, the stream leaps too; the others of the stream are as usual.
#[test]
fn what_is_found_about_a_stream_is_explained_by_users() {
    let explained = |shop: u64, others: u64| {
        let (mut world, mut rules) = (World::new(), Rules::default());
        world.lines(ago(minutes(5)), shop, "accepted", "");
        for user in ["a", "b", "c"] {
            world.lines(ago(minutes(5)), others, "accepted", &format!(r#""user":"{user}""#));
        }
        let found = world.found_by(&mut rules, &world.tallies(), now());
        let stream = found.iter().find(|finding| finding.key.to_string() == "stream:news" && finding.rule == Rule::SenderLeaps)?;
        let by: Vec<String> = rules.explained_by(stream).iter().map(ToString::to_string).collect();
        assert_eq!(by.is_empty(), !stream.summary.contains("the mail of user"), "{}", stream.summary);
        Some(by)
    };
    assert_eq!(explained(600, 10), Some(vec!["user:shop".into()]));
    assert_eq!(explained(600, 170), Some(Vec::new()), "the others leap without it");
    assert_eq!(explained(300, 100), Some(Vec::new()), "none of them leaps alone");
    assert_eq!(explained(100, 100), None);
    // The same for lists that are bad.
    let (mut world, mut rules) = (World::new(), Rules::default());
    world.lines(ago(hours(2)), 20, "bounced", UNKNOWN).lines(ago(hours(2)), 100, "delivered", "");
    world.lines(ago(hours(2)), 100, "delivered", r#""user":"good""#);
    let found = world.found_by(&mut rules, &world.tallies(), now());
    let stream = found.iter().find(|finding| finding.id == "unknown_users/stream:news").unwrap();
    assert_eq!(rules.explained_by(stream), [crate::Key::new(crate::About::User, "shop")]);
}

/// What a user sends in one stream explains nothing of another, whichever rule found them.
#[test]
fn a_user_explains_nothing_of_a_stream_that_he_never_used() {
    let other = r#""stream":"receipts","user":null"#;
    let (mut world, mut rules) = (World::new(), Rules::default());
    // Critical: 40 of shop's addresses in news do not exist, nor do 35 in receipts, to which no user belongs.
    world.lines(ago(minutes(5)), 40, "bounced", UNKNOWN).lines(ago(minutes(5)), 600, "accepted", "");
    world.lines(ago(minutes(5)), 35, "bounced", &format!("{UNKNOWN},{other}")).lines(ago(minutes(5)), 80, "delivered", other);
    world.lines(ago(minutes(5)), 100, "delivered", "");
    let found = world.found_by(&mut rules, &world.tallies(), now());
    let of = |id: &str| {
        let finding = found.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("{id} is not in {found:?}"));
        let by: Vec<String> = rules.explained_by(finding).iter().map(ToString::to_string).collect();
        (by, finding.summary.contains("shop"))
    };
    for rule in ["sender_leaps", "unknown_users"] {
        assert_eq!(of(&format!("{rule}/stream:news")), (vec!["user:shop".into()], true));
        let summary = &found.iter().find(|finding| finding.id == format!("{rule}/stream:news")).unwrap().summary;
        let guarded = format!("The guard holds it. {summary} The oldest expires at 13:00.");
        let told = crate::without_users(&guarded);
        assert!(
            !told.contains("shop") && told.starts_with("The guard holds it. ") && told.ends_with(". The oldest expires at 13:00."),
            "{told}"
        );
        let (by, names_shop) = of(&format!("{rule}/stream:receipts"));
        assert!(!by.contains(&"user:shop".into()) && !names_shop, "{rule}: {by:?}");
    }
}

#[test]
fn a_sender_that_leaps_is_measured_by_its_own_busy_hours() {
    let leaps = |usual: u64, now_sent: u64| {
        let mut world = World::new();
        for day in 1..13 {
            world.lines(ago(hours(24 * day + 3)), usual, "accepted", "");
        }
        world.lines(ago(minutes(30)), now_sent, "accepted", "");
        world.of(Rule::SenderLeaps)
    };
    assert_eq!(leaps(100, 500), ["stream:news 500 critical", "user:shop 500 critical"]);
    assert_eq!(leaps(100, 499), [""; 0], "less than 500 an hour");
    assert_eq!(leaps(101, 504), [""; 0], "less than 5 times as much");
    assert_eq!(leaps(0, 500).len(), 2, "who never sent has no hours to be measured by");
    let mut world = World::new();
    world.lines(ago(minutes(30)), 600, "accepted", "");
    let finding = world.found().into_iter().find(|finding| finding.key.to_string() == "user:shop").unwrap();
    assert!(finding.summary.starts_with("User shop sends far more than ever: 600 recipients in 60 minutes"), "{}", finding.summary);
    assert!(finding.next_step.contains("posthaste user passwd shop"), "{}", finding.next_step);
}

#[test]
fn a_weekly_newsletter_is_no_leap_and_guesses_are_one() {
    let mut world = World::new();
    world.lines(ago(hours(24 * 7)), 5000, "accepted", "").lines(ago(minutes(10)), 6000, "accepted", "");
    assert!(world.of(Rule::SenderLeaps).is_empty());
    for (unknown, found) in [(24, 0), (25, 2)] {
        let mut world = World::new();
        world.lines(ago(minutes(40)), unknown, "bounced", UNKNOWN);
        assert_eq!(world.of(Rule::SenderLeaps).len(), found, "{unknown}");
    }
}

#[test]
fn a_stream_falls_silent_when_its_hour_is_over() {
    // The last whole hour is from 11:00 to 12:00.
    let world = |days: i64, and_now: Option<i64>| {
        let mut world = World::new();
        for day in 1..=days {
            world.lines(ago(hours(24 * day + 1)), 1, "accepted", "");
        }
        if let Some(minutes_ago) = and_now {
            world.lines(ago(minutes(minutes_ago)), 1, "accepted", "");
        }
        world
    };
    let finding = only(world(7, None).found(), Rule::Silence);
    assert_eq!(
        finding.summary,
        "Nobody submits mail to stream news: none came from 11:00 to 12:00 UTC, and on each of the last 7 days some did."
    );
    assert!(finding.next_step.contains("posthaste log --event rejected"));
    assert!(world(6, None).of(Rule::Silence).is_empty(), "six days are no habit");
    assert!(world(7, Some(90)).of(Rule::Silence).is_empty(), "some came in that hour");
    assert!(world(7, Some(1)).of(Rule::Silence).is_empty(), "some came after it");
    let mut gone = world(7, None);
    gone.facts.streams.clear();
    assert!(gone.of(Rule::Silence).is_empty(), "nobody misses a stream that was removed");
}

#[test]
fn unsigned_mail_is_found_by_its_domain() {
    let unsigned = |signed: u64, unsigned: u64| {
        let mut world = World::new();
        world.lines(ago(minutes(50)), signed, "delivered", r#""from_domain":"x.org","dkim":"aligned""#);
        world.lines(ago(minutes(5)), unsigned, "delivered", r#""from_domain":"x.org","dkim":"none""#);
        world.of(Rule::Authentication)
    };
    assert_eq!(unsigned(98, 2), ["from_domain:x.org 2/100 warn"]);
    assert_eq!(unsigned(99, 1), [""; 0], "1 % is not more than 1 %");
    assert_eq!(unsigned(0, 49), [""; 0], "too little mail");
    assert_eq!(unsigned(0, 50), ["from_domain:x.org 50/50 warn"]);
}

#[test]
fn tls_that_goes_down_by_five_points_is_found() {
    let down = |before: u64, after: u64, of: u64| {
        let mut world = World::new();
        for (hour, share) in [(30, before), (6, after)] {
            world.lines(ago(hours(hour)), share, "delivered", r#""tls_version":"TLSv1.3""#);
            world.lines(ago(hours(hour)), of - share, "delivered", "");
        }
        world.of(Rule::Tls)
    };
    assert_eq!(down(100, 95, 100), ["provider:google 95/100 warn"]);
    assert_eq!(down(100, 96, 100), [""; 0], "four points");
    assert_eq!(down(99, 10, 99), [""; 0], "too little mail");
    // Many small providers together show what none of them shows.
    let mut world = World::new();
    for n in 0..10 {
        let provider = format!(r#""provider":"small{n}""#);
        world.lines(ago(hours(30)), 20, "delivered", &format!(r#"{provider},"tls_version":"TLSv1.3""#));
        world.lines(ago(hours(6)), 20, "delivered", &provider);
    }
    assert_eq!(world.of(Rule::Tls), ["relay:tls 0/200 warn"]);
}

#[test]
fn replies_that_no_rule_knows_are_found_by_provider() {
    let unknown = |known: u64, unknown: u64, unsaid: u64| {
        let mut world = World::new();
        world.lines(ago(hours(3)), known, "bounced", UNKNOWN);
        world.lines(ago(hours(3)), unknown, "deferred", r#""class":"transient_other","smtp_code":451,"rule":"unknown""#);
        world.lines(ago(hours(3)), unsaid, "deferred", r#""class":"connection_failure""#);
        world.of(Rule::UnknownReplies)
    };
    assert_eq!(unknown(98, 2, 1000), ["provider:google 2/100 warn"], "what was not said is no reply");
    assert_eq!(unknown(99, 1, 0), [""; 0]);
    assert_eq!(unknown(0, 99, 50), [""; 0]);
}

#[test]
fn complaint_reports_that_match_nothing_are_found() {
    let unmatched = |matched: u64, unmatched: u64, kind: &str| {
        let mut world = World::new();
        world.lines(ago(hours(3)), matched, "complained", "");
        world.lines(ago(hours(3)), unmatched, "unmatched", &format!(r#""kind":"{kind}","reason":"not_in_log""#));
        world.of(Rule::ReportsUnmatched)
    };
    assert_eq!(unmatched(9, 1, "feedback"), ["relay:returns 1/10 warn"]);
    assert_eq!(unmatched(10, 1, "feedback"), [""; 0]);
    assert_eq!(unmatched(0, 4, "feedback"), [""; 0]);
    assert_eq!(unmatched(0, 50, "bounce"), [""; 0], "bounces are no complaints");
}

#[test]
fn limits_of_the_configuration_are_said_to_be_its() {
    let mut world = World::new();
    world.settings.provider_refuses.share = 0.05;
    world.lines(ago(minutes(5)), 95, "delivered", TAKEN).lines(ago(minutes(5)), 5, "bounced", REFUSED);
    let finding = only(world.found(), Rule::ProviderRefuses);
    assert_eq!((&*finding.measure.limit, finding.measure.limit_from), ("5 %", LimitFrom::Configuration));
    world.settings.provider_refuses.common.enabled = false;
    assert!(world.of(Rule::ProviderRefuses).is_empty());
}

/// Nothing that was read before may hide what came in since.
#[test]
fn ticks_see_what_a_new_look_sees() {
    let mut rules = Rules::default();
    let mut world = World::new();
    for minute in 0..130_i64 {
        let at = ago(minutes(130 - minute));
        let refused = if (40..70).contains(&minute) { 8 } else { 0 };
        world.delta = posthaste_tallies::Delta::new(jiff::tz::TimeZone::UTC);
        world.lines(at, 5, "delivered", TAKEN).lines(at, refused, "bounced", REFUSED).lines(at, refused, "bounced", UNKNOWN);
        world.lines(at, 12, "accepted", "");
        let tallies = world.tallies();
        // Several ticks in a minute, as the relay has them.
        for second in [1, 21, 41] {
            let now = at.checked_add(jiff::SignedDuration::from_secs(second)).unwrap();
            let found = world.found_by(&mut rules, &tallies, now);
            if minute % 5 > 0 || second != 41 {
                continue;
            }
            let anew = world.found_by(&mut Rules::default(), &tallies, now);
            for rule in Rule::ALL.iter().filter(|rule| **rule != Rule::Late) {
                assert_eq!(shown(&found, *rule), shown(&anew, *rule), "{rule} in minute {minute}");
            }
        }
    }
}
