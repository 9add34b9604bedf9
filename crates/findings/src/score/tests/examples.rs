//! Worked examples.

use super::*;
use crate::ProblemOf;

/// What is worked out: the mail of `app` today at google, which reports no complaints, or at yahoo, which does.
struct Example {
    fact: &'static str,
    provider: &'static str,
    mail: Mail,
    value: Option<u8>,
    note: &'static str,
    /// Each with its points, to a hundredth.
    losses: &'static [(&'static str, f64)],
}

const GOOD: Mail = Mail {
    delivered: 1000,
    unknown: 0,
    full: 0,
    refused: 0,
    too_large: 0,
    late_unknown: 0,
    complained: 0,
    put_off: 0,
    greylisted: 0,
    unsubscribed: 0,
    plain: 0,
    unsigned: 0,
    spf_failed: 0,
    no_dmarc: 0,
    no_fields: 0,
};
const THREE: &str = "3 of 4 factors measured";

/// Where three factors are measured, of the weights 30 + 40 + 20 = 90.
const EXAMPLES: &[Example] = &[
    Example {
        fact: "small numbers have no score, however good",
        provider: "google",
        mail: Mail { delivered: 63, ..GOOD },
        value: None,
        note: "not enough mail yet: 63 of 100",
        losses: &[],
    },
    Example {
        fact: "nor however bad",
        provider: "google",
        mail: Mail { delivered: 0, unknown: 99, ..GOOD },
        value: None,
        note: "not enough mail yet: 99 of 100",
        losses: &[],
    },
    Example {
        fact: "a hundred are enough",
        provider: "google",
        mail: Mail { delivered: 100, ..GOOD },
        value: Some(100),
        note: THREE,
        losses: &[],
    },
    Example {
        fact: "one complaint of five costs nothing",
        provider: "yahoo",
        mail: Mail { delivered: 5, complained: 1, ..GOOD },
        value: None,
        note: "not enough mail yet: 5 of 100",
        losses: &[],
    },
    Example {
        fact: "nor does one beside a hundred other deliveries",
        provider: "yahoo",
        mail: Mail { delivered: 105, complained: 1, ..GOOD },
        value: Some(100),
        note: THREE,
        losses: &[],
    },
    Example {
        fact: "one complaint of a thousand is 0.03 % at least: good",
        provider: "yahoo",
        mail: Mail { complained: 1, ..GOOD },
        value: Some(100),
        note: THREE,
        losses: &[],
    },
    Example {
        // At least 0.14552 %: (0.3 - 0.14552) / 0.25 = 0.61793 is left. Of reputation 45 + 25 + 15 = 85 parts are measured.
        // 100 x 40/90 x 45/85 x (1 - 0.61793) = 8.99
        fact: "three complaints of a thousand cost nine points",
        provider: "yahoo",
        mail: Mail { complained: 3, ..GOOD },
        value: Some(91),
        note: THREE,
        losses: &[("complaints", 8.99)],
    },
    Example {
        fact: "complaints at a provider that is not known to report them are not counted",
        provider: "google",
        mail: Mail { complained: 300, ..GOOD },
        value: Some(100),
        note: THREE,
        losses: &[],
    },
    Example {
        // n = 1000, rate 0.03, z = 1.281552, z² = 1.642374. Wilson's lower end:
        //   (0.03 + 1.642374/2000 - 1.281552 x √(0.03 x 0.97 / 1000 + 1.642374 / 4,000,000)) / (1 + 1.642374/1000)
        // = (0.030821 - 1.281552 x 0.005432) / 1.001642 = 0.023859 / 1.001642 = 2.3820 %
        // Left: (5 - 2.3820) / (5 - 0.5) = 0.58177. All three measures of audience are measured, so it costs 0.7 x 0.41823 = 0.29276 of the
        // factor, and 100 x 30/90 x 0.29276 = 9.76 points.
        fact: "a day of 3 % unknown users",
        provider: "google",
        mail: Mail { delivered: 970, unknown: 30, ..GOOD },
        value: Some(90),
        note: THREE,
        losses: &[("unknown_users", 9.76)],
    },
    Example {
        fact: "the same, if they bounce after they were delivered",
        provider: "google",
        mail: Mail { late_unknown: 30, ..GOOD },
        value: Some(90),
        note: THREE,
        losses: &[("unknown_users", 9.76)],
    },
    Example {
        // At least 1.50637 %, of 0 → 5: 0.69873 is left. Of authentication 40 + 20 + 20 + 10 = 90 parts are measured (no bulk).
        // 100 x 20/90 x 40/90 x (1 - 0.69873) = 2.98
        fact: "2 % without an aligned signature",
        provider: "google",
        mail: Mail { unsigned: 20, no_fields: 1000, ..GOOD },
        value: Some(97),
        note: THREE,
        losses: &[("dkim", 2.98)],
    },
    Example {
        // At least 4.18818 %, of 2 → 20: 0.87843 is left. Of reputation 25 + 15 = 40 parts are measured.
        // 100 x 40/90 x 15/40 x (1 - 0.87843) = 2.03
        fact: "5 % of first tries put off; greylisting is no matter",
        provider: "google",
        mail: Mail { put_off: 50, greylisted: 900, ..GOOD },
        value: Some(98),
        note: THREE,
        losses: &[("put_off", 2.03)],
    },
    Example {
        // All deliveries are measured at nothing: of 90 points, 20 x 10/90 are TLS. 100 x 20/90 x 10/90 = 2.47
        fact: "nothing under TLS",
        provider: "google",
        mail: Mail { plain: 1000, ..GOOD },
        value: Some(98),
        note: THREE,
        losses: &[("tls", 2.47)],
    },
    Example {
        fact: "failures that are nobody's fault cost nothing",
        provider: "google",
        mail: Mail { delivered: 500, too_large: 500, ..GOOD },
        value: Some(100),
        note: THREE,
        losses: &[],
    },
];

