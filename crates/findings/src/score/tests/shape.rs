//! What machines and people get.

use super::*;
use crate::ProblemOf;

#[test]
fn the_json_is_as_documented() {
    let relay = Relay::new().today("app", "google", Mail { delivered: 970, unknown: 30, ..Mail::default() });
    let scores = relay.scores().in_brief();
    let json = serde_json::to_value(&scores.pairs[0].score).unwrap();
    let sentence = "In 15 days, 30 of 1,000 finished recipients had no mailbox, or a domain that takes no mail: at least 2.4 %. Up to 0.5 % is good, \
                    5 % or more is bad; it costs 9.8 points.";
    let expected = serde_json::json!({
        "value": 90,
        "band": "good",
        "measured": 3,
        "note": "3 of 4 factors measured",
        "window": "days",
        "days": 90,
        "last_day": 90,
        "finished": 1000,
        "factors": [
            { "factor": "audience", "weight": 30, "value": 70.7 },
            { "factor": "reputation", "weight": 40, "value": 100.0 },
            { "factor": "authentication", "weight": 20, "value": 100.0 },
            { "factor": "engagement", "weight": 10, "value": null },
        ],
        "losses": [{
            "cause": "unknown_users",
            "points": 9.8,
            "bad": 30,
            "of": 1000,
            "denominator": "finished recipients",
            "at_least": 2.4,
            "good_to": 0.5,
            "bad_from": 5.0,
            "whose": "senders_list",
            "at": [],
            "sentence": sentence,
            "next_step": "Take these addresses off the list, and ask new ones to confirm.",
        }],
    });
    assert_eq!(json, expected);
    let none = serde_json::to_value(Relay::new().today("app", "google", Mail::good(63)).score()).unwrap();
    assert_eq!((&none["value"], &none["band"], &none["measured"]), (&serde_json::Value::Null, &serde_json::Value::Null, &0.into()));
    assert_eq!((&none["note"], none["losses"].as_array().unwrap().len()), (&"not enough mail yet: 63 of 100".into(), 0));
}

#[test]
fn all_scores_are_one_document() {
    let mut relay = Relay::new().today("app", "google", Mail::good(100));
    relay.inputs.add_cohort(Dimension::SourceProvider, TODAY, &block(&pair("ip1", "google"), &Mail::good(100).cell()));
    let json = serde_json::to_value(relay.scores()).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys.len(), 7, "{keys:?}");
    assert_eq!(
        (&json["all"]["value"], &json["streams"]["app"]["value"], &json["sources"]["ip1"]["value"]),
        (&100.into(), &100.into(), &100.into())
    );
    assert_eq!(
        (&json["pairs"][0]["stream"], &json["pairs"][0]["provider"], &json["pairs"][0]["value"]),
        (&"app".into(), &"google".into(), &100.into())
    );
    assert_eq!(json["lanes"][0]["source"], "ip1");
}

#[test]
fn the_formula_is_told_with_the_numbers_in_force() {
    let mut settings = Settings::default();
    let told = explain(&settings);
    let lines = [
        "The health score is a local estimate, from 0 to 100",
        "audience (weight 30)\n- unknown_users, 70 %: finished recipients that had no mailbox, or a domain that takes no mail: up to 0.5 % is good, 5 % or more is bad, at least 100\n",
        "- complaints, 45 %: deliveries (at providers that report complaints) that led to a complaint: up to 0.05 % is good, 0.3 % or more is bad, at least 1,000\n",
        "- listings, 15 %: addresses and domains in use that were on a block list: 0 is good, 1 or more is bad; not measured yet\n",
        "the last 15 days by the day on which the messages were accepted. Mail that is 5 days old counts half;",
        "Providers that report complaints: microsoft, yahoo, ",
        "its provider gets 60 at most",
        "90 or more is good, 75 or more is to be watched, 50 or more asks for action, and less is critical.",
    ];
    for line in lines {
        assert!(told.contains(line), "{line}\nis not in\n{told}");
    }
    for measure in Measure::ALL {
        assert!(told.contains(&format!("- {}, ", measure.as_str())), "{measure:?}");
    }
    settings.weights[0] = 33;
    settings.lines[0].bad = 7.25;
    settings.stopped_lane_cap = 42;
    settings.complaint_providers.clear();
    let told = explain(&settings);
    for line in ["audience (weight 33)", "7.2 % or more is bad", "gets 42 at most", "report complaints: none."] {
        assert!(told.contains(line), "{line}\nis not in\n{told}");
    }
}

