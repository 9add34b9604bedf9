//! A year of rotations, hour by hour.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const QUARTERLY: Schedule =
    Schedule { every: Some(Duration::from_secs(90 * DAY)), ahead: Duration::from_secs(2 * DAY), keep: Duration::from_secs(10 * DAY) };
const BY_HAND: Schedule = Schedule { every: None, ..QUARTERLY };

/// A domain, its DNS, and an operator who publishes new keys after `delay` and removes retired keys at once.
struct Year {
    keys: Succession,
    dns: BTreeSet<String>,
    to_publish: BTreeMap<u64, String>,
    delay: u64,
    switches: Vec<(u64, String)>,
    overdue: u64,
}

impl Year {
    fn new(delay: u64) -> Self {
        let mut keys = Succession::new("example.com", Algorithm::RsaSha256);
        keys.adopt(&["s0"], 0);
        let dns = BTreeSet::from(["s0".to_owned()]);
        Self { keys, dns, to_publish: BTreeMap::new(), delay, switches: Vec::new(), overdue: 0 }
    }

    fn tick(&mut self, now: u64) {
        while let Some((&at, _)) = self.to_publish.first_key_value().filter(|(at, _)| **at <= now) {
            self.dns.extend(self.to_publish.remove(&at));
        }
        while let Some(due) = self.keys.due(&QUARTERLY, now, |_| true) {
            match due {
                Due::Make => {
                    let selector = format!("d{}", now / DAY);
                    self.keys.made(&selector, false, now);
                    self.to_publish.insert(now + self.delay, selector);
                    return;
                }
                Due::Look(selector) => {
                    match self.keys.looked(self.dns.contains(&selector), &QUARTERLY, now) {
                        Change::Switched { to, .. } => self.switches.push((now / DAY, to)),
                        Change::Overdue => self.overdue += 1,
                        Change::Ready { .. } | Change::Waiting => {}
                    }
                    return;
                }
                Due::Retire(selector) => {
                    self.keys.retired(&selector);
                    self.dns.remove(&selector);
                }
            }
        }
    }

    fn signing(&self) -> Vec<String> {
        self.keys.keys.iter().filter(|key| self.keys.signs(&key.selector)).map(|key| key.selector.clone()).collect()
    }
}

/// Runs a year. The key of each signature has to be in DNS for as long as mail may wait, and exactly one key signs at any time.
fn live(mut year: Year) -> Year {
    const IN_FLIGHT: u64 = 5 * DAY;
    let mut signed: Vec<(u64, String)> = Vec::new();
    for now in (0..=365 * DAY).step_by(HOUR as usize) {
        year.tick(now);
        let signing = year.signing();
        assert_eq!(signing.len(), 1, "day {}: {signing:?}", now / DAY);
        signed.push((now, signing[0].clone()));
        let open = signed.iter().rev().take_while(|(at, _)| now - at <= IN_FLIGHT);
        open.for_each(|(at, selector)| assert!(year.dns.contains(selector), "signed on day {}, day {}", at / DAY, now / DAY));
    }
    year
}

#[test]
fn a_year_has_four_turns_and_every_signature_is_found_in_dns_while_its_mail_is_in_flight() {
    let year = live(Year::new(DAY));
    assert_eq!(year.switches, [(90, "d88".into()), (180, "d178".into()), (270, "d268".into()), (360, "d358".into())]);
    assert_eq!(year.overdue, 0);
    // The operator's key stays known as retired, the last but one is still in DNS, the others are gone.
    let left: Vec<_> = year.keys.keys.iter().map(|key| key.selector.as_str()).collect();
    assert_eq!(left, ["s0", "d268", "d358"]);
    assert_eq!(year.keys.keys[0].stage, Stage::Retired);
}