#[test]
fn the_worked_examples() {
    for Example { fact, provider, mail, value, note, losses } in EXAMPLES {
        let score = Relay::new().today("app", provider, *mail).score();
        assert_eq!((score.value, &*score.note), (*value, *note), "{fact}: {score:?}");
        assert_eq!(causes(&score), *losses, "{fact}");
        let band = value.map(|value| if value >= 90 { Band::Good } else { Band::Watch });
        assert_eq!(score.band, band, "{fact}");
    }
}

/// A day on which all that can go wrong does.
fn disaster() -> Mail {
    Mail {
        delivered: 4000,
        unknown: 3000,
        full: 1500,
        refused: 1500,
        complained: 60,
        put_off: 5000,
        unsubscribed: 400,
        plain: 4000,
        unsigned: 4000,
        spf_failed: 4000,
        no_dmarc: 4000,
        no_fields: 4000,
        ..Mail::default()
    }
}

#[test]
fn a_fully_bad_day_leaves_nothing() {
    let score = Relay::new().today("news", "yahoo", disaster()).suppressed("news", 5000).score();
    assert_eq!((score.value, score.band, &*score.note), (Some(0), Some(Band::Critical), "4 of 4 factors measured"));
    let worst: Vec<_> = score.losses.iter().map(|loss| loss.cause.as_str()).take(3).collect();
    // 100 x 0.3 x 0.7 = 21; of reputation 85 parts are measured: 100 x 0.4 x 45/85 = 21.2 and 100 x 0.4 x 25/85 = 11.8.
    assert_eq!(worst, ["complaints", "unknown_users", "refusals"]);
    let sum: f64 = score.losses.iter().map(|loss| loss.points).sum();
    assert!((sum - 100.0).abs() < 1e-9, "{sum}");
}

#[test]
fn it_falls_at_once_and_recovers_slowly() {
    let good = (1..15).fold(Relay::new(), |relay, day| relay.on(day, "news", "yahoo", Mail::good(10_000)));
    let before = good.score();
    assert_eq!((before.value, before.window), (Some(100), Some(Window::Days)));
    let today = good.today("news", "yahoo", disaster()).suppressed("news", 5000).score();
    assert_eq!((today.value, today.window), (Some(0), Some(Window::LastDay)), "the last 24 hours alone");
    assert_eq!(Trend::of(&today, &before), Some(Trend::Down));
    // Some good days later.
    let after = |days: i32| {
        let relay = (0..15)
            .fold(Relay::new(), |relay, day| relay.on(day, "news", "yahoo", if day == days { disaster() } else { Mail::good(10_000) }));
        relay.score().value.unwrap()
    };
    let values = [1, 4, 8, 14].map(after);
    assert!(values.is_sorted() && values[0] > 0 && values[0] < 75 && values[3] > 90, "{values:?}");
}

