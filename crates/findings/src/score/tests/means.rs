//! Scores that are made of others.

use super::*;

#[test]
fn a_mean_weighs_by_finished_recipients_and_says_where_points_were_lost() {
    let relay = Relay::new().today("app", "google", Mail::good(3000)).today(
        "app",
        "orange",
        Mail { delivered: 970, unknown: 30, ..Mail::default() },
    );
    let scores = relay.scores();
    // 9.76 points of a quarter of the mail.
    for score in [&scores.all, &scores.streams["app"]] {
        assert_eq!((score.value, causes(score)), (Some(98), vec![("unknown_users", 2.44)]));
        assert_eq!((score.finished, &*score.note), (4000, "3 of 4 factors measured"));
    }
    let loss = &scores.streams["app"].losses[0];
    assert_eq!((loss.bad, loss.of, &loss.at[..]), (30, 1000, &["orange".to_owned()][..]));
    assert!((loss.at_least - 2.382).abs() < 1e-3);
    assert_eq!(scores.all.losses[0].at, ["app/orange"]);
    assert_eq!(scores.providers["orange"].losses[0].at, ["app"]);
    assert_eq!((scores.providers["google"].value, scores.providers["orange"].value), (Some(100), Some(90)));
}

#[test]
fn a_provider_that_puts_everything_off_counts_though_nothing_is_finished() {
    let mut cell = Cell::default();
    for counter in [Counter::Attempts, Counter::FirstAttempts, Counter::Deferred] {
        cell.add(counter, 1000);
    }
    cell.add((ByClass::FirstDeferred, Class::IpReputation), 1000);
    let mut relay = Relay::new().today("app", "google", Mail::good(1000));
    relay.inputs.add_cohort(Dimension::StreamProvider, TODAY, &block(&pair("app", "outlook"), &cell));
    let scores = relay.scores();
    assert_eq!(scores.providers["outlook"].value, scores.pairs[1].score.value);
    // All that is measured of outlook is put off: 0 points, and half of the relay's.
    assert_eq!((scores.providers["outlook"].value, scores.all.value), (Some(0), Some(50)), "{:?}", scores.providers["outlook"]);
}

#[test]
fn pairs_that_are_too_small_are_judged_together() {
    let providers: Vec<String> = (0..20).map(|number| format!("host{number}.example")).collect();
    let small = Mail { delivered: 45, unknown: 5, ..Mail::default() };
    let relay = providers.iter().fold(Relay::new(), |relay, provider| relay.today("app", provider, small));
    let scores = relay.scores();
    assert!(scores.pairs.iter().all(|part| part.score.value.is_none() && part.score.note == "not enough mail yet: 50 of 100"));
    // 100 of 1000, far beyond 5 %: 100 x 30/90 x 0.7
    assert_eq!((scores.streams["app"].value, causes(&scores.streams["app"])), (Some(77), vec![("unknown_users", 23.33)]));
    let loss = &scores.all.losses[0];
    assert_eq!((loss.bad, loss.of, &loss.at[..]), (100, 1000, &["the small ones together".to_owned()][..]));
    assert!(scores.providers.values().all(|score| score.value.is_none()));
    // Not enough even together.
    let few = Relay::new().today("app", "a", Mail::good(40)).today("app", "b", Mail::good(23));
    assert_eq!(few.scores().all.note, "not enough mail yet: 63 of 100");
}

#[test]
fn suppressed_recipients_are_the_streams_and_counted_once() {
    let relay = ["google", "yahoo", "orange"].iter().fold(Relay::new(), |relay, provider| relay.today("app", provider, Mail::good(300)));
    let scores = relay.today("app", "tiny.example", Mail::good(100)).suppressed("app", 100).scores();
    // 100 of 1000 + 100 is 8.0402 % at least; of 1 → 10 there is left 0.21775. 100 x 30/90 x 0.15 x 0.78225 = 3.91
    for score in [&scores.all, &scores.streams["app"], &scores.providers["yahoo"], &scores.pairs[0].score] {
        assert_eq!(causes(score), [("suppressed", 3.91)]);
        assert_eq!((score.losses[0].bad, score.losses[0].of), (100, 1100));
    }
    // Of small pairs of one stream as well.
    let small = ["a", "b", "c", "d"].iter().fold(Relay::new(), |relay, provider| relay.today("app", provider, Mail::good(50)));
    let scores = small.suppressed("app", 20).scores();
    assert_eq!((scores.all.losses[0].bad, scores.all.losses[0].of), (20, 220));
}

