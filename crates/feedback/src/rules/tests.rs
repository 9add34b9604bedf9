use posthaste_governor::Climb;
use posthaste_mail::{Action, Class, LocalCause, Scope};

use super::*;

fn shipped() -> Feedback {
    Feedback::with(&[], Providers::shipped()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(reply: &str) -> Failure {
    let (code, text) = reply.split_at(3);
    Failure::Refused { stage: Stage::Dot, reply: Reply::new(code.parse().unwrap(), &text[1..]) }
}

fn react(feedback: &Feedback, provider: &str, reply: &str) -> Option<Reaction> {
    let failure = refused(reply);
    let verdict = Rules::shipped().classify(&failure, &Context { provider: Some(alias(provider)), mx_host: None });
    feedback.reaction(provider, &failure, &verdict)
}

fn verdict(class: Class, scope: Scope, action: Action) -> Verdict {
    Verdict { class, scope, action, permanent: false, confidence: 0.9, rule: "test".into(), why: "test".into(), link: None }
}

fn count(n: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(n)
}

fn error(text: &str) -> String {
    Feedback::with(&[("mine.toml", text)], Providers::shipped()).unwrap_err().to_string()
}

const MINE: &str = r#"
[[rule]]
id = "mine"
provider = ["google"]
code = [421, "5xx"]
enhanced = ["4.7.28", "5.7."]
rate = 300
pause = "20m"
stop = "2h"
climb = { every = "1m" }
reason = "as I say"
link = "https://example.org/"
example = ["421 4.7.28 unusual rate"]
"#;

#[test]
fn every_shipped_rule_decides_its_own_examples() {
    assert_eq!(shipped().check_examples(Rules::shipped()), []);
    assert!(shipped().rules.len() > 45);
}

#[test]
fn every_shipped_rule_of_one_receiver_names_its_page_and_climbs_slowly() {
    for rule in shipped().rules.iter().filter(|rule| !rule.given.provider.is_empty()) {
        assert!(rule.why.ends_with(')') && rule.why.contains("(https://"), "{}: {}", rule.id, rule.why);
        assert!(rule.given.climb.every >= SignedDuration::from_mins(10) && rule.given.climb.rate.get() <= 300, "{}", rule.id);
        assert!(rule.given.connections.is_none_or(|connections| connections.get() <= 2), "{}", rule.id);
    }
}

#[test]
fn google_is_left_alone_for_ten_minutes_and_met_again_with_one_connection() {
    let lines = "421-4.7.28 [192.0.2.4] Our system has detected an unusual rate of\n4.7.28 unsolicited mail originating from your IP address. - gsmtp";
    for reply in [lines, "421 4.7.0 Try again later, closing connection. - gsmtp"] {
        let reaction = react(&shipped(), "google", reply).unwrap();
        assert_eq!((reaction.cut.pause, reaction.cut.connections), (Some(SignedDuration::from_mins(10)), count(1)), "{reply}");
        assert_eq!((reaction.cut.climb.connections, reaction.cut.climb.every), (NonZeroU32::MIN, SignedDuration::from_mins(10)));
        assert_eq!(reaction.stop, None);
        assert!(
            reaction.reason.contains("https://support.google.com/mail/answer/81126")
                && reaction.origin.starts_with("config/feedback.toml:")
        );
    }
}

#[test]
fn a_share_is_one_of_what_the_lane_sends_and_a_number_is_a_number() {
    let reaction = react(&shipped(), "yahoo", "421 4.7.0 [TSS04] Messages from 192.0.2.4 temporarily deferred").unwrap();
    assert_eq!((reaction.cut.rate, reaction.share), (None, Some(Share::percent(25))));
    assert_eq!((reaction.at(count(1000)).rate, reaction.at(count(1)).rate, reaction.at(None).rate), (count(250), count(1), None));
    let mine = Feedback::with(&[("mine.toml", MINE)], Providers::shipped()).unwrap();
    let reaction = react(&mine, "google", "421 4.7.28 unusual rate").unwrap();
    assert_eq!((reaction.cut.rate, reaction.at(count(1000)).rate), (count(300), count(300)));
}

#[test]
fn a_rule_of_ones_own_goes_first_and_says_all_it_was_given() {
    let mine = Feedback::with(&[("mine.toml", MINE)], Providers::shipped()).unwrap();
    assert_eq!(mine.check_examples(Rules::shipped()), []);
    let reaction = react(&mine, "google", "421 4.7.28 unusual rate").unwrap();
    let climb = Climb { every: SignedDuration::from_mins(1), rate: NonZeroU32::new(100).unwrap(), connections: NonZeroU32::MIN };
    let why: Arc<str> = "as I say (https://example.org/)".into();
    let cut = Cut { rate: count(300), connections: None, pause: Some(SignedDuration::from_mins(20)), climb, why: why.clone() };
    let stop = Some(SignedDuration::from_hours(2));
    assert_eq!(reaction, Reaction { cut, share: None, stop, reason: why, rule: "mine".into(), origin: "mine.toml:2".into() });
    for (provider, reply, rule) in [
        ("google", "550 5.7.1 no such thing", Some("mine")),
        ("google", "450 4.7.28 unusual rate", Some("google.unusual-rate")),
        ("google", "421 4.7.29 no tls", None),
        ("orange", "421 4.7.28 slow down, too many connections", Some("any.slow")),
    ] {
        let reaction = react(&mine, provider, reply);
        assert_eq!(reaction.as_ref().map(|r| &*r.rule), rule, "{provider}: {reply}");
    }
}

#[test]
fn an_own_rule_with_a_shipped_ones_id_replaces_it_and_one_without_effect_silences() {
    let text = "[[rule]]\nid = \"any.slow\"\naction = [\"slow_down\"]\nreason = \"never mind\"\nexample = [\"421 4.7.0 slow down\"]";
    let mine = Feedback::with(&[("mine.toml", text)], Providers::shipped()).unwrap();
    assert_eq!(mine.rules.iter().filter(|rule| &*rule.id == "any.slow").count(), 1);
    assert_eq!(react(&mine, "example.net", "421 4.7.0 Too many connections from your IP address, slow down"), None);
    assert_eq!(react(&shipped(), "yahoo", "421 Max message per connection reached, closing transmission channel"), None);
}

#[test]
fn without_a_rule_the_providers_first_pause_holds() {
    let failure = refused("421 4.7.0 whatever that means");
    let slow = verdict(Class::RateLimited, Scope::Lane, Action::SlowDown);
    let block = verdict(Class::IpReputation, Scope::SourceIp, Action::PauseLane);
    let pause = |provider: &str, verdict: &Verdict| shipped().reaction(provider, &failure, verdict).unwrap().cut.pause.unwrap();
    assert_eq!((pause("telia", &slow), pause("docomo", &slow)), (SignedDuration::from_mins(30), SignedDuration::from_mins(60)));
    assert_eq!((pause("example.net", &slow), pause("example.net", &block)), (SignedDuration::from_mins(5), SignedDuration::from_mins(60)));
}

#[test]
fn what_says_nothing_about_the_lane_leaves_it_alone() {
    let feedback = shipped();
    for (scope, action) in [(Scope::SenderDomain, Action::SlowDown), (Scope::Recipient, Action::SlowDown), (Scope::Provider, Action::Retry)]
    {
        let verdict = verdict(Class::RateLimited, scope, action);
        assert_eq!(feedback.reaction("example.net", &refused("450 4.2.1 slow"), &verdict), None, "{scope}");
    }
    let local = Failure::Local { stage: Stage::Connect, cause: LocalCause::ConnectTimeout, detail: "4.7.28".into() };
    let retry = verdict(Class::ConnectionFailure, Scope::Provider, Action::Retry);
    assert_eq!(feedback.reaction("google", &local, &retry), None);
}

#[test]
fn lines_are_read_as_one_text() {
    let reply = Reply::new(421, "4.7.28 [192.0.2.4] an unusual\n4.7.28  rate of mail \nsee there");
    assert_eq!(one_line(&reply), "4.7.28 [192.0.2.4] an unusual rate of mail see there");
    assert_eq!(one_line(&Reply::new(421, "one\ntwo")), "one two");
}

#[test]
fn each_error_names_its_line_and_remedy() {
    let rule = |more: &str| format!("[[rule]]\nid = \"a\"\nreason = \"r\"\nexample = [\"421 4.7.1 x\"]\n{more}");
    for (more, expected) in [
        ("", "mine.toml:1: rule \"a\": a rule needs a condition: code, enhanced, class, action or text"),
        ("code = [250]", "mine.toml:5: a code is one such as 421, or a kind, \"4xx\" or \"5xx\""),
        (
            "enhanced = [\"4.7\"]",
            "mine.toml:5: \"4.7\" is no enhanced code: write \"4.7.28\", \"4.7.\" for all that begin so, or \"4.7.500-599\"",
        ),
        ("code = [421]\npause = \"soon\"", "mine.toml:6: \"soon\" is no time from \"1s\" to \"720h\", such as \"10m\" or \"4h\""),
        (
            "code = [421]\nrate = \"110 %\"",
            "mine.toml:6: a rate is a number of recipients an hour, or a share of what goes out now such as \"25 %\"",
        ),
        (
            "code = [421]\nprovider = [\"gogle\"]",
            "mine.toml:1: rule \"a\": no provider is called \"gogle\"; config/providers.toml and delivery.providers name them",
        ),
        (
            "code = [421]\nfirst_pause = true",
            "mine.toml:1: rule \"a\": first_pause needs a pause for providers that have none of their own",
        ),
        (
            "code = [421]\n[[rule]]\nid = \"a\"\ncode = [421]\nreason = \"r\"\nexample = [\"421 x\"]",
            "mine.toml:6: there are two rules with the id \"a\"",
        ),
    ] {
        assert_eq!(error(&rule(more)), expected, "{more}");
    }
    assert!(error(&rule("text = [\"(\"]")).starts_with("mine.toml:1: rule \"a\": text \"(\": regex parse error"));
    assert!(error(&rule("code = [421]\nspeed = 3")).starts_with("mine.toml:6: unknown field `speed`"));
    let example = "[[rule]]\nid = \"a\"\nreason = \"r\"\ncode = [421]\nexample = [\"slow down\"]";
    assert_eq!(error(example), "mine.toml:5: an example is a reply with its code: \"421 4.7.28 slow down\"");
}

#[test]
fn a_rule_that_does_not_decide_its_example_is_found() {
    let text = MINE.replace("421 4.7.28 unusual rate", "421 4.7.29 no");
    let mine = Feedback::with(&[("mine.toml", &text)], Providers::shipped()).unwrap();
    let failures = mine.check_examples(Rules::shipped());
    let expected = ExampleFailure { rule: "mine".into(), origin: "mine.toml:2".into(), example: "421 4.7.29 no".into(), decided_by: None };
    assert_eq!(failures, [expected]);
}
