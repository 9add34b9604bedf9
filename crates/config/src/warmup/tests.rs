use std::{collections::BTreeMap, io, net::IpAddr, path::Path};

use jiff::civil::date;
use posthaste_governor::{Order, Priority};
use posthaste_host::Host;

use posthaste_governor::Overflow;
use posthaste_mail::Name;

use super::*;
use crate::ConfigErrors;
use crate::config::Config;

/// A machine that has every address, and these files.
#[derive(Default)]
struct Machine(BTreeMap<&'static str, &'static str>);

impl Host for Machine {
    fn name(&self) -> String {
        "mx1.example.org".into()
    }

    fn has(&self, _: IpAddr) -> bool {
        true
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = path.to_str().and_then(|path| self.0.get(path)).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.as_bytes().to_vec())
    }
}

fn parse(text: &str, files: &[(&'static str, &'static str)]) -> Result<Config, ConfigErrors> {
    Config::parse(text, "posthaste.toml", &Machine(files.iter().copied().collect()))
}

fn good(text: &str) -> Config {
    parse(text, &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

const SOURCE: &str = "[source.ip1]\naddress = \"192.0.2.1\"\n";

#[test]
fn a_source_without_a_curve_is_warm() {
    let config = good(SOURCE);
    assert_eq!(config.plan(&name("ip1"), "google"), None);
    assert_eq!(config.plan_origin(&name("ip1"), "google", "caps"), None);
}

#[test]
fn a_source_takes_the_curve_of_its_provider_and_knows_its_line() {
    let config = good(&format!("{SOURCE}warmup = \"standard\"\n"));
    let first = |provider| config.plan(&name("ip1"), provider).unwrap().curve.caps()[0];
    assert_eq!((first("google"), first("microsoft")), (50, 30));
    let origin = config.plan_origin(&name("ip1"), "microsoft", "factor").unwrap();
    assert!(origin.starts_with("config/curves.toml:"), "{origin}");
}

#[test]
fn ones_own_curve_replaces_that_of_a_file_and_both_replace_what_ships() {
    let files =
        [("more.toml", "[curve.standard]\ncaps = [1]\n[curve.theirs]\ncaps = [2]\n"), ("last.toml", "[curve.theirs]\ncaps = [3]\n")];
    let text = format!(
        "curves = [\"more.toml\", \"last.toml\"]\n{SOURCE}warmup = \"standard\"\n[source.ip2]\naddress = \"192.0.2.2\"\nwarmup = \"theirs\"\n\
         [curve.standard]\ncaps = [7]\nburst = 2\n"
    );
    let config = parse(&text, &files).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.plan(&name("ip1"), "microsoft").unwrap().curve.caps(), [7]);
    assert_eq!(config.plan(&name("ip2"), "google").unwrap().curve.caps(), [2]);
    assert_eq!(config.plan_origin(&name("ip1"), "google", "burst").as_deref(), Some("posthaste.toml:10"));
    assert_eq!(config.plan_origin(&name("ip2"), "google", "caps").as_deref(), Some("more.toml:4"));
    assert!(config.curves.names().any(|name| name == "cautious"));
}

#[test]
fn a_bad_curve_is_told_with_its_file_and_line_and_only_once() {
    let text = format!("curves = [\"more.toml\"]\n{SOURCE}warmup = \"theirs\"\n");
    let errors = parse(&text, &[("more.toml", "\n[curve.theirs]\ncaps = [5, 4]\n")]).unwrap_err();
    assert_eq!(errors.to_string(), "more.toml:3: curve.theirs.caps: stage 2 falls from 5 to 4; a curve never falls");
    let missing = parse("curves = [\"none.toml\"]", &[]).unwrap_err().to_string();
    assert!(missing.starts_with("posthaste.toml:1: curves = \"none.toml\": cannot read none.toml: "), "{missing}");
}

#[test]
fn a_curve_that_hands_on_to_a_pool_that_is_not_there_is_told_where_it_says_so() {
    let text = format!("{SOURCE}warmup = \"mine\"\n[curve.mine]\ncaps = [5]\n[curve.mine.google]\noverflow = \"pool:hot\"\n");
    let errors = parse(&text, &[]).unwrap_err().to_string();
    assert_eq!(errors, "posthaste.toml:7: curve.mine.google.overflow = \"pool:hot\": no such pool; pools are: default");
}

#[test]
fn a_lane_starts_where_its_source_says() {
    let warmup = |more: &str| good(&format!("{SOURCE}warmup = \"standard\"\n{more}")).sources["ip1"].warmup.clone().unwrap();
    assert_eq!(warmup("").start, Start::Stage(Stage::FIRST));
    assert_eq!(warmup("stage = 5\n").start, Start::Stage(Stage::On(5)));
    assert_eq!(warmup("since = 2026-11-23\n").start, Start::Since(date(2026, 11, 23)));
    assert_eq!(warmup("since = \"2026-11-23\"\n").start, Start::Since(date(2026, 11, 23)));
}

#[test]
fn each_day_since_the_beginning_was_a_stage() {
    let config = good(&format!("{SOURCE}warmup = \"standard\"\nsince = 2026-11-23\n"));
    let plan = config.plan(&name("ip1"), "google").unwrap();
    let start = config.sources["ip1"].warmup.as_ref().unwrap().start;
    let on = |seen| start.first_stage(plan, seen);
    assert_eq!(on(date(2026, 11, 23)), Stage::FIRST, "it is new");
    assert_eq!(on(date(2026, 11, 20)), Stage::FIRST, "it will be new");
    assert_eq!(on(date(2026, 11, 26)), Stage::On(4));
    assert_eq!(on(date(2026, 12, 20)), Stage::On(28), "the last one");
    assert_eq!(on(date(2026, 12, 21)), Stage::Past);
    assert_eq!(on(date(9999, 12, 31)), Stage::Past);
    let capped = Plan::new("x", posthaste_governor::Curve::new([5, 9]).unwrap().with_after(posthaste_governor::After::LastCap));
    assert_eq!(start.first_stage(&capped, date(2027, 1, 1)), Stage::On(2), "the last cap stays");
    assert_eq!(Start::Stage(Stage::On(7)).first_stage(plan, date(2027, 1, 1)), Stage::On(7));
}

#[test]
fn a_stream_says_how_urgent_it_is_and_how_much_of_it_goes() {
    let config = good("[stream.passwords]\nurgency = \"urgent\"\ncold = \"first\"\nper_second = 5\nper_day = 10_000\n");
    let (passwords, default) = (&config.streams["passwords"], config.default_stream());
    assert_eq!((passwords.urgency, passwords.order), (Priority::Urgent, Order::ColdFirst));
    assert_eq!((passwords.shape.second.map(u32::from), passwords.shape.day.map(u32::from)), (Some(5), Some(10_000)));
    assert_eq!((default.urgency, default.order, default.shape), (Priority::Usual, Order::Weight, Default::default()));
}

#[test]
fn the_score_knows_which_streams_are_bulk_mail_and_which_track() {
    let config = good("[stream.news]\nbulk = true\ntracks = true\n[stream.offers]\nbulk = true\n[stream.receipts]\n");
    let traits = config.score.traits;
    assert_eq!(Vec::from_iter(&traits.bulk), ["news", "offers"]);
    assert_eq!(Vec::from_iter(&traits.tracking), ["news"]);
}

/// An example as it is in the repository, on a machine with all its addresses.
fn example(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/examples").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    Config::parse(&text, name, &Machine::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_example_with_one_address_holds_back_what_has_no_budget() {
    let config = example("one-ip.toml");
    let plan = config.plan(&name("ip1"), "google").unwrap();
    assert_eq!((plan.curve.caps()[0], config.sources.len()), (50, 1));
    assert_eq!(config.streams["receipts"].urgency, Priority::Urgent);
}

#[test]
fn the_example_with_two_addresses_spills_from_the_cold_to_the_warm_one() {
    let config = example("two-ips.toml");
    assert!(config.plan(&name("old"), "google").is_none());
    assert_eq!(config.plan(&name("new"), "google").unwrap().overflow, Overflow::Spill);
    for stream in config.streams.values() {
        assert_eq!(config.sources_of(stream).len(), 2);
    }
    assert_eq!((config.streams["receipts"].order, config.streams["newsletter"].order), (Order::ColdFirst, Order::WarmFirst));
}

#[test]
fn the_example_with_ten_addresses_has_ten_and_warms_four_of_them() {
    let config = example("ten-ips.toml");
    let warming: Vec<_> = config.sources.keys().filter(|source| config.plan(source, "google").is_some()).map(Name::as_str).collect();
    assert_eq!((config.sources.len(), warming), (10, vec!["m5", "m6", "m7", "t3"]));
    let first = |source: &str, provider: &str, seen| {
        let start = config.sources[source].warmup.as_ref().unwrap().start;
        let plan = config.plan(&name(source), provider).unwrap();
        plan.curve.cap(start.first_stage(plan, seen))
    };
    let seen = date(2026, 11, 23);
    assert_eq!(
        (first("t3", "google", seen), first("m5", "google", seen), first("m5", "microsoft", seen)),
        (Some(2_400), Some(100), Some(50))
    );
    assert_eq!(config.plan(&name("m5"), "google").unwrap().overflow, Overflow::Pool("warm".into()));
    assert_eq!(config.streams["old-lists"].shape.day.map(u32::from), Some(20_000));
}