#[test]
fn a_key_that_dns_does_not_have_never_signs() {
    let late = live(Year::new(20 * DAY));
    // Made on day 88, in DNS on day 108, and the next turn counts from there.
    assert_eq!(late.switches, [(108, "d88".into()), (216, "d196".into()), (324, "d304".into())]);
    assert_eq!(late.overdue, 3 * 18 * 24);
    let never = live(Year::new(1000 * DAY));
    assert!(never.switches.is_empty());
    assert_eq!(never.signing(), ["s0"]);
    assert_eq!(never.keys.keys.len(), 2, "one next key is enough: {:?}", never.keys);
}

#[test]
fn who_asks_does_not_wait_for_the_turn_but_for_dns() {
    let mut keys = Succession::new("example.com", Algorithm::RsaSha256);
    keys.adopt(&["s1", "s2"], 5);
    assert_eq!(keys.due(&BY_HAND, 9 * DAY, |_| true), None);
    assert!(!keys.ask());
    keys.made("n", true, 10);
    assert_eq!(keys.looked(false, &BY_HAND, 11), Change::Waiting);
    assert!(keys.signs("s1") && keys.signs("s2") && !keys.signs("n"));
    assert_eq!(keys.looked(true, &BY_HAND, 12), Change::Switched { from: vec!["s1".into(), "s2".into()], to: "n".into() });
    assert!(!keys.signs("s1") && !keys.signs("s2") && keys.signs("n"));
}

#[test]
fn a_scheduled_key_that_dns_has_early_waits_for_its_turn_unless_somebody_asks() {
    let mut keys = Succession::new("example.com", Algorithm::RsaSha256);
    keys.adopt(&["s1"], 0);
    keys.made("n", false, 88 * DAY);
    assert_eq!(keys.looked(true, &QUARTERLY, 89 * DAY), Change::Ready { turn: 90 * DAY });
    // The schedule was removed from the configuration: the key waits until somebody requests it.
    assert_eq!(keys.looked(true, &BY_HAND, 99 * DAY), Change::Ready { turn: u64::MAX });
    assert!(keys.ask());
    assert!(matches!(keys.looked(true, &QUARTERLY, 89 * DAY), Change::Switched { .. }));
}

#[test]
fn a_key_is_kept_while_mail_that_it_signed_waits() {
    let mut keys = Succession::new("example.com", Algorithm::RsaSha256);
    keys.adopt(&["s1"], 0);
    keys.made("n", true, DAY);
    keys.looked(true, &BY_HAND, DAY);
    assert_eq!(keys.due(&BY_HAND, 11 * DAY - 1, |_| true), None);
    assert_eq!(keys.due(&BY_HAND, 30 * DAY, |until| until > DAY), None);
    assert_eq!(keys.due(&BY_HAND, 11 * DAY, |until| until == DAY), Some(Due::Retire("s1".into())));
}

#[test]
fn a_retired_key_of_the_configuration_does_not_come_back_and_a_new_one_signs() {
    let mut keys = Succession::new("example.com", Algorithm::RsaSha256);
    keys.adopt(&["s1"], 0);
    keys.made("n", true, 1);
    keys.looked(true, &BY_HAND, 2);
    keys.retired("s1");
    keys.adopt(&["s1"], 3);
    assert!(!keys.signs("s1") && keys.signs("n"));
    keys.adopt(&["s1", "s9"], 4);
    assert!(!keys.signs("s1") && keys.signs("n") && keys.signs("s9"));
    // Removed from the configuration, it is forgotten.
    keys.adopt(&["s9"], 5);
    assert_eq!(keys.keys.iter().map(|key| key.selector.as_str()).collect::<Vec<_>>(), ["n", "s9"]);
}

#[test]
fn what_is_written_down_is_read_back() {
    let mut keys = Succession::new("example.com", Algorithm::Ed25519Sha256);
    keys.adopt(&["s1"], 7);
    keys.made("n", true, 8);
    let text = serde_json::to_string(&keys).unwrap();
    assert!(text.contains(r#""selector":"n","made":8,"ours":true,"stage":"next","asked":true"#), "{text}");
    assert_eq!(serde_json::from_str::<Succession>(&text).unwrap(), keys);
}
