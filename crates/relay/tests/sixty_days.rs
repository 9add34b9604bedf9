//! Sixty days of warm-up through the dispatcher itself: ten providers, four sources, a bad week at one provider, an idle fortnight, three
//! restarts, a change of the clocks. The simulation, given the same, foresees each day.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use jiff::{SignedDuration, civil::date, tz::TimeZone};
use posthaste_bounce::Verdict;
use posthaste_config::Config;
use posthaste_delivery::ledger::FirstSeen;
use posthaste_feedback::Feedback;
use posthaste_governor::Outcome as Spent;
use posthaste_host::AnyAddress;
use posthaste_mail::{Action as Remedy, Class, Failure, Name, Reply, Scope, Stage};
use posthaste_queue::{
    AttemptResult, Policy,
    testing::{World, ok},
};
use posthaste_relay::settings as live;
use posthaste_route::Providers;
use posthaste_warmup::{
    scenario::{Rates, Receivers, Scenario, Spell},
    simulate::simulate,
};

const CONFIG: &str = r#"
[source.ip1]
address = "192.0.2.1"
warmup = "slow"
[source.ip2]
address = "192.0.2.2"
warmup = "quick"
[source.ip3]
address = "192.0.2.3"
warmup = "quick"
stage = 3
[source.ip4]
address = "192.0.2.4"

[stream.default]
cold = "first"

[curve.slow]
start = 3
factor = 1.1
until = 28
timezone = "Europe/Berlin"
overflow = "spill"
after = "last"
min_sample = 2
burst = 3

[curve.slow."p3.example"]
start = 2
factor = 1.1
until = 15

[curve.quick]
caps = [4, 6, 9, 12, 16, 20, 23]
timezone = "Europe/Berlin"
overflow = "spill"
after = "last"
min_sample = 2
burst = 3
"#;

/// Provider 2 takes it ill for a week: more dead addresses and deferrals than a lane steps back at.
const BAD: std::ops::Range<usize> = 15..22;
const IDLE: std::ops::Range<usize> = 30..44;
const RESTARTS: [(usize, i64); 3] = [(4, 9), (17, 14), (50, 20)];
const PROVIDERS: usize = 10;
const DAYS: usize = 60;

fn scenario() -> Scenario {
    let volume = (0..DAYS).map(|day| if IDLE.contains(&day) { 0 } else { 1_000 });
    let bad = Rates { hard_bounces: 1_500, throttled: 600, ..Rates::default() };
    Scenario {
        first: date(2026, 3, 1),
        zone: TimeZone::get("Europe/Berlin").unwrap(),
        volume: volume.collect(),
        mix: (0..PROVIDERS).map(|n| (format!("p{n}.example").into(), 1)).collect(),
        usual: Rates { hard_bounces: 50, deferred: 100, ..Rates::default() },
        spells: vec![Spell { provider: Some("p2.example".into()), days: BAD, rates: bad }],
    }
}

/// As the scenario answers, in words.
fn said(outcome: Spent) -> AttemptResult {
    let (code, text, class, action, permanent) = match outcome {
        Spent::HardBounce => (550, "5.1.1 no such user", Class::InvalidRecipient, Remedy::Suppress, true),
        Spent::Throttled => (451, "4.7.1 too much", Class::RateLimited, Remedy::SlowDown, false),
        Spent::Deferred => (451, "4.3.0 later", Class::TransientOther, Remedy::Retry, false),
        Spent::Blocked => (554, "5.7.1 blocked", Class::IpReputation, Remedy::PauseLane, true),
        _ => return AttemptResult::Delivered(Reply::new(250, "2.0.0 ok")),
    };
    let verdict =
        Verdict { class, scope: Scope::Recipient, action, permanent, confidence: 1.0, rule: "test".into(), why: "test".into(), link: None };
    AttemptResult::Failed(Failure::Refused { stage: Stage::Rcpt, reply: Reply::new(code, text) }, verdict)
}

/// What the relay did on one day: taken by all, and by each lane that warms up, with its stage and cap.
struct Done {
    sent: u64,
    lanes: BTreeMap<(String, String), (u32, u32, Option<u32>)>,
}

fn policy(config: &Config, scenario: &Scenario) -> Policy {
    // Simulations know of no feedback rules.
    let feedback = Feedback::with(&[], Providers::shipped()).unwrap().without_rules();
    let seen: FirstSeen = config.sources.keys().map(|name| (name.clone(), scenario.first)).collect();
    live::policy(config, &Providers::shipped(), Arc::new(feedback), &seen)
}

