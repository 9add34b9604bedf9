use jiff::{
    civil::{Date, date},
    tz::TimeZone,
};
use posthaste_config::Config;
use posthaste_host::AnyAddress;
use posthaste_relay::settings::Settings;

use super::*;
use crate::scenario::{Rates, Spell};

fn policy(text: &str) -> Policy {
    let config = Config::parse(text, "posthaste.toml", &AnyAddress).unwrap_or_else(|errors| panic!("{errors}"));
    let seen = config.sources.keys().map(|name| (name.clone(), FIRST)).collect();
    Settings::new(config).unwrap().policy(&seen)
}

const FIRST: Date = date(2026, 11, 23);

fn scenario(volume: Vec<u64>, mix: &[(&str, u32)]) -> Scenario {
    let mix = mix.iter().map(|(provider, share)| ((*provider).into(), *share)).collect();
    Scenario { first: FIRST, zone: TimeZone::UTC, volume, mix, usual: Rates::default(), spells: Vec::new() }
}

fn run(policy: &Policy, scenario: &Scenario) -> Simulation {
    simulate(policy, &Name::new("default").unwrap(), scenario)
}

fn sent(simulation: &Simulation) -> Vec<u64> {
    simulation.days.iter().map(|day| day.sent).collect()
}

const COLD: &str = "[source.cold]\naddress = \"192.0.2.1\"\nwarmup = \"mine\"\n[curve.mine]\ncaps = [50, 100, 200, 400]\nmin_sample = 1\n";
const WARM: &str = "[source.warm]\naddress = \"192.0.2.2\"\n";

#[test]
fn one_address_sends_its_caps_until_it_is_warm_and_then_all_that_waited() {
    let simulation = run(&policy(COLD), &scenario(vec![300; 8], &[("google", 1)]));
    // 2,400 come in; 750 go while there are caps, and on the first day without one all that waits.
    assert_eq!(sent(&simulation), [50, 100, 200, 400, 750, 300, 300, 300]);
    assert_eq!(simulation.days.iter().map(|day| day.held).collect::<Vec<_>>(), [250, 450, 550, 450, 0, 0, 0, 0]);
    assert!(simulation.days.iter().all(|day| day.spilled == 0), "there is nothing to spill to");
    assert_eq!((simulation.full_volume(), simulation.unbound()), (Some(5), Some(5)));
    let stages: Vec<u32> = simulation.days.iter().map(|day| day.lanes[0].stage.into()).collect();
    assert_eq!(stages, [1, 2, 3, 4, 0, 0, 0, 0]);
}

#[test]
fn what_a_cold_address_has_no_room_for_spills_to_the_warm_one() {
    let text = format!("{COLD}overflow = \"spill\"\n{WARM}");
    let simulation = run(&policy(&text), &scenario(vec![1000; 3], &[("google", 1)]));
    assert_eq!(sent(&simulation), [1000; 3]);
    let cold: Vec<_> = simulation.days.iter().map(|day| day.lanes[0].accepted).collect();
    assert_eq!(cold, [50, 100, 200]);
    assert_eq!(simulation.days.iter().map(|day| day.spilled).collect::<Vec<_>>(), [450, 400, 300]);
    assert_eq!((simulation.full_volume(), simulation.worst_delay()), (Some(1), 0));
}

#[test]
fn without_overflow_the_cold_addresss_share_waits_for_it() {
    let simulation = run(&policy(&format!("{COLD}{WARM}")), &scenario(vec![1000; 2], &[("google", 1)]));
    assert_eq!(sent(&simulation), [550, 600]);
    assert_eq!(simulation.days[1].held, 850);
    assert_eq!(simulation.days[0].spilled, 0);
}

#[test]
fn overflow_to_another_pool_uses_that_one() {
    let text = format!("{COLD}overflow = \"pool:hot\"\n{WARM}[pool.default]\nsources = [\"cold\"]\n[pool.hot]\nsources = [\"warm\"]\n");
    let simulation = run(&policy(&text), &scenario(vec![500], &[("google", 1)]));
    assert_eq!((simulation.days[0].sent, simulation.days[0].spilled, simulation.days[0].lanes[0].accepted), (500, 450, 50));
}

