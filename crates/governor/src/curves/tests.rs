use super::*;
use crate::{After, Overflow, Stage};

fn errors(text: &str) -> Vec<String> {
    Curves::parse(text, "curves.toml").err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn the_shipped_curves_parse_and_begin_as_published() {
    let shipped = Curves::shipped();
    let first = |name: &str| {
        let curve = &shipped.plan(name, "google").unwrap().curve;
        (curve.caps()[0], curve.caps()[curve.caps().len() - 1], curve.stages())
    };
    assert_eq!(first("sendgrid-manual"), (50, 1_000_000, 15));
    assert_eq!(first("sparkpost"), (200, 10_000_000, 29));
    assert_eq!((first("ses-45").1, first("ses-45").2), (50_000, 45));
    assert_eq!((first("mailtrap").0, first("mailtrap").1), (300, 57_000));
    let hourly = &shipped.plan("sendgrid-automated", "google").unwrap().curve;
    assert_eq!((hourly.hour_cap(Stage::On(7)), hourly.cap(Stage::On(7)), hourly.stages()), (Some(151), Some(151 * 24), 31));
    for name in ["standard", "cautious"] {
        assert!(shipped.plan(name, "google").is_some(), "{name}");
    }
    let (usual, microsoft) = (shipped.plan("standard", "google").unwrap(), shipped.plan("standard", "microsoft").unwrap());
    assert!(microsoft.curve.caps()[0] < usual.curve.caps()[0]);
}

#[test]
fn every_key_is_read_and_a_variant_differs_only_where_it_says_so() {
    let text = r#"
        [curve.mine]
        caps = [10, 20]
        hourly_share = "20 %"
        after = "last"
        window = "08:00-20:00"
        days_off = ["saturday", "Sunday"]
        timezone = "Europe/Berlin"
        burst = 7
        catch_up = 2
        reserve = 0.1
        overflow = "pool:warm"
        advance_at = 0.8
        min_sample = 50
        idle_reset = "14d"
        block_pause = "30m"
        hold = { hard_bounces = "2 %", complaints = 0.0005 }
        step_back = { deferrals = 0.5 }
        [curve.mine.microsoft]
        start = 5
        factor = 2
        until = 20
        [curve.mine."example.com"]
        burst = 1
    "#;
    let curves = Curves::parse(text, "x").unwrap();
    let mine = curves.plan("mine", "google").unwrap();
    assert_eq!((mine.curve.caps(), mine.curve.hour_cap(Stage::On(2))), (&[10, 20][..], Some(4)));
    assert_eq!(mine.curve.next(Stage::On(2)), Curve::new([10, 20]).unwrap().with_after(After::LastCap).next(Stage::On(2)));
    assert_eq!((mine.pace.burst().get(), mine.min_sample, mine.idle_reset.get(), mine.block_pause.as_mins()), (7, 50, 14, 30));
    assert_eq!((mine.overflow.clone(), mine.advance_at.to_string()), (Overflow::Pool("warm".into()), "80 %".into()));
    assert_eq!(mine.thresholds.hard_bounces.hold().to_string(), "2 %");
    assert_eq!(mine.thresholds.hard_bounces.step_back().to_string(), "10 %");
    assert_eq!(mine.thresholds.deferrals.step_back().to_string(), "50 %");
    let microsoft = curves.plan("mine", "microsoft").unwrap();
    assert_eq!((microsoft.curve.caps(), microsoft.pace.burst().get(), &*microsoft.name), (&[5, 10, 20][..], 7, "mine.microsoft"));
    let other = curves.plan("mine", "example.com").unwrap();
    assert_eq!((other.curve.caps(), other.pace.burst().get()), (&[10, 20][..], 1));
    assert_eq!(curves.providers("mine").collect::<Vec<_>>(), ["example.com", "microsoft"]);
    let line = |provider, key| curves.origin("mine", provider, key).unwrap();
    assert_eq!((line("google", "burst"), line("example.com", "burst"), line("microsoft", "factor")), (("x", 9), ("x", 24), ("x", 21)));
    assert_eq!((line("google", "factor"), curves.origin("other", "google", "burst")), (("x", 2), None));
}

#[test]
fn an_operators_curve_replaces_the_shipped_one_of_its_name() {
    let mine = Curves::parse("[curve.standard]\ncaps = [7]", "x").unwrap().or(Curves::shipped());
    assert_eq!(mine.plan("standard", "microsoft").unwrap().curve.caps(), [7]);
    assert!(mine.names().any(|name| name == "cautious"));
    assert!(mine.plan("none", "x").is_none());
}

#[test]
fn each_error_names_its_line_key_and_remedy() {
    for (text, expected) in [
        ("[curve.a]\ncaps = []", "curves.toml:2: curve.a.caps: a curve needs at least one cap"),
        ("[curve.a]\ncaps = [5, 0]", "curves.toml:2: curve.a.caps: the cap of stage 2 is 0; a cap is at least 1"),
        ("[curve.a]\ncaps = [5, 4]", "curves.toml:2: curve.a.caps: stage 2 falls from 5 to 4; a curve never falls"),
        ("[curve.a]\n\ncaps = [5, -4]", "curves.toml:3: curve.a.caps: expected a whole number from 0 to 4294967295"),
        ("[curve.a]\ncaps = [5]\nburst = 0", "curves.toml:3: curve.a.burst: expected at least 1"),
        (
            "[curve.a]\ncaps = [5]\nwindow = \"20:00-08:00\"",
            "curves.toml:3: curve.a.window: the window \"20:00-08:00\" ends before it begins; it cannot extend past midnight",
        ),
        (
            "[curve.a]\ncaps = [5]\nhold = { complaints = 0.5 }",
            "curves.toml:3: curve.a.hold: complaints: hold = 50 % is above step_back = 0.3 %, or one of them is 0 %",
        ),
        (
            "[curve.a]\ncaps = [5]\nhold = { spam = 0.5 }",
            "curves.toml:3: curve.a.hold.spam: unknown; signs are: hard_bounces, deferrals, complaints",
        ),
        ("[curve.a]\ncaps = [5]\nidle_reset = 30", "curves.toml:3: curve.a.idle_reset: expected text in quotes"),
        (
            "[curve.a]\ncaps = [5]\noverflow = \"drop\"",
            "curves.toml:3: curve.a.overflow: \"drop\" is none of \"defer\", \"spill\", \"pool:NAME\"",
        ),
        (
            "[curve.a]\nstart = 5",
            "curves.toml:2: curve.a.start: give its caps in one way: caps = […], or hourly = […], or start, factor and until",
        ),
        (
            "[curve.a]\ncaps = [5]\n[curve.a.microsoft]\nburst = \"x\"",
            "curves.toml:4: curve.a.microsoft.burst: expected a whole number from 0 to 4294967295",
        ),
        ("[curve.a]\nstart = 9\nfactor = 2\nuntil = 5", "curves.toml:4: curve.a.until: until = 5 is below start = 9"),
        (
            "[curve.a]\nburst = 3",
            "curves.toml:1: curve.a: give its caps in one way: caps = […], or hourly = […], or start, factor and until",
        ),
        ("[curve]\na = 5", "curves.toml:2: curve.a: a curve is a table: [curve.a]"),
        ("[curves.a]\ncaps = [5]", "curves.toml:1: curves: unknown; curves are tables: [curve.NAME]"),
    ] {
        assert_eq!(errors(text), [expected], "{text}");
    }
    let unknown = errors("[curve.a]\ncaps = [5]\nspeed = 3");
    assert!(unknown[0].starts_with("curves.toml:3: curve.a.speed: unknown; keys are: caps, "), "{unknown:?}");
    assert!(errors("[curve.a\ncaps = [5]")[0].starts_with("curves.toml:1: "));
}

#[test]
fn all_errors_are_told_at_once() {
    assert_eq!(errors("[curve.a]\ncaps = [0]\n[curve.b]\ncaps = [5]\nburst = 0\nwindow = \"x\"").len(), 3);
}

use crate::Curve;

#[test]
fn curves_amid_a_configuration_are_read_and_the_rest_is_left_alone() {
    let text = "data_dir = \"/d\"\n[curve.mine]\ncaps = [7]\n[source.ip1]\naddress = \"any\"\n";
    let curves = Curves::parse_among_others(text, "x").unwrap();
    assert_eq!(curves.names().collect::<Vec<_>>(), ["mine"]);
    let wrong = Curves::parse_among_others("a = 1\ncurve = 5\n", "x").unwrap_err();
    assert_eq!(wrong[0].to_string(), "x:2: curve: unknown; curves are tables: [curve.NAME]");
}