#[test]
fn each_measure_has_its_place_and_its_words() {
    for (number, measure) in Measure::ALL.into_iter().enumerate() {
        assert_eq!(measure as usize, number);
        assert_eq!(format!("{:?}", measure.as_str()), serde_json::to_string(&measure).unwrap());
        assert!(measure.factor().measures().any(|other| other == measure));
    }
    let words: std::collections::BTreeSet<_> = Measure::ALL.iter().map(|measure| measure.as_str()).collect();
    assert_eq!(words.len(), Measure::ALL.len());
    for (number, factor) in Factor::ALL.into_iter().enumerate() {
        assert_eq!((factor as usize, format!("{:?}", factor.as_str())), (number, serde_json::to_string(&factor).unwrap()));
    }
}

#[test]
fn each_measure_says_how_much_of_how_many() {
    let scores = Relay::new().today("app", "google", Mail { delivered: 970, unknown: 30, ..Mail::default() }).scores();
    for score in [&scores.all, &scores.streams["app"], &scores.pairs[0].score] {
        let unknown = &score.measures[Measure::UnknownUsers as usize];
        assert_eq!((unknown.bad, unknown.of, &*unknown.note), (30, 1000, "30 of 1,000 finished recipients"));
        assert!(unknown.value.is_some_and(|left| (58.0..58.3).contains(&left)), "{unknown:?}");
        let complaints = &score.measures[Measure::Complaints as usize];
        assert_eq!((complaints.value, &*complaints.note), (None, "not measured"), "google reports none");
    }
    let few = Relay::new().today("app", "google", Mail::good(63)).score();
    let unknown = &few.measures[Measure::UnknownUsers as usize];
    assert_eq!((unknown.value, &*unknown.note), (None, "not enough finished recipients yet: 63 of 100"));
    assert!(Relay::new().today("app", "google", Mail::good(100)).scores().in_brief().all.measures.is_empty());
}

#[test]
fn both_views_are_told() {
    let bad = Mail { delivered: 900, unknown: 100, ..Mail::default() };
    let relay = Relay::new().on(3, "app", "google", Mail::good(2000)).today("app", "google", bad);
    let score = relay.score();
    assert_eq!(score.value, score.last_day, "the lower one counts");
    assert!(score.days > score.last_day && score.last_day.is_some(), "{score:?}");
    let stopped = relay.stopped("ip1", "google").score();
    assert_eq!((stopped.value, stopped.days, stopped.last_day), (Some(60), Some(60), Some(60)), "{stopped:?}");
    let few = Relay::new().on(3, "app", "google", Mail::good(2000)).today("app", "google", Mail::good(20)).score();
    assert_eq!((few.days, few.last_day), (Some(100), None));
}