#[test]
fn sources_and_domains_are_scored_from_cells_of_their_own() {
    let mut relay = Relay::new();
    let mut give = |dimension, key: &str, mail: Mail| relay.inputs.add_cohort(dimension, TODAY, &block(key, &mail.cell()));
    let complaints = Mail { complained: 3, no_fields: 1000, ..Mail::good(1000) };
    give(Dimension::SourceProvider, &pair("ip1", "yahoo"), complaints);
    give(Dimension::SourceProvider, &pair("ip1", "google"), complaints);
    give(Dimension::SourceProvider, &pair("ip2", "google"), Mail::good(1000));
    give(Dimension::FromDomain, "example.com", complaints);
    let scores = relay.stopped("ip2", "google").scores();
    // At yahoo 8.99 points, at google none.
    assert_eq!((scores.sources["ip1"].value, causes(&scores.sources["ip1"])), (Some(96), vec![("complaints", 4.49)]));
    assert_eq!(scores.sources["ip1"].losses[0].at, ["yahoo"]);
    // A stopped lane is its source's alone.
    assert_eq!(scores.sources["ip2"].value, Some(60));
    let lanes: Vec<_> = scores.lanes.iter().map(|lane| (&*lane.source, &*lane.provider, lane.score.value)).collect();
    assert_eq!(lanes, [("ip1", "google", Some(100)), ("ip1", "yahoo", Some(91)), ("ip2", "google", Some(60))]);
    // A domain's complaints are a share of all its deliveries.
    assert_eq!(causes(&scores.domains["example.com"]), [("complaints", 8.99)]);
    assert_eq!((scores.all.value, &*scores.all.note), (None, "not enough mail yet: 0 of 100"));
}

/// Its lines name the domain, suppressed recipients among them. Which of its mail is bulk, no line says.
#[test]
fn a_domain_is_scored_by_its_suppressed_recipients_and_not_by_fields_that_only_bulk_mail_needs() {
    let score = |suppressed| {
        let (mut relay, mut cell) = (Relay::new(), Mail { no_fields: 1000, ..Mail::good(1000) }.cell());
        cell.add(Counter::Suppressed, suppressed);
        relay.inputs.add_cohort(Dimension::FromDomain, TODAY, &block("example.com", &cell));
        relay.scores().domains["example.com"].clone()
    };
    let (good, bad) = (score(0), score(250));
    assert_eq!((good.value, causes(&good)), (Some(100), vec![]));
    // 20 % of 1,250, of 1 -> 10: all of its part. 100 x 30/90 x 15/100
    assert_eq!((bad.value, causes(&bad)), (Some(95), vec![("suppressed", 5.0)]));
    let note = |measure: Measure| &*bad.measures[measure as usize].note;
    assert_eq!((note(Measure::Suppressed), note(Measure::OneClick)), ("250 of 1,250 recipients (finished or suppressed)", "not measured"));
}

#[test]
fn a_measure_that_costs_nobody_anything_says_of_how_many_all_the_same() {
    let scores = Relay::new().today("app", "google", Mail::good(1000)).today("news", "yahoo", Mail::good(500)).scores();
    let suppressed = &scores.all.measures[Measure::Suppressed as usize];
    assert_eq!((suppressed.value, &*suppressed.note), (Some(100.0), "0 of 1,500 recipients (finished or suppressed)"));
}

#[test]
fn what_the_tallies_have_no_place_for_is_scored_as_other() {
    let mut relay = Relay::new();
    relay.inputs.add_cohort(Dimension::StreamProvider, TODAY, &block(posthaste_tallies::OTHER, &Mail::good(1000).cell()));
    let scores = relay.scores();
    assert_eq!((&*scores.pairs[0].stream, &*scores.pairs[0].provider, scores.all.value), ("other", "other", Some(100)));
}

#[test]
fn the_arrow_compares_with_the_score_of_another_day() {
    let mut relay = Relay::new().on(0, "app", "google", Mail { delivered: 1000, unknown: 200, ..Mail::default() });
    relay = (1..20).fold(relay, |relay, day| relay.on(day, "app", "google", Mail::good(1000)));
    let now = relay.score();
    // As it was 7 days ago: later days do not count, and neither do today's 24 hours.
    relay.inputs.as_of = days_ago(7);
    relay.inputs.pairs.values_mut().for_each(|history| history.last_day = Counts::of_mail(&Mail::good(1000).cell()));
    let before = relay.score();
    assert_eq!((now.value, before.value), (Some(77), Some(100)));
    assert_eq!(before.finished, 13_000);
    assert_eq!(Trend::of(&now, &before).map(Trend::arrow), Some("↓"));
    assert_eq!(Trend::of(&before, &now), Some(Trend::Up));
    assert_eq!(Trend::of(&now, &now), Some(Trend::Level));
    let nothing = Relay::new().today("app", "google", Mail::good(5)).score();
    assert_eq!(Trend::of(&now, &nothing), None);
}