fn play(config: &Config, scenario: &Scenario) -> (Vec<Done>, World) {
    let policy = || policy(config, scenario);
    let mut world = World::new(policy(), |_, _| ok());
    world.now = scenario.starts(0);
    let day_now = Rc::new(RefCell::new(0));
    let (day_seen, receivers) = (day_now.clone(), RefCell::new(scenario.receivers()));
    world.judge = Some(Box::new(move |source, provider, _| {
        said(Receivers::answer(&mut receivers.borrow_mut(), &source.into(), &provider.into(), *day_seen.borrow()))
    }));
    let mut incoming = scenario.incoming().peekable();
    let mut days = Vec::new();
    for day in 0..scenario.days() {
        *day_now.borrow_mut() = day;
        let ends = scenario.starts(day + 1);
        let restart = RESTARTS.iter().find(|(on, _)| *on == day).map(|(_, hour)| scenario.starts(day) + SignedDuration::from_hours(*hour));
        let mut restart = restart.into_iter().peekable();
        let before = world.sent_by.len();
        while let Some(mail) = incoming.next_if(|mail| mail.day == day) {
            if let Some(at) = restart.next_if(|at| *at <= mail.at) {
                world.run(at);
                world = world.stopped(policy());
            }
            world.run(mail.at);
            world.now = mail.at;
            let domain = scenario.mix[mail.provider].0.clone();
            world.arrive("default", &[&domain]);
        }
        world.run(ends - SignedDuration::from_millis(1));
        let lanes = world.dispatcher.governor().lanes().filter(|(_, lane)| !lane.plan().curve.is_uncapped());
        let date = scenario.date(day);
        let lanes = lanes.map(|(_, lane)| {
            let today = lane.ledger().day(date);
            let key = (lane.key().source.to_string(), lane.key().provider.to_string());
            let spent = today.map_or(0, |d| d.counts.spent);
            (key, (spent, u32::from(today.map_or(lane.stage(), |d| d.stage)), today.and_then(|d| d.cap)))
        });
        days.push(Done { sent: (world.sent_by.len() - before) as u64, lanes: lanes.collect() });
        world.run(ends);
        world.now = ends;
    }
    (days, world)
}

#[test]
fn sixty_days_go_by_the_curves_and_as_foreseen() {
    let config = Config::parse(CONFIG, "posthaste.toml", &AnyAddress).unwrap_or_else(|errors| panic!("{errors}"));
    let scenario = scenario();
    let (days, _) = play(&config, &scenario);

    for (day, done) in days.iter().enumerate() {
        for ((source, provider), (spent, stage, cap)) in &done.lanes {
            let plan = config.plan(&Name::new(source).unwrap(), provider).unwrap();
            let stage = posthaste_governor::Stage::from(*stage);
            if let Some(cap) = cap {
                assert!(spent <= cap, "{source} at {provider} on day {day}: {spent} of {cap}");
                assert_eq!(plan.curve.cap(stage), Some(*cap), "the cap is the curve's for the stage");
            }
            // Mail is plenty and evenly spread: a lane's whole cap goes out each day.
            if !IDLE.contains(&day) && cap.is_some() {
                assert_eq!(Some(*spent), *cap, "{source} at {provider} on day {day}, stage {stage}");
            }
        }
    }

    let foreseen = simulate(&policy(&config, &scenario), &Name::new("default").unwrap(), &scenario);
    for (done, row) in days.iter().zip(&foreseen.days) {
        let wrong = done.sent.abs_diff(row.sent) as f64;
        assert!(wrong <= (row.sent as f64 * 0.01).max(1.0), "day {}: {} were sent, {} foreseen", row.day, done.sent, row.sent);
        for lane in &row.lanes {
            let (spent, stage, _) = done.lanes.get(&(lane.source.to_string(), lane.provider.to_string())).copied().unwrap_or_default();
            let off = f64::from(spent.abs_diff(lane.spent));
            assert!(
                off <= (f64::from(lane.spent) * 0.01).max(0.0),
                "day {}: {} at {}: {spent}, not {}",
                row.day,
                lane.source,
                lane.provider,
                lane.spent
            );
            assert!(stage == u32::from(lane.stage) || spent == 0, "day {}: {} at {}", row.day, lane.source, lane.provider);
        }
    }
    held_against_golden(&stages(&scenario, &days));
}

/// One line a day: the stages of each source's lanes, providers in order.
fn stages(scenario: &Scenario, days: &[Done]) -> String {
    let mut text = String::from("date        sent  ip1 at p0..p9                  ip2 at p0..p9                  ip3 at p0..p9\n");
    for (day, done) in days.iter().enumerate() {
        let of = |source: &str| {
            let stage =
                |(provider, _): &(Arc<str>, u32)| done.lanes.get(&(source.to_owned(), provider.to_string())).map_or(0, |lane| lane.1);
            scenario.mix.iter().map(|provider| format!("{:>2}", stage(provider))).collect::<Vec<_>>().join(" ")
        };
        text.push_str(&format!("{}  {:>4}  {}  {}  {}\n", scenario.date(day), done.sent, of("ip1"), of("ip2"), of("ip3")));
    }
    text
}

fn held_against_golden(text: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sixty_days.txt");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, golden, "run with UPDATE_GOLDENS=1 where the change is meant");
}