#[test]
fn every_lost_point_is_a_finding_until_it_is_won_back() {
    let at = |hour: i64| jiff::Timestamp::from_second(1_795_910_400 + hour * 3600).unwrap();
    let bad = Mail { delivered: 970, unknown: 30, unsigned: 100, ..Mail::default() };
    let relay = Relay::new().today("app", "google", bad).stopped("ip1", "google");
    let scores = relay.scores();
    let mut lookout = crate::Lookout::default();
    lookout.rules.take_scores(&scores, &relay.settings, at(0));
    let found: Vec<_> = lookout.rules.found().cloned().collect();
    let ids: Vec<_> = found.iter().map(|finding| &*finding.id).collect();
    let mut expected: Vec<String> = scores
        .all
        .losses
        .iter()
        .flat_map(|l| ["relay", "stream_provider:app/google"].map(|k| format!("score/{}/{k}", l.cause.as_str())))
        .collect();
    expected.sort();
    assert_eq!(ids, expected);
    assert!(ids.contains(&"score/stopped_lane/relay") && ids.contains(&"score/dkim/stream_provider:app/google"), "{ids:?}");
    for finding in &found {
        assert!(finding.next_step.contains('`') && finding.query.starts_with("posthaste "), "{finding:?}");
        assert!([&finding.summary, &finding.done, &finding.next_step].iter().all(|text| text.ends_with('.')), "{finding:?}");
    }
    let unknown = found.iter().find(|finding| finding.id == "score/unknown_users/stream_provider:app/google").unwrap();
    assert_eq!((unknown.measure.n, unknown.measure.of, &*unknown.measure.limit), (30, Some(1000), "0.5 %"));
    assert_eq!((unknown.measure.limit_from, unknown.problem_of), (crate::LimitFrom::Default, ProblemOf::SendersList));
    assert!(unknown.query.starts_with("posthaste log --stream app --provider google --class invalid_recipient --since "), "{unknown:?}");

    let mut lookout = crate::Lookout::from_bytes(&lookout.to_bytes()).unwrap();
    lookout.rules.take_scores(&scores, &relay.settings, at(1));
    assert!(lookout.rules.found().all(|finding| (finding.first_seen, finding.last_seen) == (at(0), at(1))), "a restart changes nothing");
    lookout.rules.take_scores(&Relay::new().today("app", "google", Mail::good(1000)).scores(), &relay.settings, at(2));
    assert!(lookout.rules.found().all(|finding| finding.state == crate::FindingState::Fixed));
    lookout.rules.take_scores(&Relay::new().scores(), &relay.settings, at(26));
    assert_eq!(lookout.rules.found().count(), 0);
}

#[test]
fn a_score_that_is_good_says_what_stands_all_the_same() {
    let since = "2026-11-29T14:02:00Z".parse().unwrap();
    let incident = |id: &str, rule: &str, key: &str, severity: &str| Beside {
        incident: id.into(),
        rule: rule.into(),
        key: key.into(),
        severity: severity.into(),
        since,
    };
    let incidents = [
        incident("1", "late", "stream:app", "warn"),
        incident("2", "mail_stands", "provider:google", "critical"),
        incident("3", "lane", "lane:ip1/google", "warn"),
        incident("4", "house", "relay:disk/spool", "critical"),
    ];
    let mut relay = Relay::new().today("app", "google", Mail::good(1000)).today("app", "yahoo", Mail::good(1000));
    relay.inputs.add_cohort(Dimension::SourceProvider, TODAY, &block(&pair("ip1", "google"), &Mail::good(100).cell()));
    let (plain, beside) = (relay.scores(), relay.scores().beside(&incidents));
    let named = |score: &Score| score.beside.iter().map(|incident| incident.incident.clone()).collect::<Vec<_>>().concat();
    assert_eq!((beside.all.value, beside.all.band), (plain.all.value, Some(Band::Good)), "no score changes");
    let at_google = "mail stands (provider:google) since 2026-11-29T14:02:00Z";
    assert_eq!(beside.all.but.as_deref(), Some(&*format!("{at_google}; 2 more incidents are open")), "of the house, a score says nothing");
    assert_eq!(beside.providers["google"].but.as_deref(), Some(&*format!("{at_google}; 1 more incident is open")));
    assert_eq!((named(&beside.providers["google"]), named(&beside.providers["yahoo"])), ("23".into(), String::new()));
    assert_eq!((named(&beside.streams["app"]), named(&beside.sources["ip1"])), ("1".into(), "3".into()));
    assert_eq!(beside.pairs.iter().map(|pair| named(&pair.score)).collect::<Vec<_>>(), ["213", "1"]);
    assert_eq!(named(&beside.lanes[0].score), "23");
    let json = serde_json::to_value(&beside.providers["yahoo"]).unwrap();
    assert!(json.get("but").is_none() && json.get("beside").is_none(), "{json}");
}