#[test]
fn what_is_a_half_life_old_counts_half() {
    let relay = Relay::new().on(5, "app", "google", Mail { delivered: 800, unknown: 200, ..GOOD }).on(0, "app", "google", GOOD);
    let score = relay.score();
    // 200 of 1000 five days ago and none of 1000 today: 100 of 1500, which is 5.8878 % at least. Plainly 200 of 2000.
    let loss = &score.losses[0];
    assert_eq!((loss.bad, loss.of, loss.cause), (200, 2000, Cause::Measure(Measure::UnknownUsers)));
    assert!((loss.at_least - 5.8878).abs() < 1e-4, "{}", loss.at_least);
    // 100 x 30/90 x 0.7
    assert_eq!((causes(&score), score.value), (vec![("unknown_users", 23.33)], Some(77)));
    // The minimum is asked of the plain number: 103 recipients of 14 days ago are enough, and convict of little.
    let old = Relay::new().on(14, "app", "google", Mail { delivered: 100, unknown: 3, ..GOOD }).score();
    assert_eq!((old.value, old.note.as_str()), (Some(100), THREE));
    let older = Relay::new().on(15, "app", "google", GOOD).score();
    assert_eq!((older.value, older.note.as_str()), (None, "not enough mail yet: 0 of 100"));
}

#[test]
fn a_quiet_stream_with_engaged_readers_is_measured_whole() {
    let mut relay = Relay::new();
    for day in 0..15 {
        relay = relay.on(day, "news", "google", Mail { delivered: 40, ..GOOD });
    }
    // In 15 days there are 600 deliveries; 40 in the last 24 hours are too few to be judged alone.
    let unengaged = |relay: &mut Relay, bad| {
        let history = relay.inputs.pairs.values_mut().next().unwrap();
        history.unengaged = Some(Share { bad, of: 1000 });
    };
    unengaged(&mut relay, 500);
    let score = relay.score();
    assert_eq!((score.value, &*score.note, score.window), (Some(100), "4 of 4 factors measured", Some(Window::Days)));
    unengaged(&mut relay, 1000);
    // 100 x 10/100 x 50/100
    assert_eq!(causes(&relay.score()), [("unengaged", 5.0)]);
}

#[test]
fn a_listing_costs_its_part_once_it_is_measured() {
    let mut relay = Relay::new().today("app", "google", GOOD);
    relay.inputs.pairs.values_mut().for_each(|history| history.listed = Some(0));
    assert_eq!(relay.score().value, Some(100));
    relay.inputs.pairs.values_mut().for_each(|history| history.listed = Some(1));
    // 100 x 40/90 x 15/(25 + 15 + 15)
    let score = relay.score();
    assert_eq!(causes(&score), [("listings", 12.12)]);
    assert!(
        score.losses[0].sentence.starts_with("Addresses and domains in use are on 1 block list: it costs 12.1 points."),
        "{}",
        score.losses[0].sentence
    );
    // No score is made of it alone.
    let mut quiet = Relay::new().today("app", "google", Mail { delivered: 5, ..GOOD });
    quiet.inputs.pairs.values_mut().for_each(|history| history.listed = Some(1));
    assert_eq!(quiet.score().value, None);
}

#[test]
fn a_stopped_lane_caps_its_provider() {
    let relay = Relay::new().today("app", "google", GOOD).today("app", "yahoo", GOOD).stopped("ip1", "yahoo");
    let scores = relay.scores();
    assert_eq!((scores.providers["google"].value, scores.providers["yahoo"].value), (Some(100), Some(60)));
    let loss = &scores.providers["yahoo"].losses[0];
    assert_eq!((loss.cause, loss.points, loss.whose), (Cause::StoppedLane, 40.0, ProblemOf::Ours));
    assert_eq!((scores.all.value, causes(&scores.all)), (Some(80), vec![("stopped_lane", 20.0)]));
    // What is worse than the cap stays as it is.
    let bad = Relay::new().today("news", "yahoo", disaster()).suppressed("news", 5000).stopped("ip1", "yahoo").score();
    assert_eq!(bad.value, Some(0));
    assert!(bad.losses.iter().all(|loss| loss.cause != Cause::StoppedLane));
}

#[test]
fn only_bulk_streams_need_fields_to_unsubscribe() {
    let mail = Mail { no_fields: 1000, ..GOOD };
    assert_eq!(causes(&Relay::new().today("app", "google", mail).score()), []);
    // 4 of 4 factors, as news tracks: 100 x 20/100 x 10/100
    assert_eq!(causes(&Relay::new().today("news", "google", mail).score()), [("one_click", 2.0)]);
}

#[test]
fn mail_of_which_nothing_is_known_is_not_unsigned() {
    let mut cell = Cell::default();
    for counter in [Counter::Delivered, Counter::DeliveredTls, Counter::Attempts, Counter::FirstAttempts] {
        cell.add(counter, 1000);
    }
    let mut relay = Relay::new();
    relay.inputs.add_cohort(Dimension::StreamProvider, TODAY, &block(&pair("app", "google"), &cell));
    assert_eq!((relay.score().value, relay.score().losses), (Some(100), vec![]));
}