#[test]
fn a_bad_spell_steps_back_and_the_way_up_begins_again() {
    let mut scenario = scenario(vec![1000; 10], &[("google", 1)]);
    let bad = Rates { hard_bounces: 1500, ..Rates::default() };
    scenario.spells = vec![Spell { provider: Some("google".into()), days: 2..4, rates: bad }];
    let simulation = run(&policy(&format!("{COLD}overflow = \"spill\"\n{WARM}")), &scenario);
    let stages: Vec<u32> = simulation.days.iter().map(|day| day.lanes[0].stage.into()).collect();
    assert_eq!(stages, [1, 2, 3, 2, 1, 2, 3, 4, 0, 0]);
    assert_eq!(simulation.days[2].bounced, 150);
}

#[test]
fn what_receivers_put_off_comes_back_and_spends_again() {
    let mut scenario = scenario(vec![100, 0], &[("google", 1)]);
    scenario.usual = Rates { deferred: 1000, ..Rates::default() };
    let text =
        format!("{}[retry]\nschedule = [\"5m\"]\njitter = 0\n", COLD.replace("50, 100", "500, 1000").replace("200, 400", "2000, 4000"));
    let simulation = run(&policy(&text), &scenario);
    assert_eq!((simulation.days[0].sent, simulation.days[0].put_off), (100, 11));
    assert_eq!(simulation.days[0].lanes[0].spent, 111);
}

#[test]
fn what_waits_too_long_expires() {
    let text = format!("{COLD}[retry]\nexpire = \"1d\"\n").replace("100, 200, 400", "50, 50, 50");
    let simulation = run(&policy(&text), &scenario(vec![200, 0, 0], &[("google", 1)]));
    let day = |index: usize| (simulation.days[index].sent, simulation.days[index].expired, simulation.days[index].held);
    assert_eq!(day(0), (50, 0, 150));
    assert_eq!(simulation.days.iter().map(|day| day.sent + day.expired).sum::<u64>(), 200);
    assert_eq!(simulation.days[2].held, 0);
}

#[test]
fn a_streams_own_limit_holds_for_all_its_sources() {
    let simulation =
        run(&policy(&format!("{WARM}[stream.default]\nper_day = 240\n")), &scenario(vec![1000, 0], &[("google", 1), ("yahoo", 1)]));
    assert!((200..=240).contains(&simulation.days[0].sent), "{}", simulation.days[0].sent);
    assert_eq!(simulation.days[0].sent + simulation.days[0].held, 1000);
}

#[test]
fn nothing_is_lost_or_made_in_a_long_run() {
    let mut scenario = scenario(
        (0..30).map(|day| if day % 9 == 5 { 0 } else { 700 + 13 * day }).collect(),
        &[("google", 4), ("microsoft", 3), ("x.org", 2)],
    );
    scenario.usual = Rates { hard_bounces: 120, throttled: 150, deferred: 200, blocked: 0 };
    let text = format!("{COLD}overflow = \"spill\"\n[source.more]\naddress = \"192.0.2.3\"\nwarmup = \"standard\"\n");
    let simulation = run(&policy(&text), &scenario);
    let sum = |of: fn(&DayRow) -> u64| simulation.days.iter().map(of).sum::<u64>();
    let ended = sum(|day| day.sent) + sum(|day| day.bounced) + sum(|day| day.expired);
    let left = sum(|day| day.arrived) - ended;
    let held = simulation.days.last().unwrap().held;
    assert!(left >= held && left - held < 200, "{left} left, {held} held, the rest to be tried again");
    for day in &simulation.days {
        for lane in &day.lanes {
            assert!(lane.cap.is_none_or(|cap| lane.spent <= cap), "{} {lane:?}", day.date);
        }
        let attempts = day.sent + day.bounced + day.put_off;
        assert_eq!(day.lanes.iter().map(|lane| u64::from(lane.spent)).sum::<u64>(), attempts, "{}", day.date);
    }
}

#[test]
fn mail_that_receivers_put_off_may_expire_before_it_is_tried_again() {
    let text = format!("{COLD}[retry]\nexpire = \"1d\"\n").replace("100, 200, 400", "50, 50, 50");
    let mut scenario = scenario(vec![500, 500, 0, 0, 0], &[("google", 2), ("yahoo", 1)]);
    scenario.usual = Rates { deferred: 1000, hard_bounces: 100, ..Rates::default() };
    let simulation = run(&policy(&text), &scenario);
    let sum = |of: fn(&DayRow) -> u64| simulation.days.iter().map(of).sum::<u64>();
    assert_eq!(sum(|day| day.sent) + sum(|day| day.bounced) + sum(|day| day.expired), 1000);
    assert!(sum(|day| day.expired) > 0 && sum(|day| day.put_off) > 0);
    assert_eq!(simulation.days[4].held, 0);
}
