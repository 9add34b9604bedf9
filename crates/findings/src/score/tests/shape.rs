//! What machines and people get.

use super::*;

#[test]
fn the_json_is_as_documented() {
    let relay = Relay::new().today("app", "google", Mail { delivered: 970, unknown: 30, ..Mail::default() });
    let json = serde_json::to_value(relay.score()).unwrap();
    let sentence = "In 15 days, 30 of 1,000 finished recipients had no mailbox, or a domain that takes no mail: at least 2.4 %. Up to 0.5 % is good, \
                    5 % or more is bad; it costs 9.8 points.";
    let expected = serde_json::json!({
        "value": 90,
        "band": "good",
        "measured": 3,
        "note": "3 of 4 factors measured",
        "window": "days",
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
